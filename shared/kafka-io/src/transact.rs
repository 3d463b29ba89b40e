//! The exactly-once engine: reads, has records processed, and writes results and positions in one transaction.
//!
//! One thread reads and processes; several transactional producers take turns, so that the end of one
//! transaction overlaps the next. Records of a partition are processed in order, results of a key are written in
//! order, and positions are committed in order. What a failed transaction held is read and processed again, so a
//! [`Processor`] may see a record more than once, and Kafka shows the results once (to readers of committed
//! records). It knows nothing of what records mean.

mod batch;
mod crew;
mod end;
mod left;
mod pace;
mod session;
mod slot;
mod standstill;
mod suspects;
mod turns;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::config::Config;
use crate::consumer::{Group, GroupOptions, Hook, Status, Wake};
use crate::metrics::Metrics;
use crate::record::Record;
use crate::transactional_producer::TransactionError;

pub use batch::{AfterCommit, Batch, TooLarge};
use crew::Crew;
use end::End;
use left::{Bearing, Left};
use session::Session;
use standstill::Standstill;

/// How long slots are waited for that have no transaction open.
const DISMISS_WITHIN: Duration = Duration::from_secs(1);
/// How often what is waited for between two sessions is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What makes results of records.
///
/// It runs on the engine's reading thread and may block there, for less than the group's poll interval (5 min).
/// It must not panic; if it does, the engine ends with an error.
pub trait Processor: Send + 'static {
    /// Adds to `batch` what follows from `record`.
    fn process(&mut self, record: &Record, batch: &mut Batch);

    /// Deals with a record whose results Kafka refuses to take: writes a dead letter, as a rule. It is called again
    /// with [`Refusal::times`] above 1 when that was refused too, and then writes something smaller.
    fn refused(&mut self, record: &Record, refusal: &Refusal, batch: &mut Batch);

    /// Forgets what was kept of records that are not committed: they come again, or to another instance.
    fn forget(&mut self) {}
}

/// Why Kafka did not take what followed from a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    /// How often this record's results were refused.
    pub times: u32,
}

/// A transaction that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Transaction {
    /// False when it was rolled back.
    pub committed: bool,
    pub inputs: usize,
    pub outgoing: usize,
    /// From the closing of the batch to the end of the transaction.
    pub took: Duration,
    /// The commit call alone.
    pub commit: Duration,
}

/// Called with every transaction that has ended, on the reading thread.
pub type Told = Arc<dyn Fn(&Transaction) + Send + Sync>;

/// How the engine works.
#[derive(Clone)]
pub struct TransactOptions {
    /// Transactional ids are `<prefix>-<ordinal>-<slot>`; they must stay the same over restarts of an instance.
    pub transactional_prefix: String,
    /// Number of this instance, different for each.
    pub ordinal: u32,
    /// Producers that take turns.
    pub slots: usize,
    /// Shortest and longest time between two transactions: the first when idle, towards the second under load.
    pub interval_min: Duration,
    pub interval_max: Duration,
    /// Input records of one transaction at most.
    pub batch_records: usize,
    /// Outgoing bytes of one transaction at most, exceeded by the results of one record.
    pub batch_bytes: usize,
    /// Largest outgoing record in bytes.
    pub record_bytes_max: usize,
    /// After this time the broker aborts an open transaction. Until then it hides what follows from readers.
    pub transaction_timeout: Duration,
    /// After this time a record without acknowledgement fails its transaction; below `transaction_timeout`.
    pub message_timeout: Duration,
    /// Places named: `transact.after_flush`, `.after_send_offsets`, `.after_commit`, `.during_revoke`.
    pub hook: Hook,
    pub told: Told,
}

