//! The spans of a request: taking it, and writing its event.
//!
//! A sender's context is continued only where senders are trusted; otherwise the event's trace
//! begins here and links to it.

use std::sync::Arc;

use chassis::{EventOf, Kind, Span, Tracer};
use domain::trace::TraceContext;
use http::{StatusCode, request::Parts};
use kafka_io::Written;
use wire::Envelope;

use crate::series::{ROUTE, method_label};

/// Starts the spans of the service; clones are the same.
#[derive(Clone)]
pub(crate) struct Spans {
    tracer: Tracer,
    client_id: Arc<str>,
    trust: bool,
}

impl Spans {
    pub(crate) fn new(tracer: Tracer, client_id: &str, trust: bool) -> Self {
        Self { tracer, client_id: client_id.into(), trust }
    }

    /// Starts `POST /v1/events/{source}`.
    pub(crate) fn server(&self, parts: &Parts) -> Span {
        let came = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
        let came = came.and_then(TraceContext::parse);
        let parent = came.filter(|_| self.trust);
        let method = method_label(&parts.method);
        let name = if method == "POST" { POST } else { ROUTE };
        let mut span = self.tracer.span(name, Kind::Server, parent);
        if span.is_recorded() {
            span.set_str("http.request.method", method);
            span.set_str("http.route", ROUTE);
            span.set_str("url.path", parts.uri.path());
            span.set_str("url.scheme", "http");
            came.filter(|_| !self.trust).into_iter().for_each(|link| span.link(link));
        }
        span
    }

    /// Starts `send raw.<source>`; `name` is made once for each source.
    pub(crate) fn send(&self, name: &str, topic: &str, envelope: &Envelope, server: &Span) -> Span {
        let mut span = self.tracer.span(name, Kind::Producer, Some(server.context()));
        if span.is_recorded() {
            span.set_str("messaging.system", "kafka");
            span.set_str("messaging.operation.name", "send");
            span.set_str("messaging.operation.type", "send");
            span.set_str("messaging.destination.name", topic);
            span.set_str("messaging.client.id", &self.client_id);
            span.set_event(EventOf {
                id: &envelope.event_id,
                correlation_id: &envelope.correlation_id,
                source: &envelope.source,
                event_type: &envelope.event_type,
            });
        }
        span
    }
}

const POST: &str = "POST /v1/events/{source}";

/// Says where the event lies.
pub(crate) fn written(span: &mut Span, written: Written) {
    if span.is_recorded() {
        span.set_str("messaging.destination.partition.id", &written.partition.to_string());
        span.set_int("messaging.kafka.offset", written.offset);
    }
}

/// Says how a request was answered.
pub(crate) fn answered(span: &mut Span, status: StatusCode) {
    if span.is_recorded() {
        span.set_int("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.set_str("error.type", status.as_str());
            span.fail(status.canonical_reason().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_sender_s_trace_is_continued() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let request = http::Request::post("/").header("traceparent", parent).body(());
        let (parts, ()) = request.expect("it is a request").into_parts();
        let trace_of = |trust| {
            let spans = Spans::new(Tracer::disabled(), "test", trust);
            spans.server(&parts).context().trace_id_text()
        };
        assert_eq!(trace_of(true), parent[3..35]);
        assert_ne!(trace_of(false), parent[3..35]);
    }
}
