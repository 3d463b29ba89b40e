//! Record headers: CloudEvents in binary mode, trace context, dead letters, replays.
//!
//! Values are UTF-8 text. What came with a record goes on byte for byte.

mod dead_letter;
mod fallback;
mod replay;

use bytes::Bytes;
use domain::trace::TraceContext;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{Delivery, Envelope, Receipt};

pub use dead_letter::{
    Failure, MESSAGE_BYTES_MAX, Origin, dead_letter, origin, scrub, without_ours,
};
pub use fallback::{Fallen, Successor, fallback, fallen};
pub use replay::{Replay, replay, replay_count};

pub const CE_SPECVERSION: &str = "ce_specversion";
pub const CE_ID: &str = "ce_id";
pub const CE_SOURCE: &str = "ce_source";
pub const CE_TYPE: &str = "ce_type";
pub const CE_TIME: &str = "ce_time";
pub const CE_SUBJECT: &str = "ce_subject";
pub const CE_CORRELATIONID: &str = "ce_correlationid";
pub const CE_CAUSATIONID: &str = "ce_causationid";
/// When Millrace accepted the event; never changed later.
pub const CE_RECORDEDTIME: &str = "ce_recordedtime";
/// Where the trace began; set once, never rewritten.
pub const CE_TRACEPARENT: &str = "ce_traceparent";
pub const CONTENT_TYPE: &str = "content-type";
/// The hop's own trace context, rewritten at each produce.
pub const TRACEPARENT: &str = "traceparent";

pub const ATTEMPT: &str = "millrace-attempt";
pub const FIRST_FAILURE_AT: &str = "millrace-first-failure-at";
pub const NOT_BEFORE: &str = "millrace-not-before";

/// Which delivery a record speaks of, so that it is found without decoding.
pub const DELIVERY_ID: &str = "millrace-delivery-id";
pub const ROUTE: &str = "millrace-route";
pub const DESTINATION: &str = "millrace-destination";

/// What headers about a fallback begin with: whose place a delivery takes, and why.
pub const FALLBACK_PREFIX: &str = "millrace-fallback-";
pub const FALLBACK_FROM: &str = "millrace-fallback-from";
pub const FALLBACK_DELIVERY_ID: &str = "millrace-fallback-delivery-id";
pub const FALLBACK_REASON: &str = "millrace-fallback-reason";
pub const FALLBACK_ERROR_MESSAGE: &str = "millrace-fallback-error-message";

/// What our own headers about a failure begin with.
pub const DLQ_PREFIX: &str = "millrace-dlq-";
pub const DLQ_REASON: &str = "millrace-dlq-reason";
pub const DLQ_ERROR_TYPE: &str = "millrace-dlq-error-type";
pub const DLQ_ERROR_MESSAGE: &str = "millrace-dlq-error-message";
pub const DLQ_SERVICE: &str = "millrace-dlq-service";
pub const DLQ_SERVICE_VERSION: &str = "millrace-dlq-service-version";
pub const DLQ_AT: &str = "millrace-dlq-at";
pub const DLQ_SOURCE_TOPIC: &str = "millrace-dlq-source-topic";
pub const DLQ_SOURCE_PARTITION: &str = "millrace-dlq-source-partition";
pub const DLQ_SOURCE_OFFSET: &str = "millrace-dlq-source-offset";
pub const DLQ_SOURCE_TIMESTAMP: &str = "millrace-dlq-source-timestamp";
pub const DLQ_TRACEPARENT: &str = "millrace-dlq-traceparent";

/// What headers about replays begin with.
pub const REPLAY_PREFIX: &str = "millrace-replay-";
pub const REPLAY_COUNT: &str = "millrace-replay-count";
pub const REPLAY_JOB: &str = "millrace-replay-job";
pub const REPLAY_BY: &str = "millrace-replay-by";
pub const REPLAY_AT: &str = "millrace-replay-at";

/// What `content-type` says of a value in the wire format.
const AVRO: &str = "application/avro";

/// Headers in their order; a name may occur more than once.
pub type Headers = Vec<(String, Bytes)>;

