//! A transactional producer, blocking, for a thread of its own.
//!
//! It knows one transaction at a time and tells by value what may follow an error: the same call again, an
//! abort, or a new producer. It does not decide which; the transform engine and the replayer do.
//! Delivery reports are awaited before a commit: records still in flight then cost a fixed 100 ms.

mod reports;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::config::Config;
use crate::polled::Polled;
use crate::record::Outgoing;

use reports::{Outstanding, Reports};

/// How long one call into librdkafka may take before it is made again, so that a thread notices its stop.
const SLICE: Duration = Duration::from_secs(5);
/// The same for sending offsets. librdkafka may not keep to it: it goes on asking a coordinator that it has
/// struck from its list of brokers (2.12.1), and only a new producer asks for another one.
pub(crate) const OFFSETS_SLICE: Duration = Duration::from_secs(3);

/// What a transactional producer needs beside the connection.
#[derive(Clone, Debug)]
pub struct TransactionalOptions {
    /// Stable over restarts: a producer with the same id ends the open transaction of its predecessor.
    pub transactional_id: String,
    /// After this time the broker aborts an open transaction.
    pub transaction_timeout: Duration,
    /// After this time a record without acknowledgement fails its transaction; below `transaction_timeout`.
    pub message_timeout: Duration,
    /// Time a record waits for others to share its request.
    pub linger: Duration,
    /// Records that may wait for their acknowledgement.
    pub window_records: usize,
    /// Bytes that may wait for their acknowledgement.
    pub window_bytes: usize,
    /// Largest record in bytes.
    pub record_bytes_max: usize,
}

impl TransactionalOptions {
    /// Returns the defaults for a transactional id: 60 s for a transaction, 45 s for a record, 32 MiB in flight.
    pub fn new(transactional_id: impl Into<String>) -> Self {
        Self {
            transactional_id: transactional_id.into(),
            transaction_timeout: Duration::from_secs(60),
            message_timeout: Duration::from_secs(45),
            linger: Duration::ZERO,
            window_records: 100_000,
            window_bytes: 32 << 20,
            record_bytes_max: 1_000_000,
        }
    }
}

/// What may follow an error in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The same call may be made again.
    Retriable,
    /// The transaction must be aborted; the producer lives on.
    Abortable,
    /// The producer is of no more use: drop it, make a new one.
    Fatal,
    /// As [`Fatal`](Self::Fatal), because another producer took the id, or the transaction outlived its time.
    Fenced,
}

/// An error of a transactional call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("could not {doing}: {why}")]
pub struct TransactionError {
    pub class: Class,
    /// The step that failed.
    pub doing: &'static str,
    pub why: String,
    /// The refused record, by its number in the order of sending since `begin`, where it is known.
    pub record: Option<usize>,
    /// Whether a record is at fault, known or not: the same records will be refused again.
    pub poisoned: bool,
}

impl TransactionError {
    pub(crate) fn fatal(doing: &'static str, why: String) -> Self {
        Self { class: Class::Fatal, doing, why, record: None, poisoned: false }
    }
}

/// Where a partition's reading goes on, to be written in a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextOffset<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// The offset of the next record to read.
    pub next: i64,
}

/// A producer whose records and offsets stand or fall together.
pub struct TransactionalProducer {
    producer: Polled<Reports>,
    reports: Arc<Outstanding>,
    sent: usize,
}

impl TransactionalProducer {
    /// Creates the producer. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Class::Fatal`] with the setting that librdkafka refuses.
    pub fn new(config: &Config, options: &TransactionalOptions) -> Result<Self, TransactionError> {
        let reports = Arc::new(Outstanding::default());
        let context = Reports { hooks: config.hooks(), outstanding: reports.clone() };
        let producer = Polled::create(&client_config(config, options), context)
            .map_err(|error| failed("create the transactional producer", &error))?;
        Ok(Self { producer, reports, sent: 0 })
    }

    /// Registers the transactional id, ends what a predecessor left open and fences it.
    /// Blocks up to `timeout`; a retriable error may be answered by the same call again.
    pub fn init(&self, timeout: Duration) -> Result<(), TransactionError> {
        self.producer
            .init_transactions(timeout)
            .map_err(|error| failed("initialise the transactional id", &error))
    }

    /// Begins a transaction; local, nothing is sent.
    pub fn begin(&mut self) -> Result<(), TransactionError> {
        self.reports.begin_round();
        self.sent = 0;
        self.producer.begin_transaction().map_err(|error| failed("begin a transaction", &error))
    }

