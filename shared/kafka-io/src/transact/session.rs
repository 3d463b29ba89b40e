//! The reading thread between two openings of the consumer: reads, has records processed, hands batches to
//! slots, and rolls back what does not stand.
//!
//! All state about batches lies here; slots know one batch each. Rebalances are answered here as well: what is
//! open is committed or aborted before a partition is let go, or its new owner would read it again.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{Batch, Coordinate};
use super::crew::Crew;
use super::end::{End, again, consumer_failed, slot_end};
use super::pace::{Decision, Forming, Limits, Pace};
use super::slot::{Done, Outcome};
use super::suspects::Suspects;
use super::{EngineError, Processor, Transaction, Work, panic_text};
use crate::Partition;
use crate::consumer::{Event, Group, Take};
use crate::record::Record;
use crate::transactional_producer::TransactionError;

/// Longest wait for the consumer, so that a stop is noticed.
const IDLE: Duration = Duration::from_millis(50);
/// How often what is waited for is looked at while nothing else may happen.
const LOOK: Duration = Duration::from_millis(10);
/// Pause after the first failed batch; it doubles with each further one.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a batch that is rolled back may take to end; then its calls are given up.
const ROLL_BACK_MAX: Duration = Duration::from_secs(20);
/// What calls under way may still take after they were given up.
pub(super) const GRACE: Duration = Duration::from_secs(6);
/// The same where one has hung for long: the others only have to roll back, and it is fenced by its successor.
const GRACE_HUNG: Duration = Duration::from_millis(500);
/// Time that leaving the group has in any case.
const CLOSE_MIN: Duration = Duration::from_secs(2);

/// A record that is to be presented again.
struct Waiting {
    record: Record,
    due: Instant,
}

pub(super) struct Session<'a, 'b, P> {
    group: Group,
    crew: Crew,
    work: &'b mut Work<'a, P>,
    pace: Pace,
    suspects: Suspects,
    batch: Batch,
    closed_at: Instant,
    waiting: Option<Waiting>,
    events: VecDeque<Event>,
    /// Partitions whose reading position is ahead of what stands.
    rolled_back: BTreeSet<(Arc<str>, i32)>,
    faults: Vec<TransactionError>,
    /// A batch did not stand: all later ones end too, and their numbers begin anew.
    broken: bool,
    /// When batches under way have to be ended, where somebody waits for that.
    hurry: Option<Instant>,
    failures: u32,
    hold_until: Option<Instant>,
    /// When a batch ended last, or was begun while none was under way.
    moved_at: Instant,
}

impl<'a, 'b, P: Processor> Session<'a, 'b, P> {
    pub(super) fn new(group: Group, crew: Crew, work: &'b mut Work<'a, P>) -> Self {
        let options = work.options;
        let limits = Limits {
            records: options.batch_records,
            bytes: options.batch_bytes,
            interval_min: options.interval_min,
            interval_max: options.interval_max,
        };
        Self {
            group,
            crew,
            work,
            pace: Pace::new(limits, options.slots),
            suspects: Suspects::new(options.batch_records),
            batch: Batch::new(options.record_bytes_max),
            closed_at: Instant::now(),
            waiting: None,
            events: VecDeque::new(),
            rolled_back: BTreeSet::new(),
            faults: Vec::new(),
            broken: false,
            hurry: None,
            failures: 0,
            hold_until: None,
            moved_at: Instant::now(),
        }
    }

    /// Works until something ends it, and leaves no transaction open and no thread running where time allows.
    pub(super) fn run(mut self) -> End {
        let end = self.work();
        self.close(end)
    }

    fn work(&mut self) -> End {
        loop {
            if self.work.stop.asked() {
                return End::Stopped;
            }
            if let Err(end) = self.collect().and_then(|()| self.step()) {
                return end;
            }
        }
    }

    fn close(mut self, end: End) -> End {
        let end = match end {
            End::Stopped => self.settle(self.work.stop.deadline()).err().unwrap_or(End::Stopped),
            other => other,
        };
        let now = Instant::now();
        let limit = match end {
            End::Stopped => self.work.stop.deadline().max(now + CLOSE_MIN),
            End::Again { .. } | End::Dead(_) => now + GRACE,
            End::Hung { .. } => now + GRACE_HUNG,
        };
        let left = self.crew.dismiss(limit);
        let dismissed = left.is_empty();
        self.work.left.add(left);
        // A member that does not leave holds everybody's rebalance up, so there is always time for this.
        let time = limit.saturating_duration_since(Instant::now()).max(CLOSE_MIN);
        match (end, self.group.close(time)) {
            (End::Stopped, _) if !dismissed => End::Dead(EngineError::Deadline),
            (End::Stopped, Err(why)) => End::Dead(EngineError::Consumer { why: why.to_string() }),
            (end, _) => end,
        }
    }

