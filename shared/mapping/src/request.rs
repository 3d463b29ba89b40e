//! What a mapping made of an event, checked: a request that can be sent, or a reason why not.

use std::io::{self, Write};

use bytes::Bytes;
use vrl::value::{ObjectMap, Value};

use crate::{RESULT_BYTES_MAX, error::Failed, input::Input, target::Overlay};

/// The methods a delivery may have.
pub const METHODS: [&str; 5] = ["POST", "PUT", "PATCH", "DELETE", "GET"];
/// Headers that no mapping and no catalog sets: they are the connection's, Millrace's or a secret.
pub const RESERVED_HEADERS: [&str; 11] = [
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
    "tracestate",
];
/// What a mapping can set under `%request`.
pub(crate) const PARTS: [&str; 5] = ["method", "path", "query", "headers", "content_type"];

const PATH_BYTES_MAX: usize = 8 * 1024;
const PAIRS_BYTES_MAX: usize = 32 * 1024;
const KEY_BYTES_MAX: usize = 1024;

/// What a mapping made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapped {
    Request(Request),
    /// The mapping ended with `abort`: this route does not want the event.
    Filtered,
}

/// What is to be sent, but for what the destination adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `None`: the destination's.
    pub method: Option<String>,
    /// Added to the destination's address: empty, or from a slash on, without query.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    /// Empty where there is no body.
    pub content_type: String,
    pub body: Bytes,
    /// What the deliveries are ordered by; `None`: the event's own key.
    pub key: Option<String>,
}

/// Takes what a mapping left behind as a request.
pub(crate) fn take(input: &Input<'_>, made: Overlay<'_>) -> Result<Request, Failed> {
    let Overlay { body, written, .. } = made;
    let (body, usual_type) = match body {
        Some(value) => encode(value)?,
        None => (input.event.body.clone(), input.event.content_type),
    };
    let mut request = Request { content_type: usual_type.to_owned(), body, ..Request::default() };
    let Value::Object(mut written) = written else { return Ok(request) };
    request.key = written.remove("key").map(|key| text(key, "%key")).transpose()?.flatten();
    if request.key.as_ref().is_some_and(|key| key.len() > KEY_BYTES_MAX) {
        return Err(Failed::result(format!("%key has more than {KEY_BYTES_MAX} bytes")));
    }
    match written.remove("request") {
        None | Some(Value::Null) => {}
        Some(Value::Object(parts)) => address(&mut request, parts)?,
        Some(other) => return Err(wrong("%request", "an object", &other)),
    }
    Ok(request)
}

fn address(request: &mut Request, mut parts: ObjectMap) -> Result<(), Failed> {
    let mut part = |name: &str| parts.remove(name).unwrap_or(Value::Null);
    request.method = text(part("method"), "%request.method")?;
    request.path = text(part("path"), "%request.path")?.unwrap_or_default();
    request.query = pairs(part("query"), "%request.query")?;
    request.headers = pairs(part("headers"), "%request.headers")?;
    if let Some(content_type) = text(part("content_type"), "%request.content_type")? {
        request.content_type = content_type;
    }
    if let Some(unknown) = parts.keys().next() {
        let parts = PARTS.join(", ");
        return Err(Failed::result(format!("%request.{unknown} means nothing: set {parts}")));
    }
    check_method(request.method.as_deref())?;
    check_path(&request.path)?;
    check_headers(&request.headers)?;
    check_value("%request.content_type", &request.content_type)
}

/// A body and the content type it has where the mapping names none.
fn encode(value: Value) -> Result<(Bytes, &'static str), Failed> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let (bytes, content_type) = match value {
        Value::String(text) => (text.into_bytes(), TEXT),
        Value::Bytes(bytes) => {
            let is_text = std::str::from_utf8(&bytes).is_ok();
            (bytes, if is_text { TEXT } else { "application/octet-stream" })
        }
        value => (json(&value)?, "application/json"),
    };
    if bytes.len() > RESULT_BYTES_MAX {
        return Err(too_large());
    }
    Ok((bytes.clone(), if bytes.is_empty() { "" } else { content_type }))
}

