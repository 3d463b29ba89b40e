//! What the service holds of a partition, and what the consumer's thread keeps of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use domain::offset_map::Head;

use crate::consumer::{Partition, Wake};
use crate::record::Record;

/// A record, and how far it had come when it was committed last, if it is being tried again.
#[derive(Debug)]
pub struct Taken {
    pub record: Record,
    pub head: Option<Head>,
}

/// The records of one partition, in order. Dropping it says that nothing of it is in flight any more: drop it last.
pub struct Lane {
    pub partition: Partition,
    /// Ends when the partition goes away.
    pub records: mpsc::Receiver<Taken>,
    /// Cancelled when the partition goes away: take no more records, finish what is in flight, drop the lane.
    pub closing: CancellationToken,
    _held: Guard,
}

/// Tells the consumer's thread when the lane is dropped.
struct Guard {
    gone: Arc<AtomicBool>,
    wake: Arc<Wake>,
}

/// The other end of a lane.
pub(super) struct Feed {
    pub(super) partition: Partition,
    records: Option<mpsc::Sender<Taken>>,
    closing: CancellationToken,
    gone: Arc<AtomicBool>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("partition", &self.partition).finish_non_exhaustive()
    }
}

/// Makes the two ends. `capacity` is as large as the window, so that the feed never finds the lane's channel full.
pub(super) fn lane(partition: &Partition, capacity: usize, wake: &Arc<Wake>) -> (Feed, Lane) {
    let (sender, records) = mpsc::channel(capacity.max(1));
    let closing = CancellationToken::new();
    let gone = Arc::new(AtomicBool::new(false));
    let held = Guard { gone: gone.clone(), wake: wake.clone() };
    let lane =
        Lane { partition: partition.clone(), records, closing: closing.clone(), _held: held };
    (Feed { partition: partition.clone(), records: Some(sender), closing, gone }, lane)
}

impl Feed {
    /// Hands a record out; false when the lane takes none any more.
    pub(super) fn send(&self, taken: Taken) -> bool {
        self.records.as_ref().is_some_and(|records| records.try_send(taken).is_ok())
    }

    /// Asks the service to finish.
    pub(super) fn close(&mut self) {
        self.closing.cancel();
        self.records = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.records.is_some()
    }

    /// Whether the service has dropped its end.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
        self.wake.wake();
    }
}
