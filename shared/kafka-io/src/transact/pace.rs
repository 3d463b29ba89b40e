//! When a batch closes: small and at once while little happens, large and seldom under load.
//!
//! Pure: times and counts come in, a decision goes out. It starts no transaction and reads no clock.

use std::time::Duration;

/// Weight of the newest observation in the running means.
const NEWEST: f64 = 0.3;

/// What bounds one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) interval_min: Duration,
    pub(crate) interval_max: Duration,
}

/// How much the batch being formed holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Forming {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// What the reading thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Hand the batch to the free slot.
    Close,
    /// Read on; nothing is due.
    Read,
    /// Read on, and ask again after this time.
    ReadFor(Duration),
    /// Read nothing: the batch is full and every slot is busy.
    Hold,
}

/// The running view of the load from which the interval follows.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    limits: Limits,
    slots: u32,
    fill: f64,
    commit_seconds: f64,
}

impl Pace {
    pub(crate) fn new(limits: Limits, slots: usize) -> Self {
        let slots = u32::try_from(slots.max(1)).unwrap_or(u32::MAX);
        Self { limits, slots, fill: 0.0, commit_seconds: 0.0 }
    }

    /// Takes note of how full a batch was when it closed.
    pub(crate) fn closed(&mut self, forming: Forming) {
        self.fill = mean(self.fill, fullness(forming, self.limits));
    }

    /// Takes note of the time from a batch's dispatch to the end of its commit.
    pub(crate) fn committed(&mut self, took: Duration) {
        self.commit_seconds = mean(self.commit_seconds, took.as_secs_f64());
    }

    /// Returns the shortest time between two batches under the present load.
    ///
    /// It grows with how full batches are, and is never shorter than what keeps all slots just busy.
    pub(crate) fn interval(&self) -> Duration {
        let Limits { interval_min, interval_max, .. } = self.limits;
        let span = interval_max.saturating_sub(interval_min).as_secs_f64();
        let by_load = interval_min.as_secs_f64() + span * self.fill;
        let by_slots = self.commit_seconds / f64::from(self.slots);
        Duration::from_secs_f64(by_load.max(by_slots)).clamp(interval_min, interval_max)
    }

    /// Decides what to do with the batch being formed, `since_close` after the last one closed.
    pub(crate) fn decide(
        &self,
        forming: Forming,
        since_close: Duration,
        slot_free: bool,
    ) -> Decision {
        let full = fullness(forming, self.limits) >= 1.0;
        match (forming.records, slot_free) {
            (0, _) => Decision::Read,
            (_, false) if full => Decision::Hold,
            (_, false) => Decision::Read,
            (_, true) if full => Decision::Close,
            (_, true) => match self.interval().checked_sub(since_close) {
                Some(left) if !left.is_zero() => Decision::ReadFor(left),
                _ => Decision::Close,
            },
        }
    }
}

fn fullness(forming: Forming, limits: Limits) -> f64 {
    let records = forming.records as f64 / limits.records.max(1) as f64;
    let bytes = forming.bytes as f64 / limits.bytes.max(1) as f64;
    records.max(bytes).min(1.0)
}

fn mean(old: f64, newest: f64) -> f64 {
    old + NEWEST * (newest - old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        records: 1000,
        bytes: 1 << 20,
        interval_min: Duration::from_millis(5),
        interval_max: Duration::from_millis(200),
    };

    fn records(records: usize) -> Forming {
        Forming { records, bytes: 0 }
    }

    #[test]
    fn each_situation_has_its_decision() {
        let ms = Duration::from_millis;
        let cases = [
            ("nothing read", records(0), ms(500), true, Decision::Read),
            ("idle, one record", records(1), ms(500), true, Decision::Close),
            ("one record soon after a batch", records(1), ms(2), true, Decision::ReadFor(ms(3))),
            ("exactly at the interval", records(1), ms(5), true, Decision::Close),
            ("no slot, room left", records(10), ms(500), false, Decision::Read),
            ("no slot, full", records(1000), ms(500), false, Decision::Hold),
            ("full before the interval", records(1000), ms(1), true, Decision::Close),
            ("full by bytes", Forming { records: 3, bytes: 1 << 20 }, ms(1), true, Decision::Close),
        ];
        for (name, forming, since, free, expected) in cases {
            let pace = Pace::new(LIMITS, 4);
            assert_eq!(pace.decide(forming, since, free), expected, "{name}");
        }
    }

    #[test]
    fn full_batches_lengthen_the_interval_and_small_ones_shorten_it_again() {
        let mut pace = Pace::new(LIMITS, 4);
        assert_eq!(pace.interval(), LIMITS.interval_min);
        (0..40).for_each(|_| pace.closed(records(1000)));
        assert!(pace.interval() > Duration::from_millis(199), "{:?}", pace.interval());
        (0..40).for_each(|_| pace.closed(records(1)));
        assert!(pace.interval() < Duration::from_millis(6), "{:?}", pace.interval());
    }

    #[test]
    fn slow_commits_are_spread_over_the_slots() {
        let mut pace = Pace::new(LIMITS, 4);
        (0..60).for_each(|_| pace.committed(Duration::from_millis(60)));
        let interval = pace.interval().as_secs_f64();
        assert!((interval - 0.015).abs() < 0.001, "{interval}");
    }

    proptest! {
        #[test]
        fn the_interval_stays_within_its_bounds(
            fills in prop::collection::vec(0usize..3000, 0..50),
            commits in prop::collection::vec(0u64..100_000, 0..50),
            slots in 0usize..9,
        ) {
            let mut pace = Pace::new(LIMITS, slots);
            fills.iter().for_each(|&n| pace.closed(records(n)));
            commits.iter().for_each(|&ms| pace.committed(Duration::from_millis(ms)));
            prop_assert!(pace.interval() >= LIMITS.interval_min);
            prop_assert!(pace.interval() <= LIMITS.interval_max);
        }
    }
}
