//! When to try again, and when to stop: a pure decision over attempts, budget and `now`.
//!
//! The budget counts from the first attempt, so that a restart can't extend it: its shell keeps
//! the first attempt's time with the record. It stands still while the destination is not asked at
//! all, up to a greatest age. Nothing is given up on but after an attempt that failed.

use std::time::Duration;

use crate::{offset_map::Head, time::UnixMillis};

/// A delay's bound after the first failed attempt.
pub const BASE_DEFAULT: Duration = Duration::from_millis(500);
/// The most that bound grows to.
pub const CAP_DEFAULT: Duration = Duration::from_secs(60);

/// How a delivery is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub delays: Delays,
    /// How long after the first attempt another one may still start, the time not counted in which
    /// the budget stood still.
    pub budget: Duration,
    /// The same with all time counted.
    pub max_age: Duration,
    /// The most attempts, the first included; 0 sets no limit.
    pub attempts_max: u32,
    /// The most a `Retry-After` is believed.
    pub retry_after_max: Duration,
}

/// How long after a failed attempt the next one is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delays {
    /// Anything between nothing and a bound (full jitter): `base` after the first failed attempt,
    /// doubled with each further one, never more than `cap`.
    Doubling { base: Duration, cap: Duration },
    /// These in turn; no attempt follows the one after the last.
    Fixed(Vec<Duration>),
}

impl Default for Delays {
    /// From 500 ms to 60 s.
    fn default() -> Self {
        Self::Doubling { base: BASE_DEFAULT, cap: CAP_DEFAULT }
    }
}

impl Default for Policy {
    /// Within 5 minutes, 7 days with standstills; a `Retry-After` is believed up to 5 minutes.
    fn default() -> Self {
        Self {
            delays: Delays::default(),
            budget: Duration::from_secs(300),
            max_age: Duration::from_secs(7 * 24 * 3600),
            attempts_max: 0,
            retry_after_max: Duration::from_secs(300),
        }
    }
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again, not before `at`.
    Again { at: UnixMillis },
    /// The budget is over, or will be when the destination may be asked again; or the attempts are
    /// used up.
    GiveUp(Exhausted),
}

/// Which bound ended the tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// The time since the first attempt.
    Budget,
    /// The number of attempts, or of delays.
    Attempts,
}

impl Policy {
    /// Decides what follows a failed attempt.
    ///
    /// `made` counts the attempt that failed just now; `jitter` is uniform in `[0, 1)`; a
    /// `retry_after` only ever lengthens the delay, up to `retry_after_max`. The last attempt is not
    /// later than the budget's end, so that no budget ends early by chance.
    pub fn decide(
        &self,
        made: Head,
        retry_after: Option<Duration>,
        jitter: f64,
        now: UnixMillis,
    ) -> Decision {
        let Some(delay) = self.delay(made.attempts_made, jitter) else {
            return Decision::GiveUp(Exhausted::Attempts);
        };
        let asked = retry_after.unwrap_or_default().min(self.retry_after_max);
        let end = made.first_attempt_at.plus(self.lasts(made.stood_still));
        if now >= end || now.plus(asked) > end {
            return Decision::GiveUp(Exhausted::Budget);
        }
        Decision::Again { at: now.plus(delay.max(asked)).min(end) }
    }

    /// Returns how long after the first attempt another one may start.
    fn lasts(&self, stood_still: Duration) -> Duration {
        self.budget.saturating_add(stood_still).min(self.max_age)
    }

