//! What the service's tasks and the consumer's thread share: the tracker, the wake-up, and wishes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::consumer::{Partition, Wake};
use crate::tracker::{Completed, Tracker};

/// Says that records are completed; may be cloned and used from any task.
#[derive(Clone, Debug)]
pub struct Acks {
    shared: Arc<Shared>,
}

impl Acks {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Says that a record is done with: its offset may be committed once all before it are. A record of an
    /// assignment that has ended is passed over: another member reads it again.
    pub fn complete(&self, partition: &Partition, offset: i64) {
        self.shared.complete(partition, offset);
    }
}

pub(super) struct Shared {
    pub(super) tracker: Mutex<Tracker>,
    pub(super) wake: Arc<Wake>,
    /// Completions since the last commit began.
    completions: AtomicUsize,
    commit_completions: usize,
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
    pub(super) fn new(commit_completions: usize) -> Self {
        Self {
            tracker: Mutex::default(),
            wake: Arc::default(),
            completions: AtomicUsize::new(0),
            commit_completions,
            full: AtomicBool::new(false),
            wishes: Mutex::default(),
        }
    }

    fn complete(&self, partition: &Partition, offset: i64) {
        let Completed::Freed { records } = self.tracker.lock().completed(partition, offset) else {
            return;
        };
        let before = self.completions.fetch_add(1, Ordering::AcqRel);
        // The first begins the time until the commit; a full lane may be read again.
        let due = before == 0 || before + 1 == self.commit_completions;
        if due || (records > 0 && self.full.swap(false, Ordering::AcqRel)) {
            self.wake.wake();
        }
    }

    pub(super) fn completions(&self) -> usize {
        self.completions.load(Ordering::Acquire)
    }

    pub(super) fn forget_completions(&self) {
        self.completions.store(0, Ordering::Release);
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
