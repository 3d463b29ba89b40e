//! One request from its head to its answer.
//!
//! In this order: method, source, a place among those in hand, the body under its limit, the
//! signature over its bytes, what the source takes, the log. Nothing else is in the way.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use chassis::{Hook, Span};
use domain::time::UnixMillis;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts,
};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use kafka_io::{Outgoing, Written};
use serde::Serialize;
use wire::headers;

use crate::{
    body,
    event::{self, Accepted, Verified},
    limits::{Held, Limits},
    refusal::Refusal,
    series::{Families, ROUTE, ServerSeries},
    sources::{Source, Sources},
    spans::{self, Spans},
    told::{Listener, Told},
    writer::Writer,
};

const EVENT_ID: HeaderName = HeaderName::from_static("x-event-id");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// How much more of a refused body is read, and for how long, so that its sender hears the answer.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
const DISCARDED_WITHIN: Duration = Duration::from_secs(2);

/// What every request is taken with.
pub(crate) struct Desk {
    pub(crate) sources: Arc<ArcSwap<Sources>>,
    pub(crate) limits: Limits,
    pub(crate) body_within: Duration,
    pub(crate) writer: Writer,
    pub(crate) families: Families,
    pub(crate) server: ServerSeries,
    pub(crate) spans: Spans,
    pub(crate) hook: Hook,
    pub(crate) listener: Option<Listener>,
}

/// What an accepted request is answered with.
#[derive(Debug, Serialize)]
struct Taken {
    event_id: String,
    correlation_id: String,
}

/// Answers a request.
///
/// # Cancellation
/// The event may be written all the same; its sender has not been told.
pub(crate) async fn answer(desk: &Desk, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let began = Instant::now();
    let (parts, mut body) = request.into_parts();
    let (route, answer) = match source_name(parts.uri.path()) {
        None => {
            let refusal = Refusal::UnknownPath;
            desk.families.rejected_unknown(refusal.reason());
            ("", refuse(&refusal, &parts, &mut body).await)
        }
        Some(name) => {
            let _active = desk.server.begin(&parts.method);
            let mut span = desk.spans.server(&parts);
            let answer = match take(desk, name, &parts, &mut body, &span).await {
                Ok(taken) => taken.answer(),
                Err(refusal) => refuse(&refusal, &parts, &mut body).await,
            };
            spans::answered(&mut span, answer.status());
            (ROUTE, answer)
        }
    };
    desk.server.answered(&parts.method, route, answer.status(), began.elapsed().as_secs_f64());
    answer.map(Full::new)
}

/// Returns the source that a path names: `/v1/events/{source}`.
fn source_name(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/events/").filter(|name| !name.is_empty() && !name.contains('/'))
}

/// Takes a request, and counts and tells what came of it.
async fn take(
    desk: &Desk,
    name: &str,
    parts: &Parts,
    body: &mut Incoming,
    span: &Span,
) -> Result<Taken, Refusal> {
    let source = desk.sources.load().get(name);
    let source = match (&parts.method, source) {
        (&Method::POST, Some(source)) => source,
        (method, _) => {
            let known = *method == Method::POST;
            let refusal = if known { Refusal::UnknownSource } else { Refusal::MethodNotAllowed };
            desk.families.rejected_unknown(refusal.reason());
            tracing::debug!(reason = refusal.reason(), "request refused");
            return Err(refusal);
        }
    };
    let correlation_id = event::correlation_id(&parts.headers, now());
    let taken = take_for(desk, &source, parts, body, &correlation_id, span).await;
    match &taken {
        Ok(_) => source.series.accepted.inc(),
        Err(refusal) => {
            source.series.rejected(refusal.reason());
            tracing::warn!(
                event_source = %source.declared.name,
                correlation_id,
                trace_id = %span.context().trace_id_text(),
                http.response.status_code = refusal.status().as_u16(),
                reason = refusal.reason(),
                error.message = %refusal.told_to_operator(),
                "event refused"
            );
        }
    }
    taken
}

async fn take_for(
    desk: &Desk,
    source: &Source,
    parts: &Parts,
    body: &mut Incoming,
    correlation_id: &str,
    span: &Span,
) -> Result<Taken, Refusal> {
    let mut held: Held<'_> = desk.limits.enter().ok_or(Refusal::Overloaded)?;
    let schema_id = source.schema_id()?;
    let bytes_max = source.declared.body_bytes_max;
    let body = body::read(body, bytes_max, desk.body_within, &mut held).await?;
    desk.server.read(body.len());
    let now = now();
    verify(&source.declared, parts, &body, now)?;
    let verified = Verified {
        method: parts.method.as_str(),
        headers: &parts.headers,
        body,
        correlation_id: correlation_id.to_owned(),
        now,
    };
    let accepted = event::build(&source.declared, verified)?;
    let (taken, written) = write(desk, source, schema_id, accepted, span).await?;
    desk.hook.hit("ingest.after_ack");
    tell(desk, source, &taken, written);
    Ok(taken)
}

