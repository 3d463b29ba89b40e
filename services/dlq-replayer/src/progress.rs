//! How far a read over a job's ranges is, and how long the rest will take.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{Counts, JobRange};

/// How often progress is told.
const EVERY: Duration = Duration::from_millis(200);
/// Records between two looks at the clock.
const LOOK: u64 = 256;

/// How far a count or a job is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Offsets passed, of `total`; markers of transactions are among them.
    pub passed: u64,
    pub total: u64,
    pub counts: Counts,
    pub elapsed: Duration,
    /// How long the rest takes at the pace so far; `None` until there is a pace.
    pub eta: Option<Duration>,
    /// What is waited for, while it does not go on.
    pub waiting: Option<String>,
}

/// Measures progress.
pub(crate) struct Meter {
    began: Instant,
    told: Instant,
    looked: u64,
    total: u64,
    /// Offsets of the partitions that are not being read now.
    passed_before: u64,
    passed: u64,
    current: (String, i32),
    starts: HashMap<(String, i32), i64>,
}

impl Meter {
    pub(crate) fn new(ranges: &[JobRange]) -> Self {
        let length = |range: &JobRange| u64::try_from(range.to - range.from).unwrap_or(0);
        let start = |range: &JobRange| ((range.topic.clone(), range.partition), range.from);
        let now = Instant::now();
        Self {
            began: now,
            told: now,
            looked: 0,
            total: ranges.iter().map(length).sum(),
            passed_before: 0,
            passed: 0,
            current: (String::new(), -1),
            starts: ranges.iter().map(start).collect(),
        }
    }

    /// Takes that a partition was read up to `next`; says whether it is time to tell.
    pub(crate) fn passed(&mut self, topic: &str, partition: i32, next: i64) -> bool {
        if self.current.1 != partition || self.current.0 != topic {
            self.change(topic, partition);
        }
        let start = self.starts.get(&self.current).copied().unwrap_or(next);
        self.passed = u64::try_from(next - start).unwrap_or(0);
        self.looked += 1;
        if self.looked.is_multiple_of(LOOK) && self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            return true;
        }
        false
    }

    /// Partitions take turns: what the last one was read of is kept, and the next goes on from there.
    fn change(&mut self, topic: &str, partition: i32) {
        if let Some(start) = self.starts.get_mut(&self.current) {
            *start += i64::try_from(self.passed).unwrap_or(0);
            self.passed_before += self.passed;
        }
        self.passed = 0;
        self.current = (topic.to_owned(), partition);
    }

    pub(crate) fn progress(&self, counts: Counts) -> Progress {
        let passed = (self.passed_before + self.passed).min(self.total);
        let elapsed = self.began.elapsed();
        Progress {
            passed,
            total: self.total,
            counts,
            elapsed,
            eta: eta(elapsed, passed, self.total),
            waiting: None,
        }
    }

    pub(crate) fn complete(&self, counts: Counts) -> Progress {
        let elapsed = self.began.elapsed();
        let eta = Some(Duration::ZERO);
        Progress { passed: self.total, total: self.total, counts, elapsed, eta, waiting: None }
    }
}

fn eta(elapsed: Duration, passed: u64, total: u64) -> Option<Duration> {
    if passed == 0 {
        return None;
    }
    #[allow(clippy::cast_precision_loss)]
    let left = total.saturating_sub(passed) as f64 / passed as f64;
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * left).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_that_take_turns_are_added_up() {
        let range = |partition, from, to| JobRange { topic: "t".into(), partition, from, to };
        let mut meter = Meter::new(&[range(0, 10, 20), range(1, 0, 30)]);
        for (partition, next) in [(0, 12), (1, 5), (0, 15), (1, 30), (0, 20)] {
            meter.passed("t", partition, next);
        }
        let progress = meter.progress(Counts::default());
        assert_eq!((progress.passed, progress.total), (40, 40));
    }

    #[test]
    fn the_rest_takes_as_long_as_the_pace_says() {
        let second = Duration::from_secs(1);
        assert_eq!(eta(second, 0, 10), None);
        assert_eq!(eta(second, 25, 100), Some(3 * second));
        assert_eq!(eta(second, 100, 100), Some(Duration::ZERO));
    }
}