    /// Hands a record to the producer; blocks while the window is full, up to `timeout`.
    pub fn send(&mut self, outgoing: &Outgoing, timeout: Duration) -> Result<(), TransactionError> {
        let deadline = Instant::now() + timeout;
        let mut record = base_record(outgoing, self.reports.add(self.sent));
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if !self.reports.wait_for_one(deadline) {
                        self.reports.remove();
                        return Err(not_in_time(
                            "send a record",
                            "the producer's window stayed full",
                        ));
                    }
                    record = back;
                }
                Err((error, _)) => {
                    self.reports.remove();
                    return Err(refused("send a record", &error, self.sent));
                }
            }
        }
    }

    /// Waits until every record sent has its delivery report.
    ///
    /// # Errors
    /// [`Class::Abortable`] when a record was not written, or on `timeout`.
    pub fn flush_and_await(&self, timeout: Duration) -> Result<(), TransactionError> {
        if self.written_within(timeout)? {
            return Ok(());
        }
        Err(not_in_time("write the transaction's records", "delivery reports are missing"))
    }

    /// As [`flush_and_await`](Self::flush_and_await), but returns false when reports are still missing after `slice`.
    pub(crate) fn written_within(&self, slice: Duration) -> Result<bool, TransactionError> {
        if !self.reports.wait_for_all(Instant::now() + slice) {
            return Ok(false);
        }
        match self.reports.first_failure() {
            None => Ok(true),
            // A broker refuses a whole request for one of its records, so the record is not known here.
            Some(error) => {
                Err(TransactionError { record: None, ..refused("write a record", &error, 0) })
            }
        }
    }

    /// Adds the consumer's next offsets to the transaction. The group's metadata is fetched here, immediately
    /// before it is sent: it carries the generation, by which a former owner of a partition is refused.
    pub fn send_offsets<'a, C: ConsumerContext>(
        &self,
        offsets: impl IntoIterator<Item = NextOffset<'a>>,
        consumer: &impl Consumer<C>,
    ) -> Result<(), TransactionError> {
        self.send_offsets_noting(offsets, consumer, &Mutex::new(None), || true)
    }

    /// As [`send_offsets`](Self::send_offsets), keeps in `since` when the call under way began, and makes it again
    /// only as long as `go_on` says so.
    pub(crate) fn send_offsets_noting<'a, C: ConsumerContext>(
        &self,
        offsets: impl IntoIterator<Item = NextOffset<'a>>,
        consumer: &impl Consumer<C>,
        since: &Mutex<Option<Instant>>,
        go_on: impl Fn() -> bool,
    ) -> Result<(), TransactionError> {
        let offsets = offset_list(offsets)?;
        let Some(group) = consumer.group_metadata() else {
            return Err(no_group());
        };
        let sent = self.send_offsets_as(&offsets, &group, since, go_on);
        *since.lock() = None;
        sent
    }

    /// Commits. Call only after [`flush_and_await`](Self::flush_and_await); asks again until it is decided, and
    /// as long as `go_on` says so.
    pub fn commit(&self, go_on: impl Fn() -> bool) -> Result<(), TransactionError> {
        const DOING: &str = "commit the transaction";
        self.insist(DOING, go_on, || self.producer.commit_transaction(SLICE))
    }

    /// Aborts the open transaction; its records are never seen by a reader of committed records.
    /// Any error means that the producer must be replaced: `fatal_error` can be empty then.
    ///
    /// An aborted transaction whose records were not all acknowledged is such an error. librdkafka gives the sequence
    /// numbers of records that an abort takes from its queue to the records after them
    /// (`rd_kafka_toppar_purge_queues`), also where an earlier try of theirs is in the log and only its answer was
    /// lost, as at a leader's death. A later batch of the same length is a duplicate for the broker then: it is
    /// acknowledged, and is not there. A new producer has an epoch of its own, in which numbers begin anew.
    pub fn abort(&self, go_on: impl Fn() -> bool) -> Result<(), TransactionError> {
        const DOING: &str = "abort the transaction";
        let is_written = self.reports.are_all_written();
        self.insist(DOING, go_on, || self.producer.abort_transaction(SLICE))?;
        if is_written {
            return Ok(());
        }
        let why = "it is aborted, and some of its records may have been written unheard".to_owned();
        Err(TransactionError::fatal("use the producer again", why))
    }

    fn send_offsets_as(
        &self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        since: &Mutex<Option<Instant>>,
        go_on: impl Fn() -> bool,
    ) -> Result<(), TransactionError> {
        const DOING: &str = "send the offsets to the transaction";
        // A retriable failure is tried again within the time librdkafka itself needs to find a new coordinator.
        let deadline = Instant::now() + 4 * SLICE;
        let send = || {
            *since.lock() = Some(Instant::now());
            self.producer.send_offsets_to_transaction(offsets, group, OFFSETS_SLICE)
        };
        self.insist(DOING, || Instant::now() < deadline && go_on(), send)
    }

    fn insist(
        &self,
        doing: &'static str,
        go_on: impl Fn() -> bool,
        call: impl Fn() -> Result<(), KafkaError>,
    ) -> Result<(), TransactionError> {
        loop {
            match call().map_err(|error| failed(doing, &error)) {
                Err(error) if error.class == Class::Retriable && go_on() => {}
                result => return result,
            }
        }
    }
}

