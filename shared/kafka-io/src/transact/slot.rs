//! One transactional producer on a thread of its own: carries out one batch after the other.
//!
//! It decides nothing about other batches: turns do. It leaves no transaction open and no broken producer
//! behind: what fails is aborted, and where that fails, the producer is replaced before the report goes out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::Batch;
use super::panic_text;
use super::turns::{Broken, Stage, Turns};
use crate::config::Config;
use crate::consumer::{GroupConsumer, Hook, Wake};
use crate::transactional_producer::{
    Class, NextOffset, TransactionError, TransactionalOptions, TransactionalProducer,
};

/// How often a slot that waits looks whether it is still worth it.
const SLICE: Duration = Duration::from_millis(100);
/// How long a producer that replaces another may take to begin; then all of them begin anew.
const REPLACE_WITHIN: Duration = Duration::from_secs(15);
/// How long one call of `init_transactions` may take before it is made again.
const INIT_SLICE: Duration = Duration::from_secs(5);

/// What all slots and the reading thread share.
pub(super) struct Shared {
    pub(super) turns: Turns,
    /// Calls that are made again and again are not any more.
    pub(super) given_up: AtomicBool,
    /// The session is over: whoever is still here must not take an id back from its successor.
    pub(super) dismissed: AtomicBool,
    /// Since when a call is under way that sends offsets; never two at a time.
    pub(super) sending_offsets: Mutex<Option<Instant>>,
    pub(super) hook: Hook,
    /// Wakes the reading thread.
    pub(super) wake: Arc<Wake>,
    pub(super) embedded: bool,
}

impl Shared {
    /// Ends whatever can be ended: nobody waits for the slots any more.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.given_up.store(true, Ordering::Relaxed);
        self.turns.break_all();
    }
}

/// A batch to be carried out. The consumer goes back with it, so that the reading thread drops it last.
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) batch: Batch,
    pub(super) consumer: Arc<GroupConsumer>,
}

/// What a slot tells the reading thread.
pub(super) enum Report {
    /// Its transactional id is initialised.
    Ready,
    Done(Box<Done>),
    /// The slot is of no more use.
    Ended(SlotEnd),
}

/// Why a slot ended.
#[derive(Debug)]
pub(super) enum SlotEnd {
    Failed(TransactionError),
    Panicked(String),
}

/// A batch that is no longer under way.
pub(super) struct Done {
    pub(super) slot: usize,
    pub(super) batch: Batch,
    /// From the dispatch to the end, and of that the commit alone.
    pub(super) took: Duration,
    pub(super) commit: Duration,
    pub(super) outcome: Outcome,
}

/// How a batch ended. After every variant but the last the slot is ready for the next.
#[derive(Debug)]
pub(super) enum Outcome {
    Committed,
    /// An earlier batch failed, so this one was rolled back.
    Behind,
    Failed(TransactionError),
    /// The producer could not be replaced, or another process has its id.
    Fatal(TransactionError),
}

enum Stopped {
    Behind,
    Failed(TransactionError),
}

pub(super) struct Worker {
    pub(super) slot: usize,
    pub(super) config: Config,
    pub(super) options: TransactionalOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) producer: TransactionalProducer,
    pub(super) reports: Sender<Report>,
}

