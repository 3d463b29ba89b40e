//! When to try again, and when to stop: a pure decision over attempts, budget and `now`.
//!
//! The budget counts from the first attempt, so that a restart can't extend it: its shell keeps
//! the first attempt's time with the record.

use std::time::Duration;

use crate::time::UnixMillis;

/// How a delivery is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The delay's upper bound after the first failed attempt; doubles with each further one.
    pub base: Duration,
    /// The most the doubled delay may be.
    pub cap: Duration,
    /// How long after the first attempt another one may still start.
    pub budget: Duration,
    /// The most attempts, the first included; 0 sets no limit.
    pub attempts_max: u32,
    /// The most a `Retry-After` is believed.
    pub retry_after_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(60),
            budget: Duration::from_secs(300),
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
    /// The number of attempts.
    Attempts,
}

impl Policy {
    /// Decides what follows a failed attempt.
    ///
    /// `attempts_made` counts finished attempts, from 1; `jitter` is uniform in `[0, 1)` (full
    /// jitter: anything between nothing and the doubled delay); a `retry_after` only ever
    /// lengthens the delay, up to `retry_after_max`. The last attempt is not later than the budget's
    /// end, so that no budget ends early by chance.
    pub fn decide(
        &self,
        first_attempt_at: UnixMillis,
        attempts_made: u32,
        retry_after: Option<Duration>,
        jitter: f64,
        now: UnixMillis,
    ) -> Decision {
        if self.attempts_max != 0 && attempts_made >= self.attempts_max {
            return Decision::GiveUp(Exhausted::Attempts);
        }
        let asked = retry_after.unwrap_or_default().min(self.retry_after_max);
        let end = first_attempt_at.plus(self.budget);
        if now >= end || now.plus(asked) > end {
            return Decision::GiveUp(Exhausted::Budget);
        }
        Decision::Again { at: now.plus(self.backoff(attempts_made, jitter).max(asked)).min(end) }
    }

    /// Returns the delay after `attempts_made` failed attempts, between 0 and the doubled bound.
    fn backoff(&self, attempts_made: u32, jitter: f64) -> Duration {
        let doublings = attempts_made.saturating_sub(1).min(31);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        bound.mul_f64(jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixMillis = UnixMillis(1_000_000);

    fn policy() -> Policy {
        Policy { attempts_max: 3, ..Policy::default() }
    }

    #[test]
    fn too_many_requests_is_retried_after_the_given_delay() {
        let after = Some(Duration::from_secs(7));
        let decision = policy().decide(START, 1, after, 0.0, START);
        assert_eq!(decision, Decision::Again { at: START.plus(Duration::from_secs(7)) });
    }

    #[test]
    fn a_retry_after_beyond_its_maximum_is_cut() {
        let p = Policy { retry_after_max: Duration::from_secs(10), ..policy() };
        let decision = p.decide(START, 1, Some(Duration::from_secs(9_999)), 0.0, START);
        assert_eq!(decision, Decision::Again { at: START.plus(Duration::from_secs(10)) });
    }

    #[test]
    fn the_last_attempt_ends_the_tries() {
        let decision = policy().decide(START, 3, None, 0.5, START);
        assert_eq!(decision, Decision::GiveUp(Exhausted::Attempts));
    }

    #[test]
    fn the_last_attempt_is_at_the_budgets_end_and_not_before() {
        let (almost, end) =
            (START.plus(Duration::from_secs(299)), START.plus(Duration::from_secs(300)));
        let decide = |after, now| Policy::default().decide(START, 9, after, 0.9, now);
        assert_eq!(decide(None, almost), Decision::Again { at: end });
        assert_eq!(decide(None, end), Decision::GiveUp(Exhausted::Budget));
        let beyond = Some(Duration::from_secs(2));
        assert_eq!(decide(beyond, almost), Decision::GiveUp(Exhausted::Budget));
    }

    proptest! {
        #[test]
        fn no_attempt_is_planned_before_now_or_after_the_budget(
            attempts in 1u32..1_000,
            elapsed in 0u64..1_000_000,
            retry_after in proptest::option::of(0u64..1_000_000),
            jitter in 0.0f64..1.0,
        ) {
            let policy = Policy::default();
            let now = START.plus(Duration::from_millis(elapsed));
            let after = retry_after.map(Duration::from_millis);
            if let Decision::Again { at } = policy.decide(START, attempts, after, jitter, now) {
                prop_assert!(at >= now);
                prop_assert!(at <= START.plus(policy.budget));
                if let Some(after) = after {
                    prop_assert!(at >= now.plus(after.min(policy.retry_after_max)));
                }
            }
        }
    }
}
