//! An event as programs see it: parsed once, shared by all its routes.

use std::{cell::OnceCell, collections::BTreeMap};

use bytes::Bytes;
use vrl::value::{KeyString, Kind, ObjectMap, Value, kind::Collection};

use crate::{
    BODY_BYTES_MAX, DEPTH_MAX,
    error::Failed,
    json::{self, Parsed},
};

/// What is known of an event.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    pub id: &'a str,
    pub source: &'a str,
    pub event_type: &'a str,
    pub subject: Option<&'a str>,
    pub time_ms: i64,
    pub received_ms: i64,
    pub correlation_id: &'a str,
    pub content_type: &'a str,
    /// The HTTP request's, in its order; names are matched in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a Bytes,
}

/// A parsed event: `.` is its body, `%` what is known of it. Nothing a program does changes it.
#[derive(Debug)]
pub struct Input<'a> {
    pub(crate) event: Event<'a>,
    pub(crate) body: Value,
    /// Set where no program can be run on this body.
    pub(crate) refused: Option<Failed>,
    // Made when first asked for: most programs read one field, or none.
    plain: OnceCell<Value>,
    headers: OnceCell<Value>,
    whole: OnceCell<Value>,
}

impl<'a> Input<'a> {
    /// Parses the event's body: JSON, else text, else bytes.
    ///
    /// A body that is too large or nested too deep fails every program that is run on it.
    pub fn parse(event: Event<'a>) -> Self {
        let (body, refused) = if event.body.len() > BODY_BYTES_MAX {
            let why = format!("the body has {} bytes, above {BODY_BYTES_MAX}", event.body.len());
            (Value::Null, Some(Failed::mapping(why)))
        } else {
            match json::parse(event.body, event.content_type) {
                Parsed::Json(value) | Parsed::Plain(value) => (value, None),
                Parsed::TooDeep => {
                    let why = format!("the body is nested deeper than {DEPTH_MAX} levels");
                    (Value::Null, Some(Failed::mapping(why)))
                }
            }
        };
        let (plain, headers, whole) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { event, body, refused, plain, headers, whole }
    }

    /// Returns the metadata that holds the field, all of it for no field.
    pub(crate) fn metadata(&self, field: Option<&str>) -> &Value {
        match field {
            Some("headers") => self.headers.get_or_init(|| {
                Value::Object(ObjectMap::from([("headers".into(), headers(self.event.headers))]))
            }),
            Some(_) => self.plain.get_or_init(|| Value::Object(plain(&self.event))),
            None => self.whole.get_or_init(|| {
                let mut all = plain(&self.event);
                all.insert("headers".into(), headers(self.event.headers));
                Value::Object(all)
            }),
        }
    }
}

/// The fields of `%` that a program can read and never change.
pub(crate) const FIELDS: [&str; 9] = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "received",
    "correlation_id",
    "content_type",
    "headers",
];

/// What the compiler is told of `%`.
pub(crate) fn metadata_kind() -> Kind {
    let text = Kind::bytes;
    Kind::object(
        Collection::empty()
            .with_known("id", text())
            .with_known("source", text())
            .with_known("type", text())
            .with_known("subject", text().or_null())
            .with_known("time", Kind::timestamp())
            .with_known("received", Kind::timestamp())
            .with_known("correlation_id", text())
            .with_known("content_type", text())
            .with_known("headers", Kind::object(Collection::from_unknown(text()))),
    )
}

fn plain(event: &Event<'_>) -> ObjectMap {
    let fields: [(&str, Value); 8] = [
        ("id", event.id.into()),
        ("source", event.source.into()),
        ("type", event.event_type.into()),
        ("subject", event.subject.map_or(Value::Null, Value::from)),
        ("time", timestamp(event.time_ms)),
        ("received", timestamp(event.received_ms)),
        ("correlation_id", event.correlation_id.into()),
        ("content_type", event.content_type.into()),
    ];
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

/// A time that no calendar has is the epoch's beginning, so that the type always holds.
fn timestamp(unix_ms: i64) -> Value {
    let system = std::time::UNIX_EPOCH
        .checked_add(std::time::Duration::from_millis(unix_ms.max(0).unsigned_abs()))
        .filter(|_| unix_ms < 253_402_300_800_000);
    Value::Timestamp(system.unwrap_or(std::time::UNIX_EPOCH).into())
}

/// Headers by lower-case name; one sent several times is joined by commas, as HTTP has it.
fn headers(headers: &[(&str, &str)]) -> Value {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let known = joined.entry(name.to_ascii_lowercase());
        known.and_modify(|all| *all = format!("{all}, {value}")).or_insert((*value).to_owned());
    }
    let each = joined.into_iter();
    Value::Object(each.map(|(name, value)| (KeyString::from(name), Value::from(value))).collect())
}
