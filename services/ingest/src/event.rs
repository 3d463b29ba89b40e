//! From a verified request to the event that is logged: pure.
//!
//! The body is kept byte for byte; only what routing and order need is read from it.

use bytes::Bytes;
use catalog_io::Source;
use domain::{
    catalog::Format,
    ids::{CorrelationId, EventId},
    time::UnixMillis,
};
use http::HeaderMap;
use wire::{Envelope, Header};

use crate::refusal::Refusal;

/// Headers that hold secrets or belong to the connection: they are never logged.
const DENIED: [&str; 16] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "api-key",
    "x-gitlab-token",
    "x-auth-token",
    "x-access-token",
    "connection",
    "content-length",
    "transfer-encoding",
    "host",
    "te",
    "upgrade",
    "keep-alive",
];

/// The most bytes of headers kept with an event; what is over is left out, longest first.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// An event about to be logged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Accepted {
    pub(crate) envelope: Envelope,
    /// What order is kept by: the source's entity, or the event's id.
    pub(crate) key: String,
}

/// Makes the event of a verified request.
///
/// # Errors
/// `NotJson` if the source takes JSON only and the body is none.
pub(crate) fn build(
    source: &Source,
    request: &signing::Request<'_>,
    body: &Bytes,
    correlation_id: &CorrelationId,
    now: UnixMillis,
) -> Result<Accepted, Refusal> {
    if source.format == Format::Json {
        serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(|e| Refusal::NotJson {
            detail: format!("at line {}, column {}", e.line(), e.column()),
        })?;
    }
    let identity = signing::identify(&source.scheme, request);
    let event_id = match &identity.event_id {
        Some(id) => EventId::from_provider(id),
        None => EventId::of_bytes(body),
    };
    let content_type = text(request.headers, "content-type").unwrap_or_default();
    let key = source
        .key
        .as_ref()
        .and_then(|program| program.extract(body, content_type))
        .unwrap_or_else(|| event_id.as_str().to_owned());
    let envelope = Envelope {
        event_id: event_id.as_str().to_owned(),
        source: source.name.as_str().to_owned(),
        event_type: identity.event_type.unwrap_or_else(|| "unknown".to_owned()),
        subject: identity.subject,
        time_ms: identity.time_ms.unwrap_or(now.0),
        received_ms: now.0,
        correlation_id: correlation_id.as_str().to_owned(),
        causation_id: None,
        content_type: content_type.to_owned(),
        http_headers: kept(request.headers),
        body: body.to_vec(),
    };
    Ok(Accepted { envelope, key })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the headers that go into the log: no credential, no signature, no connection header.
fn kept(headers: &HeaderMap) -> Vec<Header> {
    let mut left = HEADER_BYTES_MAX;
    let mut kept = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.as_str();
        if DENIED.contains(&name) || holds_a_secret(name) {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        let size = name.len() + value.len();
        if size <= left {
            left -= size;
            kept.push(Header { name: name.to_owned(), value: value.to_owned() });
        }
    }
    kept
}

fn holds_a_secret(name: &str) -> bool {
    ["signature", "token", "secret", "password", "hmac"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_signatures_are_not_kept() {
        let mut headers = HeaderMap::new();
        for name in [
            "authorization",
            "cookie",
            "x-hub-signature-256",
            "stripe-signature",
            "webhook-signature",
            "x-shopify-hmac-sha256",
            "x-gitlab-token",
            "x-api-key",
            "x-github-event",
        ] {
            headers.insert(name, http::HeaderValue::from_static("v"));
        }
        let names: Vec<String> = kept(&headers).into_iter().map(|h| h.name).collect();
        assert_eq!(names, ["x-github-event"]);
    }

    #[test]
    fn headers_beyond_the_bound_are_left_out() {
        let mut headers = HeaderMap::new();
        let long = "x".repeat(HEADER_BYTES_MAX);
        headers.insert("x-long", http::HeaderValue::from_str(&long).expect("it is plain text"));
        headers.insert("x-short", http::HeaderValue::from_static("v"));
        let names: Vec<String> = kept(&headers).into_iter().map(|h| h.name).collect();
        assert_eq!(names, ["x-short"]);
    }
}
