//! What the service's tasks and the consumer's thread share: the tracker, the wake-up, and wishes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::LaneOptions;
use crate::consumer::{Partition, Wake};
use crate::tracker::{Completed, Tracker};
use domain::offset_map::Head;

/// Says that records are completed; may be cloned and used from any task.
#[derive(Clone, Debug)]
pub struct Acks {
    shared: Arc<Shared>,
}

impl Acks {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Says that a record is done with. A record of an assignment that has ended is passed over: another member reads
    /// it again.
    pub fn complete(&self, partition: &Partition, offset: i64) {
        self.shared.complete(partition, offset);
    }

    /// Says how far a record has come that is tried again, so that a restart goes on from there. Soon committed; a
    /// record of an assignment that has ended is passed over.
    pub fn retrying(&self, partition: &Partition, offset: i64, head: Head) {
        if self.shared.tracker.lock().retrying(partition, offset, head) {
            self.shared.changed(false);
        }
    }

    /// Takes note that a record has had its effect, and is to be completed soon: a crash before the commit repeats it.
    pub fn effect(&self) -> Effect {
        self.shared.effects.fetch_add(1, Ordering::AcqRel);
        Effect { shared: self.shared.clone() }
    }

    /// Says whether another record may have its effect: fewer than [`LaneOptions::repeats_max`] would come again after
    /// a crash now, and the [`LaneOptions::lease`] lasts.
    ///
    /// [`LaneOptions::repeats_max`]: crate::LaneOptions::repeats_max
    /// [`LaneOptions::lease`]: crate::LaneOptions::lease
    pub fn has_room(&self, now: Instant) -> bool {
        self.shared.repeats() < self.shared.repeats_max && self.is_leased(now)
    }

    /// Says whether the group has given word lately enough that the partitions are this member's.
    pub fn is_leased(&self, now: Instant) -> bool {
        self.shared.is_leased(now)
    }

    /// Waits until [`has_room`](Self::has_room).
    pub async fn room(&self) {
        let mut news = self.shared.room.subscribe();
        // The sender is ours, so that there is always an answer.
        let _ = news.wait_for(|()| self.has_room(Instant::now())).await;
    }
}

/// A record between its effect and its completion; dropped when it is complete, or will not be.
#[derive(Debug)]
pub struct Effect {
    shared: Arc<Shared>,
}

impl Drop for Effect {
    fn drop(&mut self) {
        self.shared.effects.fetch_sub(1, Ordering::AcqRel);
        self.shared.tell_room();
    }
}

pub(super) struct Shared {
    pub(super) tracker: Mutex<Tracker>,
    pub(super) wake: Arc<Wake>,
    /// Completions and failed attempts since the last commit began.
    changes: AtomicUsize,
    commit_completions: usize,
    /// Records with their effect that are not complete yet.
    effects: AtomicUsize,
    /// Completions that are not committed: outside of the commit under way, and in it.
    uncommitted: AtomicUsize,
    committing: AtomicUsize,
    repeats_max: usize,
    has_lease: bool,
    begun: Instant,
    /// Until when the lease lasts, in nanoseconds since it all began.
    leased_until: AtomicU64,
    /// Told when there may be room again.
    room: watch::Sender<()>,
    /// Set by the consumer's thread when a lane has no room.
    full: AtomicBool,
    wishes: Mutex<Wishes>,
}

#[derive(Default)]
struct Wishes {
    topics: Option<Vec<String>>,
    stop_by: Option<Instant>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(super) fn new(options: &LaneOptions) -> Self {
        Self {
            tracker: Mutex::default(),
            wake: Arc::default(),
            changes: AtomicUsize::new(0),
            commit_completions: options.commit_completions,
            effects: AtomicUsize::new(0),
            uncommitted: AtomicUsize::new(0),
            committing: AtomicUsize::new(0),
            repeats_max: options.repeats_max,
            has_lease: options.lease.is_some(),
            begun: Instant::now(),
            leased_until: AtomicU64::new(0),
            room: watch::Sender::new(()),
            full: AtomicBool::new(false),
            wishes: Mutex::default(),
        }
    }

    fn complete(&self, partition: &Partition, offset: i64) {
        if self.tracker.lock().completed(partition, offset) == Completed::Done {
            self.uncommitted.fetch_add(1, Ordering::AcqRel);
            // A full lane may be read again.
            self.changed(self.full.swap(false, Ordering::AcqRel));
        }
    }

    /// Counts what a commit is to say, and wakes the thread if it has something to do.
    fn changed(&self, made_room: bool) {
        let before = self.changes.fetch_add(1, Ordering::AcqRel);
        // The first begins the time until the commit.
        if made_room || before == 0 || before + 1 == self.commit_completions {
            self.wake.wake();
        }
    }

    pub(super) fn changes(&self) -> usize {
        self.changes.load(Ordering::Acquire)
    }

    /// Counts from now on what completes after the commit that begins.
    pub(super) fn commit_begins(&self) {
        self.changes.store(0, Ordering::Release);
        let uncommitted = self.uncommitted.swap(0, Ordering::AcqRel);
        self.committing.fetch_add(uncommitted, Ordering::AcqRel);
    }

    /// Takes note of how the commit ended.
    pub(super) fn commit_ended(&self, stands: bool) {
        let committing = self.committing.swap(0, Ordering::AcqRel);
        if stands {
            self.tell_room();
        } else {
            self.uncommitted.fetch_add(committing, Ordering::AcqRel);
        }
    }

    /// Forgets what an earlier consumer could not commit: its partitions are read again from their positions.
    pub(super) fn begin_anew(&self) {
        self.uncommitted.store(0, Ordering::Release);
        self.committing.store(0, Ordering::Release);
        self.leased_until.store(0, Ordering::Release);
        self.tell_room();
    }

    /// Takes note until when the lease lasts; it is for the consumer that is open.
    pub(super) fn lease_lasts(&self, until: Instant) {
        self.leased_until.store(self.nanos(until), Ordering::Release);
    }

    fn is_leased(&self, now: Instant) -> bool {
        !self.has_lease || self.nanos(now) < self.leased_until.load(Ordering::Acquire)
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.begun).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn repeats(&self) -> usize {
        let count = |of: &AtomicUsize| of.load(Ordering::Acquire);
        count(&self.effects) + count(&self.uncommitted) + count(&self.committing)
    }

    fn tell_room(&self) {
        if self.room.receiver_count() > 0 && self.repeats() < self.repeats_max {
            self.room.send_replace(());
        }
    }

    /// Has the next completion that makes room wake the thread; false when that was wished for already.
    pub(super) fn wake_on_room(&self) -> bool {
        !self.full.swap(true, Ordering::AcqRel)
    }

    pub(super) fn set_topics(&self, topics: Vec<String>) {
        self.wishes.lock().topics = Some(topics);
        self.wake.wake();
    }

    pub(super) fn ask_to_stop(&self, by: Instant) {
        let mut wishes = self.wishes.lock();
        wishes.stop_by = Some(wishes.stop_by.map_or(by, |earlier| earlier.min(by)));
        self.wake.wake();
    }

    pub(super) fn new_topics(&self) -> Option<Vec<String>> {
        self.wishes.lock().topics.take()
    }

    pub(super) fn stop_by(&self) -> Option<Instant> {
        self.wishes.lock().stop_by
    }
}
