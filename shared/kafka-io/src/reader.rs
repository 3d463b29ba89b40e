//! Bounded reading by manual assignment: lists, one record, an event's story, replay jobs.
//!
//! It joins no group and commits nothing. A read has a beginning, an end and a deadline, and holds little in
//! memory however much it passes. It blocks: call it from a thread that may.

mod coordinator;
mod range;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use domain::offset_map::OffsetMap;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::config::Config;
use crate::context::ClientHooks;
use crate::record::Record;
use crate::transactional_producer::{NextOffset, TransactionError, TransactionalProducer};

use range::{Active, Eof};
pub use view::BorrowedView;

/// Longest wait inside one poll, so that the deadline is seen in time.
const POLL: Duration = Duration::from_millis(50);

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Records of committed transactions and records without one.
    #[default]
    Committed,
    /// Everything, aborted records included.
    Uncommitted,
}

/// How a reader reads.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    pub isolation: Isolation,
    /// Bytes fetched ahead.
    pub queue_bytes: usize,
    /// Limit of one question to the cluster (offsets, metadata).
    pub question_timeout: Duration,
    /// Group named to the broker; nothing is committed under it.
    pub group_id: String,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            isolation: Isolation::Committed,
            queue_bytes: 8 << 20,
            question_timeout: Duration::from_secs(10),
            group_id: "millrace-reader".to_owned(),
        }
    }
}

/// A part of a partition: from the first offset up to and without the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub topic: String,
    pub partition: i32,
    pub from: i64,
    /// First offset that is not read; `i64::MAX` reads to the end as it is when the read begins.
    pub to: i64,
}

/// First offset in the log, and the one after the last that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    pub low: i64,
    pub high: i64,
}

/// A topic and how many partitions it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: String,
    pub partitions: i32,
}

/// How a read ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every range was read to its end.
    Complete,
    /// The callback asked to stop.
    Stopped,
    /// The deadline came first; what was not read is left.
    Deadline { left: Vec<Range> },
}

/// A bounded read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client could not be made.
    #[error("could not open a reader: {why}; check the kafka section of the configuration")]
    Open { why: String },
    /// The cluster did not answer a question.
    #[error("could not {doing}: {why}; check that kafka is reachable and that this user may read")]
    Question { doing: String, why: String },
    /// Reading itself failed and would fail again.
    #[error("could not read topic {topic}: {why}")]
    Read { topic: String, why: String },
}

/// A client for bounded reads, one at a time.
pub struct Reader {
    consumer: BaseConsumer<ClientHooks>,
    config: Config,
    options: ReaderOptions,
}

impl Reader {
    /// Opens a reader. Nothing is asked of the cluster yet.
    pub fn open(config: &Config, options: ReaderOptions) -> Result<Self, ReadError> {
        let consumer = consumer(config, &options, &options.group_id)?;
        Ok(Self { consumer, config: config.clone(), options })
    }

    /// An error with the reason for which the connection failed.
    fn question(&self, doing: &str, why: &KafkaError) -> ReadError {
        let why = crate::context::explain(&self.consumer, why);
        ReadError::Question { doing: doing.to_owned(), why }
    }

    /// Lists the topics of the cluster, internal ones left out, ordered by name.
    pub fn topics(&self) -> Result<Vec<TopicInfo>, ReadError> {
        let metadata = self
            .consumer
            .fetch_metadata(None, self.options.question_timeout)
            .map_err(|why| self.question("list the topics", &why))?;
        let info = |topic: &rdkafka::metadata::MetadataTopic| TopicInfo {
            name: topic.name().to_owned(),
            partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
        };
        let own = |topic: &TopicInfo| !topic.name.starts_with("__");
        let mut topics: Vec<TopicInfo> = metadata.topics().iter().map(info).filter(own).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// Returns where a partition begins and ends for this reader's isolation.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, ReadError> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(topic, partition, self.options.question_timeout)
            .map_err(|why| {
                self.question(&format!("find the ends of {topic}[{partition}]"), &why)
            })?;
        Ok(Watermarks { low, high })
    }

    /// Returns what a group has committed of each partition, with what is complete beyond the offset; a partition
    /// without a commit is left out. Metadata that is no map counts as none.
    pub fn committed(
        &self,
        group: &str,
        partitions: &[(String, i32)],
    ) -> Result<BTreeMap<(String, i32), OffsetMap>, ReadError> {
        let doing = || format!("fetch the committed offsets of group {group}");
        let asking = consumer(&self.config, &self.options, group)?;
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let ask = |limit| asking.committed_offsets(list.clone(), limit);
        let found = coordinator::insist(self.options.question_timeout, ask)
            .map_err(|why| question(&doing(), &why))?;
        let map = |((topic, partition), next): ((String, i32), Option<i64>)| {
            let (next, element) = (next?, found.find_partition(&topic, partition)?);
            let map = OffsetMap::decode(next, element.metadata());
            Some(((topic, partition), map.unwrap_or_else(|_| OffsetMap::new(next))))
        };
        Ok(offsets_of(&found, &doing())?.into_iter().filter_map(map).collect())
    }

