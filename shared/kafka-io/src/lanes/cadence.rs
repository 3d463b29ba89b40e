//! When changed positions are committed: some time after the first change, or at so many changes. Pure.
//!
//! It counts nothing and reads no clock. That one commit at a time is under way is its owner's care.

use std::time::{Duration, Instant};

/// The time of the next commit.
#[derive(Clone, Debug)]
pub(super) struct Cadence {
    every: Duration,
    changes_max: usize,
    at: Option<Instant>,
}

impl Cadence {
    /// A commit is due `every` after the first change, or as soon as there are `changes_max`.
    pub(super) fn new(every: Duration, changes_max: usize) -> Self {
        Self { every, changes_max: changes_max.max(1), at: None }
    }

    /// Says whether a commit is due, with so many changes since the last one began. The first change that it hears of
    /// sets the time.
    pub(super) fn is_due(&mut self, changes: usize, now: Instant) -> bool {
        if changes > 0 && self.at.is_none() {
            self.at = Some(now + self.every);
        }
        changes >= self.changes_max || self.at.is_some_and(|at| now >= at)
    }

    /// Takes note that a commit begins: what changes from now on is for the next.
    pub(super) fn begun(&mut self) {
        self.at = None;
    }

    /// Has a commit that failed made again at a time, whether or not anything changes until then.
    pub(super) fn again(&mut self, at: Instant) {
        self.at = Some(at);
    }

    /// Returns when a commit is due if nothing else changes.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVERY: Duration = Duration::from_millis(20);
    const MAX: usize = 500;

    /// So many changes are heard of after so many milliseconds; whether a commit is due then.
    type Heard = (usize, u64, bool);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_commit_is_due_after_its_time_or_at_so_many_changes_whichever_is_first() {
        let cases: [(&str, &[Heard]); 6] = [
            ("nothing changes", &[(0, 0, false), (0, 1000, false)]),
            ("one change", &[(1, 0, false), (1, 19, false), (1, 20, true)]),
            (
                "the first sets the time",
                &[(0, 50, false), (1, 60, false), (7, 79, false), (7, 80, true)],
            ),
            ("so many before the time", &[(1, 0, false), (499, 1, false), (500, 1, true)]),
            ("all at once", &[(500, 0, true)]),
            (
                "still due while another is under way",
                &[(1, 0, false), (1, 20, true), (2, 90, true)],
            ),
        ];
        let start = Instant::now();
        for (name, heard) in cases {
            let mut cadence = Cadence::new(EVERY, MAX);
            for &(changes, after, due) in heard {
                let found = cadence.is_due(changes, start + ms(after));
                assert_eq!(found, due, "{name}: {changes} after {after} ms");
            }
        }
    }

    #[test]
    fn a_commit_that_begins_leaves_later_changes_their_whole_time() {
        let start = Instant::now();
        let mut cadence = Cadence::new(EVERY, MAX);
        assert!(!cadence.is_due(3, start) && cadence.is_due(3, start + ms(20)));
        cadence.begun();
        assert_eq!(cadence.at(), None);
        assert!(!cadence.is_due(0, start + ms(21)), "nothing has changed since");
        assert!(!cadence.is_due(1, start + ms(30)) && !cadence.is_due(1, start + ms(49)));
        assert!(cadence.is_due(1, start + ms(50)));
    }

    #[test]
    fn a_commit_that_failed_is_made_again_though_nothing_changes() {
        let start = Instant::now();
        let mut cadence = Cadence::new(EVERY, MAX);
        cadence.again(start + ms(200));
        assert_eq!(cadence.at(), Some(start + ms(200)));
        assert!(!cadence.is_due(0, start + ms(199)) && !cadence.is_due(5, start + ms(199)));
        assert!(cadence.is_due(0, start + ms(200)));
        assert!(cadence.is_due(500, start), "so many changes wait no longer");
    }

    #[test]
    fn a_commit_that_failed_has_its_pause_though_something_has_changed_meanwhile() {
        let start = Instant::now();
        let mut cadence = Cadence::new(EVERY, MAX);
        assert!(!cadence.is_due(1, start));
        cadence.again(start + ms(200));
        assert!(!cadence.is_due(1, start + ms(199)) && cadence.is_due(1, start + ms(200)));
    }

    #[test]
    fn no_commit_is_due_for_no_change_however_few_are_enough() {
        for changes_max in [0, 1] {
            let mut cadence = Cadence::new(EVERY, changes_max);
            let now = Instant::now();
            assert!(!cadence.is_due(0, now) && cadence.is_due(1, now), "{changes_max}");
        }
    }

    proptest! {
        /// Changes come in steps of any size and distance, each heard of at once; commits are done at once.
        #[test]
        fn no_change_waits_longer_and_no_commit_comes_sooner_than_it_should(
            steps in prop::collection::vec((0usize..400, 0u64..60), 1..100),
        ) {
            let mut cadence = Cadence::new(EVERY, MAX);
            let (mut now, mut changes, mut oldest) = (Instant::now(), 0, None::<Instant>);
            for (new, later) in steps {
                // The owner looks again when the cadence has asked for it.
                let next = now + ms(later);
                if let Some(at) = cadence.at().filter(|at| *at < next) {
                    prop_assert!(cadence.is_due(changes, at), "asked for");
                    prop_assert_eq!(Some(at), oldest.map(|oldest| oldest + EVERY));
                    cadence.begun();
                    (changes, oldest) = (0, None);
                }
                now = next;
                changes += new;
                if changes > 0 {
                    oldest = oldest.or(Some(now));
                }
                let age = oldest.map(|oldest| now - oldest);
                let expected = changes >= MAX || age.is_some_and(|age| age >= EVERY);
                prop_assert_eq!(cadence.is_due(changes, now), expected);
                if expected {
                    cadence.begun();
                    (changes, oldest) = (0, None);
                }
            }
        }
    }
}
