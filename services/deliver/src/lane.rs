//! One partition of one destination: takes records, starts attempts, settles them, in bounds.
//!
//! A lane knows nothing of the others: what it holds is bounded by its own channel and window, so
//! that a stuck destination stops nobody else. It does not commit; it says what is complete.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use catalog_io::Destination;
use domain::{dead_letter::Reason, time::UnixMillis};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kafka_io::{Acks, Lane, Partition, Record};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    attempt::{self, Tried},
    keys::{Keys, Turn},
    letters,
    shared::Shared,
    verdict::{Next, Progress},
};

/// The most records of one partition held in memory, running, waiting and between attempts.
const HELD_MAX: usize = 1024;

/// A record on its way.
pub(crate) struct Held {
    pub(crate) record: Record,
    pub(crate) delivery: wire::Delivery,
    pub(crate) turn: Turn,
    pub(crate) first_attempt_at: Option<UnixMillis>,
    pub(crate) attempts_made: u32,
    pub(crate) trace: crate::trace::Story,
}

/// What a step of a record came to.
enum Step {
    /// The attempt is over: its turn may go to the next of the key, or it waits.
    Tried(Box<Tried>),
    /// The wait between two attempts is over.
    Due(Box<Held>),
    /// The record's receipt or dead letter is acknowledged.
    Recorded { offset: i64 },
}

/// How a lane ends.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// No further record is taken and no further attempt starts.
    pub(crate) intake: CancellationToken,
}

/// Runs a lane until its records end or its intake is stopped and what is in flight is done.
pub(crate) async fn run(
    mut lane: Lane,
    destination: Arc<Destination>,
    slots: Arc<Semaphore>,
    shared: Arc<Shared>,
    acks: Acks,
    ends: Ends,
) {
    let mut work = Work {
        partition: lane.partition.clone(),
        destination,
        slots,
        shared,
        acks,
        keys: Keys::default(),
        steps: FuturesUnordered::new(),
        held: 0,
        stopping: false,
    };
    loop {
        let room = !work.stopping && work.held < HELD_MAX;
        tokio::select! {
            biased;
            () = ends.intake.cancelled(), if !work.stopping => work.stopping = true,
            Some(step) = work.steps.next() => work.took(step),
            record = lane.records.recv(), if room => match record {
                Some(record) => work.take(record),
                None => work.stopping = true,
            },
            else => break,
        }
        if work.stopping && work.steps.is_empty() {
            break;
        }
    }
}

struct Work {
    partition: Partition,
    destination: Arc<Destination>,
    slots: Arc<Semaphore>,
    shared: Arc<Shared>,
    acks: Acks,
    keys: Keys<Box<Held>>,
    steps: FuturesUnordered<BoxFuture<'static, Step>>,
    held: usize,
    stopping: bool,
}

impl Work {
    fn take(&mut self, record: Record) {
        self.held += 1;
        match self.shared.decode(&record) {
            Ok(delivery) => {
                let turn = turn(&record, &delivery);
                let trace = self.shared.story(&record, &delivery);
                let held = Held {
                    record,
                    delivery,
                    turn: turn.clone(),
                    first_attempt_at: None,
                    attempts_made: 0,
                    trace,
                };
                if let Some(held) = self.keys.admit(&turn, Box::new(held)) {
                    self.attempt(held);
                }
            }
            Err(why) => {
                let letter = letters::undecodable(&record, &self.shared, &why);
                self.record(record.offset, letter);
            }
        }
    }

    fn took(&mut self, step: Step) {
        match step {
            Step::Tried(tried) => self.tried(*tried),
            Step::Due(held) if !self.stopping => self.attempt(held),
            // Not committed, so the partition's next owner tries it again.
            Step::Due(_) => {}
            Step::Recorded { offset } => {
                self.shared.hook.hit("deliver.before_complete");
                self.acks.complete(&self.partition, offset);
                self.held -= 1;
            }
        }
    }

    fn attempt(&mut self, held: Box<Held>) {
        if self.stopping {
            return;
        }
        let (destination, slots) = (self.destination.clone(), self.slots.clone());
        let shared = self.shared.clone();
        self.steps.push(Box::pin(async move {
            Step::Tried(Box::new(attempt::run(held, destination, slots, shared).await))
        }));
    }

    fn tried(&mut self, tried: Tried) {
        let Tried { mut held, verdict, receipt } = tried;
        match verdict.next {
            Next::Again { at } => {
                self.shared.receipt(receipt);
                let wait = at.since(self.shared.now());
                held.attempts_made = held.attempts_made.max(1);
                self.steps.push(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    Step::Due(held)
                }));
            }
            Next::Settled => {
                let offset = held.record.offset;
                self.next_of(&held.turn);
                let receipt = self.shared.recorded(receipt);
                self.steps.push(Box::pin(async move {
                    receipt.await;
                    Step::Recorded { offset }
                }));
            }
            Next::DeadLetter { reason, message } => {
                self.next_of(&held.turn);
                self.shared.receipt(receipt);
                let letter = letters::given_up(&held, &self.shared, reason, &message);
                self.record(held.record.offset, letter);
            }
        }
    }

    /// Lets the key's next record run, if one waits.
    fn next_of(&mut self, turn: &Turn) {
        if let Some(next) = self.keys.settle(turn) {
            self.attempt(next);
        }
    }

    /// Writes a dead letter until it is acknowledged; only then the record is complete.
    fn record(&mut self, offset: i64, letter: letters::Letter) {
        let shared = self.shared.clone();
        self.steps.push(Box::pin(async move {
            shared.write_letter(letter).await;
            Step::Recorded { offset }
        }));
    }
}

fn turn(record: &Record, delivery: &wire::Delivery) -> Turn {
    match (delivery.order, &record.key) {
        (wire::Order::None, _) | (_, None) => Turn::Free,
        (_, Some(key)) => Turn::Key(Bytes::clone(key)),
    }
}
