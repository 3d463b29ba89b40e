//! A member of a consumer group, for one thread: rebalances and records as values, nothing happens behind its back.
//!
//! It commits nothing by itself except positions past the end of what is completed; the lanes and the transaction
//! engine commit. Every partition has a queue of its own, so that its reader may let it wait without pausing it.
//! A [`Group`] that says [`Event::Broken`] is closed and a new one opened.

mod committer;
mod context;
mod health;
mod native;
mod owned;
mod positions;
mod start;
mod status;
mod subscription;
mod unowned;
mod wake;
mod watchdog;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use domain::offset_map::OffsetMap;
use rdkafka::consumer::{BaseConsumer, Consumer as _, RebalanceProtocol};
use rdkafka::topic_partition_list::Offset;
use tokio::sync::watch;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::record::Record;

use committer::Committer;
pub use committer::Position;
pub(crate) use context::GroupContext;
use context::Rebalance;
use owned::{Owned, Owners};
pub use status::{GroupOptions, Hook, Loss, Partition, Status};
use unowned::Unowned;
pub(crate) use wake::Wake;
use watchdog::Watchdog;

/// The native consumer behind a group; commits and group metadata may be asked of it from any thread.
pub(crate) type GroupConsumer = BaseConsumer<GroupContext>;

/// One question to the cluster takes this long at most.
const QUESTION: Duration = Duration::from_secs(5);
/// Times a question is asked before the consumer is given up.
const TRIES: u32 = 3;
/// All queues are looked at this often, whether or not they said that they hold something.
const SWEEP: Duration = Duration::from_secs(1);

/// What a group tells its owner.
#[derive(Debug)]
pub(crate) enum Event {
    Nothing,
    Record(Record),
    /// To be answered by [`Group::assign`].
    Assigned(Vec<Partition>),
    /// To be answered by [`Group::unassign`], once what is in flight is completed and committed.
    Revoked(Vec<Partition>),
    /// They belong to another member already: nothing of theirs can be committed. To be answered by
    /// [`Group::unassign`].
    Lost(Vec<Partition>),
    /// The consumer is of no more use. What it owned counts as lost.
    Broken(GroupError),
}

/// Whether a group may hand out records now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    Records,
    EventsOnly,
}

/// The group could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not {doing}: {why}; {remedy}")]
pub struct GroupError {
    pub(crate) doing: &'static str,
    pub(crate) why: String,
    pub(crate) remedy: &'static str,
}

impl GroupError {
    pub(crate) fn new(doing: &'static str, why: impl ToString) -> Self {
        let remedy = "check that kafka is reachable and that this user may read the topics and use the group";
        Self { doing, why: why.to_string(), remedy }
    }
}

/// A member of a group. Dropping it leaves without a deadline; use [`close`](Self::close).
pub(crate) struct Group {
    consumer: Arc<GroupConsumer>,
    committer: Committer,
    owners: Owners,
    options: GroupOptions,
    metrics: Metrics,
    status: watch::Sender<Status>,
    wake: Arc<Wake>,
    watchdog: Watchdog,
    swept: Instant,
    unowned: Unowned,
    broken: Option<GroupError>,
}

impl Group {
    /// Joins the group. Asks the cluster for the number of partitions first, and waits up to 2 s for the answer.
    /// Events of the consumer wake `wake` as well.
    ///
    /// # Errors
    /// The setting that librdkafka refuses.
    pub(crate) fn open_waking(
        config: &Config,
        options: &GroupOptions,
        metrics: &Metrics,
        status: &watch::Sender<Status>,
        wake: Arc<Wake>,
    ) -> Result<Self, GroupError> {
        let partitions = native::partition_count(config, &options.topics);
        let partition_bytes = native::partition_bytes(options.queue_bytes, partitions);
        let mut consumer = native::open(config, options, partition_bytes)?;
        let waker = wake.clone();
        consumer.set_nonempty_callback(move || waker.wake());
        let consumer = Arc::new(consumer);
        let committer = Committer::start(consumer.clone(), wake.clone())?;
        let group = Self {
            consumer,
            committer,
            owners: Owners::new(&options.group_id, metrics),
            options: options.clone(),
            metrics: metrics.clone(),
            status: status.clone(),
            wake,
            watchdog: Watchdog::new(options.stall_after),
            swept: Instant::now(),
            unowned: Unowned::new(config, options),
            broken: None,
        };
        group.status.send_modify(|status| status.joined = false);
        group.subscribe()?;
        Ok(group)
    }

