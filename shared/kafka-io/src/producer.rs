//! Acknowledged writes: a record is written when all in-sync replicas have it, or the caller is told why not.
//!
//! What waits for its acknowledgement is bounded by records and bytes, and a full window lets callers wait: it is
//! backpressure, not memory. A record is let go of at the same limit at which the caller is told; one that may have
//! been written all the same is told apart and counted. Idempotence covers one session; what comes twice is for
//! readers to drop by id.

mod error;
mod reports;
mod window;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::BaseRecord;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::metrics::{Metrics, Sent};
use crate::polled::Polled;
use crate::record::Outgoing;

pub use error::{OpenError, ProduceError};
use reports::{Pending, Reports};
use window::Window;

/// What the client's own limit may be late by; librdkafka looks for expired records once a second.
const GRACE: Duration = Duration::from_secs(2);

/// How records are written.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// A record that is not acknowledged in this time is refused, and let go of.
    pub ack_timeout: Duration,
    /// Longest wait of [`Producer::send`] for room in the window.
    pub window_timeout: Duration,
    /// Time a record waits for others to share its request.
    pub linger: Duration,
    /// Records that may wait for their acknowledgement.
    pub window_records: usize,
    /// Bytes that may wait for their acknowledgement.
    pub window_bytes: usize,
    /// Largest record in bytes, headers included.
    pub record_bytes_max: usize,
}

impl Default for ProducerOptions {
    /// Two minutes for an acknowledgement, no linger, 20,000 records or 64 MiB in flight, records up to 1 MB.
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(120),
            window_timeout: Duration::from_secs(120),
            linger: Duration::ZERO,
            window_records: 20_000,
            window_bytes: 64 << 20,
            record_bytes_max: 1_000_000,
        }
    }
}

/// Where an acknowledged record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub partition: i32,
    pub offset: i64,
}

/// What waits for its acknowledgement now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub records: usize,
    pub bytes: usize,
    pub limit_records: usize,
    pub limit_bytes: usize,
    /// Records refused at their time limit since the start that may have been written all the same.
    pub possibly_written: u64,
}

/// Writes records; clones share one connection and one window.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    options: ProducerOptions,
    window: Arc<Window>,
    sent: Sent,
    native: RwLock<Arc<Native>>,
}

/// One session with the brokers. After a fatal error it is replaced.
struct Native {
    // Always there until the drop.
    producer: Option<Polled<Reports>>,
}

/// Tells whether a record was written. Dropping it changes nothing about the record.
#[must_use = "a record is not written before this says so"]
pub struct Acknowledgement {
    answer: oneshot::Receiver<Result<Written, ProduceError>>,
}

impl Producer {
    /// Opens a producer. Nothing is connected yet.
    ///
    /// # Errors
    /// The setting that librdkafka refuses.
    pub fn open(
        config: &Config,
        options: ProducerOptions,
        metrics: &Metrics,
    ) -> Result<Self, OpenError> {
        let window = Arc::new(Window::new(options.window_records, options.window_bytes, metrics));
        let sent = Sent::new(metrics);
        let native = Native::open(config, &options, &window, &sent)?;
        let shared = Shared {
            config: config.clone(),
            options,
            window,
            sent,
            native: RwLock::new(Arc::new(native)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Writes a record, and returns when all in-sync replicas have it.
    ///
    /// # Errors
    /// [`ProduceError::WindowFull`] when there is no room in time, else why the record was not written.
    /// # Cancellation
    /// The record may be written all the same.
    pub async fn send(&self, record: Outgoing) -> Result<Written, ProduceError> {
        self.send_ref(&record).await
    }

    /// Does the same for who keeps the record, to send it again if it must.
    ///
    /// # Errors
    /// # Cancellation
    /// As [`Producer::send`].
    pub async fn send_ref(&self, record: &Outgoing) -> Result<Written, ProduceError> {
        let shared = &*self.shared;
        let room = shared.window.wait_for(record.bytes());
        if tokio::time::timeout(shared.options.window_timeout, room).await.is_err() {
            return Err(shared.window_full());
        }
        let acknowledged = shared.enqueue(record)?;
        match tokio::time::timeout(shared.options.ack_timeout + GRACE, acknowledged).await {
            Ok(answer) => answer,
            Err(_) => Err(ProduceError::Expired {
                topic: record.topic.clone(),
                limit: shared.options.ack_timeout,
                possibly_written: true,
            }),
        }
    }

    /// Hands a record over without waiting for room.
    ///
    /// # Errors
    /// [`ProduceError::WindowFull`], or what is known at once to be wrong with the record.
    pub fn try_send(&self, record: Outgoing) -> Result<Acknowledgement, ProduceError> {
        if !self.shared.window.try_take(record.bytes()) {
            return Err(self.shared.window_full());
        }
        self.shared.enqueue(&record)
    }

    /// Waits until everything handed over is acknowledged or refused; false when that takes longer than `limit`.
    pub async fn flush(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.shared.window.wait_until_empty()).await.is_ok()
    }

    /// Returns what waits now.
    pub fn queue(&self) -> Queue {
        self.shared.window.queue()
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("queue", &self.queue()).finish_non_exhaustive()
    }
}

impl Future for Acknowledgement {
    type Output = Result<Written, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = |_| Err(ProduceError::Fatal { why: "the producer was dropped".to_owned() });
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or_else(gone))
    }
}