impl TransactOptions {
    /// Returns the defaults: 4 slots, 5 to 200 ms, 5,000 records or 8 MiB a transaction.
    pub fn new(transactional_prefix: impl Into<String>, ordinal: u32) -> Self {
        Self {
            transactional_prefix: transactional_prefix.into(),
            ordinal,
            slots: 4,
            interval_min: Duration::from_millis(5),
            interval_max: Duration::from_millis(200),
            batch_records: 5_000,
            batch_bytes: 8 << 20,
            record_bytes_max: 1_000_000,
            transaction_timeout: Duration::from_secs(60),
            message_timeout: Duration::from_secs(45),
            hook: Arc::new(|_| {}),
            told: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for TransactOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactOptions")
            .field("transactional_prefix", &self.transactional_prefix)
            .field("ordinal", &self.ordinal)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

/// Why the engine ended by itself, or did not end well.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The configuration is refused.
    #[error(
        "could not open the transactional engine: {why}; check the kafka section of the configuration"
    )]
    Open { why: String },
    #[error("processing of {at} panicked: {why}; this is a defect, please report it")]
    Processor { at: String, why: String },
    #[error("a transaction's thread panicked: {why}; this is a defect, please report it")]
    Slot { why: String },
    #[error("could not close the consumer: {why}; its partitions move when its session ends")]
    Consumer { why: String },
    #[error("could not end all transactions in time; a restart with the same ids ends them")]
    Deadline,
    /// Offsets were sent again and again without an answer.
    #[error(
        "{threads} transactional producers hang in calls that the kafka client does not end; restart the process to be rid of them, and check the group's coordinator"
    )]
    LeftBehind { threads: usize },
}

/// A running engine. Dropping it asks it to stop and does not wait.
pub struct Engine {
    stop: Arc<Stop>,
    status: watch::Receiver<Status>,
    result: watch::Receiver<Option<Result<(), EngineError>>>,
}

/// Starts the engine on threads of its own.
///
/// # Errors
/// [`EngineError::Open`] with the setting that is refused. A cluster that cannot be reached is no error: the engine
/// goes on trying, and its status says so.
pub fn transact(
    config: &Config,
    group: &GroupOptions,
    options: TransactOptions,
    metrics: &Metrics,
    processor: impl Processor,
) -> Result<Engine, EngineError> {
    let refused = |why: TransactionError| EngineError::Open { why: why.to_string() };
    let wake = Arc::new(Wake::default());
    let crew = Crew::hire(config, &options, &wake).map_err(refused)?;
    let (status, watched) = watch::channel(Status::default());
    let (result, ended) = watch::channel(None);
    let stop = Arc::new(Stop::default());
    let life = Life {
        config: config.clone(),
        group: group.clone(),
        options,
        metrics: metrics.clone(),
        status,
        stop: stop.clone(),
        wake,
        standstill: Standstill::new(),
        left: Left::default(),
    };
    thread::Builder::new()
        .name("transact".to_owned())
        .spawn(move || {
            let mut processor = processor;
            result.send_replace(Some(life.live(crew, &mut processor)));
        })
        .map_err(|why| EngineError::Open { why: why.to_string() })?;
    Ok(Engine { stop, status: watched, result: ended })
}

impl Engine {
    /// Returns what the engine is doing, kept up to date.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Reads these topics from now on.
    pub fn set_topics(&self, topics: Vec<String>) {
        self.stop.state.lock().topics = Some(topics);
    }

    /// Commits what is open, leaves the group, and returns when all is closed or `deadline` has passed.
    ///
    /// # Errors
    /// What the engine ended with, or [`EngineError::Deadline`].
    pub async fn stop(&self, deadline: Duration) -> Result<(), EngineError> {
        self.stop.ask(deadline);
        // Closing has a second more than the engine was told, to say what it did not manage.
        match tokio::time::timeout(deadline + Duration::from_secs(1), self.ended()).await {
            Ok(result) => result,
            Err(_) => Err(EngineError::Deadline),
        }
    }

