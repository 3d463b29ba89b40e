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
use signing::Scheme;
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

/// A header whose name holds one of these is taken for a credential or a signature.
const SECRET_PARTS: [&str; 5] = ["signature", "token", "secret", "password", "hmac"];

/// The most bytes of headers kept with an event; one that does not fit is left out.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The type of an event whose provider names none.
const UNKNOWN_TYPE: &str = "unknown";

/// A verified request.
pub(crate) struct Verified<'r> {
    pub(crate) method: &'r str,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) correlation_id: String,
    pub(crate) now: UnixMillis,
}

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
/// `NotDeclaredJson` or `NotJson` if the source takes JSON only and the body is none.
pub(crate) fn build(source: &Source, request: Verified<'_>) -> Result<Accepted, Refusal> {
    let Verified { method, headers, body, correlation_id, now } = request;
    let content_type = text(headers, "content-type").unwrap_or_default();
    match source.format {
        Format::Any => {}
        Format::Json => check_json(headers, content_type, &body)?,
    }
    let url = source.public_url.as_deref();
    let request = signing::Request { method, url, headers, body: &body };
    let identity = signing::identify(&source.scheme, &request);
    let event_id = match &identity.event_id {
        Some(id) => EventId::from_provider(id),
        None => EventId::of_bytes(&body),
    };
    let key = source.key.as_ref().and_then(|program| program.extract(&body, content_type));
    let envelope = Envelope {
        event_id: event_id.as_str().to_owned(),
        source: source.name.as_str().to_owned(),
        event_type: identity.event_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()),
        subject: identity.subject,
        time_ms: identity.time_ms.unwrap_or(now.0),
        received_ms: now.0,
        correlation_id,
        causation_id: None,
        content_type: content_type.to_owned(),
        http_headers: kept(headers, signature_header(&source.scheme)),
        body: body.into(),
    };
    let key = key.unwrap_or_else(|| envelope.event_id.clone());
    Ok(Accepted { envelope, key })
}

/// Returns the sender's correlation id, or a new one.
pub(crate) fn correlation_id(headers: &HeaderMap, now: UnixMillis) -> String {
    let given = ["x-correlation-id", "ce-correlationid"]
        .into_iter()
        .find_map(|name| CorrelationId::from_caller(text(headers, name)?));
    match given {
        Some(id) => id.as_str().to_owned(),
        None => {
            let millis = u64::try_from(now.0).unwrap_or(0);
            uuid::Builder::from_unix_timestamp_millis(millis, &rand::random())
                .into_uuid()
                .to_string()
        }
    }
}

fn check_json(headers: &HeaderMap, content_type: &str, body: &[u8]) -> Result<(), Refusal> {
    let declared = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // Who declares nothing is judged by the body.
    let is_json = matches!(declared.as_str(), "" | "application/json" | "text/json")
        || declared.ends_with("+json");
    let plain =
        text(headers, "content-encoding").is_none_or(|e| e.eq_ignore_ascii_case("identity"));
    if !is_json || !plain {
        return Err(Refusal::NotDeclaredJson);
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => Ok(()),
        Err(e) => Err(Refusal::NotJson { line: e.line(), column: e.column() }),
    }
}

/// Returns the header an operator has named for the signature; the schemes' own are in the list.
fn signature_header(scheme: &Scheme) -> &str {
    match scheme {
        Scheme::GenericHmac(options) => &options.header,
        Scheme::Github(_) | Scheme::Stripe(_) | Scheme::StandardWebhooks(_) => "",
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the headers that go into the log: no credential, no signature, no connection header.
fn kept(headers: &HeaderMap, signature: &str) -> Vec<Header> {
    let mut left = HEADER_BYTES_MAX;
    let mut kept = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.as_str();
        if is_denied(name) || name.eq_ignore_ascii_case(signature) {
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

fn is_denied(name: &str) -> bool {
    DENIED.contains(&name) || SECRET_PARTS.iter().any(|part| name.contains(part))
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
            "x-acme-proof",
            "x-github-event",
        ] {
            headers.insert(name, http::HeaderValue::from_static("v"));
        }
        let names: Vec<String> =
            kept(&headers, "X-Acme-Proof").into_iter().map(|h| h.name).collect();
        assert_eq!(names, ["x-github-event"]);
    }

    #[test]
    fn headers_beyond_the_bound_are_left_out() {
        let mut headers = HeaderMap::new();
        let long = "x".repeat(HEADER_BYTES_MAX);
        headers.insert("x-long", http::HeaderValue::from_str(&long).expect("it is plain text"));
        headers.insert("x-short", http::HeaderValue::from_static("v"));
        let names: Vec<String> =
            kept(&headers, "X-Acme-Proof").into_iter().map(|h| h.name).collect();
        assert_eq!(names, ["x-short"]);
    }
}
