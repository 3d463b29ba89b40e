//! How long numbered records took, from being handed to the producer until a request with them came.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Times are nanoseconds since `origin`, 0 where there is none yet.
#[derive(Debug)]
pub(crate) struct Watch {
    origin: Instant,
    first: u64,
    made: Vec<AtomicU64>,
    came: Vec<AtomicU64>,
    count: AtomicU64,
}

impl Watch {
    /// Watches the records of these numbers.
    pub(crate) fn new(numbers: &Range<u64>) -> Arc<Self> {
        let none = || numbers.clone().map(|_| AtomicU64::new(0)).collect();
        let (origin, first) = (Instant::now(), numbers.start);
        Arc::new(Self { origin, first, made: none(), came: none(), count: AtomicU64::new(0) })
    }

    /// Takes note that a record is handed to the producer now.
    pub(crate) fn made(&self, number: u64) {
        if let Some(made) = self.of(&self.made, number) {
            made.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Takes note of a request; repeats, and records that are not watched, do not count.
    pub(crate) fn came(&self, number: u64) {
        let Some(came) = self.of(&self.came, number) else { return };
        if came.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many have come.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long each of these took; one that has not come has taken until now.
    pub(crate) fn times(&self, numbers: Range<u64>) -> Vec<Duration> {
        let read = |list, number| self.of(list, number).map_or(0, |at| at.load(Ordering::Relaxed));
        let now = self.now();
        let each = numbers.map(|number| {
            let came = Some(read(&self.came, number)).filter(|came| *came > 0).unwrap_or(now);
            Duration::from_nanos(came.saturating_sub(read(&self.made, number)))
        });
        each.collect()
    }

    fn of<'a>(&self, list: &'a [AtomicU64], number: u64) -> Option<&'a AtomicU64> {
        list.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_request_of_a_watched_record_counts() {
        let watch = Watch::new(&(10..12));
        watch.made(10);
        for number in [9, 10, 10, 12] {
            watch.came(number);
        }
        assert_eq!(watch.count(), 1);
        let times = watch.times(10..12);
        assert!(times.len() == 2 && times[0] < times[1], "what has not come takes on: {times:?}");
    }
}
