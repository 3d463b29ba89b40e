//! Notices that a partition has records and gives none. Pure.
//!
//! A partition that nobody wants to read, or whose broker is away, is not stalled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{GroupError, Partition};

/// What is seen of one partition.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) partition: Partition,
    /// The offset the fetcher asks for next.
    pub(super) fetched: i64,
    /// Records that lie in its queue.
    pub(super) queued: i64,
    /// The offset after the last record handed out.
    pub(super) handed: i64,
    /// Whether somebody asked for records since the last look, and the leader is connected.
    pub(super) wanted: bool,
}

struct Seen {
    look: Look,
    since: Instant,
}

pub(super) struct Watchdog {
    stall_after: Duration,
    seen: HashMap<Partition, Seen>,
}

impl Watchdog {
    pub(super) fn new(stall_after: Duration) -> Self {
        Self { stall_after, seen: HashMap::new() }
    }

    /// Takes note of what is seen, and returns the partitions whose end should be asked for: those that were wanted
    /// and gave nothing for the whole time.
    pub(super) fn silent(&mut self, looks: Vec<Look>, now: Instant) -> Vec<Partition> {
        let mut before = std::mem::take(&mut self.seen);
        for look in looks {
            let since = match before.remove(&look.partition) {
                Some(seen) if look.wanted && unmoved(&seen.look, &look) => seen.since,
                _ => now,
            };
            self.seen.insert(look.partition.clone(), Seen { look, since });
        }
        let long = |seen: &&Seen| now.duration_since(seen.since) >= self.stall_after;
        self.seen.values().filter(long).map(|seen| seen.look.partition.clone()).collect()
    }

    /// Judges the silent partitions by their ends. Those that have nothing to give begin their time anew.
    pub(super) fn stalled(
        &mut self,
        ends: &HashMap<(Arc<str>, i32), Option<i64>>,
        now: Instant,
    ) -> Option<GroupError> {
        let mut stalled = None;
        for seen in self.seen.values_mut() {
            let key = (seen.look.partition.topic.clone(), seen.look.partition.partition);
            let Some(Some(end)) = ends.get(&key) else { continue };
            if *end <= seen.look.fetched && seen.look.queued == 0 {
                seen.since = now;
            } else {
                let waiting = (end - seen.look.handed).max(seen.look.queued);
                let why = format!(
                    "{} gave none of its {waiting} records for {} s",
                    seen.look.partition,
                    self.stall_after.as_secs()
                );
                stalled = Some(GroupError::new("read on", why));
            }
        }
        stalled
    }
}

fn unmoved(before: &Look, now: &Look) -> bool {
    before.fetched == now.fetched && before.handed == now.handed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition { topic: "t".into(), partition: 3, epoch: 1 }
    }

    fn look(fetched: i64, queued: i64, handed: i64, wanted: bool) -> Look {
        Look { partition: partition(), fetched, queued, handed, wanted }
    }

    /// Looks every 5 s with a limit of 30 s; returns whether the last look finds a stall, the end being at 10.
    fn stalls(looks: &[Look]) -> bool {
        let mut watchdog = Watchdog::new(Duration::from_secs(30));
        let start = Instant::now();
        let ends = HashMap::from([(("t".into(), 3), Some(10))]);
        let mut stalled = false;
        for (number, look) in (0..).zip(looks) {
            let now = start + Duration::from_secs(5) * number;
            let silent = watchdog.silent(vec![look.clone()], now);
            stalled = !silent.is_empty() && watchdog.stalled(&ends, now).is_some();
        }
        stalled
    }

    #[test]
    fn records_that_do_not_come_although_wanted_are_a_stall() {
        assert!(stalls(&vec![look(5, 0, 5, true); 7]), "the fetcher does not fetch");
        assert!(stalls(&vec![look(10, 5, 5, true); 7]), "the queue does not give");
        assert!(!stalls(&vec![look(5, 0, 5, true); 6]), "not yet long enough");
    }

    #[test]
    fn what_has_nothing_or_is_not_wanted_is_not_stalled() {
        assert!(
            !stalls(&vec![look(10, 0, 8, true); 20]),
            "read to the end, markers behind the last record"
        );
        assert!(!stalls(&vec![look(5, 3, 5, false); 20]), "its lane is full");
        let moving: Vec<Look> = (0..20).map(|n| look(n, 0, n, true)).collect();
        assert!(!stalls(&moving));
    }

    #[test]
    fn a_partition_that_was_let_wait_has_its_time_from_then_on() {
        let mut looks = vec![look(5, 0, 5, true); 6];
        looks.push(look(5, 0, 5, false));
        looks.extend(vec![look(5, 0, 5, true); 6]);
        assert!(!stalls(&looks[..12]));
    }
}
