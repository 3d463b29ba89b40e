//! What one transaction will hold: outgoing records, the offsets behind them, and what to do once it stands.
//!
//! It writes nothing itself; a slot does.

use std::sync::Arc;
use std::time::Duration;

use crate::record::{Outgoing, Record};

/// What runs after the transaction has been committed, and never otherwise.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// Says that a record is larger than Kafka would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "record of {bytes} bytes refused: more than the limit of {limit}; shorten it or raise record_bytes_max"
)]
pub struct TooLarge {
    pub bytes: usize,
    pub limit: usize,
}

/// Where a partition's reading goes on once the batch is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// The offset of the next record to read.
    pub(crate) next: i64,
}

/// Why an input record is to be presented again, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Postponed {
    pub(crate) why: String,
    pub(crate) again_after: Duration,
}

/// How much a batch held before its newest input record.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    outgoing: usize,
    after_commit: usize,
    bytes: usize,
}

/// The coordinate of an input record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Coordinate {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Collects what a [`Processor`](super::Processor) makes of the records of one transaction.
pub struct Batch {
    outgoing: Vec<Outgoing>,
    origins: Vec<u32>,
    inputs: Vec<Coordinate>,
    positions: Vec<Position>,
    after_commit: Vec<AfterCommit>,
    bytes: usize,
    record_bytes_max: usize,
    newest: Mark,
    postponed: Option<Postponed>,
}

impl Batch {
    pub(crate) fn new(record_bytes_max: usize) -> Self {
        Self {
            outgoing: Vec::new(),
            origins: Vec::new(),
            inputs: Vec::new(),
            positions: Vec::new(),
            after_commit: Vec::new(),
            bytes: 0,
            record_bytes_max,
            newest: Mark::default(),
            postponed: None,
        }
    }

    /// Adds a record to the transaction.
    ///
    /// # Errors
    /// [`TooLarge`] when Kafka would refuse the record; nothing was added, and the caller writes something
    /// smaller instead (a dead letter, as a rule).
    pub fn send(&mut self, outgoing: Outgoing) -> Result<(), TooLarge> {
        let bytes = outgoing.bytes();
        if bytes > self.record_bytes_max {
            return Err(TooLarge { bytes, limit: self.record_bytes_max });
        }
        self.bytes += bytes;
        self.origins.push(u32::try_from(self.inputs.len().saturating_sub(1)).unwrap_or(u32::MAX));
        self.outgoing.push(outgoing);
        Ok(())
    }

    /// Has `action` run once the transaction is committed: for counters that must not count what was rolled back.
    /// It runs on the transaction's own thread, in batch order, and must not block. It is left out where it stayed
    /// unknown whether a transaction was committed.
    pub fn on_commit(&mut self, action: impl FnOnce() + Send + 'static) {
        self.after_commit.push(Box::new(action));
    }

    /// Drops what the present input record has led to and has the record presented again after a while: for what
    /// passes, like a schema registry that is down. No later record is read meanwhile.
    pub fn postpone(&mut self, why: impl Into<String>, again_after: Duration) {
        self.postponed = Some(Postponed { why: why.into(), again_after });
    }

    /// Number of input records so far.
    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Bytes of the outgoing records so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes note of the record whose results follow.
    pub(crate) fn begin_input(&mut self, record: &Record) {
        let topic = record.topic.clone();
        self.inputs.push(Coordinate { topic, partition: record.partition, offset: record.offset });
        let (outgoing, after_commit) = (self.outgoing.len(), self.after_commit.len());
        self.newest = Mark { outgoing, after_commit, bytes: self.bytes };
    }

    /// Ends the results of the record begun last: moves its partition's position, or takes everything back when it
    /// was postponed.
    pub(crate) fn end_input(&mut self) -> Option<Postponed> {
        let Some(postponed) = self.postponed.take() else {
            self.advance();
            return None;
        };
        self.inputs.pop();
        self.outgoing.truncate(self.newest.outgoing);
        self.origins.truncate(self.newest.outgoing);
        self.after_commit.truncate(self.newest.after_commit);
        self.bytes = self.newest.bytes;
        Some(postponed)
    }

