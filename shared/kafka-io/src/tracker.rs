//! Which offsets may be committed, and what is done with above them. Pure.
//!
//! Records complete in any order. What is complete without a gap is the position; what is complete behind a gap is
//! kept in the commit's metadata ([`OffsetMap`]), so that a restart does not repeat it, with how far the records have
//! come that are tried again. Offsets have gaps (markers of transactions, compaction): a completion covers the gap
//! between a record and the one delivered before it, and nothing is ever found by adding one. Everything is kept by
//! partition and assignment epoch; what comes late from an earlier epoch is dropped. Nothing is counted over
//! partitions, so that nothing can leak when one goes away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::offset_map::{Head, OffsetMap};

use crate::consumer::{Partition, Position};

/// The most offsets between a partition's position and the last record delivered: what a restart reads again.
const SPAN_MAX: u64 = 1_000_000;
/// The most open records of a partition; so that the map of a partition that is not high can always be written.
pub const LANE_RECORDS_MAX: usize = 3_000;

/// What is to be done with a record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It goes to its lane; this far it had come before.
    Open(Option<Head>),
    /// It was complete before the restart.
    Done,
}

/// What a completion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// The partition holds one record less now.
    Done,
    /// The record is not one of this epoch, or was completed before.
    Stale,
}

/// What is delivered of a partition and not complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub records: usize,
    pub bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// The offset after the record that was delivered before.
    after_previous: i64,
    bytes: usize,
}

#[derive(Debug)]
struct Tracked {
    epoch: u64,
    map: OffsetMap,
    open: BTreeMap<i64, Entry>,
    open_bytes: usize,
    /// The offset after the last delivered record.
    after_last: i64,
    /// The offset after the last that an earlier epoch is known to have read.
    read_before: i64,
    /// How often what a commit would say has changed, and how often it had when it was committed.
    changes: u64,
    committed: u64,
}

/// The partitions of one member.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    tracked: HashMap<(Arc<str>, i32), Tracked>,
}

impl Tracker {
    /// Begins a partition's epoch with what is committed of it; an earlier one of the same partition ends.
    pub(crate) fn begin(&mut self, partition: &Partition, map: OffsetMap) {
        let tracked = Tracked {
            epoch: partition.epoch,
            open: BTreeMap::new(),
            open_bytes: 0,
            after_last: map.commit_point(),
            read_before: map.end(),
            map,
            changes: 0,
            committed: 0,
        };
        self.tracked.insert(key(partition), tracked);
    }

    /// Ends a partition's epoch: whatever completes from now on is dropped.
    pub(crate) fn end(&mut self, partition: &Partition) {
        if self.get(partition).is_some() {
            self.tracked.remove(&key(partition));
        }
    }

    /// Takes note of a record that was read, and says whether it goes to its lane.
    pub(crate) fn delivered(
        &mut self,
        partition: &Partition,
        offset: i64,
        bytes: usize,
    ) -> Delivered {
        let Some(tracked) = self.get_mut(partition) else { return Delivered::Open(None) };
        debug_assert!(offset >= tracked.after_last, "records come in the order of offsets");
        let after_previous = std::mem::replace(&mut tracked.after_last, offset + 1);
        if tracked.map.is_done(offset) {
            // The gap before it may be what kept the position back.
            tracked.changes += u64::from(tracked.map.complete(after_previous..offset + 1));
            return Delivered::Done;
        }
        tracked.open.insert(offset, Entry { after_previous, bytes });
        tracked.open_bytes += bytes;
        Delivered::Open(tracked.map.head(offset))
    }

    /// Takes note that a record is done with.
    pub(crate) fn completed(&mut self, partition: &Partition, offset: i64) -> Completed {
        let Some(tracked) = self.get_mut(partition) else { return Completed::Stale };
        let Some(entry) = tracked.open.remove(&offset) else { return Completed::Stale };
        tracked.open_bytes -= entry.bytes;
        tracked.map.complete(entry.after_previous..offset + 1);
        tracked.changes += 1;
        Completed::Done
    }