    /// Takes note of the batches that have ended.
    fn collect(&mut self) -> Result<(), End> {
        self.group.note_commits();
        while let Some(done) = self.crew.ended(Duration::ZERO).map_err(slot_end)? {
            self.note(done)?;
        }
        if self.crew.under_way() > 0 && self.work.standstill.gives_up(self.moved_at.elapsed()) {
            let why = "a transaction stands still".to_owned();
            return Err(End::Again { why, pause: PAUSE_MIN });
        }
        self.look_for_hung()?;
        if self.broken { self.roll_back() } else { Ok(()) }
    }

    /// A call that librdkafka does not end is waited for by nobody: new producers go on.
    fn look_for_hung(&self) -> Result<(), End> {
        if self.crew.hangs() {
            Err(End::Hung { why: "the offsets' sending hangs" })
        } else {
            Ok(())
        }
    }

    fn note(&mut self, done: Done) -> Result<(), End> {
        let Done { batch, took, commit, outcome, .. } = done;
        self.moved_at = Instant::now();
        (self.work.options.told)(&Transaction {
            committed: matches!(outcome, Outcome::Committed),
            inputs: batch.inputs(),
            outgoing: batch.outgoing().len(),
            took,
            commit,
        });
        match outcome {
            Outcome::Committed => {
                self.pace.committed(took);
                self.suspects.committed(batch.positions());
                self.failures = 0;
                self.work.standstill.committed();
                for position in batch.positions() {
                    self.group.settled(&position.topic, position.partition, position.next);
                }
                let group = &self.work.group.group_id;
                self.work.metrics.commits(group, "").observe(commit.as_secs_f64());
            }
            Outcome::Behind => self.take_back(&batch),
            Outcome::Failed(error) => {
                self.take_back(&batch);
                self.suspect(&batch, &error);
                self.faults.push(error);
            }
            Outcome::Fatal(error) => return Err(again(&error)),
        }
        Ok(())
    }

    fn take_back(&mut self, batch: &Batch) {
        self.broken = true;
        let partitions = batch.positions().iter().map(|p| (p.topic.clone(), p.partition));
        self.rolled_back.extend(partitions);
    }

    fn suspect(&mut self, batch: &Batch, error: &TransactionError) {
        if error.poisoned {
            let named = error.record.and_then(|number| batch.origin(number));
            let culprit = named.or(batch.single_input()).cloned();
            self.suspects.refused(culprit, batch.inputs(), &error.why);
        }
    }

    /// Does the next thing: an event that waits, a closed batch, a record.
    fn step(&mut self) -> Result<(), End> {
        if let Some(event) = self.events.pop_front() {
            return self.handle(event);
        }
        if let Some(topics) = self.work.stop.new_topics() {
            self.work.group.topics.clone_from(&topics);
            self.group.set_topics(topics).map_err(|why| consumer_failed(&why))?;
        }
        let now = Instant::now();
        if self.hold_until.is_some_and(|until| now < until) || !self.rewind()? {
            return self.listen(LOOK);
        }
        self.hold_until = None;
        match self.decide(now) {
            Decision::Close => {
                self.dispatch();
                Ok(())
            }
            _ if self.waiting.is_some() => self.present_again(now),
            Decision::Hold => self.listen(IDLE),
            Decision::Read => self.read(IDLE),
            Decision::ReadFor(wait) => self.read(wait.min(IDLE)),
        }
    }

    fn decide(&self, now: Instant) -> Decision {
        let forming = Forming { records: self.batch.inputs(), bytes: self.batch.bytes() };
        let free = self.crew.has_free() && self.may_dispatch();
        if forming.records >= self.suspects.batch_records_max() {
            return if free { Decision::Close } else { Decision::Hold };
        }
        self.pace.decide(forming, now.duration_since(self.closed_at), free)
    }

