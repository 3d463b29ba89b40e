//! The names and ids of the product, each a type of its own.
//!
//! Making random ids is the shell's work; what is here is checked or derived.

use std::{borrow::Borrow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The longest an event id or a correlation id may be, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a name: use lower-case letters, digits and hyphens, start with a letter, at most 63 characters"
)]
pub struct InvalidName(pub String);

/// Says whether `text` matches `[a-z][a-z0-9-]{0,62}`, so that no name collides with a lane.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    matches!(bytes.next(), Some(b'a'..=b'z'))
        && text.len() <= 63
        && bytes.all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(#[schemars(regex(pattern = "^[a-z][a-z0-9-]{0,62}$"))] String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_name(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName(text.to_owned())) }
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Where events come from.
    SourceName
}
name! {
    /// Which events go through which mapping to which destination.
    RouteName
}
name! {
    /// Where deliveries go.
    DestinationName
}

/// One fact a source told us: unique within its source, at most [`ID_BYTES_MAX`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// Takes the id a provider gave; one too long, empty or with control characters is replaced
    /// by the hash of its bytes, so that the same id always gives the same event.
    pub fn from_provider(text: &str) -> Self {
        let fits =
            !text.is_empty() && text.len() <= ID_BYTES_MAX && !text.chars().any(char::is_control);
        if fits { Self(text.to_owned()) } else { Self::of_bytes(text.as_bytes()) }
    }

    /// Derives an id from the bytes of a body that carries none.
    pub fn of_bytes(body: &[u8]) -> Self {
        Self(format!("sha256-{}", &hex::encode(Sha256::digest(body))[..40]))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ties together everything that one request to Millrace caused; survives retries and replays.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// Accepts a caller's id of at most 128 of `[A-Za-z0-9._:-]`; anything else is `None`.
    pub fn from_caller(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
        let fits = !text.is_empty() && text.len() <= 128 && text.bytes().all(allowed);
        fits.then(|| Self(text.to_owned()))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one delivery for ever: the same on every attempt, after a crash, a park and a replay.
///
/// The mapping's version is not part of it: a corrected mapping must not deliver twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Derives the key of the `split_index`-th delivery of an event by a route to a destination.
    pub fn of(
        source: &str,
        event_id: &str,
        route: &str,
        destination: &str,
        split_index: u32,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in [source, event_id, route, destination] {
            // The length first, so that ("ab","c") and ("a","bc") differ.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(split_index.to_be_bytes());
        Self(format!("mr_{}", hex::encode(&hash.finalize()[..16])))
    }

    /// Derives the key of the delivery that goes to a fallback in the place of another, `of`: the same
    /// one whenever that is given up on, and another for each destination.
    pub fn of_fallback(of: &str, destination: &str) -> Self {
        Self::of("", of, "", destination, 0)
    }

    /// Returns the key as text: `mr_` and 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_collide_with_a_lane_are_refused() {
        for good in ["a", "github", "crm-2", &"a".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", "1a", "A", "a.b", "a_b", "crm.replay", &"a".repeat(64), "ä"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn an_unusable_provider_id_becomes_a_stable_hash() {
        let long = "x".repeat(ID_BYTES_MAX + 1);
        assert_eq!(EventId::from_provider(&long), EventId::from_provider(&long));
        assert!(EventId::from_provider(&long).as_str().starts_with("sha256-"));
        assert!(EventId::from_provider("a\nb").as_str().starts_with("sha256-"));
        assert_eq!(EventId::from_provider("evt_1").as_str(), "evt_1");
    }

    #[test]
    fn a_key_depends_on_each_part_and_on_where_parts_end() {
        let base = IdempotencyKey::of("s", "e", "r", "d", 0);
        assert_eq!(base, IdempotencyKey::of("s", "e", "r", "d", 0));
        assert_eq!(base.as_str().len(), 35);
        for other in [
            IdempotencyKey::of("x", "e", "r", "d", 0),
            IdempotencyKey::of("s", "x", "r", "d", 0),
            IdempotencyKey::of("s", "e", "x", "d", 0),
            IdempotencyKey::of("s", "e", "r", "x", 0),
            IdempotencyKey::of("s", "e", "r", "d", 1),
            IdempotencyKey::of("se", "", "r", "d", 0),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_fallbacks_key_is_its_own_and_the_same_for_ever() {
        let (one, other) = (IdempotencyKey::of("s", "e", "r", "d", 0), "mr_0");
        let of = |key: &IdempotencyKey, to| IdempotencyKey::of_fallback(key.as_str(), to);
        assert_eq!(of(&one, "spare"), of(&one, "spare"));
        for key in [
            one.clone(),
            of(&one, "d"),
            IdempotencyKey::of_fallback(other, "spare"),
            IdempotencyKey::of("s", "e", "r", "spare", 0),
        ] {
            assert_ne!(of(&one, "spare"), key);
        }
    }

    #[test]
    fn a_correlation_id_with_other_characters_is_not_taken() {
        assert!(CorrelationId::from_caller("req-1.a:b_c").is_some());
        for bad in ["", "a b", "a\n", "<script>", &"a".repeat(129)] {
            assert!(CorrelationId::from_caller(bad).is_none(), "{bad}");
        }
    }
}