    /// Returns the delay after so many failed attempts; `None` if no further one is allowed.
    fn delay(&self, attempts_made: u32, jitter: f64) -> Option<Duration> {
        if self.attempts_max != 0 && attempts_made >= self.attempts_max {
            return None;
        }
        let delays_before = attempts_made.saturating_sub(1);
        match &self.delays {
            Delays::Doubling { base, cap } => {
                let bound = base.saturating_mul(1 << delays_before.min(31)).min(*cap);
                Some(bound.mul_f64(jitter.clamp(0.0, 1.0)))
            }
            Delays::Fixed(delays) => delays.get(delays_before as usize).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixMillis = UnixMillis(1_000_000);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);

    fn policy() -> Policy {
        Policy { attempts_max: 3, ..Policy::default() }
    }

    fn made(attempts_made: u32) -> Head {
        Head { first_attempt_at: START, attempts_made, stood_still: Duration::ZERO }
    }

    fn stood_still(hours: u32) -> Head {
        Head { stood_still: hours * HOUR, ..made(9) }
    }

    #[test]
    fn too_many_requests_is_retried_after_the_given_delay() {
        let after = Some(Duration::from_secs(7));
        let decision = policy().decide(made(1), after, 0.0, START);
        assert_eq!(decision, Decision::Again { at: START.plus(Duration::from_secs(7)) });
    }

    #[test]
    fn a_retry_after_beyond_its_maximum_is_cut() {
        let p = Policy { retry_after_max: Duration::from_secs(10), ..policy() };
        let decision = p.decide(made(1), Some(Duration::from_secs(9_999)), 0.0, START);
        assert_eq!(decision, Decision::Again { at: START.plus(Duration::from_secs(10)) });
    }

    #[test]
    fn the_last_attempt_ends_the_tries() {
        let decision = policy().decide(made(3), None, 0.5, START);
        assert_eq!(decision, Decision::GiveUp(Exhausted::Attempts));
    }

    #[test]
    fn the_last_attempt_is_at_the_budgets_end_and_not_before() {
        let (almost, end) =
            (START.plus(Duration::from_secs(299)), START.plus(Duration::from_secs(300)));
        let decide = |after, now| Policy::default().decide(made(9), after, 0.9, now);
        assert_eq!(decide(None, almost), Decision::Again { at: end });
        assert_eq!(decide(None, end), Decision::GiveUp(Exhausted::Budget));
        let beyond = Some(Duration::from_secs(2));
        assert_eq!(decide(beyond, almost), Decision::GiveUp(Exhausted::Budget));
    }

    #[test]
    fn a_list_of_delays_is_kept_to_the_letter_and_ends_the_tries() {
        let delays = Delays::Fixed(vec![SECOND, 30 * SECOND]);
        let policy = Policy { delays, ..Policy::default() };
        let decide = |attempts, after| policy.decide(made(attempts), after, 0.9, START);
        let rows = [
            (decide(1, None), Decision::Again { at: START.plus(SECOND) }),
            (decide(2, None), Decision::Again { at: START.plus(30 * SECOND) }),
            (decide(1, Some(7 * SECOND)), Decision::Again { at: START.plus(7 * SECOND) }),
            (decide(2, Some(7 * SECOND)), Decision::Again { at: START.plus(30 * SECOND) }),
            (decide(3, None), Decision::GiveUp(Exhausted::Attempts)),
        ];
        for (decision, expected) in rows {
            assert_eq!(decision, expected);
        }
        let fewer = Policy { attempts_max: 2, ..policy.clone() };
        let decision = fewer.decide(made(2), None, 0.9, START);
        assert_eq!(decision, Decision::GiveUp(Exhausted::Attempts));
    }

    #[test]
    fn a_standstill_spends_no_budget_up_to_the_greatest_age() {
        let policy = Policy { max_age: 24 * HOUR, ..Policy::default() };
        let decide = |made, hours: u32| policy.decide(made, None, 0.0, START.plus(hours * HOUR));
        let again = |hours: u32| Decision::Again { at: START.plus(hours * HOUR) };
        assert_eq!(decide(stood_still(0), 5), Decision::GiveUp(Exhausted::Budget));
        assert_eq!(decide(stood_still(4), 5), Decision::GiveUp(Exhausted::Budget));
        assert_eq!(decide(stood_still(5), 5), again(5));
        assert_eq!(decide(stood_still(23), 23), again(23));
        assert_eq!(decide(stood_still(24), 24), Decision::GiveUp(Exhausted::Budget));
    }

    proptest! {
        #[test]
        fn no_attempt_is_planned_before_now_or_after_the_budget(
            attempts in 1u32..1_000,
            elapsed in 0u64..1_000_000,
            still in 0u64..1_000_000,
            retry_after in proptest::option::of(0u64..1_000_000),
            jitter in 0.0f64..1.0,
        ) {
            let policy = Policy { max_age: Duration::from_secs(700), ..Policy::default() };
            let (now, still) = (START.plus(Duration::from_millis(elapsed)), Duration::from_millis(still));
            let after = retry_after.map(Duration::from_millis);
            let made = Head { stood_still: still, ..made(attempts) };
            if let Decision::Again { at } = policy.decide(made, after, jitter, now) {
                prop_assert!(at >= now);
                prop_assert!(at <= START.plus((policy.budget + still).min(policy.max_age)));
                if let Some(after) = after {
                    prop_assert!(at >= now.plus(after.min(policy.retry_after_max)));
                }
            }
        }
    }
}
