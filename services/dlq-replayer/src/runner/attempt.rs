//! One go at a job: a producer, a position, and transactions until the ranges end.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kafka_io::{
    Class, NextOffset, Outgoing, TransactionError, TransactionalOptions, TransactionalProducer,
    reader::{BorrowedView, Ended as ReadEnded, Reader},
};

use super::{Ended, Lessons, Runner, lanes::Lanes, outgoing, spans::Spans};
use crate::{
    Error, Job, JobId, LetterId, Progress, Status,
    cluster::{self, Cluster, now_ms},
    letter::Letter,
    progress::Meter,
    scan::{Decision, History, Scan},
    series::{Outcome, Tally},
    state::{self, Happened},
};

/// Records of one transaction, at most.
const BATCH_RECORDS: usize = 1000;
/// Bytes of one transaction, at most, within one record.
const BATCH_BYTES: usize = 4 << 20;
/// How long a transaction may stay open while records come.
const BATCH_TIME: Duration = Duration::from_millis(500);
/// Records passed without a transaction, at most: a resumption looks at them again.
const PASSED_MAX: usize = 50_000;
/// How often the job's record says that its runner lives.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Records between two looks at the clock.
const LOOK: usize = 64;
/// The most one call to the brokers may take.
const CALL: Duration = Duration::from_secs(20);
/// After so long a start is asked whether to go on.
const INIT: Duration = Duration::from_secs(5);
/// How long the broker keeps the transaction of a runner that died, unless another goes on with it;
/// until then readers wait at it.
const TRANSACTION: Duration = Duration::from_secs(30);
/// The largest record that any topic of ours takes: the largest body and what is around it.
const RECORD_BYTES_MAX: usize = (25 * 1024 + 256) * 1024;
/// The most one go may take; a job that takes longer goes on in the next.
const GO: Duration = Duration::from_secs(24 * 3600);
/// The most failed letters a job's record names: with as many, something else is wrong, and the job
/// ends. One that is not named would count as replayed.
const FAILED_MAX: usize = 1000;

type Place = (String, i32);

pub(super) struct Attempt<'a> {
    runner: &'a Runner,
    reader: &'a Reader,
    job: Job,
    out: Out,
    /// The next offset of each partition, as committed, and as passed since.
    done: HashMap<Place, i64>,
    next: BTreeMap<Place, i64>,
    lanes: Lanes,
    spans: Spans,
}

/// The producer with its open transaction.
struct Out {
    producer: TransactionalProducer,
    open: bool,
    /// The letters of the open transaction, in the order of sending.
    sent: Vec<LetterId>,
    bytes: usize,
    passed: usize,
    /// Letters that an earlier go has decided about.
    passed_over: usize,
    since: Instant,
    heartbeat: Instant,
    /// The job's record must be written with the position: it names a failed letter.
    is_job_changed: bool,
    /// What this go has decided since the last commit.
    tally: Tally,
}

impl Out {
    fn new(producer: TransactionalProducer) -> Self {
        let now = Instant::now();
        Self {
            producer,
            open: false,
            sent: Vec::new(),
            bytes: 0,
            passed: 0,
            passed_over: 0,
            since: now,
            heartbeat: now,
            is_job_changed: false,
            tally: Tally::default(),
        }
    }
}

/// Records a new job and that somebody wants it, in one transaction.
pub(crate) fn record_start(cluster: &Cluster, job: &Job) -> Result<(), Error> {
    let mut producer = producer(cluster, &job.id, || true)?;
    producer.begin()?;
    producer.send(&state::kept(&cluster.names, job), CALL)?;
    let started = state::audited(&cluster.names, job, Happened::ReplayStarted, now_ms());
    producer.send(&started, CALL)?;
    producer.flush_and_await(CALL)?;
    let deadline = Instant::now() + CALL;
    Ok(producer.commit(|| Instant::now() < deadline)?)
}

