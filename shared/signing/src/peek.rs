//! Reads single fields of a JSON body, passing over all the rest.

use std::fmt;

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Reads the named fields of a JSON body; `None` where it is not JSON or a field is of another kind.
pub(crate) fn fields<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

/// Returns the text, number or truth value at a JSON pointer (RFC 6901), as text.
pub(crate) fn pointer(body: &[u8], pointer: &str) -> Option<String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let found = At(pointer).deserialize(&mut json).ok()?;
    json.end().ok()?;
    found
}

/// Says whether a text is a JSON pointer to something below the whole body.
pub(crate) fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && !text.replace("~0", "").replace("~1", "").contains('~')
}

/// Walks down to what is left of a pointer.
struct At<'p>(&'p str);

impl At<'_> {
    fn first(&self) -> Option<(String, &str)> {
        let path = self.0.strip_prefix('/')?;
        let (token, _) = path.split_once('/').unwrap_or((path, ""));
        Some((token.replace("~1", "/").replace("~0", "~"), &path[token.len()..]))
    }

    fn scalar<V: fmt::Display>(&self, value: V) -> Option<String> {
        self.0.is_empty().then(|| value.to_string())
    }
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.scalar(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.scalar(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.scalar(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.scalar(value))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.scalar(value))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (wanted, rest) = self.first().unzip();
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match rest {
                Some(rest) if wanted.as_deref() == Some(&*key) => {
                    found = map.next_value_seed(At(rest))?;
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(found)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let (wanted, rest) = self.first().unzip();
        let wanted = wanted.and_then(|token| token.parse::<usize>().ok());
        let mut found = None;
        for index in 0.. {
            let seed = rest.filter(|_| wanted == Some(index)).map(At);
            let more = match seed {
                Some(seed) => seq.next_element_seed(seed)?.map(|value| found = value),
                None => seq.next_element::<IgnoredAny>()?.map(|_| ()),
            };
            if more.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_a_scalar_wherever_it_is() {
        let body = br#"{"a":{"b/c":[1,{"d":"x"}],"n":-5,"t":true,"z":null},"e":"caf\u00e9"}"#;
        for (at, expected) in [
            ("/a/b~1c/1/d", Some("x")),
            ("/a/b~1c/0", Some("1")),
            ("/a/b~1c/2", None),
            ("/a/n", Some("-5")),
            ("/a/t", Some("true")),
            ("/a/z", None),
            ("/a", None),
            ("/e", Some("café")),
            ("/e/f", None),
            ("/x", None),
        ] {
            assert_eq!(pointer(body, at).as_deref(), expected, "{at}");
        }
        assert_eq!(pointer(b"{\"a\":1} x", "/a"), None);
        assert_eq!(pointer(b"not json", "/a"), None);
    }

    #[test]
    fn a_pointer_starts_at_the_body() {
        for (text, is) in
            [("/a", true), ("/a~1b", true), ("a", false), ("", false), ("/a~2", false)]
        {
            assert_eq!(is_pointer(text), is, "{text:?}");
        }
    }
}