fn client_config(config: &Config, options: &TransactionalOptions) -> rdkafka::ClientConfig {
    let mut client = config.client_config();
    let settings = [
        ("transactional.id", options.transactional_id.clone()),
        ("transaction.timeout.ms", options.transaction_timeout.as_millis().to_string()),
        ("message.timeout.ms", options.message_timeout.as_millis().to_string()),
        ("enable.idempotence", "true".to_owned()),
        ("acks", "all".to_owned()),
        ("partitioner", "murmur2_random".to_owned()),
        ("compression.type", "lz4".to_owned()),
        ("linger.ms", format!("{}", options.linger.as_secs_f64() * 1000.0)),
        ("batch.size", "262144".to_owned()),
        // The offset calls wait this long after CONCURRENT_TRANSACTIONS; the default of 100 ms is felt.
        ("retry.backoff.ms", "20".to_owned()),
        ("message.max.bytes", (options.record_bytes_max + 1024).to_string()),
        ("queue.buffering.max.messages", options.window_records.to_string()),
        ("queue.buffering.max.kbytes", (options.window_bytes / 1024).max(1024).to_string()),
    ];
    for (key, value) in settings {
        client.set(key, value);
    }
    client
}

fn base_record(outgoing: &Outgoing, number: usize) -> BaseRecord<'_, [u8], [u8], usize> {
    let mut record = BaseRecord::with_opaque_to(&outgoing.topic, number);
    record.partition = outgoing.partition;
    record.key = outgoing.key.as_deref();
    record.payload = outgoing.value.as_deref();
    record.timestamp = outgoing.timestamp_ms;
    record.headers = outgoing.native_headers();
    record
}

fn offset_list<'a>(
    offsets: impl IntoIterator<Item = NextOffset<'a>>,
) -> Result<TopicPartitionList, TransactionError> {
    let mut list = TopicPartitionList::new();
    for NextOffset { topic, partition, next } in offsets {
        list.add_partition_offset(topic, partition, Offset::Offset(next))
            .map_err(|error| failed("send the offsets to the transaction", &error))?;
    }
    Ok(list)
}

/// Reads librdkafka's flags; what carries none is fatal.
fn failed(doing: &'static str, error: &KafkaError) -> TransactionError {
    let class = match error {
        _ if fenced(error) => Class::Fenced,
        KafkaError::Transaction(error) if error.is_fatal() => Class::Fatal,
        KafkaError::Transaction(error) if error.txn_requires_abort() => Class::Abortable,
        KafkaError::Transaction(error) if error.is_retriable() => Class::Retriable,
        KafkaError::Flush(_) => Class::Retriable,
        _ => Class::Fatal,
    };
    TransactionError { class, doing, why: error.to_string(), record: None, poisoned: false }
}

/// A record that was not taken or not written spoils its transaction, not its producer.
fn refused(doing: &'static str, error: &KafkaError, record: usize) -> TransactionError {
    let class = match error.rdkafka_error_code() {
        _ if fenced(error) => Class::Fenced,
        Some(RDKafkaErrorCode::Fatal) => Class::Fatal,
        _ => Class::Abortable,
    };
    let poisoned = is_poisoned(error);
    TransactionError {
        class,
        doing,
        why: error.to_string(),
        record: poisoned.then_some(record),
        poisoned,
    }
}

fn fenced(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
                | RDKafkaErrorCode::TransactionCoordinatorFenced
        )
    )
}

fn is_poisoned(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::MessageBatchTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidDifferentRecord
                | RDKafkaErrorCode::InvalidTimestamp
                | RDKafkaErrorCode::InvalidArgument
        )
    )
}

fn not_in_time(doing: &'static str, why: &str) -> TransactionError {
    let why = why.to_owned();
    TransactionError { class: Class::Abortable, doing, why, record: None, poisoned: false }
}

fn no_group() -> TransactionError {
    let why = "the consumer has no group".to_owned();
    TransactionError::fatal("send the offsets to the transaction", why)
}