/// Returns the headers of an event: `trace` is where its trace begins.
pub fn cloud_event(envelope: &Envelope, trace: Option<TraceContext>) -> Headers {
    let event = Attributes {
        id: &envelope.event_id,
        source: &envelope.source,
        event_type: &envelope.event_type,
        time_ms: envelope.time_ms,
        received_ms: envelope.received_ms,
        correlation_id: &envelope.correlation_id,
    };
    let mut headers = event.headers(trace, trace);
    if let Some(subject) = &envelope.subject {
        headers.push(owned(CE_SUBJECT, subject));
    }
    if let Some(id) = &envelope.causation_id {
        headers.push(owned(CE_CAUSATIONID, id));
    }
    headers
}

/// Returns the headers of a delivery: those of its event and which delivery it is.
///
/// `trace` is this hop's context, `starting` where the event's trace began.
pub fn delivery(
    delivery: &Delivery,
    trace: Option<TraceContext>,
    starting: Option<TraceContext>,
) -> Headers {
    let event = Attributes {
        id: &delivery.event_id,
        source: &delivery.source,
        event_type: &delivery.event_type,
        time_ms: delivery.event_time_ms,
        received_ms: delivery.received_ms,
        correlation_id: &delivery.correlation_id,
    };
    let mut headers = event.headers(trace, starting);
    headers.push(owned(DELIVERY_ID, &delivery.delivery_id));
    headers.push(owned(ROUTE, &delivery.route));
    headers.push(owned(DESTINATION, &delivery.destination));
    headers
}

/// Returns the headers of a receipt, by which it is found without decoding.
pub fn receipt(
    receipt: &Receipt,
    trace: Option<TraceContext>,
    starting: Option<TraceContext>,
) -> Headers {
    let mut headers = vec![
        owned(CE_ID, &receipt.event_id),
        owned(CE_SOURCE, &receipt.source),
        owned(CE_TYPE, &receipt.event_type),
        owned(CE_CORRELATIONID, &receipt.correlation_id),
        fixed(CONTENT_TYPE, AVRO),
        owned(DELIVERY_ID, &receipt.delivery_id),
        owned(ROUTE, &receipt.route),
        owned(DESTINATION, &receipt.destination),
    ];
    headers.extend(contexts(trace, starting));
    headers
}

/// Returns the first header of this name as text; one that is no text counts as absent.
pub fn text<'a>(headers: &'a [(String, Bytes)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(found, _)| found == name)?;
    std::str::from_utf8(value).ok()
}

/// Returns the trace context that a header of this name carries.
pub fn context(headers: &[(String, Bytes)], name: &str) -> Option<TraceContext> {
    TraceContext::parse(text(headers, name)?)
}

/// Writes a point in time as headers carry it.
pub fn rfc3339(ms: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| ms.to_string())
}

/// Reads a point in time as headers carry it.
pub fn unix_millis(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

struct Attributes<'a> {
    id: &'a str,
    source: &'a str,
    event_type: &'a str,
    time_ms: i64,
    received_ms: i64,
    correlation_id: &'a str,
}

impl Attributes<'_> {
    fn headers(&self, trace: Option<TraceContext>, starting: Option<TraceContext>) -> Headers {
        let mut headers = Vec::with_capacity(16);
        headers.push(fixed(CE_SPECVERSION, "1.0"));
        headers.push(owned(CE_ID, self.id));
        headers.push(owned(CE_SOURCE, self.source));
        headers.push(owned(CE_TYPE, self.event_type));
        headers.push((CE_TIME.to_owned(), rfc3339(self.time_ms).into()));
        headers.push((CE_RECORDEDTIME.to_owned(), rfc3339(self.received_ms).into()));
        headers.push(owned(CE_CORRELATIONID, self.correlation_id));
        headers.push(fixed(CONTENT_TYPE, AVRO));
        headers.extend(contexts(trace, starting));
        headers
    }
}

fn contexts(
    trace: Option<TraceContext>,
    starting: Option<TraceContext>,
) -> impl Iterator<Item = (String, Bytes)> {
    let named = [(TRACEPARENT, trace), (CE_TRACEPARENT, starting)];
    let named = named.into_iter().filter_map(|(name, context)| Some((name, context?)));
    named.map(|(name, context)| (name.to_owned(), context.to_string().into()))
}

fn owned(name: &str, value: &str) -> (String, Bytes) {
    (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()))
}

fn fixed(name: &str, value: &'static str) -> (String, Bytes) {
    (name.to_owned(), Bytes::from_static(value.as_bytes()))
}