    fn advance(&mut self) {
        let Some(Coordinate { topic, partition, offset }) = self.inputs.last() else { return };
        let next = offset + 1;
        match self.positions.iter_mut().find(|p| p.partition == *partition && p.topic == *topic) {
            Some(position) => position.next = next,
            None => {
                let (topic, partition) = (topic.clone(), *partition);
                self.positions.push(Position { topic, partition, next });
            }
        }
    }

    pub(crate) fn outgoing(&self) -> &[Outgoing] {
        &self.outgoing
    }

    pub(crate) fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// Returns the input record that the outgoing record number `index` comes from.
    pub(crate) fn origin(&self, index: usize) -> Option<&Coordinate> {
        self.inputs.get(*self.origins.get(index)? as usize)
    }

    /// Returns the input record, where the batch has a single one.
    pub(crate) fn single_input(&self) -> Option<&Coordinate> {
        match self.inputs.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    pub(crate) fn take_after_commit(&mut self) -> Vec<AfterCommit> {
        std::mem::take(&mut self.after_commit)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;

    fn record(topic: &str, partition: i32, offset: i64) -> Record {
        Record {
            topic: topic.into(),
            partition,
            offset,
            epoch: 1,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp_ms: 0,
        }
    }

    fn outgoing(bytes: usize) -> Outgoing {
        Outgoing {
            topic: "out".into(),
            partition: None,
            key: None,
            value: Some(Bytes::from(vec![0; bytes])),
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }

    #[test]
    fn the_position_of_each_partition_is_after_its_last_record() {
        let mut batch = Batch::new(1000);
        for (partition, offset) in [(0, 4), (1, 7), (0, 9)] {
            batch.begin_input(&record("raw.a", partition, offset));
            assert_eq!(batch.end_input(), None);
        }
        let found: Vec<_> = batch.positions().iter().map(|p| (p.partition, p.next)).collect();
        assert_eq!(found, [(0, 10), (1, 8)]);
    }

    #[test]
    fn an_outgoing_record_knows_its_input() {
        let mut batch = Batch::new(1000);
        batch.begin_input(&record("raw.a", 0, 4));
        batch.send(outgoing(1)).unwrap();
        batch.begin_input(&record("raw.a", 0, 5));
        batch.send(outgoing(1)).unwrap();
        batch.send(outgoing(1)).unwrap();
        let origins: Vec<_> = (0..3).map(|i| batch.origin(i).unwrap().offset).collect();
        assert_eq!(origins, [4, 5, 5]);
        assert_eq!(batch.origin(3), None);
    }

    #[test]
    fn a_postponed_record_leaves_no_trace() {
        let mut batch = Batch::new(1000);
        batch.begin_input(&record("raw.a", 0, 4));
        batch.send(outgoing(1)).unwrap();
        assert_eq!(batch.end_input(), None);
        let bytes = batch.bytes();
        batch.begin_input(&record("raw.a", 0, 5));
        batch.send(outgoing(1)).unwrap();
        batch.on_commit(|| {});
        batch.postpone("registry down", Duration::from_secs(1));
        assert!(batch.end_input().is_some_and(|postponed| postponed.why == "registry down"));
        assert_eq!((batch.inputs(), batch.outgoing().len(), batch.bytes()), (1, 1, bytes));
        assert_eq!(batch.positions(), [Position { topic: "raw.a".into(), partition: 0, next: 5 }]);
        assert!(batch.take_after_commit().is_empty());
    }

    #[test]
    fn what_is_too_large_is_refused_and_not_added() {
        let mut batch = Batch::new(1000);
        batch.begin_input(&record("raw.a", 0, 4));
        assert!(matches!(batch.send(outgoing(2000)), Err(TooLarge { limit: 1000, .. })));
        assert_eq!((batch.outgoing().len(), batch.bytes()), (0, 0));
    }
}