fn verify(
    source: &catalog_io::Source,
    parts: &Parts,
    body: &[u8],
    now: UnixMillis,
) -> Result<(), Refusal> {
    let request = signing::Request {
        method: parts.method.as_str(),
        url: source.public_url.as_deref(),
        headers: &parts.headers,
        body,
    };
    match signing::verify(&source.scheme, &source.secrets, &request, now.0.div_euclid(1000)) {
        Ok(_) => Ok(()),
        Err(signing::Refused::Malformed { place, detail }) => {
            Err(Refusal::Malformed { place, detail })
        }
        Err(why) => Err(Refusal::Unverified { why: why.to_string() }),
    }
}

/// Writes an event, and returns once all in-sync replicas have it.
async fn write(
    desk: &Desk,
    source: &Source,
    schema_id: u32,
    accepted: Accepted,
    span: &Span,
) -> Result<(Taken, Written), Refusal> {
    let Accepted { envelope, key } = accepted;
    let mut sending = desk.spans.send(&source.send, &source.topic, &envelope, span);
    let value = wire::encode(&envelope, schema_id);
    let value = value.map_err(|why| Refusal::NotLogged { why: why.to_string() })?;
    let outgoing = Outgoing {
        topic: source.topic.clone(),
        partition: None,
        key: Some(key.into()),
        value: Some(value),
        headers: headers::cloud_event(&envelope, Some(sending.context())),
        timestamp_ms: Some(envelope.received_ms),
    };
    let taken = Taken { event_id: envelope.event_id, correlation_id: envelope.correlation_id };
    // The body has been copied; it is not kept while the log is waited for.
    drop(envelope.body);
    match desk.writer.write(outgoing).await {
        Ok(written) => {
            spans::written(&mut sending, written);
            Ok((taken, written))
        }
        Err(refusal) => {
            sending.set_str("error.type", refusal.reason());
            sending.fail(&refusal.told_to_operator());
            Err(refusal)
        }
    }
}

fn tell(desk: &Desk, source: &Source, taken: &Taken, written: Written) {
    tracing::debug!(
        event_id = taken.event_id,
        correlation_id = taken.correlation_id,
        event_source = %source.declared.name,
        topic = %source.topic,
        partition = written.partition,
        offset = written.offset,
        "event accepted"
    );
    if let Some(listener) = &desk.listener {
        listener(Told {
            source: source.declared.name.as_str().to_owned(),
            event_id: taken.event_id.clone(),
            correlation_id: taken.correlation_id.clone(),
            partition: written.partition,
            offset: written.offset,
        });
    }
}

impl Taken {
    fn answer(&self) -> Response<Bytes> {
        let body = serde_json::to_vec(self).expect("two texts are JSON");
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = StatusCode::OK;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [(EVENT_ID, &self.event_id), (CORRELATION_ID, &self.correlation_id)] {
            // A provider's id may hold what no header can; the body has it in any case.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        answer
    }
}

/// Makes the answer of a refusal, and reads on to the end of the body: a sender that is still
/// sending when the connection closes would not hear it.
async fn refuse(refusal: &Refusal, parts: &Parts, body: &mut Incoming) -> Response<Bytes> {
    let mut answer = refusal.answer();
    // Who waits for a "continue", or has stalled, sends nothing more.
    let waits = parts.headers.contains_key(header::EXPECT) || *refusal == Refusal::Incomplete;
    let is_over = body.is_end_stream()
        || (!waits && body::discard(body, DISCARDED_BYTES_MAX, DISCARDED_WITHIN).await);
    if !is_over && parts.version < Version::HTTP_2 {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn now() -> UnixMillis {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_source_or_none() {
        for (path, expected) in [
            ("/v1/events/github", Some("github")),
            ("/v1/events/", None),
            ("/v1/events", None),
            ("/v1/events/a/b", None),
            ("/v2/events/a", None),
            ("/", None),
        ] {
            assert_eq!(source_name(path), expected, "{path}");
        }
    }

    #[test]
    fn an_id_that_no_header_can_hold_is_in_the_body_alone() {
        let taken = Taken { event_id: "a\u{1}\"é".into(), correlation_id: "c".into() };
        let answer = taken.answer();
        assert!(!answer.headers().contains_key("x-event-id"));
        assert_eq!(answer.headers()["x-correlation-id"], "c");
        let body: serde_json::Value = serde_json::from_slice(answer.body()).expect("it is JSON");
        assert_eq!(body["event_id"], "a\u{1}\"é");
    }
}