    /// Returns the first offset at or after a time in ms since 1970 for each partition, `None` where all is older.
    pub fn offsets_for_time(
        &self,
        time_ms: i64,
        partitions: &[(String, i32)],
    ) -> Result<BTreeMap<(String, i32), Option<i64>>, ReadError> {
        const DOING: &str = "find offsets by time";
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition_offset(topic, *partition, Offset::Offset(time_ms.max(0)))
                .map_err(|why| question(DOING, &why))?;
        }
        let found = self
            .consumer
            .offsets_for_times(list, self.options.question_timeout)
            .map_err(|why| question(DOING, &why))?;
        offsets_of(&found, DOING)
    }

    /// Reads the ranges and hands each record to `each`, topic by topic, in order within a partition.
    ///
    /// A range that reaches below the log's start begins there; one beyond the end stops there. Markers of
    /// transactions are not records, and a range that ends with them ends all the same.
    /// # Errors
    /// [`ReadError`] when the cluster refuses; broken connections are waited out until the deadline.
    pub fn read(
        &self,
        ranges: &[Range],
        deadline: Instant,
        mut each: impl FnMut(&BorrowedView<'_>) -> ControlFlow<()>,
    ) -> Result<Ended, ReadError> {
        let topics: BTreeSet<&str> = ranges.iter().map(|range| range.topic.as_str()).collect();
        let mut left = Vec::new();
        for topic in topics {
            // One topic at a time: the end-of-partition event names only the partition.
            let mut active = self.activate(ranges.iter().filter(|range| range.topic == topic))?;
            let ended = self.read_topic(topic, &mut active, deadline, &mut each);
            self.wake(topic, &active);
            let freed = self.consumer.unassign().map_err(|why| read_failed(topic, &why));
            match ended? {
                ControlFlow::Break(()) => return Ok(Ended::Stopped),
                ControlFlow::Continue(()) => {
                    left.extend(active.iter().filter_map(|range| range.left(topic)))
                }
            }
            freed?;
        }
        Ok(if left.is_empty() { Ended::Complete } else { Ended::Deadline { left } })
    }

    /// Adds positions to a producer's open transaction, under the group this reader names to the broker.
    ///
    /// # Errors
    /// As [`TransactionalProducer::send_offsets`].
    pub fn send_offsets<'a>(
        &self,
        producer: &TransactionalProducer,
        offsets: impl IntoIterator<Item = NextOffset<'a>>,
    ) -> Result<(), TransactionError> {
        producer.send_offsets(offsets, &self.consumer)
    }

    /// Commits positions plainly after their transaction, where the broker is embedded: it drops those sent in
    /// one. Elsewhere it does nothing.
    pub fn committed_in_transaction<'a>(
        &self,
        offsets: impl IntoIterator<Item = NextOffset<'a>>,
    ) -> Result<(), ReadError> {
        if !self.config.embedded {
            return Ok(());
        }
        const DOING: &str = "commit offsets on the embedded broker";
        let mut list = TopicPartitionList::new();
        for NextOffset { topic, partition, next } in offsets {
            list.add_partition_offset(topic, partition, Offset::Offset(next))
                .map_err(|why| question(DOING, &why))?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        self.consumer.commit(&list, CommitMode::Sync).map_err(|why| question(DOING, &why))
    }

    /// Fetches one record by its coordinate, or `None` when there is none (any more) at that offset.
    pub fn fetch_one(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        timeout: Duration,
    ) -> Result<Option<Record>, ReadError> {
        let range = Range {
            topic: topic.to_owned(),
            partition,
            from: offset,
            to: offset.saturating_add(1),
        };
        let mut found = None;
        let ended = self.read(&[range], Instant::now() + timeout, |view| {
            if view.offset() == offset {
                found = Some(view.to_record());
            }
            ControlFlow::Break(())
        })?;
        match ended {
            Ended::Complete | Ended::Stopped => Ok(found),
            Ended::Deadline { .. } => {
                let why = format!("no answer within {} ms", timeout.as_millis());
                Err(ReadError::Question {
                    doing: format!("read {topic}[{partition}]@{offset}"),
                    why,
                })
            }
        }
    }

    /// Fits ranges into what the log holds now.
    fn activate<'a>(
        &self,
        ranges: impl Iterator<Item = &'a Range>,
    ) -> Result<Vec<Active>, ReadError> {
        let mut active = Vec::new();
        for range in ranges {
            let marks = self.watermarks(&range.topic, range.partition)?;
            active.extend(Active::within(range, marks));
        }
        Ok(active)
    }

    fn read_topic(
        &self,
        topic: &str,
        active: &mut [Active],
        deadline: Instant,
        each: &mut impl FnMut(&BorrowedView<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ReadError> {
        self.assign(topic, active)?;
        let mut open = active.len();
        while open > 0 && Instant::now() < deadline {
            match self.consumer.poll(POLL.min(deadline.saturating_duration_since(Instant::now()))) {
                None => {}
                Some(Ok(message)) => {
                    let view = BorrowedView::new(&message);
                    let Some(range) = range::find(active, view.partition()) else { continue };
                    if range.admits(view.offset()) && each(&view).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    if range.saw(view.offset()) {
                        open -= 1;
                        self.rest(topic, range.partition);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open -= usize::from(self.at_end(topic, range::find(active, partition))?);
                }
                Some(Err(error)) => self.after_error(topic, active, &error)?,
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn assign(&self, topic: &str, active: &[Active]) -> Result<(), ReadError> {
        let mut list = TopicPartitionList::new();
        for range in active {
            list.add_partition_offset(topic, range.partition, Offset::Offset(range.next))
                .map_err(|why| read_failed(topic, &why))?;
        }
        self.consumer.assign(&list).map_err(|why| read_failed(topic, &why))
    }

    /// Stops fetching a partition whose range is read. Failing only costs bytes.
    fn rest(&self, topic: &str, partition: i32) {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        if let Err(why) = self.consumer.pause(&list) {
            tracing::debug!(topic, partition, %why, "finished partition is still fetched");
        }
    }

    /// Takes back [`rest`](Self::rest): a pause outlives the assignment, and the next read would wait in vain.
    fn wake(&self, topic: &str, active: &[Active]) {
        let mut list = TopicPartitionList::new();
        for range in active.iter().filter(|range| !range.open()) {
            list.add_partition(topic, range.partition);
        }
        if let Err(why) = self.consumer.resume(&list) {
            tracing::warn!(topic, %why, "a partition stays paused; open a new reader");
        }
    }

    /// Decides whether the end of a partition is the end of its range.
    ///
    /// A new leader may show an older end for a moment, so an end before the range's last offset counts only when
    /// it is met again after the leader has named an end at or behind it.
    fn at_end(&self, topic: &str, range: Option<&mut Active>) -> Result<bool, ReadError> {
        let Some(range) = range else { return Ok(false) };
        let high = self.watermarks(topic, range.partition)?.high;
        match range.met_end(high) {
            Eof::Done => Ok(true),
            Eof::Wait => Ok(false),
            Eof::Confirm { from } => {
                self.seek(topic, range.partition, from)?;
                Ok(false)
            }
        }
    }

    fn after_error(
        &self,
        topic: &str,
        active: &mut [Active],
        error: &KafkaError,
    ) -> Result<(), ReadError> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.skip_removed(topic, active)
            }
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => Err(read_failed(topic, error)),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(read_failed(topic, error))
            }
            _ => Ok(()),
        }
    }

    /// Goes on at the log's start where records were removed while they were being read.
    fn skip_removed(&self, topic: &str, active: &mut [Active]) -> Result<(), ReadError> {
        for range in active.iter_mut().filter(|range| range.open()) {
            let low = self.watermarks(topic, range.partition)?.low;
            let from = range.skip_to(low);
            self.seek(topic, range.partition, from)?;
        }
        Ok(())
    }

    fn seek(&self, topic: &str, partition: i32, offset: i64) -> Result<(), ReadError> {
        self.consumer
            .seek(topic, partition, Offset::Offset(offset), self.options.question_timeout)
            .map_err(|why| read_failed(topic, &why))
    }
}

fn consumer(
    config: &Config,
    options: &ReaderOptions,
    group: &str,
) -> Result<BaseConsumer<ClientHooks>, ReadError> {
    let isolation = match options.isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    let kilobytes = (options.queue_bytes / 1024).max(256).to_string();
    let mut client = config.client_config();
    let settings = [
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", "true"),
        ("isolation.level", isolation),
        ("queued.max.messages.kbytes", kilobytes.as_str()),
        ("queued.min.messages", "10000"),
        ("fetch.queue.backoff.ms", "2"),
        ("fetch.wait.max.ms", "20"),
        ("fetch.message.max.bytes", "1048576"),
    ];
    for (key, value) in settings {
        client.set(key, value);
    }
    client
        .create_with_context(config.hooks())
        .map_err(|why| ReadError::Open { why: why.to_string() })
}

fn offsets_of(
    list: &TopicPartitionList,
    doing: &str,
) -> Result<BTreeMap<(String, i32), Option<i64>>, ReadError> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        element.error().map_err(|why| question(doing, &why))?;
        let offset = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        };
        offsets.insert((element.topic().to_owned(), element.partition()), offset);
    }
    Ok(offsets)
}

fn question(doing: &str, why: &KafkaError) -> ReadError {
    ReadError::Question { doing: doing.to_owned(), why: why.to_string() }
}

fn read_failed(topic: &str, why: &KafkaError) -> ReadError {
    ReadError::Read { topic: topic.to_owned(), why: why.to_string() }
}