    /// Returns when the engine has ended, by [`stop`](Self::stop) or by itself.
    pub async fn ended(&self) -> Result<(), EngineError> {
        let mut result = self.result.clone();
        match result.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => {
                let why = "the reading thread ended without a result".to_owned();
                Err(EngineError::Slot { why })
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.ask(Duration::from_secs(5));
    }
}

/// The wish to stop, and by when; and the topics wished for.
#[derive(Default)]
struct Stop {
    asked: AtomicBool,
    state: Mutex<Wishes>,
    changed: Condvar,
}

#[derive(Default)]
struct Wishes {
    deadline: Option<Instant>,
    topics: Option<Vec<String>>,
}

impl Stop {
    fn ask(&self, within: Duration) {
        let mut state = self.state.lock();
        let deadline = Instant::now() + within;
        state.deadline = Some(state.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self.asked.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    fn deadline(&self) -> Instant {
        self.state.lock().deadline.unwrap_or_else(Instant::now)
    }

    fn new_topics(&self) -> Option<Vec<String>> {
        self.state.lock().topics.take()
    }

    /// Waits, but no longer than until a stop is asked for.
    fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut state = self.state.lock();
        while !self.asked() && !self.changed.wait_until(&mut state, end).timed_out() {}
    }
}

/// The engine's reading thread.
struct Life {
    config: Config,
    group: GroupOptions,
    options: TransactOptions,
    metrics: Metrics,
    status: watch::Sender<Status>,
    stop: Arc<Stop>,
    /// Wakes the reading thread.
    wake: Arc<Wake>,
    standstill: Standstill,
    left: Left,
}

impl Life {
    /// One session after the other, until the engine is to stop or something is beyond repair.
    fn live(mut self, first: Crew, processor: &mut impl Processor) -> Result<(), EngineError> {
        let mut crew = Ok(first);
        loop {
            let end = match crew {
                Ok(crew) => self.session(crew, processor),
                Err(why) => end::again(&why),
            };
            match end {
                End::Stopped => return Ok(()),
                End::Dead(error) => return Err(error),
                End::Again { why, pause } => self.pause(&why, pause),
                End::Hung { why } => self.pause(why, Duration::ZERO),
            }
            processor.forget();
            self.bear_left()?;
            if self.stop.asked() {
                return Ok(());
            }
            crew = Crew::hire(&self.config, &self.options, &self.wake);
        }
    }

    /// Returns when few enough threads of earlier sessions hang, or a stop is asked for.
    fn bear_left(&mut self) -> Result<(), EngineError> {
        let begun = Instant::now();
        while !self.stop.asked() {
            let threads = self.left.hanging();
            match left::bearing(threads, begun.elapsed()) {
                Bearing::GoOn => break,
                Bearing::Wait => self.stop.pause(LOOK_EVERY),
                Bearing::TooMany => return Err(EngineError::LeftBehind { threads }),
            }
        }
        Ok(())
    }

    fn pause(&mut self, why: &str, pause: Duration) {
        tracing::error!(
            why,
            left_behind = self.left.hanging(),
            prefix = self.options.transactional_prefix,
            ordinal = self.options.ordinal,
            "transactional engine starts anew"
        );
        self.stop.pause(pause);
    }

    fn session(&mut self, crew: Crew, processor: &mut impl Processor) -> End {
        // Before the first read: an open transaction of a predecessor would hide our own records' predecessors.
        match crew.ready(|| !self.stop.asked()) {
            Ok(true) => {}
            Ok(false) => {
                self.left.add(crew.dismiss(self.stop.deadline()));
                return End::Stopped;
            }
            Err(end) => {
                self.left.add(crew.dismiss(Instant::now() + DISMISS_WITHIN));
                return end::slot_end(end);
            }
        }
        if let Some(topics) = self.stop.new_topics() {
            self.group.topics = topics;
        }
        let (config, metrics, wake) = (&self.config, &self.metrics, self.wake.clone());
        match Group::open_waking(config, &self.group, metrics, &self.status, wake) {
            Ok(group) => {
                let mut work = Work {
                    processor,
                    options: &self.options,
                    group: &mut self.group,
                    metrics: &self.metrics,
                    stop: &self.stop,
                    standstill: &mut self.standstill,
                    left: &mut self.left,
                };
                Session::new(group, crew, &mut work).run()
            }
            Err(why) => {
                self.left.add(crew.dismiss(Instant::now() + DISMISS_WITHIN));
                End::Dead(EngineError::Open { why: why.to_string() })
            }
        }
    }
}

/// What a session is lent.
struct Work<'a, P> {
    processor: &'a mut P,
    options: &'a TransactOptions,
    group: &'a mut GroupOptions,
    metrics: &'a Metrics,
    stop: &'a Stop,
    standstill: &'a mut Standstill,
    left: &'a mut Left,
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
