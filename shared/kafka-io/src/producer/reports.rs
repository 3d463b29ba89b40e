//! Receives the delivery reports on the producer's polling thread, and hands each to who waits for it.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;
use tokio::sync::oneshot;

use super::error::{kind, produce_error};
use super::window::Window;
use super::{ProduceError, ProducerOptions, Written};
use crate::context::ClientHooks;
use crate::metrics::Sent;

/// Who waits for a record's report.
pub(super) struct Pending {
    pub(super) answer: oneshot::Sender<Result<Written, ProduceError>>,
    pub(super) topic: Arc<str>,
    pub(super) bytes: usize,
    pub(super) since: Instant,
}

/// The callbacks of a producer.
pub(super) struct Reports {
    hooks: ClientHooks,
    options: ProducerOptions,
    window: Arc<Window>,
    sent: Sent,
}

impl Reports {
    pub(super) fn new(
        hooks: ClientHooks,
        options: &ProducerOptions,
        window: Arc<Window>,
        sent: Sent,
    ) -> Self {
        Self { hooks, options: options.clone(), window, sent }
    }

    fn refused(
        &self,
        why: &KafkaError,
        message: &BorrowedMessage<'_>,
        pending: &Pending,
    ) -> ProduceError {
        let possibly_written = possibly_written(message);
        if possibly_written {
            self.window.possibly_wrote();
            tracing::warn!(topic = &*pending.topic, %why, "record refused, possibly written all the same");
        }
        self.sent.failed(&pending.topic, kind(why), pending.since.elapsed());
        produce_error(why, &pending.topic, &self.options, possibly_written)
    }
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.hooks.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hooks.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.hooks.generate_oauth_token(config)
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let answer = match result {
            Ok(message) => {
                self.sent.acknowledged(&pending.topic, pending.since.elapsed());
                Ok(Written { partition: message.partition(), offset: message.offset() })
            }
            Err((why, message)) => Err(self.refused(why, message, &pending)),
        };
        self.window.give_back(pending.bytes);
        // Whoever sent it may have stopped waiting.
        let _ = pending.answer.send(answer);
    }
}

/// Asks librdkafka what it knows of a record that was not acknowledged; rdkafka has no function for it.
#[expect(unsafe_code, reason = "the status of a message is in librdkafka's C interface only")]
fn possibly_written(message: &BorrowedMessage<'_>) -> bool {
    use rdkafka::bindings::{rd_kafka_message_status, rd_kafka_msg_status_t};
    // SAFETY: the message lives as long as the borrow, and the call only reads a field of it.
    let status = unsafe { rd_kafka_message_status(message.ptr()) };
    status == rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED
}
