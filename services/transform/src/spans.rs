//! The spans of a record's way through transform, and the contexts that records carry on.
//!
//! A record that is replayed, or older than the backend's patience, begins a trace of its own and
//! links to where it comes from; all others continue theirs.

use std::{sync::Arc, time::Duration};

use chassis::{EventOf, Kind, Span, Tracer};
use domain::{time::UnixMillis, trace::TraceContext};
use kafka_io::Record;
use wire::{Delivery, Envelope, headers};

use crate::plan::{Lane, Source};

/// Above this age a record's trace is likely closed at the backend.
const PARENT_AGE_MAX: Duration = Duration::from_secs(600);

/// What all spans of the service say.
#[derive(Clone)]
pub(crate) struct Spans {
    tracer: Tracer,
    group: Arc<str>,
    client_id: Arc<str>,
}

/// Where a record comes from in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) parent: Option<TraceContext>,
    link: Option<TraceContext>,
    /// Where the event's trace began.
    pub(crate) starting: Option<TraceContext>,
}

impl Came {
    pub(crate) fn of(record: &Record, is_replay: bool, now: UnixMillis) -> Self {
        let creation = headers::context(&record.headers, headers::TRACEPARENT);
        let starting = headers::context(&record.headers, headers::CE_TRACEPARENT).or(creation);
        let is_old = now.since(UnixMillis(record.timestamp_ms)) > PARENT_AGE_MAX;
        let parent = creation.filter(|_| !is_replay && !is_old);
        Self { parent, link: creation, starting }
    }
}

impl Spans {
    pub(crate) fn new(tracer: Tracer, group: &str, client_id: &str) -> Self {
        Self { tracer, group: group.into(), client_id: client_id.into() }
    }

    /// Starts `process raw.<source>`.
    pub(crate) fn process(&self, source: &Source, record: &Record, came: &Came) -> Span {
        let mut span = self.tracer.span(&source.process, Kind::Consumer, came.parent);
        if span.is_recorded() {
            self.messaging(&mut span, "process", &source.topic);
            span.set_str("messaging.consumer.group.name", &self.group);
            span.set_str("messaging.destination.partition.id", &record.partition.to_string());
            span.set_int("messaging.kafka.offset", record.offset);
            came.link.into_iter().for_each(|link| span.link(link));
        }
        span
    }

    /// Starts `send out.<destination>`.
    pub(crate) fn send(&self, lane: &Lane, delivery: &Delivery, process: &Span) -> Span {
        let mut span = self.tracer.span(&lane.send, Kind::Producer, Some(process.context()));
        if span.is_recorded() {
            self.messaging(&mut span, "send", &lane.topic);
            span.set_str("messaging.message.id", &delivery.event_id);
            span.set_str("messaging.message.conversation_id", &delivery.correlation_id);
            span.set_str("millrace.route", &delivery.route);
            span.set_str("millrace.destination", &delivery.destination);
        }
        span
    }

    /// Starts `send dlq.transform.<source>` and marks the record's own span as failed.
    pub(crate) fn dead_letter(
        &self,
        source: &Source,
        reason: &'static str,
        process: &mut Span,
    ) -> Span {
        process.fail(reason);
        process.set_str("error.type", reason);
        let name = &source.dead_letters.send;
        let mut span = self.tracer.span(name, Kind::Producer, Some(process.context()));
        if span.is_recorded() {
            self.messaging(&mut span, "send", &source.dead_letters.topic);
            span.set_str("millrace.dlq.reason", reason);
        }
        span
    }

    fn messaging(&self, span: &mut Span, operation: &str, topic: &str) {
        span.set_str("messaging.system", "kafka");
        span.set_str("messaging.operation.name", operation);
        span.set_str("messaging.operation.type", operation);
        span.set_str("messaging.destination.name", topic);
        span.set_str("messaging.client.id", &self.client_id);
    }
}

/// Says which event a record's span is of.
pub(crate) fn of_event(span: &mut Span, envelope: &Envelope) {
    span.set_event(EventOf {
        id: &envelope.event_id,
        correlation_id: &envelope.correlation_id,
        source: &envelope.source,
        event_type: &envelope.event_type,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_record_continues_its_trace_and_a_replayed_or_old_one_links_to_it() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::parse(parent);
        let record = Record {
            topic: "raw.a".into(),
            partition: 0,
            offset: 0,
            epoch: 0,
            key: None,
            value: None,
            headers: vec![(headers::TRACEPARENT.to_owned(), parent.into())],
            timestamp_ms: 1_000_000,
        };
        let minute = UnixMillis(1_060_000);
        let hour = UnixMillis(4_600_000);
        for (is_replay, now, expected) in
            [(false, minute, context), (true, minute, None), (false, hour, None)]
        {
            let came = Came::of(&record, is_replay, now);
            assert_eq!((came.parent, came.link), (expected, context));
        }
    }
}
