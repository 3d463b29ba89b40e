//! The partitions that a member owns: their queues, how far each is read, and what its numbers say.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntGauge};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::statistics::{Partition as PartitionStatistics, Statistics};

use super::context::{GroupContext, Pair};
use super::watchdog::Look;
use super::{GroupConsumer, Partition, Wake, native};
use crate::metrics::Metrics;
use crate::record::Record;

/// One owned partition.
pub(super) struct Owned {
    pub(super) partition: Partition,
    /// Where reading began.
    pub(super) began: i64,
    queue: PartitionQueue<GroupContext>,
    /// Set when the queue may hold something.
    ready: Arc<AtomicBool>,
    /// Records that came by the common queue, older than what the own queue holds.
    stash: VecDeque<Record>,
    /// The offset after the last record handed out, and the offset before which all is completed and committed.
    handed: i64,
    settled: i64,
    last_timestamp_ms: i64,
    /// Whether a record was handed out, or wanted and not there, since the last look.
    asked: bool,
    /// The fetcher's position at the last look, when all before it was settled.
    idle_at: Option<i64>,
    shown: Option<Shown>,
}

struct Shown {
    lag_records: IntGauge,
    lag_seconds: Gauge,
    consumed: IntCounter,
}

impl Owned {
    /// Splits the partition's queue off. To be called before the partition is assigned.
    pub(super) fn open(
        consumer: &Arc<GroupConsumer>,
        partition: &Partition,
        from: i64,
        wake: &Arc<Wake>,
    ) -> Option<Self> {
        let mut queue = consumer.split_partition_queue(&partition.topic, partition.partition)?;
        let ready = Arc::new(AtomicBool::new(true));
        let (told, wake) = (ready.clone(), wake.clone());
        queue.set_nonempty_callback(move || {
            told.store(true, Ordering::Release);
            wake.wake();
        });
        Some(Self {
            partition: partition.clone(),
            began: from,
            queue,
            ready,
            stash: VecDeque::new(),
            handed: from,
            settled: from,
            last_timestamp_ms: 0,
            asked: false,
            idle_at: None,
            shown: None,
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        !self.stash.is_empty() || self.ready.load(Ordering::Acquire)
    }

    /// Takes the next record without waiting.
    pub(super) fn take(&mut self) -> Option<Result<Record, KafkaError>> {
        self.asked = true;
        if let Some(record) = self.stash.pop_front() {
            return Some(Ok(self.hand_out(record)));
        }
        // Unset before the look: what comes after the look sets it again.
        if !self.ready.swap(false, Ordering::AcqRel) {
            return None;
        }
        let polled = self.queue.poll(std::time::Duration::ZERO)?;
        self.ready.store(true, Ordering::Release);
        match polled {
            Ok(message) => {
                let record = Record::from_message(
                    &message,
                    self.partition.topic.clone(),
                    self.partition.epoch,
                );
                drop(message);
                Some(Ok(self.hand_out(record)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn hand_out(&mut self, record: Record) -> Record {
        self.handed = record.offset + 1;
        self.last_timestamp_ms = record.timestamp_ms;
        if let Some(shown) = &self.shown {
            shown.consumed.inc();
        }
        record
    }

    pub(super) fn settled(&mut self, next: i64) {
        self.settled = self.settled.max(next);
    }

    /// Goes back to an earlier offset, after the fetcher did.
    pub(super) fn set_back(&mut self, to: i64) {
        self.stash.clear();
        self.handed = to;
        self.settled = to;
        self.idle_at = None;
        self.ready.store(true, Ordering::Release);
    }

    pub(super) fn show_lag(&self, found: &PartitionStatistics) {
        let Some(shown) = &self.shown else { return };
        let unfetched = (found.ls_offset - found.next_offset.max(0)).max(0);
        let lag = unfetched + found.fetchq_cnt.max(0) + (self.handed - self.settled).max(0);
        shown.lag_records.set(lag);
        let age = if lag > 0 && self.last_timestamp_ms > 0 {
            now_ms() - self.last_timestamp_ms
        } else {
            0
        };
        #[allow(clippy::cast_precision_loss)]
        shown.lag_seconds.set(age.max(0) as f64 / 1000.0);
    }

    /// Returns a position past markers of transactions, when nothing has been waiting at two looks in a row.
    pub(super) fn idle_position(&mut self, found: &PartitionStatistics) -> Option<i64> {
        let idle = found.fetchq_cnt == 0 && self.stash.is_empty() && self.handed == self.settled;
        let next = found.next_offset;
        let before = std::mem::replace(&mut self.idle_at, idle.then_some(next));
        (idle && before == Some(next) && next > self.settled).then_some(next)
    }
}

/// All owned partitions, read in turn.
pub(super) struct Owners {
    group: String,
    metrics: Metrics,
    owned: BTreeMap<Pair, Owned>,
    /// The partition read last; the next one has its turn.
    turn: Option<Pair>,
}

impl Owners {
    pub(super) fn new(group: &str, metrics: &Metrics) -> Self {
        Self {
            group: group.to_owned(),
            metrics: metrics.clone(),
            owned: BTreeMap::new(),
            turn: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.owned.len()
    }

    pub(super) fn insert(&mut self, mut owned: Owned) {
        let Partition { topic, partition, .. } = &owned.partition;
        let labels = [&**topic, &partition.to_string(), &self.group];
        owned.shown = Some(Shown {
            lag_records: self.metrics.lag_records.with_label_values(&labels),
            lag_seconds: self.metrics.lag_seconds.with_label_values(&labels),
            consumed: self.metrics.consumed(topic, &self.group),
        });
        self.owned.insert((topic.clone(), *partition), owned);
    }

    /// Forgets a partition and its series; returns it when it was owned in this epoch.
    pub(super) fn remove(&mut self, partition: &Partition) -> Option<Partition> {
        let key = (partition.topic.clone(), partition.partition);
        if self.owned.get(&key)?.partition.epoch != partition.epoch {
            return None;
        }
        self.owned.remove(&key);
        let labels = [&*partition.topic, &partition.partition.to_string(), &self.group];
        // A series that was never set is not there to be removed.
        let _ = self.metrics.lag_records.remove_label_values(&labels);
        let _ = self.metrics.lag_seconds.remove_label_values(&labels);
        Some(partition.clone())
    }

    pub(super) fn clear(&mut self) {
        let all: Vec<Partition> =
            self.owned.values().map(|owned| owned.partition.clone()).collect();
        for partition in &all {
            self.remove(partition);
        }
    }

    /// Returns the partitions with their epochs; those not owned are left out.
    pub(super) fn find(&self, pairs: &[Pair]) -> Vec<Partition> {
        pairs
            .iter()
            .filter_map(|pair| self.owned.get(pair))
            .map(|owned| owned.partition.clone())
            .collect()
    }

    pub(super) fn get(&self, partition: &Partition) -> Option<&Owned> {
        let owned = self.owned.get(&(partition.topic.clone(), partition.partition))?;
        (owned.partition.epoch == partition.epoch).then_some(owned)
    }

    pub(super) fn get_mut(&mut self, partition: &Partition) -> Option<&mut Owned> {
        let owned = self.owned.get_mut(&(partition.topic.clone(), partition.partition))?;
        (owned.partition.epoch == partition.epoch).then_some(owned)
    }

    pub(super) fn at(&self, pair: &Pair) -> Option<&Owned> {
        self.owned.get(pair)
    }

    pub(super) fn at_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Owned> {
        self.owned.get_mut(&(Arc::from(topic), partition))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.owned.values_mut()
    }

    pub(super) fn all_ready(&mut self) {
        for owned in self.owned.values() {
            owned.ready.store(true, Ordering::Release);
        }
    }

    /// Keeps a record that came by the common queue for its partition.
    pub(super) fn stash(&mut self, message: &BorrowedMessage<'_>) {
        let pair = (Arc::from(message.topic()), message.partition());
        match self.owned.get_mut(&pair) {
            Some(owned) if message.offset() >= owned.handed => {
                let record = Record::from_message(
                    message,
                    owned.partition.topic.clone(),
                    owned.partition.epoch,
                );
                owned.stash.push_back(record);
            }
            // Of a partition let go, or set back: it is read again by whoever owns it.
            _ => tracing::debug!(
                topic = &*pair.0,
                partition = pair.1,
                offset = message.offset(),
                "stray record dropped"
            ),
        }
    }

    /// Takes a record of the next partition that has one.
    pub(super) fn take_in_turn(&mut self) -> (Option<Record>, Option<(Partition, KafkaError)>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.turn.clone();
        let (first, second) = match &after {
            Some(pair) => (
                self.owned
                    .range::<Pair, _>((Excluded(pair), Unbounded))
                    .map(|(pair, _)| pair.clone())
                    .collect::<Vec<_>>(),
                self.owned.range(..=pair).map(|(pair, _)| pair.clone()).collect::<Vec<_>>(),
            ),
            None => (self.owned.keys().cloned().collect(), Vec::new()),
        };
        for pair in first.into_iter().chain(second) {
            let Some(owned) = self.owned.get_mut(&pair) else { continue };
            match owned.take() {
                None => {}
                Some(Ok(record)) => {
                    self.turn = Some(pair);
                    return (Some(record), None);
                }
                Some(Err(error)) => return (None, Some((owned.partition.clone(), error))),
            }
        }
        (None, None)
    }

    /// Returns what the watchdog needs to know of each partition.
    pub(super) fn looks(&mut self, statistics: &Statistics) -> Vec<Look> {
        let up = |id: i32| {
            statistics.brokers.values().any(|broker| broker.nodeid == id && broker.state == "UP")
        };
        let mut looks = Vec::with_capacity(self.owned.len());
        for owned in self.owned.values_mut() {
            let Some(found) = native::statistics_of(statistics, &owned.partition) else { continue };
            looks.push(Look {
                partition: owned.partition.clone(),
                fetched: found.next_offset,
                queued: found.fetchq_cnt,
                handed: owned.handed,
                wanted: std::mem::take(&mut owned.asked) && up(found.leader),
            });
        }
        looks
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
