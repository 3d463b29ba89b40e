//! How many attempts may be in flight: a limit that finds what the destination bears.
//!
//! Grows by one and shrinks by a factor (AIMD: Chiu and Jain, 1989), at most once in a period about
//! as long as an answer takes. It shrinks at once when the destination says that it is overloaded
//! (no answer in time, 429), and at a period's end when answers take clearly longer than they do
//! unloaded; it grows only if all of it was used. Until it shrinks for the first time it doubles,
//! so that a good destination is not kept waiting.
//!
//! What an answer takes unloaded is measured anew every so often, at a quarter of the limit for two
//! periods: an average would follow a queue that grows slowly, and then never shrink it.
//!
//! Pure: it counts nothing in flight and holds nobody back.

use std::time::Duration;

use crate::time::MonoNanos;

/// The part of the limit at which the unloaded time is measured.
const MEASURED_AT: f64 = 0.25;
/// How long a measured time holds, and how many times itself at least.
const MEASURE_EVERY: Duration = Duration::from_secs(30);
const MEASURE_EVERY_TIMES: u32 = 100;

/// What a limit that was scaled down and up again may lack of the whole number that it was.
const HAIR: f64 = 1e-6;

/// Within which bounds, and how fast, the limit moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Never fewer than this, unless the ceiling is lower.
    pub floor: u32,
    /// Never more than this: the destination's concurrency, or a process' share of it.
    pub ceiling: u32,
    /// What it begins with, within the bounds.
    pub start: u32,
    /// What is left of the limit after a shrink, between 0 and 1.
    pub shrink: f64,
    /// How many times as long as unloaded an answer may take.
    pub tolerance: f64,
    /// How much longer than that in any case: what scheduling and networks vary by.
    pub slack: Duration,
    /// The least a period lasts.
    pub period_min: Duration,
}

impl Default for Policy {
    /// 1 to 256 from 16; × 0.9; twice as long and 5 ms; 10 ms.
    fn default() -> Self {
        Self {
            floor: 1,
            ceiling: 256,
            start: 16,
            shrink: 0.9,
            tolerance: 2.0,
            slack: Duration::from_millis(5),
            period_min: Duration::from_millis(10),
        }
    }
}

/// How an attempt ended, as far as the destination's load goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was answered, after so long.
    Answered(Duration),
    /// No answer in time, 429, or another sign of too much at a time.
    Overloaded,
    /// It failed in a way that says nothing about load: refused, reset, a fault of the destination's.
    Failed,
}

/// How what is allowed moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// All of it was used, and answers took no longer for it.
    Grown,
    /// The destination said that it is overloaded.
    ShrunkByOverload,
    /// Answers took longer than they do unloaded.
    ShrunkByLatency,
    /// For two periods, to measure what an answer takes unloaded.
    Lowered,
    /// Measured.
    Restored,
}

/// What an answer takes unloaded.
#[derive(Debug, Clone, Copy)]
struct Unloaded {
    seconds: f64,
    until: MonoNanos,
}

/// How far a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measuring {
    No,
    /// What was begun under full load still ends.
    Emptying,
    Counting,
}

/// What happened in the period that runs.
#[derive(Debug, Clone, Copy, Default)]
struct Period {
    ends: MonoNanos,
    answers: u32,
    seconds: f64,
    /// Whether all of the limit was in use.
    is_used: bool,
    has_shrunk: bool,
}

/// A destination's limit, one per process.
#[derive(Debug, Clone)]
pub struct Limit {
    policy: Policy,
    limit: f64,
    doubles: bool,
    measuring: Measuring,
    unloaded: Option<Unloaded>,
    period: Period,
}

impl Limit {
    /// Begins at the policy's start.
    pub fn new(policy: Policy) -> Self {
        let mut limit = Self {
            policy,
            limit: f64::from(policy.start),
            doubles: true,
            measuring: Measuring::No,
            unloaded: None,
            period: Period::default(),
        };
        limit.stay_within();
        limit
    }

    /// Returns how many attempts may be in flight now; 0 only where the ceiling is.
    pub fn allowed(&self) -> u32 {
        let limit = match self.measuring {
            Measuring::No => self.limit,
            Measuring::Emptying | Measuring::Counting => self.limit * MEASURED_AT,
        };
        (limit.max(self.floor()) + HAIR) as u32
    }

