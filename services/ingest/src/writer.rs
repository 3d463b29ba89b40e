//! Writes an event and says whether the log has it, within the time a sender is made to wait.

use std::{sync::Arc, time::Duration};

use kafka_io::{Outgoing, ProduceError, Producer, ProducerOptions, Written};
use prometheus::IntCounter;

use crate::{config::Config, health::Health, refusal::Refusal};

/// The largest record that any topic of ours takes: the largest body and what is around it.
const RECORD_BYTES_MAX: usize = (25 * 1024 + 256) * 1024;
/// librdkafka lets go of what is late once a second.
const LATE_BY_MAX: Duration = Duration::from_secs(1);

/// The hand that writes events.
pub(crate) struct Writer {
    pub(crate) producer: Producer,
    pub(crate) health: Arc<Health>,
    /// When a sender is told, also if the producer has said nothing.
    pub(crate) within: Duration,
    /// Counts events of which nothing was said.
    pub(crate) possibly_written: IntCounter,
}

/// Returns how the producer is to write: an event that is not acknowledged is let go of by the
/// time its sender is told.
pub(crate) fn options(config: &Config) -> ProducerOptions {
    let within = config.acknowledge_within;
    ProducerOptions {
        ack_timeout: within - LATE_BY_MAX.min(within / 2),
        linger: config.linger,
        window_records: config.requests_max,
        // What is around a body counts too; ours is the bound that speaks first.
        window_bytes: config.body_bytes_max.saturating_mul(2).max(2 * RECORD_BYTES_MAX),
        record_bytes_max: RECORD_BYTES_MAX,
        ..ProducerOptions::default()
    }
}

impl Writer {
    /// Writes an event; returns when all in-sync replicas have it.
    ///
    /// # Errors
    /// `Overloaded` where too much waits already; `NotLogged` where it was not acknowledged.
    /// # Cancellation
    /// The event may be written all the same.
    pub(crate) async fn write(&self, event: Outgoing) -> Result<Written, Refusal> {
        let acknowledged = self.producer.try_send(event).map_err(|why| self.refused(&why))?;
        // Past the limit and what the producer may be late by, nothing is waited for.
        match tokio::time::timeout(self.within + LATE_BY_MAX, acknowledged).await {
            Ok(Ok(written)) => {
                self.health.answered();
                Ok(written)
            }
            Ok(Err(why)) => Err(self.refused(&why)),
            Err(_) => {
                self.possibly_written.inc();
                let why = "kafka said nothing in time, the event is possibly written".to_owned();
                self.health.failed(&why);
                Err(Refusal::NotLogged { why })
            }
        }
    }

    fn refused(&self, why: &ProduceError) -> Refusal {
        let said = why.to_string();
        match why {
            ProduceError::WindowFull { .. } => return Refusal::Overloaded,
            // The record's fault or the topic's, not Kafka's.
            ProduceError::TooLarge { .. } => {
                tracing::error!(error.message = said, "event too large")
            }
            ProduceError::Expired { .. }
            | ProduceError::UnknownTopic { .. }
            | ProduceError::Refused { .. }
            | ProduceError::Fatal { .. } => self.health.failed(&said),
        }
        Refusal::NotLogged { why: said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_let_go_of_before_its_sender_is_told() {
        for (within, expected) in [(4000, 3000), (1000, 500), (500, 250)] {
            let config =
                Config { acknowledge_within: Duration::from_millis(within), ..Config::default() };
            assert_eq!(options(&config).ack_timeout, Duration::from_millis(expected));
        }
    }
}