    /// Returns the native consumer, for slots that write offsets in transactions.
    pub(crate) fn consumer(&self) -> Arc<GroupConsumer> {
        self.consumer.clone()
    }

    /// Bytes that a lane may hold, by the partitions owned now.
    pub(crate) fn lane_bytes(&self) -> usize {
        native::partition_bytes(self.options.queue_bytes, self.owners.len())
    }

    /// Returns what happened, waiting up to `wait`. Records of the partitions come in turn.
    pub(crate) fn next(&mut self, wait: Duration, take: Take) -> Event {
        let deadline = Instant::now() + wait;
        loop {
            match self.event() {
                Event::Nothing => {}
                event => return event,
            }
            if take == Take::Records
                && let Some(record) = self.next_record()
            {
                return Event::Record(record);
            }
            let now = Instant::now();
            if self.broken.is_none() && now >= deadline {
                return Event::Nothing;
            }
            if self.broken.is_none() {
                self.wait(deadline.duration_since(now));
            }
        }
    }

    /// Serves the consumer's callbacks and returns a rebalance, if there is one. Does not wait.
    pub(crate) fn event(&mut self) -> Event {
        if let Some(why) = self.broken.clone() {
            return Event::Broken(why);
        }
        self.look_for_fatal();
        self.look_for_late_commit();
        self.look_for_unowned();
        // A bounded number at once, so that lanes are served even in a storm of events.
        for _ in 0..100 {
            let Some(polled) = self.consumer.poll(Duration::ZERO) else { break };
            match polled {
                Ok(message) => self.owners.stash(&message),
                Err(error) => self.failed(&error, None),
            }
        }
        let inbox = self.consumer.context().take();
        if let Some(statistics) = inbox.statistics {
            self.look(&statistics);
        }
        if let Some((trouble, reason)) = inbox.error {
            self.status.send_modify(|status| status.has_problem(trouble, reason));
        }
        match self.consumer.context().next_rebalance() {
            Some(rebalance) => self.rebalanced(rebalance),
            None => Event::Nothing,
        }
    }

