//! Commits offsets on a thread of its own, so that a slow answer holds up nobody who reads.
//!
//! The client hands out no answer to an asynchronous commit (librdkafka posts it only where a C callback is set, which
//! the crate's event loop does not do), so each commit here waits for its answer. It decides nothing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use domain::offset_map::OffsetMap;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{GroupConsumer, GroupError, Partition, Wake};

/// Commits that wait for their turn; the lanes ask for one at a time, the watcher of idle partitions for another.
const WAITING: usize = 4;

/// What a commit says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: Partition,
    /// The offset of the next record to read.
    pub next: i64,
    /// What is complete beyond, as text; empty for nothing.
    pub metadata: String,
    /// Its owner's count of changes, so that it knows which of them the commit holds; 0 for none.
    pub changes: u64,
}

impl Position {
    /// Returns the position of a partition of which nothing is complete beyond.
    pub(crate) fn plain(partition: Partition, next: i64) -> Self {
        Self { partition, next, metadata: String::new(), changes: 0 }
    }

    /// Returns what a map says, before anything has changed.
    pub(crate) fn of(partition: Partition, map: &OffsetMap) -> Self {
        Self { partition, next: map.commit_point(), metadata: map.encode().text, changes: 0 }
    }
}

/// A commit that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The positions that stand. A partition that alone was refused is among them when others were taken: the client
    /// says no more. It is repeated after a restart then.
    pub(crate) positions: Vec<Position>,
    pub(crate) failure: Option<String>,
    pub(crate) took: Duration,
}

/// Dropping it lets the thread end after the commit it is at.
pub(super) struct Committer {
    wanted: SyncSender<Vec<Position>>,
}

impl Committer {
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(consumer: Arc<GroupConsumer>, wake: Arc<Wake>) -> Result<Self, GroupError> {
        let (wanted, asked) = sync_channel(WAITING);
        thread::Builder::new()
            .name("commits".to_owned())
            .spawn(move || run(&consumer, &asked, &wake))
            .map_err(|why| GroupError::new("start the thread that commits", why))?;
        Ok(Self { wanted })
    }

    /// Has positions committed, soon. False when too many commits wait already.
    pub(super) fn commit(&self, positions: Vec<Position>) -> bool {
        self.wanted.try_send(positions).is_ok()
    }
}

fn run(consumer: &GroupConsumer, asked: &Receiver<Vec<Position>>, wake: &Wake) {
    for positions in asked {
        let begun = Instant::now();
        let failure = commit(consumer, &positions).err().map(|why| why.to_string());
        let positions = if failure.is_none() { positions } else { Vec::new() };
        consumer.context().commit_ended(Committed { positions, failure, took: begun.elapsed() });
        wake.wake();
    }
}

fn commit(consumer: &GroupConsumer, positions: &[Position]) -> Result<(), GroupError> {
    let failed = |why| GroupError::new("commit offsets", why);
    let mut list = TopicPartitionList::new();
    for Position { partition, next, metadata, .. } in positions {
        let mut element = list.add_partition(&partition.topic, partition.partition);
        element.set_offset(Offset::Offset(*next)).map_err(failed)?;
        if !metadata.is_empty() {
            element.set_metadata(metadata);
        }
    }
    consumer.commit(&list, CommitMode::Sync).map_err(failed)
}
