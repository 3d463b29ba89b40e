//! What is handed out, completed and committed, and when the next commit is due. Pure but for the lock it shares: it is
//! told the time, and its owner asks the brokers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::offset_map::OffsetMap;

use super::LaneOptions;
use super::acks::{Acks, Shared};
use super::cadence::Cadence;
use super::lease::Lease;
use crate::consumer::{Partition, Position};
use crate::tracker::{Delivered, Held};

/// Pause after a commit that failed.
pub(super) const COMMIT_AGAIN: Duration = Duration::from_millis(200);

/// The positions of one consumer, for as long as it is open.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    options: LaneOptions,
    cadence: Cadence,
    lease: Lease,
}

impl Ledger {
    /// Begins with nothing, shared with nobody yet.
    pub fn new(options: &LaneOptions) -> Self {
        Self::of(Arc::new(Shared::new(options)), options)
    }

    /// Begins anew what is shared: an earlier consumer's partitions are read again from their positions.
    pub(super) fn of(shared: Arc<Shared>, options: &LaneOptions) -> Self {
        shared.begin_anew();
        let cadence = Cadence::new(options.commit_every, options.commit_completions);
        let lease = Lease::new(options.lease);
        Self { shared, options: options.clone(), cadence, lease }
    }

    /// Returns the means to say that records are completed.
    pub fn acks(&self) -> Acks {
        Acks::new(self.shared.clone())
    }

    /// Begins a partition's epoch with what is committed of it.
    pub fn begin(&self, partition: &Partition, map: OffsetMap) {
        self.shared.tracker.lock().begin(partition, map);
    }

    /// Ends a partition's epoch: whatever completes from now on is passed over.
    pub fn end(&self, partition: &Partition) {
        self.shared.tracker.lock().end(partition);
    }

    /// Returns how many more records may be handed out, and what is.
    pub fn room(&self, partition: &Partition) -> (usize, Held) {
        let tracker = self.shared.tracker.lock();
        (tracker.room(partition, self.options.window_records), tracker.held(partition))
    }

    /// Says whether what is read now was read before this epoch. Where that ends, [`room`](Self::room) has to be asked
    /// anew: what is new has none in a full map.
    pub fn reads_again(&self, partition: &Partition) -> bool {
        self.shared.tracker.lock().reads_again(partition)
    }

    /// Returns what is handed out and not complete.
    pub fn held(&self, partition: &Partition) -> Held {
        self.shared.tracker.lock().held(partition)
    }

    /// Takes note of a record that was read, and says whether it goes to its lane.
    pub fn delivered(&self, partition: &Partition, offset: i64, bytes: usize) -> Delivered {
        self.shared.tracker.lock().delivered(partition, offset, bytes)
    }

    /// Begins a commit if one is due: with enough changes, or some that have waited, or to hear of the group. `open`
    /// says how many are not answered yet: one at a time.
    pub fn due(&mut self, open: usize, now: Instant) -> Option<Vec<Position>> {
        let due = self.cadence.is_due(self.shared.changes(), now);
        if open > 0 {
            return None;
        }
        let commit = if due { self.commit(now) } else { None };
        commit.or_else(|| if self.lease.is_due(now) { self.renew(now) } else { None })
    }

    /// Begins a commit of one position as it stands.
    fn renew(&mut self, now: Instant) -> Option<Vec<Position>> {
        let position = self.shared.tracker.lock().first_position()?;
        self.lease.asked(now);
        Some(vec![position])
    }

    /// Begins a commit of all that has changed, to be answered by [`refused`](Self::refused), or by
    /// [`answered`](Self::answered) and [`stand`](Self::stand).
    pub fn commit(&mut self, now: Instant) -> Option<Vec<Position>> {
        self.cadence.begun();
        self.shared.commit_begins();
        let positions = self.shared.tracker.lock().uncommitted();
        if positions.is_empty() {
            // What was to be committed belongs to another member by now.
            self.shared.commit_ended(true);
            return None;
        }
        self.lease.asked(now);
        Some(positions)
    }

    /// Takes note that the commit begun last was not sent.
    pub fn refused(&mut self, now: Instant) {
        self.shared.commit_ended(false);
        self.fail(now);
    }

    /// Takes note of answers to commits: whether one of them failed, and how many are open still.
    pub fn answered(&mut self, has_failed: bool, open: usize, now: Instant) {
        if open == 0 {
            if let Some(until) = self.lease.renewed().filter(|_| !has_failed) {
                self.shared.lease_lasts(until);
            }
            self.shared.commit_ended(!has_failed);
        }
        if has_failed {
            self.fail(now);
        }
    }

    fn fail(&mut self, now: Instant) {
        self.cadence.again(now + COMMIT_AGAIN);
        self.lease.refused(now + COMMIT_AGAIN);
    }

    /// Takes note of positions that stand.
    pub fn stand(&self, positions: &[Position]) {
        let mut tracker = self.shared.tracker.lock();
        for position in positions {
            tracker.committed(position);
        }
    }

    /// Says whether all that has changed is committed.
    pub fn is_committed(&self) -> bool {
        self.shared.tracker.lock().is_committed()
    }

    /// Says whether of these partitions nothing is left to commit; others go on and change all the time.
    pub fn are_committed<'a>(&self, partitions: impl IntoIterator<Item = &'a Partition>) -> bool {
        self.shared.tracker.lock().are_committed(partitions)
    }

    /// Returns when to look again whether a commit is due.
    pub fn next_at(&self, open: usize) -> Option<Instant> {
        let renewal = self.lease.next_at().filter(|_| !self.shared.tracker.lock().is_empty());
        self.cadence.at().into_iter().chain(renewal).min().filter(|_| open == 0)
    }

    /// Has the next completion that makes room wake the thread; false when that was wished for already.
    pub(super) fn wake_on_room(&self) -> bool {
        self.shared.wake_on_room()
    }
}
