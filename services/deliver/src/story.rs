//! The spans of one record: processing it, each attempt, the dead letter.
//!
//! Processing continues the trace of who wrote the record, and links to it; a replayed or an old
//! record begins a trace of its own that only links, so that traces stay bounded.

use std::time::Duration;

use chassis::{EventOf, Kind, Span, Tracer};
use domain::{time::UnixMillis, trace::TraceContext};
use kafka_io::Record;
use wire::{Delivery, headers};

use crate::{gate::Gate, shared::Shared};

/// A record older than this does not continue its trace.
const PARENT_AGE_MAX: Duration = Duration::from_secs(600);

/// The span of a record, and where its event's trace began.
pub(crate) struct Story {
    pub(crate) process: Span,
    pub(crate) starting: Option<TraceContext>,
}

impl Story {
    pub(crate) fn begin(shared: &Shared, gate: &Gate, record: &Record) -> Self {
        let (tracer, now) = (&shared.tracer, shared.now());
        let written = headers::context(&record.headers, headers::TRACEPARENT);
        let replayed = headers::replay_count(&record.headers) > 0;
        let old = now.since(UnixMillis(record.timestamp_ms)) > PARENT_AGE_MAX;
        let parent = written.filter(|_| !replayed && !old);
        let name =
            if tracer.is_enabled() { format!("process {}", gate.topic) } else { String::new() };
        let mut process = tracer.span(&name, Kind::Consumer, parent);
        if process.is_recorded() {
            if let Some(written) = written {
                process.link(written);
            }
            describe(&mut process, record, gate, shared);
        }
        let starting = headers::context(&record.headers, headers::CE_TRACEPARENT);
        Self { process, starting }
    }

    /// Adds what only the decoded record tells.
    pub(crate) fn tells(&mut self, delivery: &Delivery) {
        let span = &mut self.process;
        if !span.is_recorded() {
            return;
        }
        span.set_event(EventOf {
            id: &delivery.event_id,
            correlation_id: &delivery.correlation_id,
            source: &delivery.source,
            event_type: &delivery.event_type,
        });
        span.set_str("millrace.route", &delivery.route);
    }

    /// Starts the span of one attempt; `number` counts from 1.
    pub(crate) fn attempt(&self, tracer: &Tracer, method: &str, number: u32, gate: &Gate) -> Span {
        let mut span = tracer.span(method, Kind::Client, Some(self.process.context()));
        if span.is_recorded() {
            span.set_str("http.request.method", method);
            span.set_str("millrace.destination", &gate.name);
            span.set_int("millrace.attempt", i64::from(number));
            if number > 1 {
                span.set_int("http.request.resend_count", i64::from(number) - 1);
            }
        }
        span
    }

    /// Starts the span of writing the dead letter; processing counts as failed.
    pub(crate) fn dead_letter(&mut self, tracer: &Tracer, gate: &Gate, reason: &str) -> Span {
        self.process.fail(reason);
        self.process.set_str("millrace.dlq.reason", reason);
        if !tracer.is_enabled() {
            return tracer.span("", Kind::Producer, Some(self.process.context()));
        }
        let name = format!("send {}", gate.dead_letters);
        let mut span = tracer.span(&name, Kind::Producer, Some(self.process.context()));
        span.set_str("messaging.system", "kafka");
        span.set_str("messaging.operation.name", "send");
        span.set_str("messaging.operation.type", "send");
        span.set_str("messaging.destination.name", &gate.dead_letters);
        span.set_str("millrace.dlq.reason", reason);
        span
    }
}

fn describe(span: &mut Span, record: &Record, gate: &Gate, shared: &Shared) {
    span.set_str("messaging.system", "kafka");
    span.set_str("messaging.operation.name", "process");
    span.set_str("messaging.operation.type", "process");
    span.set_str("messaging.consumer.group.name", &shared.group);
    span.set_str("messaging.client.id", &shared.client_id);
    span.set_str("messaging.destination.name", &record.topic);
    span.set_str("messaging.destination.partition.id", &record.partition.to_string());
    span.set_int("messaging.kafka.offset", record.offset);
    span.set_str("millrace.service", "millrace-deliver");
    span.set_str("millrace.destination", &gate.name);
    if record.value.is_none() {
        span.set_bool("messaging.kafka.message.tombstone", true);
    }
}
