//! The slots as one: who is free, which batch comes next, and what has become of the others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::TransactOptions;
use super::batch::Batch;
use super::slot::{Done, Job, Report, Shared, SlotEnd, Worker};
use super::turns::Turns;
use crate::config::Config;
use crate::consumer::{GroupConsumer, Wake};
use crate::transactional_producer::{
    OFFSETS_SLICE, TransactionError, TransactionalOptions, TransactionalProducer,
};

/// What a call that sends offsets takes at most, with a second for a busy machine.
const OFFSETS_MAX: Duration = OFFSETS_SLICE.saturating_add(Duration::from_secs(1));
/// How often a thread that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

struct Slot {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

/// All slots of one session.
pub(super) struct Crew {
    slots: Vec<Slot>,
    // The slot that has been free the longest goes first, so that its last markers are written by now.
    free: VecDeque<usize>,
    reports: Receiver<Report>,
    shared: Arc<Shared>,
    next: u64,
    under_way: usize,
}

impl Crew {
    /// Starts the slots; each initialises its transactional id at once.
    pub(super) fn hire(
        config: &Config,
        options: &TransactOptions,
        wake: &Arc<Wake>,
    ) -> Result<Self, TransactionError> {
        let shared = Arc::new(Shared {
            turns: Turns::new(),
            given_up: AtomicBool::new(false),
            dismissed: AtomicBool::new(false),
            sending_offsets: Mutex::new(None),
            hook: options.hook.clone(),
            embedded: config.embedded,
            wake: wake.clone(),
        });
        let (sender, reports) = channel();
        let slots = (0..options.slots.max(1))
            .map(|slot| start(slot, config, options, &shared, &sender))
            .collect::<Result<Vec<_>, _>>()
            // Those that were started would go on asking for their ids.
            .inspect_err(|_| shared.dismiss())?;
        let free = (0..slots.len()).collect();
        Ok(Self { slots, free, reports, shared, next: 0, under_way: 0 })
    }

    /// Returns true once every slot has initialised its id, and false when `go_on` ends before that.
    pub(super) fn ready(&self, go_on: impl Fn() -> bool) -> Result<bool, SlotEnd> {
        let mut missing = self.slots.len();
        while missing > 0 {
            match self.reports.recv_timeout(Duration::from_millis(50)) {
                Ok(Report::Ready) => missing -= 1,
                Ok(Report::Ended(end)) => return Err(end),
                Ok(Report::Done(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
            }
            if missing > 0 && !go_on() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Gives a batch to the next slot; gives it back when none is free.
    pub(super) fn dispatch(&mut self, batch: Batch, consumer: Arc<GroupConsumer>) -> Option<Batch> {
        let Some(slot) = self.free.pop_front() else { return Some(batch) };
        let job = Job { number: self.next, batch, consumer };
        match self.slots[slot].jobs.try_send(job) {
            Ok(()) => {
                self.next += 1;
                self.under_way += 1;
                None
            }
            // A slot that is gone has said so in its report, which the caller is about to read.
            Err(refused) => Some(match refused {
                std::sync::mpsc::TrySendError::Full(job)
                | std::sync::mpsc::TrySendError::Disconnected(job) => job.batch,
            }),
        }
    }

    /// Returns a batch that has ended, waiting for it up to `wait`.
    pub(super) fn ended(&mut self, wait: Duration) -> Result<Option<Done>, SlotEnd> {
        let report = match self.reports.recv_timeout(wait) {
            Ok(report) => report,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err(gone()),
        };
        match report {
            Report::Ready => Ok(None),
            Report::Ended(end) => Err(end),
            Report::Done(done) => {
                self.under_way -= 1;
                self.free.push_back(done.slot);
                Ok(Some(*done))
            }
        }
    }

    /// Says whether a call that sends offsets does not end though its time is over.
    pub(super) fn hangs(&self) -> bool {
        is_overdue(*self.shared.sending_offsets.lock(), Instant::now())
    }

    /// Has every batch under way that is not yet committing rolled back.
    pub(super) fn break_all(&self) {
        self.shared.turns.break_all();
    }

    /// Ends calls that would be made again until they succeed; or allows them again.
    pub(super) fn give_up(&self, given_up: bool) {
        self.shared.given_up.store(given_up, Ordering::Relaxed);
    }

    /// Begins the numbers anew, after batches were rolled back. Only for when none is under way.
    pub(super) fn begin_anew(&mut self) {
        debug_assert_eq!(self.under_way, 0, "batches under way hold old numbers");
        self.shared.turns.reset();
        self.next = 0;
    }

    /// Ends all threads, and returns those that have not ended by the deadline: they are left behind.
    pub(super) fn dismiss(self, deadline: Instant) -> Vec<JoinHandle<()>> {
        self.shared.dismiss();
        let mut threads: Vec<_> = self.slots.into_iter().map(|slot| slot.thread).collect();
        loop {
            // A panic was caught inside and reported.
            threads.retain(|thread| !thread.is_finished());
            if threads.is_empty() || Instant::now() >= deadline {
                return threads;
            }
            thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Says whether a call that sends offsets, under way since then, should have ended by now.
fn is_overdue(since: Option<Instant>, now: Instant) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) > OFFSETS_MAX)
}

fn start(
    slot: usize,
    config: &Config,
    options: &TransactOptions,
    shared: &Arc<Shared>,
    reports: &Sender<Report>,
) -> Result<Slot, TransactionError> {
    let options = producer_options(slot, options);
    let producer = TransactionalProducer::new(config, &options)?;
    let name = options.transactional_id.clone();
    let worker = Worker {
        slot,
        config: config.clone(),
        options,
        shared: shared.clone(),
        producer,
        reports: reports.clone(),
    };
    let (jobs, queue) = sync_channel(1);
    let thread = thread::Builder::new()
        .name(name)
        .spawn(move || worker.run(&queue))
        .map_err(|why| TransactionError::fatal("start a thread", why.to_string()))?;
    Ok(Slot { jobs, thread })
}

fn producer_options(slot: usize, options: &TransactOptions) -> TransactionalOptions {
    let id = format!("{}-{}-{slot}", options.transactional_prefix, options.ordinal);
    TransactionalOptions {
        transaction_timeout: options.transaction_timeout,
        message_timeout: options.message_timeout,
        record_bytes_max: options.record_bytes_max,
        ..TransactionalOptions::new(id)
    }
}

fn gone() -> SlotEnd {
    SlotEnd::Panicked("all slots have ended".to_owned())
}

#[cfg(test)]
mod tests;
