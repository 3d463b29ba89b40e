//! How fast a destination or a credential is asked: a token bucket that holds a share of a group's rate.
//!
//! Pure, and exact: whole numbers, rounded down. Each member of a group takes the part of the rate
//! that it owns of the partitions. Nothing is ever refilled but by time, so that neither a new
//! process nor a change of share makes a burst: over all members, what starts in a time t is at
//! most rate × t plus the bursts, as long as partitions are given up before they are taken.
//! It knows no clock and waits for nothing.

use std::time::Duration;

use crate::time::{MonoNanos, nanos};

/// The part of a second that the default burst holds: with it, any second sees 1.05 × the rate.
const BURST_SECONDS: f64 = 0.05;
/// A token, in millionths.
const MICRO: u64 = 1_000_000;
/// A token as the bucket counts it: millionths × nanoseconds of a second.
const TOKEN: u128 = MICRO as u128 * 1_000_000_000;
/// More per second than any process sends; keeps the arithmetic far from its bounds.
const PER_SECOND_MAX: f64 = 1e9;

/// A group's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Millionths of a token per second.
    micro_per_second: u64,
    /// Millionths of a token.
    micro_burst: u64,
}

/// The part of a destination's partitions that this process owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub owned: u32,
    pub total: u32,
}

/// One member's part of a rate.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    share: Share,
    /// What there is, as of `at`, in parts of [`TOKEN`].
    level: u128,
    at: MonoNanos,
    held_until: MonoNanos,
}

impl Rate {
    /// More than any process sends.
    pub const UNLIMITED: Self = Self {
        micro_per_second: PER_SECOND_MAX as u64 * MICRO,
        micro_burst: (PER_SECOND_MAX * BURST_SECONDS) as u64 * MICRO,
    };

    /// Returns a rate of so many per second for the whole group; `None` unless it is from a
    /// millionth to a thousand million.
    ///
    /// Its burst is a twentieth of a second's, at least 1: no more than the rate, and a twentieth
    /// more, starts in any second, which leaves as much again for requests that catch up on the way.
    pub fn per_second(per_second: f64) -> Option<Self> {
        let micro_per_second = micro(per_second)?;
        let micro_burst = micro(per_second * BURST_SECONDS).unwrap_or(0).max(MICRO);
        Some(Self { micro_per_second, micro_burst })
    }

    /// Returns the rate with another burst: how many may start at once after a rest. At least 1.
    pub fn with_burst(self, burst: f64) -> Option<Self> {
        Some(Self { micro_burst: micro(burst)?.max(MICRO), ..self })
    }

    /// Returns the burst of the whole group.
    pub fn burst(self) -> f64 {
        self.micro_burst as f64 / MICRO as f64
    }
}

impl Share {
    /// Everything: a process alone.
    pub const WHOLE: Self = Self { owned: 1, total: 1 };

    /// Returns the part of a whole number, such as of a concurrency, rounded down; at least 1 for
    /// whoever owns anything.
    ///
    /// Over all members the parts are never more than `whole`, provided that there are no more
    /// partitions than that; else there may be one for each member.
    pub fn of_count(self, whole: u32) -> u32 {
        match self.of(u64::from(whole)) {
            0 => u32::from(self.owned > 0 && whole > 0),
            part => u32::try_from(part).unwrap_or(whole),
        }
    }

    fn of(self, whole: u64) -> u64 {
        if self.total == 0 {
            return 0;
        }
        let part = u128::from(whole) * u128::from(self.owned.min(self.total));
        (part / u128::from(self.total)) as u64
    }
}

impl Bucket {
    /// Begins empty: nobody knows what a predecessor has just sent.
    pub fn new(rate: Rate, share: Share, now: MonoNanos) -> Self {
        Self { rate, share, level: 0, at: now, held_until: MonoNanos(0) }
    }

    /// Takes a token for an attempt that starts now; says whether there was one.
    pub fn take(&mut self, now: MonoNanos) -> bool {
        self.fill(now);
        if now < self.held_until || self.level < TOKEN {
            return false;
        }
        self.level -= TOKEN;
        true
    }

    /// Returns from when on a token can be taken, `now` at the earliest; `None` if not before the
    /// share changes.
    pub fn next_at(&self, now: MonoNanos) -> Option<MonoNanos> {
        let flow = u128::from(self.flow());
        let since_nanos = now.0.saturating_sub(self.at.0);
        let level = self.level.saturating_add(flow * u128::from(since_nanos));
        let held = now.max(self.held_until);
        match TOKEN.saturating_sub(level) {
            0 => Some(held),
            _ if flow == 0 => None,
            missing => {
                let wait = u64::try_from(missing.div_ceil(flow)).unwrap_or(u64::MAX);
                Some(MonoNanos(now.0.saturating_add(wait)).max(held))
            }
        }
    }

    /// Takes the share that is owned from now on. Tokens that a smaller share cannot hold are lost;
    /// a larger one begins with those that are there.
    pub fn set_share(&mut self, share: Share, now: MonoNanos) {
        self.fill(now);
        self.share = share;
        self.level = self.level.min(self.room());
    }

    /// Takes another rate, likewise.
    pub fn set_rate(&mut self, rate: Rate, now: MonoNanos) {
        self.fill(now);
        self.rate = rate;
        self.level = self.level.min(self.room());
    }

    /// Gives no token before `until`, as an answer asked for. An earlier end changes nothing.
    pub fn hold(&mut self, until: MonoNanos) {
        self.held_until = self.held_until.max(until);
    }

    /// Returns how long from `now` an answer still keeps everything back.
    pub fn held_for(&self, now: MonoNanos) -> Duration {
        self.held_until.since(now)
    }

    fn fill(&mut self, now: MonoNanos) {
        let since_nanos = nanos(now.since(self.at));
        let gained = u128::from(self.flow()) * u128::from(since_nanos);
        self.level = self.level.saturating_add(gained).min(self.room());
        self.at = self.at.max(now);
    }

    /// Millionths of a token per second, which are parts of [`TOKEN`] per nanosecond.
    fn flow(&self) -> u64 {
        self.share.of(self.rate.micro_per_second)
    }

    /// The most the bucket holds: its share of the burst, at least one token.
    fn room(&self) -> u128 {
        u128::from(self.share.of(self.rate.micro_burst).max(MICRO)) * (TOKEN / u128::from(MICRO))
    }
}

/// Takes a token of each of two buckets for an attempt that starts now, or of neither.
///
/// # Errors
/// From when on both have one; `None` if not before a share changes.
pub fn take_both(
    one: &mut Bucket,
    other: &mut Bucket,
    now: MonoNanos,
) -> Result<(), Option<MonoNanos>> {
    let (Some(of_one), Some(of_other)) = (one.next_at(now), other.next_at(now)) else {
        return Err(None);
    };
    match of_one.max(of_other) {
        due if due > now => Err(Some(due)),
        _ => {
            let taken = one.take(now) && other.take(now);
            debug_assert!(taken, "each said that it has one");
            Ok(())
        }
    }
}

fn micro(value: f64) -> Option<u64> {
    let micro = value * MICRO as f64;
    (micro >= 1.0 && value <= PER_SECOND_MAX).then_some(micro as u64)
}

#[cfg(test)]
mod tests;
