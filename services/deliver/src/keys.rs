//! Which record of a lane may run: one of a key at a time where order is strict.
//!
//! Pure: it holds the waiting records of one partition and says what may start; it does not run,
//! time or commit anything.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// What a record is ordered by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    /// After every earlier record of the same key.
    Key(Bytes),
    /// At once: nothing is promised about its order.
    Free,
}

/// The waiting records of one partition, by key.
#[derive(Debug)]
pub(crate) struct Keys<T> {
    /// A key is present while one of its records runs; the queue holds its followers.
    running: HashMap<Bytes, VecDeque<T>>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self { running: HashMap::new() }
    }
}

impl<T> Keys<T> {
    /// Takes a record; gives it back if it may run now, keeps it if its key is busy.
    pub(crate) fn admit(&mut self, turn: &Turn, item: T) -> Option<T> {
        let Turn::Key(key) = turn else { return Some(item) };
        match self.running.get_mut(key) {
            Some(followers) => {
                followers.push_back(item);
                None
            }
            None => {
                self.running.insert(key.clone(), VecDeque::new());
                Some(item)
            }
        }
    }

    /// Ends the running record's turn and gives the follower that may run now.
    pub(crate) fn settle(&mut self, turn: &Turn) -> Option<T> {
        let Turn::Key(key) = turn else { return None };
        let followers = self.running.get_mut(key)?;
        match followers.pop_front() {
            Some(next) => Some(next),
            None => {
                self.running.remove(key);
                None
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Turn {
        Turn::Key(Bytes::copy_from_slice(name.as_bytes()))
    }

    #[test]
    fn a_busy_key_holds_its_own_followers_and_no_one_else() {
        let mut keys = Keys::default();
        assert_eq!(keys.admit(&key("a"), 1), Some(1));
        assert_eq!(keys.admit(&key("a"), 2), None);
        assert_eq!(keys.admit(&key("b"), 3), Some(3));
        assert_eq!(keys.settle(&key("a")), Some(2));
        assert_eq!(keys.settle(&key("a")), None);
        assert_eq!(keys.admit(&key("a"), 4), Some(4));
    }

    #[test]
    fn records_without_an_order_never_wait() {
        let mut keys = Keys::default();
        assert_eq!(keys.admit(&Turn::Free, 1), Some(1));
        assert_eq!(keys.admit(&Turn::Free, 2), Some(2));
        assert_eq!(keys.settle(&Turn::Free), None);
    }

    proptest! {
        /// Whatever the order of settling, each key's records run once, one at a time, in order.
        #[test]
        fn each_key_runs_in_order_one_at_a_time(
            arrivals in prop::collection::vec(0u8..5, 1..60),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut keys = Keys::default();
            let mut running: Vec<(u8, usize)> = Vec::new();
            let mut ran: HashMap<u8, Vec<usize>> = HashMap::new();
            let mut picks = picks.into_iter();
            let mut start = |item: (u8, usize), running: &mut Vec<(u8, usize)>| {
                assert!(running.iter().all(|r| r.0 != item.0), "two of a key at a time");
                ran.entry(item.0).or_default().push(item.1);
                running.push(item);
            };
            for (index, k) in arrivals.iter().enumerate() {
                if let Some(item) = keys.admit(&key(&k.to_string()), (*k, index)) {
                    start(item, &mut running);
                }
                if index % 2 == 1 && !running.is_empty() {
                    let at = picks.next().map_or(0, |p| p.index(running.len()));
                    let done = running.swap_remove(at);
                    if let Some(next) = keys.settle(&key(&done.0.to_string())) {
                        start(next, &mut running);
                    }
                }
            }
            while let Some(done) = running.pop() {
                if let Some(next) = keys.settle(&key(&done.0.to_string())) {
                    start(next, &mut running);
                }
            }
            prop_assert!(keys.running.is_empty());
            let mut count = 0;
            for order in ran.values() {
                prop_assert!(order.windows(2).all(|w| w[0] < w[1]));
                count += order.len();
            }
            prop_assert_eq!(count, arrivals.len());
        }
    }
}
