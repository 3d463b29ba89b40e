//! Writes an event and says whether the log has it, within the time a sender is made to wait.

use std::{sync::Arc, time::Duration};

use kafka_io::{Outgoing, ProduceError, Producer, ProducerOptions, Written};
use prometheus::IntCounter;

use crate::{config::Config, health::Health, refusal::Refusal};

/// The largest record that any topic of ours takes: the largest body and what is around it.
const RECORD_BYTES_MAX: usize = (25 * 1024 + 256) * 1024;
/// librdkafka looks for what is late once a second.
const LATE_BY_MAX: Duration = Duration::from_secs(1);

/// The hand that writes events.
pub(crate) struct Writer {
    pub(crate) producer: Producer,
    pub(crate) health: Arc<Health>,
    /// By when the producer has let go of an event.
    pub(crate) within: Duration,
    /// Counts events of which nothing was said.
    pub(crate) possibly_written: IntCounter,
}

/// Returns how the producer is to write: an event is let go of up to a second after its time there,
/// so that this ends before the limit; a limit below 2 s leaves half of it for acknowledgements.
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
        // The producer speaks first; a sender is told also where it is later than it ever should be.
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

    /// When a producer with these options lets go of an event: at the earliest, and at the latest.
    fn let_go_of(config: &Config) -> (Duration, Duration) {
        let first = options(config).ack_timeout;
        (first, first + LATE_BY_MAX)
    }

    #[test]
    fn an_event_is_let_go_of_in_the_second_before_the_limit_or_in_the_one_after_half_a_short_one() {
        for (within, first, last) in
            [(10_000, 9000, 10_000), (4000, 3000, 4000), (2000, 1000, 2000), (500, 250, 1250)]
        {
            let config =
                Config { acknowledge_within: Duration::from_millis(within), ..Config::default() };
            let expected = (Duration::from_millis(first), Duration::from_millis(last));
            assert_eq!(let_go_of(&config), expected, "within {within} ms");
        }
    }

    #[test]
    fn the_commented_defaults_say_when_an_event_is_let_go_of() {
        let (first, last) = let_go_of(&Config::default());
        let told = format!("between {} and {} s", first.as_secs(), last.as_secs());
        assert!(crate::DEFAULTS.contains(&told), "{told}");
    }
}
