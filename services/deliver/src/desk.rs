//! Where an operator says what holds a destination, and reads what was said. It needs Kafka and no
//! running service.
//!
//! What replicas do with it is [`control`](crate::control)'s.

use std::{
    thread,
    time::{Duration, Instant},
};

use kafka_io::{Config, Metrics, OpenError, ProduceError, Producer, ProducerOptions};
use wire::{
    control::{Act, Destinations, Word},
    topics::Names,
};

use crate::{
    control::{
        log::{Log, LogError},
        records,
    },
    probe::Probed,
};

/// How long an act may wait for its acknowledgement.
const WRITE_WITHIN: Duration = Duration::from_secs(15);
/// How long an acknowledged act is looked for, and how often.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
const SEEN_LOOK: Duration = Duration::from_millis(20);

/// The operator's hand on destinations.
#[derive(Debug, Clone)]
pub struct Desk {
    kafka: Config,
    names: Names,
}

/// What was asked or said did not come through.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0}; say it again")]
    Write(ProduceError),
    #[error("it is in force, but not in the audit: {0}; say it again")]
    Audit(ProduceError),
    #[error("{0}")]
    Unaudited(ProduceError),
    #[error("it is acknowledged, but was not read back in time: list the destinations")]
    Unseen,
}

impl Desk {
    /// Nothing is asked of the cluster yet.
    pub fn new(kafka: Config, names: Names) -> Self {
        Self { kafka, names }
    }

    /// Returns what is said of all destinations, read to the log's end.
    ///
    /// # Errors
    /// [`DeskError::Log`] where it can't be read.
    pub async fn said(&self) -> Result<Destinations, DeskError> {
        self.read(None).await
    }

    /// Says something of a destination, and returns what is said of all once that is acknowledged by
    /// all in-sync replicas, read back, and in the audit.
    ///
    /// # Errors
    /// Where it is not certain that it is in force and told; it may be said again.
    /// # Cancellation
    /// It may be in force all the same.
    pub async fn act(
        &self,
        act: Act,
        destination: &str,
        word: &Word,
    ) -> Result<Destinations, DeskError> {
        let producer = self.producer()?;
        let kept = records::kept(&self.names, act, destination, word);
        let written = producer.send(kept).await.map_err(DeskError::Write)?;
        let audited = records::audited(&self.names, act, destination, word);
        producer.send(audited).await.map_err(DeskError::Audit)?;
        self.read(Some(written.offset)).await
    }

    /// Tells the audit that a destination was probed, and what came of it.
    ///
    /// # Errors
    /// Where that is not acknowledged; the probe was made all the same.
    pub async fn tell_probed(&self, probed: &Probed, word: &Word) -> Result<(), DeskError> {
        let record = records::probed(&self.names, word, probed);
        self.producer()?.send(record).await.map_err(DeskError::Unaudited)?;
        Ok(())
    }

    fn producer(&self) -> Result<Producer, OpenError> {
        let options = ProducerOptions {
            ack_timeout: WRITE_WITHIN,
            window_timeout: WRITE_WITHIN,
            ..ProducerOptions::default()
        };
        Producer::open(&self.kafka, options, &Metrics::default())
    }

    /// Reads the log to its end, and at least to an offset that is acknowledged.
    async fn read(&self, beyond: Option<i64>) -> Result<Destinations, DeskError> {
        let (kafka, names) = (self.kafka.clone(), self.names.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut log = Log::open(&kafka, &names)?;
            let until = Instant::now() + SEEN_WITHIN;
            loop {
                log.look()?;
                if beyond.is_none_or(|offset| log.next() > offset) {
                    return Ok(log.said().clone());
                }
                if Instant::now() > until {
                    return Err(DeskError::Unseen);
                }
                thread::sleep(SEEN_LOOK);
            }
        });
        reading.await.map_err(|_| LogError::Defect(self.names.state()))?
    }
}
