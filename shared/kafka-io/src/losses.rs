//! Writes down, for the audit, every loss that a group's consumer finds.
//!
//! What the records say is their caller's matter. The counter and the readiness tell of a loss whether or not this can.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Config;
use crate::consumer::{Loss, Status};
use crate::metrics::Metrics;
use crate::producer::{Producer, ProducerOptions};
use crate::record::Outgoing;

/// Pause after a try that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Writes a JSON record to `topic` for each loss, until it is acknowledged. It never returns; drop it to end it.
///
/// # Cancellation
/// The loss that was being written may not be.
pub async fn audit_losses(
    config: &Config,
    metrics: &Metrics,
    mut status: watch::Receiver<Status>,
    topic: &str,
    value: impl Fn(&Loss) -> Vec<u8>,
) -> Infallible {
    let record = |loss: &Loss| Outgoing {
        topic: topic.into(),
        partition: None,
        key: Some(loss.topic.to_string().into()),
        value: Some(value(loss).into()),
        headers: vec![("content-type".to_owned(), "application/json".into())],
        timestamp_ms: None,
    };
    let mut told = 0;
    loop {
        let news = status.wait_for(|status| status.losses_counted > told).await;
        let news = news.map(|status| (status.losses_after(told), status.losses_counted)).ok();
        // Without news the consumer has ended.
        let Some((losses, counted)) = news else { return std::future::pending().await };
        let records = losses.iter().map(&record).collect();
        write_all(config, metrics, records).await;
        told = counted;
    }
}

/// A loss is rare: the producer lives as long as it takes to write it.
async fn write_all(config: &Config, metrics: &Metrics, mut records: Vec<Outgoing>) {
    loop {
        match Producer::open(config, ProducerOptions::default(), metrics) {
            Ok(producer) => {
                while let Some(record) = records.last() {
                    match producer.send(record.clone()).await {
                        Ok(_) => drop(records.pop()),
                        Err(why) => {
                            tracing::warn!(%why, "loss of records not written to the audit yet");
                            break;
                        }
                    }
                }
            }
            Err(why) => tracing::warn!(%why, "loss of records not written to the audit yet"),
        }
        if records.is_empty() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