/// Makes the job's producer; whatever another runner had open is ended with it.
///
/// # Errors
/// Where the cluster does not answer in time, or `go_on` ends it.
pub(super) fn producer(
    cluster: &Cluster,
    id: &JobId,
    go_on: impl Fn() -> bool,
) -> Result<TransactionalProducer, Error> {
    let options = TransactionalOptions {
        transaction_timeout: TRANSACTION,
        message_timeout: CALL,
        record_bytes_max: RECORD_BYTES_MAX,
        ..TransactionalOptions::new(format!("{}{}", cluster.names.prefix(), id.group()))
    };
    let producer = TransactionalProducer::new(&cluster.kafka, &options)?;
    let deadline = Instant::now() + CALL;
    loop {
        match producer.init(INIT) {
            Err(error)
                if error.class == Class::Retriable && Instant::now() < deadline && go_on() => {}
            done => return done.map(|()| producer).map_err(Error::from),
        }
    }
}

impl<'a> Attempt<'a> {
    /// Takes the job over from whoever ran it: its position is read after their transaction has ended.
    ///
    /// # Errors
    /// [`Error::NoTopic`] where a lane is missing, [`Error::PositionLost`] where the position is.
    pub(super) fn open(
        runner: &'a Runner,
        reader: &'a Reader,
        producer: TransactionalProducer,
        mut job: Job,
    ) -> Result<Self, Error> {
        let lanes = Lanes::open(reader, &runner.cluster.names, &job.ranges)?;
        let places: Vec<Place> =
            job.ranges.iter().map(|range| (range.topic.clone(), range.partition)).collect();
        let committed = reader.committed(&job.id.group(), &places)?;
        let done: HashMap<Place, i64> =
            committed.into_iter().map(|(place, map)| (place, map.commit_point())).collect();
        let is_claimed = !job.runner.is_empty();
        if is_claimed && places.iter().any(|place| !done.contains_key(place)) {
            return Err(Error::PositionLost(job.id));
        }
        job.runner.clone_from(&runner.name);
        let spans = Spans::new(&runner.tracer, &job);
        let out = Out::new(producer);
        Ok(Self { runner, reader, out, done, next: BTreeMap::new(), lanes, spans, job })
    }

