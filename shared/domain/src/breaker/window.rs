//! Counts of the last while: ten buckets that are forgotten one by one.

use std::time::Duration;

use crate::time::{MonoNanos, nanos};

const BUCKETS: usize = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    healthy: u32,
    failed: u32,
}

/// What happened in the bucket of now and the nine before it.
#[derive(Debug, Clone)]
pub(super) struct Window {
    bucket_nanos: u64,
    /// The latest bucket's number since the clock's origin.
    latest: u64,
    buckets: [Counts; BUCKETS],
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let bucket_nanos = (nanos(length) / BUCKETS as u64).max(1);
        Self { bucket_nanos, latest: 0, buckets: [Counts::default(); BUCKETS] }
    }

    pub(super) fn healthy(&mut self, now: MonoNanos) {
        let counts = self.bucket(now);
        counts.healthy = counts.healthy.saturating_add(1);
    }

    pub(super) fn failed(&mut self, now: MonoNanos) {
        let counts = self.bucket(now);
        counts.failed = counts.failed.saturating_add(1);
    }

    /// Returns how many failed and how many there were, at the time of the last count.
    pub(super) fn totals(&self) -> (u32, u32) {
        self.buckets.iter().fold((0, 0), |(failed, all), counts| {
            let both = counts.failed.saturating_add(counts.healthy);
            (counts.failed.saturating_add(failed), both.saturating_add(all))
        })
    }

    fn bucket(&mut self, now: MonoNanos) -> &mut Counts {
        let number = now.0 / self.bucket_nanos;
        let passed = number.saturating_sub(self.latest).min(BUCKETS as u64);
        for ahead in 0..passed {
            self.buckets[place(number - ahead)] = Counts::default();
        }
        self.latest = self.latest.max(number);
        &mut self.buckets[place(self.latest)]
    }
}

fn place(number: u64) -> usize {
    (number % BUCKETS as u64) as usize
}