    fn read(&mut self, wait: Duration) -> Result<(), End> {
        self.next(wait, Take::Records)
    }

    /// Lets the group go on without taking a record.
    fn listen(&mut self, wait: Duration) -> Result<(), End> {
        self.next(wait, Take::EventsOnly)
    }

    /// Handles what happens in the group. Returns early when a slot has something to say.
    fn next(&mut self, wait: Duration, take: Take) -> Result<(), End> {
        match self.group.next(Duration::ZERO, take) {
            Event::Nothing => {
                self.group.wait(wait);
                Ok(())
            }
            event => self.handle(event),
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Nothing => Ok(()),
            Event::Record(record) => self.take(record),
            Event::Assigned(partitions) => {
                self.group.assign(&partitions).map(drop).map_err(|why| consumer_failed(&why))
            }
            Event::Revoked(partitions) => self.let_go(&partitions),
            Event::Lost(partitions) => self.lose(&partitions),
            Event::Broken(why) => Err(consumer_failed(&why)),
        }
    }

    /// Has a record processed into the batch being formed.
    fn take(&mut self, record: Record) -> Result<(), End> {
        let at = Coordinate {
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
        };
        tracing::trace!(record.partition, record.offset, record.epoch, "record taken");
        let refusal = self.suspects.refusal(&at);
        let (processor, batch) = (&mut *self.work.processor, &mut self.batch);
        batch.begin_input(&record);
        let call = AssertUnwindSafe(|| match refusal {
            None => processor.process(&record, batch),
            Some(refusal) => processor.refused(&record, refusal, batch),
        });
        catch_unwind(call).map_err(|panic| {
            let at = format!("{}[{}]@{}", record.topic, record.partition, record.offset);
            End::Dead(EngineError::Processor { at, why: panic_text(&*panic) })
        })?;
        if let Some(postponed) = self.batch.end_input() {
            tracing::warn!(
                topic = &*record.topic,
                record.partition,
                record.offset,
                why = postponed.why,
                "record postponed"
            );
            self.waiting = Some(Waiting { record, due: Instant::now() + postponed.again_after });
        }
        Ok(())
    }

    fn present_again(&mut self, now: Instant) -> Result<(), End> {
        match self.waiting.take() {
            Some(waiting) if waiting.due <= now => self.take(waiting.record),
            Some(waiting) => {
                let wait = waiting.due.duration_since(now).min(LOOK);
                self.waiting = Some(waiting);
                self.listen(wait)
            }
            None => Ok(()),
        }
    }

    /// A plain commit under way (of a first position, or past markers) could come after the transaction's offsets,
    /// and set the group back.
    fn may_dispatch(&self) -> bool {
        self.group.commits_open() == 0
    }

    fn dispatch(&mut self) {
        let forming = Forming { records: self.batch.inputs(), bytes: self.batch.bytes() };
        let fresh = Batch::new(self.work.options.record_bytes_max);
        let batch = std::mem::replace(&mut self.batch, fresh);
        if self.crew.under_way() == 0 {
            self.moved_at = Instant::now();
        }
        match self.crew.dispatch(batch, self.group.consumer()) {
            None => {
                self.pace.closed(forming);
                self.closed_at = Instant::now();
            }
            Some(back) => self.batch = back,
        }
    }

    /// Commits or aborts what is open for partitions that another member gets, and lets them go.
    fn let_go(&mut self, partitions: &[Partition]) -> Result<(), End> {
        (self.work.options.hook)("transact.during_revoke");
        self.settle(Instant::now() + self.work.group.drain_budget())?;
        self.release(partitions)
    }

    /// Aborts what is open for partitions that are another member's already.
    fn lose(&mut self, partitions: &[Partition]) -> Result<(), End> {
        self.break_all();
        self.take_back_all();
        self.settle(Instant::now() + self.work.group.drain_budget())?;
        self.release(partitions)
    }

    fn release(&mut self, partitions: &[Partition]) -> Result<(), End> {
        for Partition { topic, partition, .. } in partitions {
            self.rolled_back.remove(&(topic.clone(), *partition));
            self.suspects.forget(topic, *partition);
            let ours = |w: &Waiting| w.record.partition == *partition && w.record.topic == *topic;
            self.waiting.take_if(|waiting| ours(waiting));
        }
        self.group.unassign(partitions).map_err(|why| consumer_failed(&why))
    }