    /// Takes note of how far a record has come that is tried again; false when it is not open in this epoch.
    pub(crate) fn retrying(&mut self, partition: &Partition, offset: i64, head: Head) -> bool {
        let Some(tracked) = self.get_mut(partition) else { return false };
        if !tracked.open.contains_key(&offset) {
            return false;
        }
        tracked.map.retrying(offset, head);
        tracked.changes += 1;
        true
    }

    /// Returns what is delivered and not complete.
    pub(crate) fn held(&self, partition: &Partition) -> Held {
        let held =
            |tracked: &Tracked| Held { records: tracked.open.len(), bytes: tracked.open_bytes };
        self.get(partition).map(held).unwrap_or_default()
    }

    /// Returns how many more records may be delivered: as many as leave `window` of them open, and none while what
    /// completed behind the oldest open record fills its map, or lies too far behind it. What an earlier epoch had read
    /// already is read again however full its map is: only so it becomes less.
    pub(crate) fn room(&self, partition: &Partition, window: usize) -> usize {
        let Some(tracked) = self.get(partition) else { return 0 };
        if !tracked.reads_again() && tracked.map.usage(tracked.after_last, SPAN_MAX).is_high() {
            return 0;
        }
        window.min(LANE_RECORDS_MAX).saturating_sub(tracked.open.len())
    }

    /// Says whether the next record may be one that an earlier epoch has read: for these
    /// [`room`](Self::room) does not ask how full the map is.
    pub(crate) fn reads_again(&self, partition: &Partition) -> bool {
        self.get(partition).is_some_and(Tracked::reads_again)
    }

    /// Returns what a commit has to say of the partitions of which something changed since the last one.
    pub(crate) fn uncommitted(&self) -> Vec<Position> {
        let changed = self.tracked.iter().filter(|(_, tracked)| tracked.is_changed());
        changed.map(position).collect()
    }

    /// Returns what a commit has to say of the first partition, changed or not; `None` without partitions.
    pub(crate) fn first_position(&self) -> Option<Position> {
        self.tracked.iter().min_by_key(|(key, _)| *key).map(position)
    }

    /// Says whether there are no partitions.
    pub(crate) fn is_empty(&self) -> bool {
        self.tracked.is_empty()
    }

    /// Says whether [`uncommitted`](Self::uncommitted) returns nothing.
    pub(crate) fn is_committed(&self) -> bool {
        !self.tracked.values().any(Tracked::is_changed)
    }

    /// Says whether of these partitions nothing is left to commit.
    pub(crate) fn are_committed<'a>(
        &self,
        partitions: impl IntoIterator<Item = &'a Partition>,
    ) -> bool {
        partitions
            .into_iter()
            .all(|partition| !self.get(partition).is_some_and(Tracked::is_changed))
    }

    /// Takes note of a commit that succeeded, also of one beyond what was delivered, over what is no record.
    pub(crate) fn committed(&mut self, position: &Position) {
        if let Some(tracked) = self.get_mut(&position.partition) {
            tracked.map.advance(position.next);
            tracked.committed = tracked.committed.max(position.changes);
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
    fn is_changed(&self) -> bool {
        self.changes > self.committed
    }

    fn reads_again(&self) -> bool {
        self.after_last < self.read_before
    }
}

fn position(((topic, partition), tracked): (&(Arc<str>, i32), &Tracked)) -> Position {
    let Tracked { epoch, map, changes, .. } = tracked;
    Position {
        partition: Partition { topic: topic.clone(), partition: *partition, epoch: *epoch },
        next: map.commit_point(),
        metadata: map.encode().text,
        changes: *changes,
    }
}

fn key(partition: &Partition) -> (Arc<str>, i32) {
    (partition.topic.clone(), partition.partition)
}

#[cfg(test)]
mod tests;
