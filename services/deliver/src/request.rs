//! From a delivery and its destination to one HTTP request: pure, but for the `now` it is given.
//!
//! The id is the same on every attempt; the timestamp and the signature are of the attempt.

use bytes::Bytes;
use catalog_io::{Auth, Destination};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use secrecy::ExposeSecret;
use url::Url;
use wire::Delivery;

/// Why a delivery can't become a request; trying again would not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("method {0:?} can't be sent: the mapping has to set %request.method to a plain method")]
    Method(String),
    #[error("path or query can't be sent: {0}; the mapping has to set a path below the destination's address")]
    Address(String),
    #[error("header {0:?} can't be sent: the mapping has to set plain names and values")]
    Header(String),
    #[error("the body can't be signed: {0}")]
    Signature(String),
}

/// Headers that a mapping can't set: they are the connection's or ours.
const RESERVED: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "authorization",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "idempotency-key",
    "traceparent",
];

/// Builds the request of one attempt at `now` (Unix seconds).
pub(crate) fn build(
    delivery: &Delivery,
    destination: &Destination,
    traceparent: Option<&str>,
    now: i64,
) -> Result<Request<Bytes>, Invalid> {
    let wanted = &delivery.request;
    let method = match wanted.method.as_str() {
        "" => &destination.spec.method,
        method => method,
    };
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| Invalid::Method(method.to_owned()))?;
    let uri = address(delivery, destination)?;
    let body = Bytes::from(wanted.body.clone());
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers(delivery, destination, traceparent, now)?;
    Ok(request)
}

/// Adds the delivery's path and query to the destination's address; they can't leave its host.
fn address(delivery: &Delivery, destination: &Destination) -> Result<Uri, Invalid> {
    let invalid = |why: String| Invalid::Address(why);
    let mut url = Url::parse(&destination.spec.url).map_err(|e| invalid(e.to_string()))?;
    let path = delivery.request.path.as_str();
    if !path.is_empty() {
        if path.split('/').any(|part| part == ".." || part.eq_ignore_ascii_case("%2e%2e")) {
            return Err(invalid(format!("{path:?} has a step upwards")));
        }
        if path.contains(['?', '#']) {
            return Err(invalid(format!("{path:?} has a query: set %request.query")));
        }
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{}", path.trim_start_matches('/')));
    }
    if !delivery.request.query.is_empty() {
        let mut pairs = url.query_pairs_mut();
        for pair in &delivery.request.query {
            pairs.append_pair(&pair.name, &pair.value);
        }
    }
    url.as_str().parse().map_err(|_| invalid("it is no address".into()))
}

fn headers(
    delivery: &Delivery,
    destination: &Destination,
    traceparent: Option<&str>,
    now: i64,
) -> Result<HeaderMap, Invalid> {
    let mut headers = HeaderMap::with_capacity(16);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("millrace"));
    for (name, value) in &destination.spec.headers {
        set(&mut headers, name, value)?;
    }
    if !delivery.request.content_type.is_empty() {
        set(&mut headers, "content-type", &delivery.request.content_type)?;
    }
    for pair in &delivery.request.headers {
        if RESERVED.iter().any(|r| pair.name.eq_ignore_ascii_case(r)) {
            return Err(Invalid::Header(pair.name.clone()));
        }
        set(&mut headers, &pair.name, &pair.value)?;
    }
    set(&mut headers, "webhook-id", &delivery.delivery_id)?;
    set(&mut headers, "idempotency-key", &delivery.delivery_id)?;
    if let Some(traceparent) = traceparent.filter(|_| destination.spec.propagate_trace) {
        set(&mut headers, "traceparent", traceparent)?;
    }
    authorize(&mut headers, &destination.auth)?;
    sign(&mut headers, delivery, destination, now)?;
    Ok(headers)
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Invalid> {
    let invalid = || Invalid::Header(name.to_owned());
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    headers.insert(key, HeaderValue::from_str(value).map_err(|_| invalid())?);
    Ok(())
}

fn authorize(headers: &mut HeaderMap, auth: &Auth) -> Result<(), Invalid> {
    let (name, value) = match auth {
        Auth::None => return Ok(()),
        Auth::Bearer(token) => ("authorization", format!("Bearer {}", token.expose_secret())),
        Auth::Basic { user, password } => {
            use base64::Engine as _;
            let pair = format!("{user}:{}", password.expose_secret());
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            ("authorization", format!("Basic {pair}"))
        }
        Auth::Header { name, value } => (name.as_str(), value.expose_secret().to_owned()),
    };
    let invalid = || Invalid::Header(name.to_owned());
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    let mut value = HeaderValue::from_str(&value).map_err(|_| invalid())?;
    value.set_sensitive(true);
    headers.insert(key, value);
    Ok(())
}

fn sign(
    headers: &mut HeaderMap,
    delivery: &Delivery,
    destination: &Destination,
    now: i64,
) -> Result<(), Invalid> {
    if destination.signing.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = destination.signing.iter().map(|k| k.expose_secret()).collect();
    let signature = signing::standard_webhooks::signature(
        &keys,
        &delivery.delivery_id,
        now,
        &delivery.request.body,
    )
    .map_err(|e| Invalid::Signature(e.to_string()))?;
    set(headers, "webhook-timestamp", &now.to_string())?;
    set(headers, "webhook-signature", &signature)
}
