//! The spans of a job and of each letter it puts through.
//!
//! A replay is a trace of its own, linked to the event's and to where it failed.

use chassis::{Span, Tracer, tracer::Kind};
use domain::trace::TraceContext;
use kafka_io::Record;
use wire::headers;

use crate::{Job, letter::Letter};

/// A job's span, open while a go at it lasts.
pub(super) struct Spans {
    tracer: Tracer,
    root: Span,
    job: String,
    group: String,
    /// The last topic's span name: most letters of a read come from one topic.
    name: (String, String),
}

impl Spans {
    pub(super) fn new(tracer: &Tracer, job: &Job) -> Self {
        let mut root = tracer.span("replay", Kind::Internal, None);
        root.set_str("millrace.replay.job_id", job.id.as_str());
        Self {
            tracer: tracer.clone(),
            root,
            job: job.id.to_string(),
            group: job.id.group(),
            name: Default::default(),
        }
    }

    /// Starts the span of one letter and returns its context, where somebody records it.
    pub(super) fn letter(
        &mut self,
        letter: &Letter<'_>,
        record: &Record,
    ) -> Option<(Span, TraceContext)> {
        if !self.root.is_recorded() {
            return None;
        }
        if self.name.0 != letter.topic {
            self.name = (letter.topic.to_owned(), format!("process {}", letter.topic));
        }
        let mut span = self.tracer.span(&self.name.1, Kind::Consumer, Some(self.root.context()));
        if !span.is_recorded() {
            return None;
        }
        span.set_str("messaging.system", "kafka");
        span.set_str("messaging.operation.name", "process");
        span.set_str("messaging.operation.type", "process");
        span.set_str("messaging.destination.name", letter.topic);
        span.set_str("messaging.consumer.group.name", &self.group);
        span.set_str("messaging.destination.partition.id", &letter.partition.to_string());
        span.set_int("messaging.kafka.offset", letter.offset);
        span.set_str("messaging.message.id", letter.event_id);
        span.set_str("messaging.message.conversation_id", letter.correlation_id);
        span.set_str("millrace.replay.job_id", &self.job);
        if let Some(reason) = letter.reason {
            span.set_str("millrace.dlq.reason", reason.label());
        }
        for name in [headers::TRACEPARENT, headers::DLQ_TRACEPARENT] {
            headers::context(&record.headers, name).into_iter().for_each(|from| span.link(from));
        }
        let context = span.context();
        Some((span, context))
    }
}
