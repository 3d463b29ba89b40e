//! One partition of one destination: takes records, starts attempts, settles them, in bounds.
//!
//! A lane knows nothing of the others: what it holds is bounded by its own channel and limits, so
//! that a stuck destination stops nobody else. One task runs it; attempts are futures of that task.
//! It does not commit; it says what is complete, and only once a receipt or a dead letter of it is
//! acknowledged.

mod crew;
mod handing;
mod steps;

use std::{collections::VecDeque, pin::pin, sync::Arc};

use futures::StreamExt;
use kafka_io::{Acks, Effect, Lane, Partition, Record, Taken};
use registry_io::DecodeError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wire::{Delivery, HandedOver, Receipt};

use crate::{
    fallback::Rule,
    gate::{Gate, Slot},
    held::{End, GivenUp, Held, Now, Tried},
    keys::Keys,
    shared::Place,
    story::Story,
};
use crew::Crew;
use domain::{dead_letter::Reason, time::UnixMillis};
use handing::Handed;

/// What performs what a lane decides, and tells it the time: the service's [`Crew`], or a simulation.
pub(crate) trait Hands {
    fn now(&self) -> UnixMillis;
    /// The clock that never steps.
    fn instant(&self) -> std::time::Instant;
    /// Decodes a delivery whose schema is known.
    fn decode(&self, record: &Record) -> Result<Delivery, DecodeError>;
    fn story(&self, record: &Record) -> Story;
    /// Returns the fallback that takes what is given up on for this reason.
    fn fallback(&self, held: &Held, reason: Reason) -> Option<Arc<Rule>>;
    /// Takes note that the destination says it is gone, to an attempt that began then.
    fn gone(&self, event_id: &str, begun: UnixMillis);
    /// A named point of the code is reached.
    fn hit(&self, point: &'static str);
    /// Begins a step; what it comes to goes to [`Work::took`].
    fn begin(&mut self, todo: Todo);
}

/// A step that a lane wants done.
pub(crate) enum Todo {
    /// Fetch the record's schema.
    Read(Box<Taken>),
    /// Wait until one more request may start.
    Slot,
    Attempt(Box<Held>, Slot),
    /// Record a failed attempt, and wait until the next one is due.
    Wait {
        held: Box<Held>,
        at: UnixMillis,
        receipt: Box<Receipt>,
    },
    /// Record a delivery.
    Settle {
        held: Box<Held>,
        receipt: Box<Receipt>,
        effect: Effect,
    },
    /// Record that it is given up on.
    GiveUp {
        held: Box<Held>,
        why: GivenUp,
        receipt: Box<Receipt>,
    },
    /// Write its event into the lane of its fallback.
    HandOver {
        held: Box<Held>,
        why: GivenUp,
        receipt: Box<Receipt>,
        rule: Arc<Rule>,
    },
    /// Record to which fallback its event went.
    TellHanded {
        held: Box<Held>,
        why: GivenUp,
        receipt: Box<Receipt>,
        to: (HandedOver, Effect),
    },
    /// Record that it is not for this destination.
    TurnAway {
        held: Box<Held>,
        why: GivenUp,
    },
    /// Record that it is no delivery.
    Bury {
        record: Box<Record>,
        story: Story,
        why: GivenUp,
    },
}

/// The most that a lane holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// What a step of a record came to.
pub(crate) enum Step {
    /// A record's schema was fetched, or it never decodes.
    Read { taken: Box<Taken>, read: Result<Box<Delivery>, String> },
    /// An attempt is over.
    Tried(Tried),
    /// The wait between two attempts is over.
    Due(Box<Held>),
    /// The destination takes one more request.
    Free(Slot),
    /// A delivery is given up on, and its event is with its fallback, or will be with nobody.
    Handed(Box<Handed>),
    /// The record's receipt or dead letter is acknowledged.
    Recorded { offset: i64, bytes: usize, effect: Option<Effect> },
    /// The lane stops: the record that waited stays where it is.
    Left(Option<Box<Held>>),
}

/// Runs a lane until its records end or its intake is stopped, and what is in flight is done.
pub(crate) async fn run(mut lane: Lane, place: Place, acks: Acks) {
    // Given up before the lane is, so that no two members have one share.
    let mut share = Some(place.gate.own());
    let (shared, partition) = (place.shared.clone(), lane.partition.clone());
    let mut work = Work::new(partition, &place, acks.clone(), Crew::new(place.clone(), acks));
    let mut cut_off_at = None;
    // Asked once, not for each step.
    let mut stopped = pin!(place.intake.clone().cancelled_owned());
    let mut closing = pin!(lane.closing.clone().cancelled_owned());
    loop {
        let drain = tokio::select! {
            biased;
            // A service that stops closes its lanes as well, and may take longer than a rebalance.
            () = &mut stopped, if !work.is_stopping() => Some(shared.config.drain()),
            () = &mut closing, if !work.is_stopping() => {
                shared.hook.hit("deliver.during_revoke");
                Some(shared.config.revoke_drain())
            }
            () = until(cut_off_at), if work.is_stopping() => break,
            // The next owner's attempts come on top of what other lanes have in flight here.
            () = place.gate.within_share(), if work.is_done() => break,
            Some(step) = work.hands.steps.next() => { work.took(step); None }
            record = lane.records.recv(), if work.has_room() => match record {
                Some(taken) => { work.take(taken); None }
                None => Some(shared.config.revoke_drain()),
            },
            else => break,
        };
        if let Some(drain) = drain {
            cut_off_at = Some(Instant::now() + drain);
            work.stop();
            drop(share.take());
        }
    }
    work.hands.tell_left(&work.partition);
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What a lane holds, and what it decides.
pub(crate) struct Work<H> {
    partition: Partition,
    bounds: Bounds,
    gate: Arc<Gate>,
    intake: CancellationToken,
    acks: Acks,
    pub(crate) hands: H,
    keys: Keys<Box<Held>>,
    /// Records whose turn it is, in the order of their requests.
    ready: VecDeque<Box<Held>>,
    /// Whether a slot is waited for: one future waits for all that are ready.
    waits_for_slot: bool,
    records: usize,
    bytes: usize,
    /// A record whose schema is being fetched: nothing may overtake it.
    reading: bool,
    stopping: bool,
}

impl Work<Crew> {
    /// Says whether it stops and nothing of it is under way.
    fn is_done(&self) -> bool {
        self.is_stopping() && self.hands.steps.is_empty()
    }

    fn new(partition: Partition, place: &Place, acks: Acks, crew: Crew) -> Self {
        let config = &place.shared.config;
        let bounds = Bounds { records: config.lane_records, bytes: config.lane_bytes };
        Self::with(crew, partition, bounds, (place.gate.clone(), place.intake.clone()), acks)
    }
}

impl<H: Hands> Work<H> {
    /// Begins with nothing; `intake` is cancelled when the lane stops.
    pub(crate) fn with(
        hands: H,
        partition: Partition,
        bounds: Bounds,
        (gate, intake): (Arc<Gate>, CancellationToken),
        acks: Acks,
    ) -> Self {
        Self {
            partition,
            bounds,
            gate,
            intake,
            acks,
            hands,
            keys: Keys::default(),
            ready: VecDeque::new(),
            waits_for_slot: false,
            records: 0,
            bytes: 0,
            reading: false,
            stopping: false,
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Returns what is held: taken and not done with.
    #[cfg(test)]
    pub(crate) fn holds(&self) -> Bounds {
        Bounds { records: self.records, bytes: self.bytes }
    }

    pub(crate) fn has_room(&self) -> bool {
        let room = self.records < self.bounds.records && self.bytes < self.bounds.bytes;
        room && !self.reading && !self.is_stopping() && !self.is_shut()
    }

    /// Says whether taking more in is no use: some wait already, and nothing of the destination's may
    /// start. With none that waits, the next one is taken, since only who asks finds it open again.
    fn is_shut(&self) -> bool {
        !self.ready.is_empty() && self.gate.is_shut()
    }

    /// Takes no more in, and begins no attempt.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.intake.cancel();
        self.leave_ready();
    }

    /// Leaves those whose turn it is where they are.
    fn leave_ready(&mut self) {
        for held in std::mem::take(&mut self.ready) {
            self.leave(&held);
        }
    }

    /// Has the commit say how far a record has come that is left: its budget may have stood still
    /// since its last attempt.
    fn leave(&self, held: &Held) {
        if held.has_begun() {
            self.note_head(held);
        }
    }

    fn both(&self) -> Now {
        Now { wall: self.hands.now(), steady: self.hands.instant() }
    }

    fn note_head(&self, held: &Held) {
        let head = held.head(self.both(), self.gate.stood_still());
        self.acks.retrying(&self.partition, held.record.offset, head);
    }

    pub(crate) fn take(&mut self, taken: Taken) {
        self.records += 1;
        self.bytes += taken.record.bytes();
        match self.hands.decode(&taken.record) {
            Ok(delivery) => self.admit(taken, delivery),
            Err(DecodeError::Undecodable(why)) => self.undecodable(taken.record, why),
            Err(DecodeError::Unknown(_) | DecodeError::Unavailable(_)) => {
                self.reading = true;
                self.hands.begin(Todo::Read(Box::new(taken)));
            }
        }
    }

    fn admit(&mut self, taken: Taken, delivery: Delivery) {
        let Taken { record, head } = taken;
        let mut story = self.hands.story(&record);
        story.tells(&delivery);
        let now = (self.both(), self.gate.stood_still());
        let held = Box::new(Held::new(record, delivery, story, head, now));
        if held.delivery.destination != self.gate.name {
            let why = stranger(&held.delivery.destination, &self.gate.name);
            return self.hands.begin(Todo::TurnAway { held, why });
        }
        let turn = held.turn.clone();
        if let Some(held) = self.keys.admit(&turn, held) {
            self.attempt(held);
        }
    }

    fn undecodable(&mut self, record: Record, message: String) {
        let story = self.hands.story(&record);
        let error_type = "undecodable".to_owned();
        let why = GivenUp { reason: Reason::Undecodable, error_type, message };
        self.hands.begin(Todo::Bury { record: Box::new(record), story, why });
    }

    pub(crate) fn took(&mut self, step: Step) {
        match step {
            Step::Read { taken, read } => {
                self.reading = false;
                match read {
                    Ok(delivery) => self.admit(*taken, *delivery),
                    Err(why) => self.undecodable(taken.record, why),
                }
            }
            Step::Tried(tried) => self.tried(tried),
            Step::Due(held) => self.attempt(held),
            Step::Free(slot) => {
                self.waits_for_slot = false;
                if let Some(held) = self.ready.pop_front() {
                    self.send(held, slot);
                }
                self.send_ready();
            }
            Step::Handed(handed) => self.handed(*handed),
            Step::Recorded { offset, bytes, effect } => {
                self.hands.hit("deliver.before_complete");
                self.acks.complete(&self.partition, offset);
                drop(effect);
                self.records -= 1;
                self.bytes -= bytes;
            }
            Step::Left(held) => {
                if let Some(held) = held {
                    self.leave(&held);
                }
            }
        }
    }

    fn tried(&mut self, tried: Tried) {
        let Tried { held, end } = tried;
        match end {
            End::Again { at, receipt } => {
                self.note_head(&held);
                self.hands.begin(Todo::Wait { held, at, receipt });
            }
            End::Gone { begun, receipt } => {
                let now = self.hands.now();
                self.hands.gone(&held.delivery.event_id, begun);
                // It keeps its place and its key's followers behind it until somebody enables the
                // destination: the gate holds what is ready.
                self.note_head(&held);
                self.hands.begin(Todo::Wait { held, at: now, receipt });
            }
            End::Delivered(receipt) => {
                self.next_of(&held);
                self.hands.begin(Todo::Settle { held, receipt, effect: self.acks.effect() });
            }
            End::GivenUp { why, receipt } => self.give_up(held, why, receipt),
        }
    }

    fn give_up(&mut self, held: Box<Held>, why: GivenUp, receipt: Box<Receipt>) {
        match self.hands.fallback(&held, why.reason) {
            // Its key's next one waits: it could be in the fallback's lane before it.
            Some(rule) => self.hands.begin(Todo::HandOver { held, why, receipt, rule }),
            None => {
                self.next_of(&held);
                self.hands.begin(Todo::GiveUp { held, why, receipt });
            }
        }
    }

    fn handed(&mut self, handed: Handed) {
        let Handed { held, why, receipt, successor } = handed;
        self.next_of(&held);
        match successor {
            Ok(to) => self.hands.begin(Todo::TellHanded { held, why, receipt, to }),
            Err(refused) => {
                let message = format!("{}; {refused}", why.message);
                let why = GivenUp { message, ..why };
                self.hands.begin(Todo::GiveUp { held, why, receipt });
            }
        }
    }

    /// Lets the key's next record run, if one waits.
    fn next_of(&mut self, held: &Held) {
        if let Some(next) = self.keys.settle(&held.turn) {
            self.attempt(next);
        }
    }

    /// Makes the next attempt once the destination takes it; a lane that stops begins none.
    fn attempt(&mut self, held: Box<Held>) {
        self.ready.push_back(held);
        self.send_ready();
    }

    fn send_ready(&mut self) {
        if self.intake.is_cancelled() {
            self.leave_ready();
        }
        while !self.waits_for_slot
            && let Some(held) = self.ready.pop_front()
        {
            let slot =
                self.acks.has_room(self.hands.instant()).then(|| self.gate.try_slot()).flatten();
            match slot {
                Some(slot) => self.send(held, slot),
                None => {
                    self.ready.push_front(held);
                    self.waits_for_slot = true;
                    self.hands.begin(Todo::Slot);
                }
            }
        }
    }

    fn send(&mut self, held: Box<Held>, slot: Slot) {
        self.hands.begin(Todo::Attempt(held, slot));
    }
}

fn stranger(named: &str, lane: &str) -> GivenUp {
    GivenUp {
        reason: Reason::DestinationUnknown,
        error_type: "destination_unknown".to_owned(),
        message: format!("the delivery is for {named:?}, but lies in the topic of {lane:?}"),
    }
}
