//! From a delivery and its destination to one HTTP request: pure, but for the `now` it is given.
//!
//! The id is the same on every attempt; the timestamp and the signature are of the attempt.

use std::fmt;

use bytes::Bytes;
use domain::{catalog as rules, time::UnixMillis};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use secrecy::ExposeSecret;
use url::Url;
use wire::Delivery;

use crate::gate::Prepared;

/// A header by its name, or by its place where the name is what is wrong: it may hold parts of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Name(HeaderName),
    /// Its number among those the mapping set, from 1.
    Number(usize),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Number(number) => write!(f, "number {number}"),
        }
    }
}

/// Why a delivery can't become a request; trying again would not help. It tells nothing of the payload, which paths
/// and methods may be made of: it goes to logs and spans.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("the method can't be sent: the mapping has to set %request.method to a plain method")]
    Method,
    #[error(
        "path or query can't be sent: {0}; the mapping has to set a path below the destination's address"
    )]
    Address(String),
    #[error(
        "header {0} can't be sent: the mapping has to set plain names and values, and none that Millrace or the connection sets"
    )]
    Header(Named),
    #[error("the body can't be signed: {0}; correct the destination's signing secrets")]
    Signature(String),
}

/// Headers that a mapping can't set: they are the connection's or ours.
const RESERVED: [&str; 17] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Builds the request of one attempt at `now`; `body` is the delivery's.
pub(crate) fn build(
    delivery: &Delivery,
    body: &Bytes,
    prepared: &Prepared,
    traceparent: Option<&str>,
    now: UnixMillis,
) -> Result<Request<Bytes>, Invalid> {
    let spec = &prepared.destination.spec;
    let method = match delivery.request.method.as_str() {
        "" => &spec.method,
        method => method,
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Invalid::Method)?;
    if method == Method::CONNECT {
        return Err(Invalid::Method);
    }
    let mut headers = headers(delivery, prepared)?;
    if let Some(traceparent) = traceparent.filter(|_| spec.propagate_trace) {
        set(&mut headers, HeaderName::from_static("traceparent"), traceparent)?;
    }
    sign(&mut headers, &delivery.delivery_id, body, prepared, now)?;
    let mut request = Request::new(body.clone());
    *request.method_mut() = method;
    *request.uri_mut() = match &prepared.address {
        Some(address) if is_plain(delivery) => address.clone(),
        Some(_) | None => address(delivery, &spec.url)?,
    };
    *request.headers_mut() = headers;
    Ok(request)
}

/// Builds the request of a probe: the destination's headers and credentials, no body, and where the
/// destination verifies signatures one of nothing, under `id`.
pub(crate) fn probe(
    prepared: &Prepared,
    id: &str,
    now: UnixMillis,
) -> Result<Request<Bytes>, Invalid> {
    let spec = &prepared.destination.spec;
    let rules::Probe { method, path } = &spec.probe;
    let mut headers = prepared.headers.clone();
    if !prepared.destination.signing.is_empty() {
        set(&mut headers, HeaderName::from_static("webhook-id"), id)?;
    }
    sign(&mut headers, id, b"", prepared, now)?;
    if let Some((name, value)) = &prepared.auth {
        headers.insert(name.clone(), value.clone());
    }
    let mut request = Request::new(Bytes::new());
    *request.method_mut() =
        Method::from_bytes(method.as_str().as_bytes()).map_err(|_| Invalid::Method)?;
    *request.uri_mut() = beside(&spec.url, path.as_deref())?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Puts a path and its query in place of an address' own; scheme, host and port stay.
fn beside(base: &str, path: Option<&str>) -> Result<Uri, Invalid> {
    let invalid = |why: String| Invalid::Address(why);
    let mut url = Url::parse(base).map_err(|e| invalid(e.to_string()))?;
    if let Some(path) = path {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        url.set_path(path);
        url.set_query(query);
    }
    url.as_str().parse().map_err(|_| invalid("it is no address".into()))
}

/// Whether a delivery goes to the destination's own address.
fn is_plain(delivery: &Delivery) -> bool {
    delivery.request.path.is_empty() && delivery.request.query.is_empty()
}

/// Adds the delivery's path and query to the destination's address; they can't leave it.
fn address(delivery: &Delivery, base: &str) -> Result<Uri, Invalid> {
    let invalid = |why: String| Invalid::Address(why);
    let (path, query) = (delivery.request.path.as_str(), &delivery.request.query);
    let mut url = Url::parse(base).map_err(|e| invalid(e.to_string()))?;
    if !path.is_empty() {
        if path.contains(['?', '#']) {
            return Err(invalid("the path has a query: set %request.query".into()));
        }
        let below = format!("{}/", url.path().trim_end_matches('/'));
        url.set_path(&format!("{below}{}", path.trim_start_matches('/')));
        // Steps upwards are resolved by now, however they were written.
        if !url.path().starts_with(&below) {
            return Err(invalid("the path leads out of the destination's address".into()));
        }
    }
    if !query.is_empty() {
        let mut pairs = url.query_pairs_mut();
        for pair in query {
            pairs.append_pair(&pair.name, &pair.value);
        }
    }
    url.as_str().parse().map_err(|_| invalid("it is no address".into()))
}

fn headers(delivery: &Delivery, prepared: &Prepared) -> Result<HeaderMap, Invalid> {
    let mut headers = prepared.headers.clone();
    if !delivery.request.content_type.is_empty() {
        set(&mut headers, header::CONTENT_TYPE, &delivery.request.content_type)?;
    }
    for (at, pair) in delivery.request.headers.iter().enumerate() {
        let name = HeaderName::from_bytes(pair.name.as_bytes())
            .map_err(|_| Invalid::Header(Named::Number(at + 1)))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(Invalid::Header(Named::Name(name)));
        }
        set(&mut headers, name, &pair.value)?;
    }
    let name = HeaderName::from_static("webhook-id");
    let id = value(&name, &delivery.delivery_id)?;
    headers.insert(name, id.clone());
    headers.insert(HeaderName::from_static("idempotency-key"), id);
    if let Some((name, value)) = &prepared.auth {
        headers.insert(name.clone(), value.clone());
    }
    Ok(headers)
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) -> Result<(), Invalid> {
    let value = value(&name, text)?;
    headers.insert(name, value);
    Ok(())
}

fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, Invalid> {
    HeaderValue::from_str(text).map_err(|_| Invalid::Header(Named::Name(name.clone())))
}

/// Signs as Standard Webhooks; with two keys both sign, so that either can be taken out.
fn sign(
    headers: &mut HeaderMap,
    id: &str,
    body: &[u8],
    prepared: &Prepared,
    now: UnixMillis,
) -> Result<(), Invalid> {
    let keys: Vec<&str> = prepared.destination.signing.iter().map(|k| k.expose_secret()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let now = now.0.div_euclid(1_000);
    let signature = signing::standard_webhooks::signature(&keys, id, now, body)
        .map_err(|e| Invalid::Signature(e.to_string()))?;
    headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(now));
    set(headers, HeaderName::from_static("webhook-signature"), &signature)
}

#[cfg(test)]
mod tests;
