//! Spans that continue a trace from hop to hop, exported over OTLP where an endpoint is configured.
//!
//! A context is always continued: without an endpoint, or for a trace that is not sampled, a span
//! costs next to nothing and hands on what it was given. There is no ambient span; parents are
//! values. What is not exported in time is dropped and counted, never waited for.

mod export;
mod resource;

use std::{sync::Arc, time::SystemTime};

use domain::trace::TraceContext;
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{
        Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, TraceState, Tracer as _,
    },
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer};

pub use export::Invalid;
pub(crate) use export::{Exporter, Exporting, client};

/// What a span stands for, in the words of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Server,
    Client,
    Producer,
    Consumer,
    Internal,
}

/// Starts spans of one service; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<SdkTracer>>);

/// A span; it ends when dropped.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    recorded: Option<Box<opentelemetry_sdk::trace::Span>>,
}

impl Tracer {
    /// Returns a tracer that exports nothing and continues every context.
    pub fn disabled() -> Self {
        Self(None)
    }

    /// Says whether spans may be exported.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Starts a span now; without a parent it is the root of a new trace.
    pub fn span(&self, name: &str, kind: Kind, parent: Option<TraceContext>) -> Span {
        self.start(name, kind, parent, None)
    }

    /// Starts a span that began at `started`.
    pub fn span_at(
        &self,
        name: &str,
        kind: Kind,
        parent: Option<TraceContext>,
        started: SystemTime,
    ) -> Span {
        self.start(name, kind, parent, Some(started))
    }

    fn start(
        &self,
        name: &str,
        kind: Kind,
        parent: Option<TraceContext>,
        started: Option<SystemTime>,
    ) -> Span {
        let tracer = match (&self.0, parent) {
            (Some(tracer), None) => tracer,
            (Some(tracer), Some(parent)) if parent.sampled => tracer,
            (_, parent) => return Span::unrecorded(parent),
        };
        let mut builder = tracer.span_builder(name.to_owned()).with_kind(kind.into());
        builder.start_time = started;
        let around = Context::new();
        let around = match parent {
            Some(parent) => around.with_remote_span_context(remote(parent)),
            None => around,
        };
        let span = tracer.build_with_context(builder, &around);
        let context = span.span_context();
        if !context.is_valid() {
            return Span::unrecorded(parent);
        }
        let context = TraceContext {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            sampled: context.is_sampled(),
        };
        Span { context, recorded: span.is_recording().then(|| Box::new(span)) }
    }
}

/// The event that a span is of.
#[derive(Debug, Clone, Copy)]
pub struct EventOf<'a> {
    pub id: &'a str,
    pub correlation_id: &'a str,
    pub source: &'a str,
    pub event_type: &'a str,
}

impl Span {
    /// Continues `parent`, or makes ids of a trace that nobody records.
    fn unrecorded(parent: Option<TraceContext>) -> Self {
        let context = parent.unwrap_or_else(|| TraceContext {
            trace_id: RandomIdGenerator::default().new_trace_id().to_bytes(),
            span_id: RandomIdGenerator::default().new_span_id().to_bytes(),
            sampled: false,
        });
        Self { context, recorded: None }
    }

    /// Returns the context that what follows continues.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Says whether the span is recorded; attributes that cost something are worth making only then.
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Sets an attribute.
    pub fn set_str(&mut self, key: &'static str, value: &str) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new(key, value.to_owned()));
        }
    }

    /// Sets an attribute.
    pub fn set_int(&mut self, key: &'static str, value: i64) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Sets an attribute.
    pub fn set_bool(&mut self, key: &'static str, value: bool) {
        if let Some(span) = &mut self.recorded {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Sets what every span of an event has: ids, source and type, as messaging and CloudEvents name them.
    pub fn set_event(&mut self, event: EventOf<'_>) {
        if !self.is_recorded() {
            return;
        }
        self.set_str("messaging.message.id", event.id);
        self.set_str("messaging.message.conversation_id", event.correlation_id);
        self.set_str("cloudevents.event_id", event.id);
        self.set_str("cloudevents.event_source", event.source);
        self.set_str("cloudevents.event_type", event.event_type);
        self.set_str("cloudevents.event_spec_version", "1.0");
    }

    /// Links to another span; the SDK keeps the first 128.
    pub fn link(&mut self, to: TraceContext) {
        if let Some(span) = &mut self.recorded {
            span.add_link(remote(to), Vec::new());
        }
    }

    /// Says that what the span stands for failed; the message must hold no payload and no secret.
    pub fn fail(&mut self, message: &str) {
        if let Some(span) = &mut self.recorded {
            span.set_status(Status::error(message.to_owned()));
        }
    }

    /// Ends the span at `ended` instead of now.
    pub fn end_at(mut self, ended: SystemTime) {
        if let Some(span) = &mut self.recorded {
            span.end_with_timestamp(ended);
        }
    }
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Server => Self::Server,
            Kind::Client => Self::Client,
            Kind::Producer => Self::Producer,
            Kind::Consumer => Self::Consumer,
            Kind::Internal => Self::Internal,
        }
    }
}

fn remote(context: TraceContext) -> SpanContext {
    let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(
        TraceId::from_bytes(context.trace_id),
        SpanId::from_bytes(context.span_id),
        flags,
        true,
        TraceState::NONE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_endpoint_a_context_is_continued_or_made_anew() {
        let tracer = Tracer::disabled();
        let parent = TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled: true };
        assert_eq!(tracer.span("a", Kind::Server, Some(parent)).context(), parent);
        let (one, two) =
            (tracer.span("a", Kind::Server, None), tracer.span("a", Kind::Server, None));
        assert_ne!(one.context().trace_id, two.context().trace_id);
        assert!(TraceContext::parse(&one.context().to_string()).is_some());
        assert!(!one.context().sampled && !one.is_recorded());
    }
}
