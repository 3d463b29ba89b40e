//! Parses JSON into the language's value; strings without escapes are slices of the body.
//!
//! A number beyond 64 bits becomes a float, as everywhere in the language.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use vrl::value::{KeyString, Value};

/// What a body was found to be.
pub(crate) enum Parsed {
    Json(Value),
    /// No JSON: text or bytes as they came.
    Plain(Value),
    /// JSON that is nested deeper than allowed.
    TooDeep,
}

/// Parses a body. Other content types than JSON's are looked at too, because senders forget them,
/// but then only an object or an array counts as JSON.
pub(crate) fn parse(body: &Bytes, content_type: &str) -> Parsed {
    let Ok(text) = ByteString::try_from(body.clone()) else {
        return Parsed::Plain(Value::Bytes(body.clone()));
    };
    if may_be_json(&text, content_type) {
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        let value = Slices(&text).deserialize(&mut deserializer);
        match value.and_then(|value| deserializer.end().map(|()| value)) {
            Ok(value) => return Parsed::Json(value),
            Err(error) if is_too_deep(&error) => return Parsed::TooDeep,
            Err(_) => {}
        }
    }
    Parsed::Plain(Value::String(text))
}

/// Says whether a body is worth parsing.
pub(crate) fn may_be_json(text: &str, content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let ends_with = |end: &str| {
        media.len() >= end.len()
            && media.as_bytes()[media.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
    };
    ends_with("/json") || ends_with("+json") || text.trim_start().starts_with(['{', '['])
}

/// serde_json has no word of its own for this; a test holds it to the message.
pub(crate) fn is_too_deep(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("recursion limit exceeded")
}

/// Makes values whose strings share the memory of the text they were parsed from.
#[derive(Clone, Copy)]
struct Slices<'t>(&'t ByteString);

impl<'de> DeserializeSeed<'de> for Slices<'de> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Slices<'de> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(Value::Integer(value)),
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from_f64_or_zero(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value, E> {
        Ok(Value::String(self.0.slice_ref(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(key) = entries.next_key::<KeyString>()? {
            object.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Option<Value> {
        match parse(&Bytes::copy_from_slice(text.as_bytes()), "application/json") {
            Parsed::Json(value) => Some(value),
            Parsed::Plain(_) | Parsed::TooDeep => None,
        }
    }

    #[test]
    fn a_body_is_json_where_it_says_so_or_looks_so() {
        let cases = [
            ("{\"a\":1}", "application/json", true),
            ("{\"a\":1}", "APPLICATION/JSON; charset=utf-8", true),
            ("7", "application/cloudevents+json", true),
            ("7", "text/plain", false),
            (" [1]", "", true),
            ("payload=%7B%7D", "application/x-www-form-urlencoded", false),
            ("{broken", "application/json", false),
            ("{} {}", "application/json", false),
            ("", "application/json", false),
        ];
        for (body, content_type, expected) in cases {
            let found = parse(&Bytes::from_static(body.as_bytes()), content_type);
            assert_eq!(matches!(found, Parsed::Json(_)), expected, "{body} as {content_type}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let found = |depth| parse(&Bytes::from(nested(depth)), "application/json");
        assert!(matches!(found(crate::DEPTH_MAX), Parsed::Json(_)));
        assert!(matches!(found(crate::DEPTH_MAX + 1), Parsed::TooDeep));
        assert!(matches!(found(1_000_000), Parsed::TooDeep));
    }

    #[test]
    fn numbers_and_strings_keep_what_they_say() {
        let cases = [
            ("19.99", "19.99"),
            ("9223372036854775807", "9223372036854775807"),
            (r#""a\u00e9\n""#, r#""aé\n""#),
            ("1e400", "no JSON"),
        ];
        for (text, expected) in cases {
            let found = json(text).map_or("no JSON".to_owned(), |v| {
                serde_json::to_string(&v).expect("a value is JSON")
            });
            assert_eq!(found, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_parsed_text_is_what_the_library_itself_would_parse(text in r#"[\[\]{}",:0-9a-z\\ ]{0,40}"#) {
            let theirs = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(json(&text), theirs);
        }
    }
}