    /// Waits until something may have happened, at most `wait`.
    pub(crate) fn wait(&mut self, wait: Duration) {
        self.wake.wait(wait.min(SWEEP));
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.owners.all_ready();
        }
    }

    /// Takes the next record of a partition, or `None` when it holds none now.
    pub(crate) fn take(&mut self, partition: &Partition) -> Option<Record> {
        match self.owners.get_mut(partition)?.take() {
            Some(Ok(record)) => Some(record),
            Some(Err(error)) => {
                self.failed(&error, Some(partition));
                None
            }
            None => None,
        }
    }

    pub(crate) fn is_ready(&self, partition: &Partition) -> bool {
        self.owners.get(partition).is_some_and(Owned::is_ready)
    }

    fn next_record(&mut self) -> Option<Record> {
        let (taken, failure) = self.owners.take_in_turn();
        if let Some((partition, error)) = failure {
            self.failed(&error, Some(&partition));
        }
        taken
    }

    fn rebalanced(&mut self, rebalance: Rebalance) -> Event {
        let kind = match &rebalance {
            Rebalance::Assigned(_) => "assigned",
            Rebalance::Revoked(_) => "revoked",
            Rebalance::Lost(_) => "lost",
            Rebalance::Failed(_) => "failed",
        };
        self.metrics.rebalances.with_label_values(&[&*self.options.group_id, kind]).inc();
        match rebalance {
            Rebalance::Assigned(pairs) => {
                let epoch = self.options.memory.epochs.fetch_add(1, Ordering::Relaxed) + 1;
                let with_epoch = |(topic, partition)| Partition { topic, partition, epoch };
                Event::Assigned(pairs.into_iter().map(with_epoch).collect())
            }
            Rebalance::Revoked(pairs) => Event::Revoked(self.owners.find(&pairs)),
            Rebalance::Lost(pairs) => Event::Lost(self.owners.find(&pairs)),
            Rebalance::Failed(why) => {
                self.break_with("rebalance", GroupError::new("rebalance", why));
                Event::Nothing
            }
        }
    }

    /// Begins to read partitions: at the committed offset, or at the log's start where there is none. Returns what is
    /// complete beyond.
    ///
    /// # Errors
    /// When the offsets cannot be found in time; the group is broken then.
    pub(crate) fn assign(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, OffsetMap)>, GroupError> {
        let assigned = self.try_assign(partitions);
        if let Err(why) = &assigned {
            self.break_with("assign", why.clone());
        }
        assigned
    }

    fn try_assign(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, OffsetMap)>, GroupError> {
        let starts = self.starts(partitions)?;
        for (partition, map) in &starts {
            // The queue is split before the fetching begins, so that no record takes the common way.
            let owned = Owned::open(&self.consumer, partition, map.commit_point(), &self.wake)
                .ok_or_else(|| GroupError::new("split a partition's queue", partition))?;
            self.owners.insert(owned);
        }
        let from = |map: &OffsetMap| Offset::Offset(map.commit_point());
        let list = native::list(starts.iter().map(|(p, map)| (&*p.topic, p.partition, from(map))))?;
        let done = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.assign(&list),
        };
        done.map_err(|why| GroupError::new("take partitions over", why))?;
        let assigned = self.owners.len();
        self.metrics.assigned.with_label_values(&[&*self.options.group_id]).set(as_gauge(assigned));
        self.status.send_modify(|status| status.has_assigned(assigned));
        tracing::info!(
            group = self.options.group_id,
            added = partitions.len(),
            assigned,
            "partitions assigned"
        );
        Ok(starts)
    }

    /// Lets partitions go; their queues are closed. Partitions that are not owned are passed over.
    pub(crate) fn unassign(&mut self, partitions: &[Partition]) -> Result<(), GroupError> {
        let gone: Vec<Partition> =
            partitions.iter().filter_map(|p| self.owners.remove(p)).collect();
        let done = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                let list =
                    native::list(gone.iter().map(|p| (&*p.topic, p.partition, Offset::Invalid)))?;
                self.consumer.incremental_unassign(&list)
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.unassign(),
        };
        let assigned = self.owners.len();
        self.metrics.assigned.with_label_values(&[&*self.options.group_id]).set(as_gauge(assigned));
        self.status.send_modify(|status| status.assigned = assigned);
        tracing::info!(
            group = self.options.group_id,
            gone = gone.len(),
            assigned,
            "partitions let go"
        );
        done.map_err(|why| {
            let why = GroupError::new("let partitions go", why);
            self.break_with("unassign", why.clone());
            why
        })
    }

    /// Leaves the group. Offsets must have been committed. Blocks up to `limit`.
    ///
    /// # Errors
    /// When leaving takes longer; the consumer is then left to itself, and the process should end.
    pub(crate) fn close(mut self, limit: Duration) -> Result<(), GroupError> {
        const DOING: &str = "leave the consumer group";
        let deadline = Instant::now() + limit;
        self.owners.clear();
        self.metrics.assigned.with_label_values(&[&*self.options.group_id]).set(0);
        self.status.send_modify(|status| (status.joined, status.assigned) = (false, 0));
        let closing = self.consumer.close_queue();
        while closing.is_ok() && !self.consumer.closed() && Instant::now() < deadline {
            let _ = self.consumer.poll(Duration::from_millis(20));
            while let Some(rebalance) = self.consumer.context().next_rebalance() {
                native::answer_while_closing(&self.consumer, &rebalance);
            }
        }
        let closed = self.consumer.closed();
        native::dispose(self.consumer);
        match (closing, closed) {
            (Err(why), false) => Err(GroupError::new(DOING, why)),
            (_, true) => Ok(()),
            (Ok(()), false) => {
                Err(GroupError::new(DOING, format!("not done in {} ms", limit.as_millis())))
            }
        }
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
