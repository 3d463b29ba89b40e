//! `ctl.state` read to its end, again and again from where the last look ended. It blocks: call it
//! from a thread that may.
//!
//! It sees uncommitted records too. Words on destinations are in no transaction; a reader of committed
//! records would wait for them behind the open transaction of a replay job, or of one that died.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kafka_io::reader::{Ended, Isolation, Range, ReadError, Reader, ReaderOptions};
use wire::{
    control::{Destinations, PARTITION, Took},
    topics::Names,
};

/// How long the cluster may take to say where the topic ends.
const ANSWER: Duration = Duration::from_secs(3);
/// How long reading to the end may take.
const READ_WITHIN: Duration = Duration::from_secs(20);
const QUEUE_BYTES: usize = 1 << 20;

/// What is said of destinations could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("topic {0} is missing; run `millrace topics apply`")]
    NoTopic(String),
    /// Records were removed behind our back, or a new leader has not caught up yet.
    #[error(
        "topic {topic} ends at offset {end} and was read up to {next}: if it was emptied or made anew, say again what must hold, then restart"
    )]
    CutOff { topic: String, end: i64, next: i64 },
    #[error("could not read topic {0} to its end in time; check the brokers' load")]
    TooSlow(String),
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A task of ours ended before it was done.
    #[error("reading topic {0} was cut off; report this as a defect")]
    Defect(String),
}

/// How far the log was read, and what it says up to there.
pub(crate) struct Log {
    reader: Reader,
    topic: String,
    next: i64,
    said: Destinations,
}

impl Log {
    /// Opens the log; nothing of it is read yet.
    pub(crate) fn open(kafka: &kafka_io::Config, names: &Names) -> Result<Self, LogError> {
        let options = ReaderOptions {
            isolation: Isolation::Uncommitted,
            queue_bytes: QUEUE_BYTES,
            question_timeout: ANSWER,
            group_id: "millrace-control".to_owned(),
        };
        let reader = Reader::open(kafka, options)?;
        let topic = names.state();
        if reader.topics()?.iter().all(|there| there.name != topic) {
            return Err(LogError::NoTopic(topic));
        }
        Ok(Self { reader, topic, next: 0, said: Destinations::default() })
    }

    /// Reads what came since the last look; says whether anything did.
    ///
    /// # Errors
    /// What was said up to the last look stands; the next look goes on from there.
    pub(crate) fn look(&mut self) -> Result<bool, LogError> {
        let end = self.reader.watermarks(&self.topic, PARTITION)?.high;
        let next = self.next;
        if end < next {
            return Err(LogError::CutOff { topic: self.topic.clone(), end, next });
        }
        if end == next {
            return Ok(false);
        }
        let mut said = self.said.clone();
        let range = Range { topic: self.topic.clone(), partition: PARTITION, from: next, to: end };
        let ended = self.reader.read(&[range], Instant::now() + READ_WITHIN, |record| {
            let key = record.key().unwrap_or_default();
            if let Took::Unreadable(why) = said.take(key, record.value()) {
                tracing::error!(
                    topic = self.topic,
                    offset = record.offset(),
                    key = %String::from_utf8_lossy(key),
                    error.message = why,
                    "what is said of a destination is not understood and not obeyed"
                );
            }
            ControlFlow::Continue(())
        })?;
        match ended {
            Ended::Complete | Ended::Stopped => {}
            Ended::Deadline { .. } => return Err(LogError::TooSlow(self.topic.clone())),
        }
        (self.said, self.next) = (said, end);
        Ok(true)
    }

    /// Returns the first offset that was not read.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    pub(crate) fn said(&self) -> &Destinations {
        &self.said
    }
}