impl Worker {
    /// The life of a slot's thread; ends when `jobs` is closed.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let reports = self.reports.clone();
        let life = catch_unwind(AssertUnwindSafe(|| self.live(jobs)));
        let end = match life {
            Ok(Ok(())) => return,
            Ok(Err(error)) => SlotEnd::Failed(error),
            Err(panic) => SlotEnd::Panicked(panic_text(&*panic)),
        };
        self.shared.turns.break_all();
        // Nobody listens any more when the session is over already.
        let _ = reports.send(Report::Ended(end));
        self.shared.wake.wake();
    }

    fn live(&mut self, jobs: &Receiver<Job>) -> Result<(), TransactionError> {
        self.initialise(|| true)?;
        self.tell(Report::Ready);
        for job in jobs {
            let done = self.carry_out(job);
            self.tell(Report::Done(Box::new(done)));
        }
        Ok(())
    }

    fn tell(&self, report: Report) {
        let _ = self.reports.send(report);
        self.shared.wake.wake();
    }

    fn carry_out(&mut self, job: Job) -> Done {
        let Job { number, mut batch, consumer } = job;
        let started = Instant::now();
        let (mut begun, mut commit) = (false, Duration::ZERO);
        let result = self.transact(number, &mut batch, &consumer, &mut begun, &mut commit);
        let outcome = match result {
            Ok(()) => Outcome::Committed,
            Err(stopped) => {
                self.shared.turns.break_from(number);
                self.clean_up(stopped, begun)
            }
        };
        tracing::trace!(number, positions = ?batch.positions(), "positions");
        tracing::debug!(
            self.slot,
            number,
            ?outcome,
            took_ms = started.elapsed().as_millis(),
            "transaction ended"
        );
        Done { slot: self.slot, batch, took: started.elapsed(), commit, outcome }
    }

    fn transact(
        &mut self,
        number: u64,
        batch: &mut Batch,
        consumer: &GroupConsumer,
        begun: &mut bool,
        commit: &mut Duration,
    ) -> Result<(), Stopped> {
        let shared = self.shared.clone();
        shared.turns.wait(Stage::Produce, number)?;
        *begun = true;
        self.produce(number, batch)?;
        (shared.hook)("transact.after_flush");
        shared.turns.passed(Stage::Produce, number);

        shared.turns.wait(Stage::Offsets, number)?;
        tracing::trace!(self.slot, number, "written");
        let offsets = next_offsets(batch);
        let go_on = || !shared.given_up.load(Ordering::Relaxed);
        self.producer.send_offsets_noting(offsets, consumer, &shared.sending_offsets, go_on)?;
        (shared.hook)("transact.after_send_offsets");
        shared.turns.passed(Stage::Offsets, number);

        shared.turns.wait(Stage::Commit, number)?;
        tracing::trace!(self.slot, number, "offsets sent");
        let started = Instant::now();
        self.producer.commit(|| !shared.given_up.load(Ordering::Relaxed))?;
        *commit = started.elapsed();
        (shared.hook)("transact.after_commit");
        if shared.embedded {
            commit_plainly(batch, consumer);
        }
        batch.take_after_commit().into_iter().for_each(|action| action());
        shared.turns.passed(Stage::Commit, number);
        Ok(())
    }

    fn produce(&mut self, number: u64, batch: &Batch) -> Result<(), Stopped> {
        self.producer.begin()?;
        for outgoing in batch.outgoing() {
            self.producer.send(outgoing, self.options.message_timeout)?;
        }
        // Every record has its report in time: librdkafka's own limit sees to it.
        while !self.producer.written_within(SLICE)? {
            if self.shared.turns.is_broken(number) {
                return Err(Stopped::Behind);
            }
        }
        Ok(())
    }

    /// Ends the transaction that was begun, and makes the producer fit for the next.
    fn clean_up(&mut self, stopped: Stopped, begun: bool) -> Outcome {
        let (class, outcome) = match stopped {
            Stopped::Behind => (Class::Abortable, Outcome::Behind),
            Stopped::Failed(error) if error.class == Class::Fenced => return Outcome::Fatal(error),
            Stopped::Failed(error) => (error.class, Outcome::Failed(error)),
        };
        let fit = match class {
            _ if !begun => Ok(()),
            Class::Fatal | Class::Fenced => self.replace(),
            Class::Abortable | Class::Retriable => self.abort(),
        };
        match fit {
            Ok(()) => outcome,
            Err(error) => Outcome::Fatal(error),
        }
    }

    fn abort(&mut self) -> Result<(), TransactionError> {
        let shared = self.shared.clone();
        match self.producer.abort(|| !shared.given_up.load(Ordering::Relaxed)) {
            Ok(()) => Ok(()),
            Err(error) if error.class == Class::Fenced => Err(error),
            Err(error) => {
                let id = &self.options.transactional_id;
                tracing::warn!(transactional_id = id, %error, "transactional producer replaced");
                self.replace()
            }
        }
    }

    /// Makes a new producer with the same id; initialising it ends what the old one left open.
    fn replace(&mut self) -> Result<(), TransactionError> {
        if self.shared.dismissed.load(Ordering::Relaxed) {
            let why = "its session is over".to_owned();
            return Err(TransactionError::fatal("replace the producer", why));
        }
        self.producer = TransactionalProducer::new(&self.config, &self.options)?;
        let until = Instant::now() + REPLACE_WITHIN;
        self.initialise(|| Instant::now() < until)
    }

    fn initialise(&self, go_on: impl Fn() -> bool) -> Result<(), TransactionError> {
        loop {
            match self.producer.init(INIT_SLICE) {
                Err(error) if error.class == Class::Retriable && !self.given_up() && go_on() => {
                    let id = &self.options.transactional_id;
                    tracing::debug!(transactional_id = id, %error, "transactional id not initialised yet");
                }
                result => return result,
            }
        }
    }

    fn given_up(&self) -> bool {
        self.shared.given_up.load(Ordering::Relaxed)
    }
}

impl From<Broken> for Stopped {
    fn from(Broken: Broken) -> Self {
        Self::Behind
    }
}

impl From<TransactionError> for Stopped {
    fn from(error: TransactionError) -> Self {
        Self::Failed(error)
    }
}

fn next_offsets(batch: &Batch) -> impl Iterator<Item = NextOffset<'_>> {
    batch.positions().iter().map(|position| NextOffset {
        topic: &position.topic,
        partition: position.partition,
        next: position.next,
    })
}

/// The embedded broker drops offsets sent in a transaction.
fn commit_plainly(batch: &Batch, consumer: &GroupConsumer) {
    let mut offsets = TopicPartitionList::new();
    for NextOffset { topic, partition, next } in next_offsets(batch) {
        let added = offsets.add_partition_offset(topic, partition, Offset::Offset(next));
        debug_assert!(added.is_ok(), "an offset of a record is a valid offset");
    }
    if let Err(why) = consumer.commit(&offsets, CommitMode::Sync) {
        tracing::warn!(%why, "offsets not committed on the embedded broker; a restart repeats records");
    }
}
