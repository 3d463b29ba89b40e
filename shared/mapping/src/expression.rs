//! Reads one field out of a JSON body without building the rest of it.
//!
//! Most ordering keys are a plain path; the others run as programs.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use vrl::path::{OwnedSegment, PathPrefix, parse_target_path};

/// A path such as `.repository.full_name` or `.items[0].id`.
#[derive(Debug)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug)]
enum Step {
    Field(String),
    Item(usize),
}

impl Path {
    /// Takes a program's text for a path, where it is nothing more.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let path = parse_target_path(text.trim()).ok()?;
        if path.prefix != PathPrefix::Event || !text.trim().starts_with('.') {
            return None;
        }
        let steps = path.path.segments.into_iter().map(|segment| match segment {
            OwnedSegment::Field(name) => Some(Step::Field(name.as_str().to_owned())),
            OwnedSegment::Index(index) => usize::try_from(index).ok().map(Step::Item),
        });
        steps.collect::<Option<_>>().map(Self)
    }

    /// Returns the field as text: a string, a number or a boolean of a well-formed body.
    pub(crate) fn find(&self, body: &[u8]) -> Option<String> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let found = Seek(&self.0).deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        found
    }
}

struct Seek<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seek<'_> {
    fn scalar<E>(self, value: impl ToString) -> Result<Option<String>, E> {
        Ok(self.0.is_empty().then(|| value.to_string()))
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        self.scalar(value)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Some((Step::Item(wanted), rest)) = self.0.split_first() {
            for _ in 0..*wanted {
                if items.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = items.next_element_seed(Seek(rest))?.flatten();
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = entries.next_key::<std::borrow::Cow<'_, str>>()? {
            match self.0.split_first() {
                // Of a field given twice the last counts, as in the whole value.
                Some((Step::Field(wanted), rest)) if *wanted == key => {
                    found = entries.next_value_seed(Seek(rest))?;
                }
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_what_the_body_holds_there() {
        let body =
            br#"{"a":{"b":"x","n":7,"f":1.5,"t":true,"z":null},"l":[{"id":1},{"id":2}],"a b":"q"}"#;
        let cases = [
            (".a.b", Some("x")),
            (".a.n", Some("7")),
            (".a.f", Some("1.5")),
            (".a.t", Some("true")),
            (".a.z", None),
            (".a", None),
            (".a.b.c", None),
            (".l[1].id", Some("2")),
            (".l[2].id", None),
            (".\"a b\"", Some("q")),
            (".", None),
        ];
        for (path, expected) in cases {
            let found = Path::parse(path).expect("a path").find(body);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_more_than_a_path_is_none() {
        for text in ["%id", "downcase!(.a)", ".a + .b", ".l[-1]", "\"x\"", "a.b"] {
            assert!(Path::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_broken_body_has_no_fields() {
        let path = Path::parse(".a").expect("a path");
        for body in ["", "{\"a\":\"x\"", "{\"a\":\"x\"} tail", "a"] {
            assert_eq!(path.find(body.as_bytes()), None, "{body}");
        }
    }
}
