//! How often a call site may speak: pure, given `now`.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Counts what each place said in its current window.
#[derive(Debug)]
pub(super) struct Rate<K> {
    burst: u32,
    window: Duration,
    places: HashMap<K, Place>,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    said: u32,
    suppressed: u64,
}

impl<K: Eq + Hash> Rate<K> {
    pub(super) fn new(burst: u32, window: Duration) -> Self {
        Self { burst, window, places: HashMap::new() }
    }

    /// Says whether `place` may speak now: `None` if not, else how many of its lines were left out
    /// since it last spoke.
    pub(super) fn admit(&mut self, place: K, now: Instant) -> Option<u64> {
        let fresh = || Place { since: now, said: 0, suppressed: 0 };
        let place = self.places.entry(place).or_insert_with(fresh);
        if now.saturating_duration_since(place.since) >= self.window {
            (place.since, place.said) = (now, 0);
        }
        if place.said >= self.burst {
            place.suppressed += 1;
            return None;
        }
        place.said += 1;
        Some(std::mem::take(&mut place.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_says_too_much_is_cut_and_counted_and_others_are_heard() {
        let window = Duration::from_secs(10);
        let mut rate = Rate::new(2, window);
        let now = Instant::now();
        let said: Vec<Option<u64>> = (0..4).map(|_| rate.admit("a", now)).collect();
        assert_eq!(said, [Some(0), Some(0), None, None]);
        assert_eq!(rate.admit("b", now), Some(0));
        assert_eq!(rate.admit("a", now + window), Some(2));
        assert_eq!(rate.admit("a", now + window), Some(0));
    }
}
