//! When a request was signed, and whether that is near enough.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::Refused;

/// How far a timestamp may be from now, in whole seconds; written as text, e.g. `5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance(i64);

impl Tolerance {
    /// What the providers' own libraries allow.
    pub const FIVE_MINUTES: Self = Self(300);

    /// Returns a tolerance of whole seconds.
    pub fn from_seconds(seconds: u32) -> Self {
        Self(i64::from(seconds))
    }
}

impl<'de> Deserialize<'de> for Tolerance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = domain::time::duration(deserializer)?;
        i64::try_from(read.as_secs()).map(Self).map_err(D::Error::custom)
    }
}

impl JsonSchema for Tolerance {
    fn schema_name() -> Cow<'static, str> {
        "Tolerance".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a duration such as 5m" })
    }
}

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    S,
    Ms,
    Rfc3339,
}

impl Unit {
    /// Reads a timestamp as Unix milliseconds: plain digits, or RFC 3339.
    pub(crate) fn read_ms(self, text: &str) -> Option<i64> {
        match self {
            Self::S => digits(text)?.checked_mul(1000),
            Self::Ms => digits(text),
            Self::Rfc3339 => rfc3339_ms(text),
        }
    }

    pub(crate) fn write(self, now_unix: i64) -> String {
        match self {
            Self::S => now_unix.to_string(),
            Self::Ms => (now_unix * 1000).to_string(),
            Self::Rfc3339 => OffsetDateTime::from_unix_timestamp(now_unix)
                .ok()
                .and_then(|time| time.format(&Rfc3339).ok())
                .unwrap_or_default(),
        }
    }
}

/// Reads plain digits: no sign, no space, no more than fit.
pub(crate) fn digits(text: &str) -> Option<i64> {
    let plain = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

pub(crate) fn rfc3339_ms(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Judges a signed timestamp; `None` means that this direction is not limited.
pub(crate) fn judge(
    signed_at: i64,
    now_unix: i64,
    past: Option<Tolerance>,
    future: Option<Tolerance>,
) -> Result<(), Refused> {
    let age_seconds = now_unix.saturating_sub(signed_at);
    match (past, future) {
        (Some(Tolerance(allowed_seconds)), _) if age_seconds > allowed_seconds => {
            Err(Refused::Stale { age_seconds, allowed_seconds })
        }
        (_, Some(Tolerance(allowed_seconds))) if -age_seconds > allowed_seconds => {
            Err(Refused::Future { ahead_seconds: -age_seconds, allowed_seconds })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_plain_digits() {
        for (text, read) in [
            ("1700000000", Some(1_700_000_000)),
            ("0", Some(0)),
            ("", None),
            ("+1700000000", None),
            ("-1", None),
            (" 1700000000", None),
            ("1700000000 ", None),
            ("1700000000.5", None),
            ("0x10", None),
            ("١٧٠٠", None),
            ("9999999999999999", None),
        ] {
            assert_eq!(digits(text), read, "{text:?}");
        }
    }

    #[test]
    fn a_timestamp_is_read_in_its_unit() {
        assert_eq!(Unit::S.read_ms("1700000000"), Some(1_700_000_000_000));
        assert_eq!(Unit::Ms.read_ms("1700000000123"), Some(1_700_000_000_123));
        assert_eq!(Unit::Rfc3339.read_ms("2023-11-14T22:13:20Z"), Some(1_700_000_000_000));
        assert_eq!(Unit::Rfc3339.read_ms("2023-11-14T23:13:20+01:00"), Some(1_700_000_000_000));
        assert_eq!(Unit::Rfc3339.read_ms("1700000000"), None);
        for unit in [Unit::S, Unit::Ms, Unit::Rfc3339] {
            assert_eq!(unit.read_ms(&unit.write(1_700_000_000)), Some(1_700_000_000_000));
        }
    }

    #[test]
    fn the_window_includes_its_ends() {
        let five = Some(Tolerance::FIVE_MINUTES);
        let check = |signed_at, now, future| judge(signed_at, now, five, future).is_ok();
        assert!(check(1000, 1300, five));
        assert!(!check(1000, 1301, five));
        assert!(check(1300, 1000, five));
        assert!(!check(1301, 1000, five));
        assert!(check(9999, 1000, None));
        assert!(!check(0, i64::MAX, None));
    }
}
