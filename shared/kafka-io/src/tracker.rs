//! Which offsets may be committed: the part of a partition that is completed without a gap. Pure.
//!
//! Records complete in any order. A position is the offset of the first delivered record that is not completed, or,
//! when nothing is behind, the offset after the last delivered one: offsets have gaps (markers of transactions,
//! compaction), so contiguity is that of delivery, never of numbers. Everything is kept by partition and assignment
//! epoch; what comes late from an earlier epoch is dropped. Nothing is counted over partitions, so that nothing can
//! leak when one goes away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::consumer::Partition;

/// What a completion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// The partition holds so much less now.
    Freed { records: usize },
    /// The record is not one of this epoch, or was completed before.
    Stale,
}

/// What is delivered of a partition and not yet committable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    bytes: usize,
    done: bool,
}

#[derive(Debug)]
struct Tracked {
    epoch: u64,
    /// In the order of delivery, which is that of offsets; the first is not completed.
    open: VecDeque<Entry>,
    open_bytes: usize,
    first_delivered: Option<i64>,
    /// The offset after the last delivered record, `None` before the first.
    after_last: Option<i64>,
    committed: Option<i64>,
}

/// The partitions of one member.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    tracked: HashMap<(Arc<str>, i32), Tracked>,
}

impl Tracker {
    /// Begins a partition's epoch; an earlier one of the same partition ends.
    pub(crate) fn begin(&mut self, partition: &Partition) {
        let tracked = Tracked {
            epoch: partition.epoch,
            open: VecDeque::new(),
            open_bytes: 0,
            first_delivered: None,
            after_last: None,
            committed: None,
        };
        self.tracked.insert(key(partition), tracked);
    }

    /// Ends a partition's epoch: whatever completes from now on is dropped.
    pub(crate) fn end(&mut self, partition: &Partition) {
        if self.get(partition).is_some() {
            self.tracked.remove(&key(partition));
        }
    }

    /// Takes note of a record that goes to its lane.
    pub(crate) fn delivered(&mut self, partition: &Partition, offset: i64, bytes: usize) {
        let Some(tracked) = self.get_mut(partition) else { return };
        debug_assert!(
            tracked.after_last.is_none_or(|after| offset >= after),
            "records come in the order of offsets"
        );
        tracked.open.push_back(Entry { offset, bytes, done: false });
        tracked.open_bytes += bytes;
        tracked.first_delivered = tracked.first_delivered.or(Some(offset));
        tracked.after_last = Some(offset + 1);
    }

    /// Takes note that a record is done with.
    pub(crate) fn completed(&mut self, partition: &Partition, offset: i64) -> Completed {
        let Some(tracked) = self.get_mut(partition) else { return Completed::Stale };
        match tracked.open.binary_search_by_key(&offset, |entry| entry.offset) {
            Ok(at) if !tracked.open[at].done => {
                tracked.open[at].done = true;
                tracked.free()
            }
            Ok(_) | Err(_) => Completed::Stale,
        }
    }

    /// Returns what is delivered and not yet committable, a gap's completed followers included.
    pub(crate) fn held(&self, partition: &Partition) -> Held {
        let held =
            |tracked: &Tracked| Held { records: tracked.open.len(), bytes: tracked.open_bytes };
        self.get(partition).map(held).unwrap_or_default()
    }

    /// Returns the positions that are ahead of what is committed.
    pub(crate) fn uncommitted(&self) -> Vec<(Partition, i64)> {
        let mut found = Vec::new();
        for ((topic, partition), tracked) in &self.tracked {
            if let Some(position) = tracked.position()
                && tracked.committed.is_none_or(|committed| committed < position)
                && tracked.moved(position)
            {
                let partition =
                    Partition { topic: topic.clone(), partition: *partition, epoch: tracked.epoch };
                found.push((partition, position));
            }
        }
        found
    }

    /// Takes note of a commit that succeeded.
    pub(crate) fn committed(&mut self, partition: &Partition, position: i64) {
        if let Some(tracked) = self.get_mut(partition) {
            tracked.committed = tracked.committed.max(Some(position));
        }
    }

    fn get(&self, partition: &Partition) -> Option<&Tracked> {
        self.tracked.get(&key(partition)).filter(|tracked| tracked.epoch == partition.epoch)
    }

    fn get_mut(&mut self, partition: &Partition) -> Option<&mut Tracked> {
        self.tracked.get_mut(&key(partition)).filter(|tracked| tracked.epoch == partition.epoch)
    }
}

impl Tracked {
    fn position(&self) -> Option<i64> {
        self.open.front().map(|first| first.offset).or(self.after_last)
    }

    /// False while nothing has been completed since the start: the position is then where it was.
    fn moved(&self, position: i64) -> bool {
        self.committed.is_some() || self.first_delivered != Some(position)
    }

    fn free(&mut self) -> Completed {
        let (mut records, mut bytes) = (0, 0);
        while self.open.front().is_some_and(|first| first.done) {
            if let Some(first) = self.open.pop_front() {
                records += 1;
                bytes += first.bytes;
            }
        }
        self.open_bytes -= bytes;
        Completed::Freed { records }
    }
}

fn key(partition: &Partition) -> (Arc<str>, i32) {
    (partition.topic.clone(), partition.partition)
}

#[cfg(test)]
mod tests;