    pub(super) fn run(
        mut self,
        history: &History,
        lessons: &mut Lessons,
        told: &mut dyn FnMut(&Progress),
    ) -> Result<Ended, Error> {
        self.claim()?;
        let job = self.job.clone();
        let mut scan = Scan::new(&job, history);
        let mut meter = Meter::new(&job.ranges);
        let mut failed = None;
        let (reader, stop) = (self.reader, &self.runner.stop);
        let go_on = || !stop.is_cancelled();
        let ended = cluster::read(reader, &job.ranges, Instant::now() + GO, go_on, |view| {
            match self.take(view, &mut scan, lessons) {
                Ok(()) => {}
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            if meter.passed(view.topic(), view.partition(), view.offset() + 1) {
                told(&meter.progress(scan.counts));
            }
            match go_on() && !self.has_failed_too_often() {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        match ended {
            ReadEnded::Complete => {
                let job = self.finish(&scan, lessons)?;
                told(&meter.complete(scan.counts));
                Ok(Ended::Done(Box::new(job)))
            }
            ReadEnded::Stopped if self.has_failed_too_often() => {
                self.cut_short();
                Ok(Ended::Done(Box::new(self.finish(&scan, lessons)?)))
            }
            ReadEnded::Stopped => self.commit(&scan, lessons).map(|()| Ended::Stopped),
            ReadEnded::Deadline { .. } => {
                self.commit(&scan, lessons)?;
                Err(Error::TooSlow("replay the dead letters"))
            }
        }
    }

    fn has_failed_too_often(&self) -> bool {
        self.job.failed.len() >= FAILED_MAX
    }

    /// Takes out of the job what it has not passed, so that a later one finds it.
    fn cut_short(&mut self) {
        for range in &mut self.job.ranges {
            let place = (range.topic.clone(), range.partition);
            let passed = self.next.get(&place).or_else(|| self.done.get(&place));
            range.to = passed.copied().unwrap_or(range.from);
        }
        self.job.ranges.retain(|range| range.from < range.to);
        self.job.cut_short = true;
    }

    /// Writes this runner's name to the job, so that nobody takes it for abandoned, and where it
    /// begins: a claimed job without a position has lost it.
    fn claim(&mut self) -> Result<(), Error> {
        for range in &self.job.ranges {
            let place = (range.topic.clone(), range.partition);
            if !self.done.contains_key(&place) {
                self.next.insert(place, range.from);
            }
        }
        self.begin()?;
        self.send_job()?;
        self.commit_open()
    }

    fn take(
        &mut self,
        view: &BorrowedView<'_>,
        scan: &mut Scan<'_>,
        lessons: &mut Lessons,
    ) -> Result<(), Error> {
        let letter = Letter::of(view, &self.runner.cluster.names);
        let decision = scan.decide(&letter);
        let place = self.done.iter().find(|((topic, partition), _)| {
            *partition == letter.partition && topic == letter.topic
        });
        if place.is_some_and(|(_, done)| letter.offset < *done) {
            if self.job.has_failed(&letter) {
                scan.failed(decision);
            }
            return self.pass_over(scan, lessons);
        }
        match decision {
            Decision::Republish | Decision::Quarantine => {
                self.put(view, &letter, decision, scan, lessons)?;
            }
            Decision::Double | Decision::ReplayedBefore => {
                self.out.tally.add(letter.topic, Outcome::Skipped);
            }
            Decision::Stray => self.out.tally.add(letter.topic, Outcome::Failed),
            Decision::Leave => {}
        }
        self.pass(&letter);
        if self.is_due(lessons) { self.commit(scan, lessons) } else { Ok(()) }
    }

    /// Passes a letter that an earlier go has decided about, and says meanwhile that the runner lives:
    /// with many of them others would take over a job that is gone on with, and begin here too.
    fn pass_over(&mut self, scan: &Scan<'_>, lessons: &mut Lessons) -> Result<(), Error> {
        self.out.passed_over += 1;
        self.runner.hook.hit("replay.passed_over");
        let asks = self.out.passed_over.is_multiple_of(LOOK);
        if asks && self.is_silent() { self.commit(scan, lessons) } else { Ok(()) }
    }

    fn is_silent(&self) -> bool {
        self.out.heartbeat.elapsed() >= HEARTBEAT
    }

    /// Sends a letter where it belongs, unless it can't be sent.
    fn put(
        &mut self,
        view: &BorrowedView<'_>,
        letter: &Letter<'_>,
        decision: Decision,
        scan: &mut Scan<'_>,
        lessons: &mut Lessons,
    ) -> Result<(), Error> {
        let id = letter.id();
        let (Some(lane), false) = (self.lanes.of(letter).cloned(), lessons.refused.contains(&id))
        else {
            scan.failed(decision);
            self.out.tally.add(letter.topic, Outcome::Failed);
            if !self.job.failed.contains(&id) {
                self.job.failed.push(id);
                self.out.is_job_changed = true;
            }
            return Ok(());
        };
        let (record, now) = (view.to_record(), now_ms());
        let (outgoing, outcome) = match decision {
            Decision::Quarantine => {
                let quarantine = &self.lanes.quarantine;
                (
                    outgoing::quarantined(record, &quarantine.topic, &self.job, now),
                    Outcome::Quarantined,
                )
            }
            _ => {
                let span = self.spans.letter(letter, &record);
                let trace = span.as_ref().map(|(_, context)| *context);
                (outgoing::replayed(record, &lane, &self.job, trace, now), Outcome::Republished)
            }
        };
        self.out.tally.add(letter.topic, outcome);
        self.begin()?;
        self.out.bytes += outgoing.bytes();
        self.out.sent.push(id);
        self.send(&outgoing, lessons)
    }

    fn pass(&mut self, letter: &Letter<'_>) {
        self.out.passed += 1;
        let next = letter.offset + 1;
        let known = self.next.iter_mut().find(|((topic, partition), _)| {
            *partition == letter.partition && topic == letter.topic
        });
        match known {
            Some((_, known)) => *known = next,
            None => drop(self.next.insert((letter.topic.to_owned(), letter.partition), next)),
        }
    }

    fn is_due(&self, lessons: &Lessons) -> bool {
        let out = &self.out;
        let full = out.sent.len() >= BATCH_RECORDS
            || out.bytes >= BATCH_BYTES
            || out.passed >= PASSED_MAX
            || (lessons.one_at_a_time && !out.sent.is_empty());
        full || (out.passed.is_multiple_of(LOOK)
            && ((out.open && out.since.elapsed() >= BATCH_TIME) || self.is_silent()))
    }

    fn begin(&mut self) -> Result<(), Error> {
        if !self.out.open {
            self.out.producer.begin()?;
            self.out.open = true;
            self.out.since = Instant::now();
        }
        Ok(())
    }

    fn send(&mut self, outgoing: &Outgoing, lessons: &mut Lessons) -> Result<(), Error> {
        let sent = self.out.producer.send(outgoing, CALL);
        sent.map_err(|error| self.learn(error, lessons))
    }

    /// Commits what was sent together with how far the ranges were passed.
    fn commit(&mut self, scan: &Scan<'_>, lessons: &mut Lessons) -> Result<(), Error> {
        // Until all that was done before is passed over again, what is recorded is further on.
        if scan.counts.scanned >= self.job.counts.scanned {
            self.job.counts = scan.counts;
        }
        self.begin()?;
        if self.out.is_job_changed || self.is_silent() {
            self.send_job()?;
        }
        let flushed = self.out.producer.flush_and_await(CALL);
        flushed.map_err(|error| self.learn(error, lessons))?;
        self.runner.hook.hit("replay.after_flush");
        self.commit_open()
    }

    fn finish(&mut self, scan: &Scan<'_>, lessons: &mut Lessons) -> Result<Job, Error> {
        for range in &self.job.ranges {
            self.next.insert((range.topic.clone(), range.partition), range.to);
        }
        let now = now_ms();
        self.job.status = Status::Done;
        self.job.finished_ms = Some(now);
        self.job.counts = scan.counts;
        self.begin()?;
        self.send_job()?;
        let names = &self.runner.cluster.names;
        let audited = state::audited(names, &self.job, Happened::ReplayFinished, now);
        self.out.producer.send(&audited, CALL)?;
        self.commit(scan, lessons)?;
        Ok(self.job.clone())
    }

    fn send_job(&mut self) -> Result<(), Error> {
        self.job.updated_ms = now_ms();
        self.out.producer.send(&state::kept(&self.runner.cluster.names, &self.job), CALL)?;
        self.out.heartbeat = Instant::now();
        self.out.is_job_changed = false;
        Ok(())
    }

    fn commit_open(&mut self) -> Result<(), Error> {
        let producer = &self.out.producer;
        producer.flush_and_await(CALL)?;
        if !self.next.is_empty() {
            self.reader.send_offsets(producer, next_offsets(&self.next))?;
            self.runner.hook.hit("replay.after_send_offsets");
        }
        let deadline = Instant::now() + CALL;
        producer.commit(|| Instant::now() < deadline)?;
        self.runner.hook.hit("replay.after_commit");
        self.reader.committed_in_transaction(next_offsets(&self.next))?;
        if let Some(series) = &self.runner.series {
            series.replayed(&mut self.out.tally);
        }
        self.done.extend(std::mem::take(&mut self.next));
        let out = &mut self.out;
        (out.open, out.bytes, out.passed) = (false, 0, 0);
        out.sent.clear();
        Ok(())
    }

    /// Remembers which record Kafka refuses, so that the next go leaves it out.
    fn learn(&mut self, error: TransactionError, lessons: &mut Lessons) -> Error {
        if error.poisoned || error.record.is_some() {
            match (error.record.and_then(|at| self.out.sent.get(at)), &self.out.sent[..]) {
                (Some(id), _) | (None, [id]) => {
                    lessons.refused.insert(id.clone());
                    lessons.one_at_a_time = false;
                }
                (None, _) => lessons.one_at_a_time = true,
            }
        }
        error.into()
    }
}

fn next_offsets(next: &BTreeMap<Place, i64>) -> impl Iterator<Item = NextOffset<'_>> {
    next.iter().map(|((topic, partition), next)| NextOffset {
        topic,
        partition: *partition,
        next: *next,
    })
}
