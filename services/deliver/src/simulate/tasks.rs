//! The steps of a simulated lane that are under way.

use domain::time::UnixMillis;
use kafka_io::{Effect, Taken};

use super::{receiver::Reply, watch::Flight};
use crate::{gate::Slot, held::Held};

/// Steps under way; each has one event to come.
#[derive(Default)]
pub(super) struct Tasks {
    all: Vec<Option<(u32, Task)>>,
    free: Vec<usize>,
    stamp: u32,
}

pub(super) enum Task {
    Read(Box<Taken>),
    Attempt(Box<Flying>),
    /// The receipt of a failed attempt is being written; the next one is due at this time.
    Receipt(Box<Held>, u64),
    Rest(Box<Held>),
    /// The last receipt, or a dead letter, is being written.
    Record {
        id: usize,
        offset: i64,
        bytes: usize,
        effect: Option<Effect>,
    },
}

pub(super) struct Flying {
    pub(super) held: Box<Held>,
    pub(super) slot: Slot,
    pub(super) reply: Reply,
    pub(super) flight: Flight,
    pub(super) begun: UnixMillis,
}

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.all.len() == self.free.len()
    }

    pub(super) fn put(&mut self, task: Task) -> (usize, u32) {
        self.stamp += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        });
        self.all[place] = Some((self.stamp, task));
        (place, self.stamp)
    }

    pub(super) fn take(&mut self, place: usize, stamp: u32) -> Option<Task> {
        let slot = self.all.get_mut(place)?;
        let (_, task) = slot.take_if(|(of, _)| *of == stamp)?;
        self.free.push(place);
        Some(task)
    }

    /// Takes those that wait for their next attempt.
    #[allow(clippy::vec_box)] // the work takes them boxed
    pub(super) fn resting(&mut self) -> Vec<Box<Held>> {
        let mut resting = Vec::new();
        for (place, slot) in self.all.iter_mut().enumerate() {
            if let Some((_, Task::Rest(held))) =
                slot.take_if(|(_, task)| matches!(task, Task::Rest(_)))
            {
                resting.push(held);
                self.free.push(place);
            }
        }
        resting
    }

    pub(super) fn in_flight(&self) -> impl Iterator<Item = &Flying> {
        self.all.iter().flatten().filter_map(|(_, task)| match task {
            Task::Attempt(flying) => Some(&**flying),
            Task::Read(_) | Task::Receipt(..) | Task::Rest(_) | Task::Record { .. } => None,
        })
    }
}
