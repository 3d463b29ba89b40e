//! Why a record was not written.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::ProducerOptions;

/// The producer could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not open a producer: {why}; check the kafka section of the configuration")]
pub struct OpenError {
    pub(super) why: String,
}

/// Why a record was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// Too much waits for its acknowledgement already. The record was not handed over.
    #[error(
        "no room for a record: {records} records or {bytes} bytes wait for kafka; try again later, or look at the brokers"
    )]
    WindowFull { records: usize, bytes: usize },
    /// No acknowledgement came in time, and none is waited for any more.
    #[error(
        "could not write to topic {topic}: no acknowledgement within {} ms{}; check the brokers and their in-sync replicas",
        limit.as_millis(),
        if *possibly_written { ", possibly written all the same" } else { "" }
    )]
    Expired { topic: Arc<str>, limit: Duration, possibly_written: bool },
    /// The record is larger than is allowed.
    #[error(
        "could not write to topic {topic}: {bytes} bytes are more than the limit of {limit}; shorten the record or raise the limit and max.message.bytes of the topic"
    )]
    TooLarge { topic: Arc<str>, bytes: usize, limit: usize },
    /// The topic or the partition is not there.
    #[error(
        "could not write to topic {topic}: it or the partition does not exist; run `millrace topics apply`"
    )]
    UnknownTopic { topic: Arc<str> },
    /// The brokers do not take the record.
    #[error(
        "could not write to topic {topic}: {why}; check this user's rights and the topic's settings"
    )]
    Refused { topic: Arc<str>, why: String, possibly_written: bool },
    /// The producer broke and is replaced; another try may succeed.
    #[error("could not write a record: {why}; try again")]
    Fatal { why: String },
}

impl ProduceError {
    /// Whether the record may have been written all the same.
    pub fn possibly_written(&self) -> bool {
        match self {
            Self::Expired { possibly_written, .. } | Self::Refused { possibly_written, .. } => {
                *possibly_written
            }
            Self::WindowFull { .. } | Self::TooLarge { .. } | Self::UnknownTopic { .. } => false,
            Self::Fatal { .. } => true,
        }
    }

    /// Whether the same record may be written when it is tried again later.
    pub fn may_succeed_later(&self) -> bool {
        match self {
            Self::WindowFull { .. }
            | Self::Expired { .. }
            | Self::UnknownTopic { .. }
            | Self::Fatal { .. } => true,
            Self::Refused { .. } => true,
            Self::TooLarge { .. } => false,
        }
    }
}

pub(super) fn produce_error(
    why: &KafkaError,
    topic: &Arc<str>,
    options: &ProducerOptions,
    possibly_written: bool,
) -> ProduceError {
    let topic = topic.clone();
    let limit = options.ack_timeout;
    match why.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::OperationTimedOut,
        ) => ProduceError::Expired { topic, limit, possibly_written },
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            ProduceError::TooLarge {
                topic,
                bytes: options.record_bytes_max,
                limit: options.record_bytes_max,
            }
        }
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => ProduceError::UnknownTopic { topic },
        Some(
            RDKafkaErrorCode::Fatal
            | RDKafkaErrorCode::PurgeQueue
            | RDKafkaErrorCode::PurgeInflight
            | RDKafkaErrorCode::State,
        ) => ProduceError::Fatal { why: why.to_string() },
        _ => ProduceError::Refused { topic, why: why.to_string(), possibly_written },
    }
}

/// Returns a word for the label `error_type`.
pub(super) fn kind(why: &KafkaError) -> &'static str {
    match why.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => "window_full",
        Some(RDKafkaErrorCode::MessageTimedOut) => "timeout",
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => "too_large",
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => "unknown_topic",
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "unauthorized",
        Some(RDKafkaErrorCode::Fatal) => "fatal",
        _ => "_OTHER",
    }
}
