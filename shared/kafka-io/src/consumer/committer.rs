//! Commits offsets on a thread of its own, so that a slow answer holds up nobody who reads.
//!
//! The client hands out no answer to an asynchronous commit (librdkafka posts it only where a C callback is set, which
//! the crate's event loop does not do), so each commit here waits for its answer. It decides nothing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::Offset;

use super::{GroupConsumer, GroupError, Partition, Wake, native};

/// Commits that wait for their turn; the lanes ask for one at a time, the watcher of idle partitions for another.
const WAITING: usize = 4;

/// A commit that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The positions that stand. A partition that alone was refused is among them when others were taken: the client
    /// says no more. It is repeated after a restart then.
    pub(crate) positions: Vec<(Partition, i64)>,
    pub(crate) failure: Option<String>,
    pub(crate) took: Duration,
}

/// Dropping it lets the thread end after the commit it is at.
pub(super) struct Committer {
    wanted: SyncSender<Vec<(Partition, i64)>>,
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
    pub(super) fn commit(&self, positions: Vec<(Partition, i64)>) -> bool {
        self.wanted.try_send(positions).is_ok()
    }
}

fn run(consumer: &GroupConsumer, asked: &Receiver<Vec<(Partition, i64)>>, wake: &Wake) {
    for positions in asked {
        let begun = Instant::now();
        let failure = commit(consumer, &positions).err().map(|why| why.to_string());
        let positions = if failure.is_none() { positions } else { Vec::new() };
        consumer.context().commit_ended(Committed { positions, failure, took: begun.elapsed() });
        wake.wake();
    }
}

fn commit(consumer: &GroupConsumer, positions: &[(Partition, i64)]) -> Result<(), GroupError> {
    let list = native::list(
        positions.iter().map(|(p, next)| (&*p.topic, p.partition, Offset::Offset(*next))),
    )?;
    consumer.commit(&list, CommitMode::Sync).map_err(|why| GroupError::new("commit offsets", why))
}