    /// Takes note of how an attempt ended; `in_flight` counts it still.
    pub fn ended(&mut self, ended: Ended, in_flight: u32, now: MonoNanos) -> Option<Change> {
        self.period.is_used |= in_flight >= self.allowed();
        match ended {
            Ended::Overloaded if !self.period.has_shrunk => {
                self.shrink();
                self.measuring = Measuring::No;
                self.begin_period(now, 0.0);
                self.period.has_shrunk = true;
                return Some(Change::ShrunkByOverload);
            }
            Ended::Answered(latency) => {
                self.period.answers = self.period.answers.saturating_add(1);
                self.period.seconds += latency.as_secs_f64();
            }
            Ended::Overloaded | Ended::Failed => {}
        }
        if now < self.period.ends || self.period.answers == 0 {
            return None;
        }
        let mean = self.period.seconds / f64::from(self.period.answers);
        let change = self.judge(mean, now);
        self.begin_period(now, mean);
        change
    }

    /// Takes the bounds of another share of the same whole, and the limit with it: what others of a
    /// group had in flight moves with their partitions.
    pub fn rescale(&mut self, floor: u32, ceiling: u32) {
        self.limit *= f64::from(ceiling) / f64::from(self.policy.ceiling.max(1));
        // Not raised to the floor here, else many small shares in turn would make a large limit.
        (self.policy.floor, self.policy.ceiling) = (floor, ceiling);
    }

    /// Takes other bounds at once.
    pub fn set_bounds(&mut self, floor: u32, ceiling: u32) {
        (self.policy.floor, self.policy.ceiling) = (floor, ceiling);
        self.stay_within();
    }

    /// Begins anew at the floor, as after an outage; what an answer takes unloaded is kept.
    pub fn restart(&mut self, now: MonoNanos) {
        (self.limit, self.doubles, self.measuring) = (0.0, true, Measuring::No);
        self.stay_within();
        self.begin_period(now, 0.0);
    }

    /// Decides at a period's end, in which an answer took `mean` seconds.
    fn judge(&mut self, mean: f64, now: MonoNanos) -> Option<Change> {
        match self.measuring {
            Measuring::No => self.adapt(mean, now),
            Measuring::Emptying => {
                self.measuring = Measuring::Counting;
                None
            }
            Measuring::Counting => {
                self.measuring = Measuring::No;
                self.learn(mean, now);
                Some(Change::Restored)
            }
        }
    }

    fn adapt(&mut self, mean: f64, now: MonoNanos) -> Option<Change> {
        let Some(unloaded) = self.unloaded else {
            self.learn(mean, now);
            return self.grow();
        };
        if self.period.has_shrunk {
            return None;
        }
        if mean > self.bound(unloaded) {
            return self.too_slow(mean, now);
        }
        if mean < unloaded.seconds || (now >= unloaded.until && !self.period.is_used) {
            self.learn(mean, now);
        } else if now >= unloaded.until {
            self.measuring = Measuring::Emptying;
            return Some(Change::Lowered);
        }
        self.grow()
    }

    /// At the floor it is not our load that makes it slow: that is what an answer takes now.
    fn too_slow(&mut self, mean: f64, now: MonoNanos) -> Option<Change> {
        if self.limit > self.floor() {
            self.shrink();
            return Some(Change::ShrunkByLatency);
        }
        self.learn(mean, now);
        self.doubles = true;
        None
    }

    fn grow(&mut self) -> Option<Change> {
        if !self.period.is_used {
            return None;
        }
        let before = self.limit;
        self.limit = if self.doubles { self.limit * 2.0 } else { self.limit + 1.0 };
        self.stay_within();
        (self.limit > before).then_some(Change::Grown)
    }

    fn shrink(&mut self) {
        self.limit *= self.policy.shrink.clamp(0.0, 1.0);
        self.doubles = false;
        self.stay_within();
    }

    fn learn(&mut self, seconds: f64, now: MonoNanos) {
        let times = duration(seconds).saturating_mul(MEASURE_EVERY_TIMES);
        self.unloaded = Some(Unloaded { seconds, until: now.plus(MEASURE_EVERY.max(times)) });
    }

    fn begin_period(&mut self, now: MonoNanos, mean: f64) {
        let unloaded = self.unloaded.map_or(0.0, |unloaded| unloaded.seconds);
        let length = duration(mean.max(unloaded)).max(self.policy.period_min);
        self.period = Period { ends: now.plus(length), ..Period::default() };
    }

    fn bound(&self, unloaded: Unloaded) -> f64 {
        unloaded.seconds * self.policy.tolerance + self.policy.slack.as_secs_f64()
    }

    fn floor(&self) -> f64 {
        f64::from(self.policy.floor.max(1).min(self.policy.ceiling))
    }

    fn stay_within(&mut self) {
        self.limit = self.limit.max(self.floor()).min(f64::from(self.policy.ceiling));
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests;
