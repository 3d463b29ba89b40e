//! How long a member may take its partitions for its own without a word of the group, and when it asks for one. Pure.
//!
//! A commit that stands is such a word: the group counts it as a sign of life. The time goes from when it was sent, so
//! that the group, which counts from when it arrived, never gives the partitions away before it is over here.

use std::time::{Duration, Instant};

/// How often a lease is renewed while it lasts.
const RENEWALS: u32 = 3;

/// The lease of one member.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// `None` lasts for ever.
    length: Option<Duration>,
    asked_at: Option<Instant>,
    /// Not before.
    again_at: Option<Instant>,
}

impl Lease {
    /// Begins with nothing heard of the group.
    pub(super) fn new(length: Option<Duration>) -> Self {
        Self { length, asked_at: None, again_at: None }
    }

    /// Takes note that a commit is sent.
    pub(super) fn asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// Takes note of a commit that stands, the one sent last, and returns until when the lease lasts now.
    pub(super) fn renewed(&mut self) -> Option<Instant> {
        let (length, asked_at) = (self.length?, self.asked_at?);
        Some(asked_at + length)
    }

    /// Takes note of a commit that failed: the next one is not sent before `at`.
    pub(super) fn refused(&mut self, at: Instant) {
        (self.asked_at, self.again_at) = (None, Some(at));
    }

    /// Says whether a commit is due though nothing has changed.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.at().is_some_and(|at| at.is_none_or(|at| now >= at))
    }

    /// Returns when [`is_due`](Self::is_due) becomes true: `Some(None)` is at once, `None` is never.
    fn at(&self) -> Option<Option<Instant>> {
        let every = self.length? / RENEWALS;
        Some(self.asked_at.map(|at| at + every).max(self.again_at))
    }

    /// Returns the time at which the next renewal is due; `None`: at once, or never.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.at().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_lease_lasts_from_when_its_commit_was_sent() {
        let start = Instant::now();
        let mut lease = Lease::new(Some(ms(6_000)));
        assert_eq!(lease.renewed(), None, "nothing was sent");
        lease.asked(start);
        assert_eq!(lease.renewed(), Some(start + ms(6_000)));
    }

    #[test]
    fn a_renewal_is_due_at_once_and_then_three_times_in_a_lease() {
        let start = Instant::now();
        let mut lease = Lease::new(Some(ms(6_000)));
        assert!(lease.is_due(start));
        assert_eq!(lease.next_at(), None);
        lease.asked(start);
        assert!(!lease.is_due(start + ms(1_999)) && lease.is_due(start + ms(2_000)));
        assert_eq!(lease.next_at(), Some(start + ms(2_000)));
        lease.asked(start + ms(500));
        assert!(!lease.is_due(start + ms(2_499)), "any commit is one");
    }

    #[test]
    fn after_a_refusal_the_next_one_waits_for_its_time_alone() {
        let start = Instant::now();
        let mut lease = Lease::new(Some(ms(6_000)));
        lease.asked(start);
        lease.refused(start + ms(200));
        assert!(!lease.is_due(start + ms(199)) && lease.is_due(start + ms(200)));
        assert_eq!(lease.renewed(), None, "what was refused renews nothing");
    }

    #[test]
    fn without_a_length_nothing_is_ever_due() {
        let mut lease = Lease::new(None);
        lease.asked(Instant::now());
        assert!(!lease.is_due(Instant::now() + ms(100_000_000)));
        assert_eq!((lease.renewed(), lease.next_at()), (None, None));
    }
}
