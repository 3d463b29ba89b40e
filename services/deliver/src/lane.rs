//! One partition of one destination: takes records, starts attempts, settles them, in bounds.
//!
//! A lane knows nothing of the others: what it holds is bounded by its own channel and limits, so
//! that a stuck destination stops nobody else. One task runs it; attempts are futures of that task.
//! It does not commit; it says what is complete, and only once a receipt or a dead letter of it is
//! acknowledged.

mod steps;

use std::{collections::VecDeque, future::Future, pin::pin, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kafka_io::{Acks, Effect, Lane, Partition, Record, Taken};
use registry_io::DecodeError;
use tokio::time::Instant;
use wire::Delivery;

use crate::{
    gate::Slot,
    held::{End, GivenUp, Held, Tried},
    keys::Keys,
    shared::Place,
    story::Story,
};
use domain::dead_letter::Reason;

/// What a step of a record came to.
enum Step {
    /// A record's schema was fetched, or it never decodes.
    Read { taken: Box<Taken>, read: Result<Box<Delivery>, String> },
    /// An attempt is over.
    Tried(Tried),
    /// The wait between two attempts is over.
    Due(Box<Held>),
    /// The destination takes one more request.
    Free(Slot),
    /// The record's receipt or dead letter is acknowledged.
    Recorded { offset: i64, bytes: usize, effect: Option<Effect> },
    /// The lane stops: the record that waited stays where it is.
    Left(Option<Box<Held>>),
}

/// Runs a lane until its records end or its intake is stopped, and what is in flight is done.
pub(crate) async fn run(mut lane: Lane, place: Place, acks: Acks) {
    // Given up before the lane is, so that no two members have one share.
    let _share = place.gate.own();
    let mut work = Work::new(lane.partition.clone(), place, acks);
    // Asked once, not for each step.
    let mut stopped = pin!(work.place.intake.clone().cancelled_owned());
    let mut closing = pin!(lane.closing.clone().cancelled_owned());
    loop {
        tokio::select! {
            biased;
            // A service that stops closes its lanes as well, and may take longer than a rebalance.
            () = &mut stopped, if !work.is_stopping() => {
                work.stop(work.place.shared.config.drain());
            }
            () = &mut closing, if !work.is_stopping() => {
                work.place.shared.hook.hit("deliver.during_revoke");
                work.stop(work.place.shared.config.revoke_drain());
            }
            () = until(work.cut_off_at), if work.is_stopping() => break,
            Some(step) = work.steps.next() => work.took(step),
            record = lane.records.recv(), if work.has_room() => match record {
                Some(taken) => work.take(taken),
                None => work.stop(work.place.shared.config.revoke_drain()),
            },
            else => break,
        }
        if work.is_stopping() && work.steps.is_empty() {
            break;
        }
    }
    work.tell_left();
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Work {
    partition: Partition,
    place: Place,
    acks: Acks,
    keys: Keys<Box<Held>>,
    /// Records whose turn it is, in the order of their requests.
    ready: VecDeque<Box<Held>>,
    /// Whether a slot is waited for: one future waits for all that are ready.
    waits_for_slot: bool,
    steps: FuturesUnordered<BoxFuture<'static, Step>>,
    records: usize,
    bytes: usize,
    /// A record whose schema is being fetched: nothing may overtake it.
    reading: bool,
    /// Set once the lane stops.
    cut_off_at: Option<Instant>,
}

impl Work {
    fn new(partition: Partition, place: Place, acks: Acks) -> Self {
        Self {
            partition,
            place,
            acks,
            keys: Keys::default(),
            ready: VecDeque::new(),
            waits_for_slot: false,
            steps: FuturesUnordered::new(),
            records: 0,
            bytes: 0,
            reading: false,
            cut_off_at: None,
        }
    }

    fn is_stopping(&self) -> bool {
        self.cut_off_at.is_some()
    }

    fn has_room(&self) -> bool {
        let config = &self.place.shared.config;
        let room = self.records < config.lane_records && self.bytes < config.lane_bytes;
        room && !self.reading && !self.is_stopping() && !self.is_shut()
    }

    /// Says whether taking more in is no use: some wait already, and nothing of the destination's may
    /// start. With none that waits, the next one is taken, since only who asks finds it open again.
    fn is_shut(&self) -> bool {
        !self.ready.is_empty() && self.place.gate.is_shut()
    }

    fn stop(&mut self, drain: Duration) {
        self.cut_off_at = Some(Instant::now() + drain);
        self.place.intake.cancel();
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
        if held.first_attempt_at.is_some() {
            self.note_head(held);
        }
    }

    fn note_head(&self, held: &Held) {
        let head = held.head(self.place.shared.now(), self.place.gate.stood_still());
        self.acks.retrying(&self.partition, held.record.offset, head);
    }

    fn take(&mut self, taken: Taken) {
        self.records += 1;
        self.bytes += taken.record.bytes();
        let value = taken.record.value.as_deref().unwrap_or_default();
        match self.place.shared.registry.decode_cached::<Delivery>(value) {
            Ok(delivery) => self.admit(taken, delivery),
            Err(DecodeError::Undecodable(why)) => self.undecodable(taken.record, why),
            Err(DecodeError::Unknown(_) | DecodeError::Unavailable(_)) => {
                self.reading = true;
                self.step(steps::read(self.place.clone(), Box::new(taken)));
            }
        }
    }

    fn admit(&mut self, taken: Taken, delivery: Delivery) {
        let Taken { record, head } = taken;
        let mut story = self.story(&record);
        story.tells(&delivery);
        let still = self.place.gate.stood_still();
        let held = Box::new(Held::new(record, delivery, story, head, still));
        if held.delivery.destination != self.place.gate.name {
            let why = stranger(&held.delivery.destination, &self.place.gate.name);
            return self.step(steps::turn_away(self.place.clone(), held, why));
        }
        let turn = held.turn.clone();
        if let Some(held) = self.keys.admit(&turn, held) {
            self.attempt(held);
        }
    }

    fn undecodable(&mut self, record: Record, message: String) {
        let story = self.story(&record);
        let error_type = "undecodable".to_owned();
        let why = GivenUp { reason: Reason::Undecodable, error_type, message };
        self.step(steps::bury(self.place.clone(), Box::new(record), story, why));
    }

    fn story(&self, record: &Record) -> Story {
        Story::begin(&self.place.shared, &self.place.gate, record)
    }

    fn took(&mut self, step: Step) {
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
            Step::Recorded { offset, bytes, effect } => {
                self.place.shared.hook.hit("deliver.before_complete");
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
        let place = self.place.clone();
        match end {
            End::Again { at, receipt } => {
                self.note_head(&held);
                self.step(steps::wait(place, held, at, receipt));
            }
            End::Gone { begun, receipt } => {
                let now = place.shared.now();
                let event_id = &held.delivery.event_id;
                place.shared.control.gone(&place.gate, event_id, begun, now);
                // It keeps its place and its key's followers behind it until somebody enables the
                // destination: the gate holds what is ready.
                self.note_head(&held);
                self.step(steps::wait(place, held, now, receipt));
            }
            End::Delivered(receipt) => {
                self.next_of(&held);
                self.step(steps::settle(place, held, receipt, self.acks.effect()));
            }
            End::GivenUp { why, receipt } => {
                self.next_of(&held);
                self.step(steps::give_up(place, held, why, receipt));
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
        if self.place.intake.is_cancelled() {
            self.leave_ready();
        }
        while !self.waits_for_slot
            && let Some(held) = self.ready.pop_front()
        {
            let slot = self.acks.has_room().then(|| self.place.gate.try_slot()).flatten();
            match slot {
                Some(slot) => self.send(held, slot),
                None => {
                    self.ready.push_front(held);
                    self.waits_for_slot = true;
                    self.step(steps::slot(self.place.clone(), self.acks.clone()));
                }
            }
        }
    }

    fn send(&mut self, held: Box<Held>, slot: Slot) {
        self.step(steps::attempt(self.place.clone(), held, slot));
    }

    fn step(&mut self, step: impl Future<Output = Step> + Send + 'static) {
        self.steps.push(Box::pin(step));
    }

    fn tell_left(&self) {
        if !self.steps.is_empty() {
            tracing::warn!(
                topic = &*self.partition.topic,
                partition = self.partition.partition,
                requests = self.steps.len(),
                "requests cut off, they are tried again"
            );
        }
    }
}

fn stranger(named: &str, lane: &str) -> GivenUp {
    GivenUp {
        reason: Reason::DestinationUnknown,
        error_type: "destination_unknown".to_owned(),
        message: format!("the delivery is for {named:?}, but lies in the topic of {lane:?}"),
    }
}