    /// Ends every open batch: commits it if that succeeds before the deadline, else rolls it back.
    fn settle(&mut self, deadline: Instant) -> Result<(), End> {
        while self.batch.inputs() > 0 && !self.broken && Instant::now() < deadline {
            if self.may_dispatch() {
                self.dispatch();
            }
            self.await_one(LOOK)?;
        }
        while self.crew.under_way() > 0 && Instant::now() < deadline {
            self.await_one(LOOK)?;
        }
        if self.batch.inputs() > 0 || self.crew.under_way() > 0 {
            self.break_all();
            self.hurry(deadline);
        }
        if self.broken { self.roll_back() } else { Ok(()) }
    }

    fn break_all(&mut self) {
        self.broken = true;
        self.crew.break_all();
    }

    fn await_one(&mut self, wait: Duration) -> Result<(), End> {
        match self.crew.ended(wait).map_err(slot_end)? {
            Some(done) => self.note(done),
            None => Ok(()),
        }
    }

    /// Rolls back every batch that does not stand, and has its records read again.
    fn roll_back(&mut self) -> Result<(), End> {
        self.await_idle()?;
        self.take_back_all();
        self.crew.begin_anew();
        self.broken = false;
        let ours = |w: &Waiting, all: &BTreeSet<_>| {
            all.contains(&(w.record.topic.clone(), w.record.partition))
        };
        self.waiting.take_if(|waiting| ours(waiting, &self.rolled_back));
        let processor = &mut *self.work.processor;
        catch_unwind(AssertUnwindSafe(|| processor.forget())).map_err(|panic| {
            let at = "forget".to_owned();
            End::Dead(EngineError::Processor { at, why: panic_text(&*panic) })
        })?;
        self.pause();
        Ok(())
    }

    fn take_back_all(&mut self) {
        let fresh = Batch::new(self.work.options.record_bytes_max);
        let batch = std::mem::replace(&mut self.batch, fresh);
        self.take_back(&batch);
    }

    /// Waits until no batch is under way. The group is listened to meanwhile; its events are handled afterwards.
    fn await_idle(&mut self) -> Result<(), End> {
        let usual = Instant::now() + ROLL_BACK_MAX.min(self.work.options.transaction_timeout);
        while self.crew.under_way() > 0 {
            self.await_one(LOOK)?;
            self.look_for_hung()?;
            if self.work.stop.asked() {
                self.hurry(self.work.stop.deadline());
            }
            let patience = self.hurry.unwrap_or(usual);
            if Instant::now() > patience {
                self.crew.give_up(true);
            }
            if Instant::now() > patience + GRACE {
                let why = "a transaction could neither be committed nor aborted".to_owned();
                return Err(End::Again { why, pause: PAUSE_MIN });
            }
            if self.events.is_empty() {
                match self.group.next(Duration::ZERO, Take::EventsOnly) {
                    Event::Nothing => {}
                    event => {
                        self.events.push_back(event);
                        self.hurry(Instant::now() + self.work.group.drain_budget());
                    }
                }
            }
        }
        self.crew.give_up(false);
        self.hurry = None;
        Ok(())
    }

    /// Calls that are made again and again end at `deadline` from now on.
    fn hurry(&mut self, deadline: Instant) {
        self.hurry = Some(self.hurry.map_or(deadline, |earlier| earlier.min(deadline)));
    }

    /// Holds reading for a while after a failure that is nobody's fault, longer each time.
    fn pause(&mut self) {
        for error in self.faults.drain(..) {
            tracing::warn!(%error, failures = self.failures, "transaction rolled back; its records come again");
            if !error.poisoned {
                let pause = PAUSE_MAX.min(PAUSE_MIN * 2u32.pow(self.failures.min(7)));
                self.hold_until = Some(Instant::now() + pause);
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// Sets reading back to what is committed; false when that has to be tried again.
    fn rewind(&mut self) -> Result<bool, End> {
        if self.rolled_back.is_empty() {
            return Ok(true);
        }
        match self.group.seek_committed(&self.rolled_back) {
            Ok(()) => {
                self.rolled_back.clear();
                Ok(true)
            }
            Err(why) => {
                tracing::warn!(%why, "committed offsets not found; asking again");
                self.hold_until = Some(Instant::now() + PAUSE_MIN * 4);
                Ok(false)
            }
        }
    }
}
