//! Points in time: as the log keeps them, and on a clock that never steps.
//!
//! What outlives the process is told in [`UnixMillis`]; what must not follow a step of the clock
//! (breakers, rates, limits) is told in [`MonoNanos`], which means nothing to another process.
//! Reading the clock is the shell's work; decisions are given `now`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Returns the point `delay` later; saturates at the end of time.
    pub fn plus(self, delay: Duration) -> Self {
        let millis = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// Returns how long ago `earlier` was, zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

impl From<std::time::SystemTime> for UnixMillis {
    fn from(at: std::time::SystemTime) -> Self {
        let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Reads a length of time as settings carry it: a text such as `7d`, `4s` or `500ms`.
///
/// # Errors
/// What the text is, and what it should be like.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map_err(|why| {
        de::Error::custom(format!("{text:?} is no duration such as 7d, 4s or 500ms: {why}"))
    })
}

/// Nanoseconds on a clock that never steps, since any one point the process has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoNanos(pub u64);

impl MonoNanos {
    /// Returns the point `delay` later; saturates at the end of time.
    pub fn plus(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(nanos(delay)))
    }

    /// Returns how long ago `earlier` was, zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Returns whole nanoseconds, at most those of 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_ahead_was_no_time_ago() {
        assert_eq!(MonoNanos(5).since(MonoNanos(9)), Duration::ZERO);
        assert_eq!(MonoNanos(9).since(MonoNanos(5)), Duration::from_nanos(4));
        assert_eq!(MonoNanos(9).plus(Duration::MAX), MonoNanos(u64::MAX));
    }

    #[test]
    fn a_clock_that_stepped_back_gives_no_negative_age() {
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
    }

    #[test]
    fn plus_saturates_at_the_end_of_time() {
        assert_eq!(UnixMillis(i64::MAX).plus(Duration::from_secs(1)), UnixMillis(i64::MAX));
    }
}