fn json(value: &Value) -> Result<Bytes, Failed> {
    let mut bounded = Bounded(Vec::with_capacity(512));
    serde_json::to_writer(&mut bounded, value).map_err(|error| {
        if error.is_io() { too_large() } else { Failed::result(error.to_string()) }
    })?;
    Ok(Bytes::from(bounded.0))
}

fn too_large() -> Failed {
    Failed::result(format!("the mapping's result has more than {RESULT_BYTES_MAX} bytes"))
}

/// Stops writing at the limit, so that a huge result never fills the memory twice.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RESULT_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Text of a string, number, boolean or time; `None` for null.
fn text(value: Value, place: &str) -> Result<Option<String>, Failed> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.to_string())),
        Value::Bytes(bytes) => match String::from_utf8(bytes.into()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Failed::result(format!("{place} is no text"))),
        },
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Timestamp(_) => {
            Ok(Some(value.to_string_lossy().into_owned()))
        }
        Value::Regex(_) | Value::Object(_) | Value::Array(_) => {
            Err(wrong(place, "a string, a number or a boolean", &value))
        }
    }
}

/// The entries of an object; one that is null is left out.
fn pairs(value: Value, place: &str) -> Result<Vec<(String, String)>, Failed> {
    let object = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Object(object) => object,
        other => return Err(wrong(place, "an object", &other)),
    };
    let mut pairs = Vec::with_capacity(object.len());
    let mut bytes = 0;
    for (name, value) in object {
        if let Some(value) = text(value, &format!("{place}.{name}"))? {
            bytes += name.len() + value.len();
            pairs.push((name.as_str().to_owned(), value));
        }
    }
    if bytes > PAIRS_BYTES_MAX {
        return Err(Failed::result(format!("{place} has more than {PAIRS_BYTES_MAX} bytes")));
    }
    Ok(pairs)
}

fn wrong(place: &str, wanted: &str, found: &Value) -> Failed {
    Failed::result(format!("{place} has to be {wanted}; it is {}", found.kind_str()))
}

fn check_method(method: Option<&str>) -> Result<(), Failed> {
    match method {
        Some(method) if !METHODS.contains(&method) => {
            let methods = METHODS.join(", ");
            Err(Failed::result(format!("%request.method {method:?} is none of {methods}")))
        }
        _ => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), Failed> {
    let upwards = |step: &str| {
        matches!(step.to_ascii_lowercase().as_str(), ".." | "%2e%2e" | ".%2e" | "%2e.")
    };
    let why = if path.is_empty() {
        return Ok(());
    } else if !path.starts_with('/') {
        "has to begin with a slash"
    } else if path.len() > PATH_BYTES_MAX {
        "is longer than 8 KiB"
    } else if path.contains(['?', '#']) {
        "has a query or a fragment: set %request.query"
    } else if path.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'\\') {
        "has a space, a backslash or a control character: use encode_percent"
    } else if path.split('/').any(upwards) {
        "has a step upwards"
    } else {
        return Ok(());
    };
    Err(Failed::result(format!("%request.path {why}")))
}

fn check_headers(headers: &[(String, String)]) -> Result<(), Failed> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    for (name, value) in headers {
        if name.is_empty() || !name.bytes().all(token) {
            return Err(Failed::result(format!("header {name:?} has no name that can be sent")));
        }
        if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(Failed::result(format!("header {name:?} can't be set by a mapping")));
        }
        if name.eq_ignore_ascii_case("content-type") {
            return Err(Failed::result("set %request.content_type, not the header"));
        }
        check_value(&format!("header {name:?}"), value)?;
    }
    Ok(())
}

fn check_value(place: &str, value: &str) -> Result<(), Failed> {
    match value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f)) {
        true => Ok(()),
        false => Err(Failed::result(format!("{place} has a control character"))),
    }
}
