//! Whether Kafka takes events, as the last word of it says; shown by readiness, and a reason to look again.

use std::sync::atomic::{AtomicBool, Ordering};

use chassis::Readiness;
use tokio::sync::Notify;

/// Kafka is reachable and acknowledges.
pub(crate) const KAFKA: &str = "kafka";

/// The last word of Kafka.
pub(crate) struct Health {
    well: AtomicBool,
    doubted: Notify,
    ready: Readiness,
}

impl Health {
    /// Begins unmet.
    pub(crate) fn new(ready: Readiness) -> Self {
        ready.set(KAFKA, Err("starting".into()));
        Self { well: AtomicBool::new(false), doubted: Notify::new(), ready }
    }

    /// Kafka answered.
    pub(crate) fn answered(&self) {
        if !self.well.load(Ordering::Relaxed) && !self.well.swap(true, Ordering::Relaxed) {
            self.ready.set(KAFKA, Ok(()));
        }
    }

    /// Kafka did not do what it was asked.
    pub(crate) fn failed(&self, why: &str) {
        if self.well.swap(false, Ordering::Relaxed) {
            tracing::warn!(error.message = why, "kafka does not take events");
        }
        self.ready.set(KAFKA, Err(why.to_owned()));
        self.doubted.notify_one();
    }

    pub(crate) fn is_well(&self) -> bool {
        self.well.load(Ordering::Relaxed)
    }

    /// Returns once something has failed since the last call.
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_is_shown_until_kafka_answers_and_asks_for_a_look() {
        let ready = Readiness::default();
        let health = Health::new(ready.clone());
        health.answered();
        assert!(ready.is_ready() && health.is_well());
        health.failed("no acknowledgement");
        assert_eq!(ready.unmet()[0].reason, "no acknowledgement");
        health.doubted().await;
        health.answered();
        assert!(ready.is_ready());
    }
}