impl Shared {
    /// Gives a record to librdkafka; its room in the window is taken already.
    fn enqueue(&self, record: &Outgoing) -> Result<Acknowledgement, ProduceError> {
        let bytes = record.bytes();
        if bytes > self.options.record_bytes_max {
            self.window.give_back(bytes);
            return Err(ProduceError::TooLarge {
                topic: record.topic.clone(),
                bytes,
                limit: self.options.record_bytes_max,
            });
        }
        let (sender, answer) = oneshot::channel();
        let pending =
            Pending { answer: sender, topic: record.topic.clone(), bytes, since: Instant::now() };
        let native = self.native.read().clone();
        match native.send(record, pending) {
            Ok(()) => Ok(Acknowledgement { answer }),
            Err(why) => {
                self.window.give_back(bytes);
                if why.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                    self.renew(&native);
                }
                self.sent.failed(&record.topic, error::kind(&why), Duration::ZERO);
                Err(match why.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) => self.window_full(),
                    _ => error::produce_error(&why, &record.topic, &self.options, false),
                })
            }
        }
    }

    /// Begins a new session after one that broke.
    fn renew(&self, broken: &Arc<Native>) {
        let mut native = self.native.write();
        if !Arc::ptr_eq(&native, broken) {
            return;
        }
        tracing::error!("producer is replaced after a fatal error");
        match Native::open(&self.config, &self.options, &self.window, &self.sent) {
            Ok(fresh) => *native = Arc::new(fresh),
            Err(why) => tracing::error!(%why, "producer not replaced"),
        }
    }

    fn window_full(&self) -> ProduceError {
        ProduceError::WindowFull {
            records: self.options.window_records,
            bytes: self.options.window_bytes,
        }
    }
}

impl Native {
    fn open(
        config: &Config,
        options: &ProducerOptions,
        window: &Arc<Window>,
        sent: &Sent,
    ) -> Result<Self, OpenError> {
        let reports = Reports::new(config.hooks(), options, window.clone(), sent.clone());
        let producer = Polled::create(&client_config(config, options), reports)
            .map_err(|why| OpenError { why: why.to_string() })?;
        Ok(Self { producer: Some(producer) })
    }

    fn send(&self, record: &Outgoing, pending: Pending) -> Result<(), KafkaError> {
        let Some(producer) = &self.producer else { return Err(KafkaError::Canceled) };
        let mut native: BaseRecord<'_, [u8], [u8], Box<Pending>> =
            BaseRecord::with_opaque_to(&record.topic, Box::new(pending));
        native.partition = record.partition;
        native.key = record.key.as_deref();
        native.payload = record.value.as_deref();
        native.timestamp = record.timestamp_ms;
        native.headers = record.native_headers();
        producer.send(native).map_err(|(why, _)| why)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // The destructor waits for a thread and for reports; that must not hold up a runtime.
        let producer = self.producer.take();
        let freeing =
            thread::Builder::new().name("kafka-free".to_owned()).spawn(move || drop(producer));
        if let Err(why) = freeing {
            tracing::warn!(%why, "producer freed in place");
        }
    }
}

fn client_config(config: &Config, options: &ProducerOptions) -> rdkafka::ClientConfig {
    let mut client = config.client_config();
    let linger = format!("{}", options.linger.as_secs_f64() * 1000.0);
    config.set_defaults(
        &mut client,
        &[("linger.ms", &linger), ("compression.type", "lz4"), ("batch.size", "262144")],
    );
    let ack_ms = options.ack_timeout.as_millis();
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", ack_ms.to_string())
        // A topic that is not there is told as such before the record expires.
        .set("topic.metadata.propagation.max.ms", (ack_ms / 2).min(10_000).to_string())
        .set("message.max.bytes", (options.record_bytes_max + 1024).to_string())
        // The window is ours; librdkafka's own limits lie a little above.
        .set("queue.buffering.max.messages", (options.window_records + 1000).to_string())
        .set("queue.buffering.max.kbytes", (options.window_bytes / 1024 + 4096).to_string());
    client
}

#[cfg(test)]
mod tests;
