//! Writes receipts and dead letters until they are acknowledged; it never lets one go.
//!
//! While Kafka does not take them, those who wait here wait, their lanes fill and take no more, and
//! the process is unready with the reason.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chassis::Readiness;
use domain::trace::TraceContext;
use kafka_io::{Outgoing, ProduceError, Producer, Written};
use wire::{Receipt, headers};

use crate::receipts;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The hand that writes; everything a lane completes has gone through it.
pub(crate) struct Outbox {
    producer: Producer,
    receipts: Arc<str>,
    receipt_schema: u32,
    ready: Readiness,
    refused: AtomicBool,
}

impl Outbox {
    pub(crate) fn new(
        producer: Producer,
        receipts: Arc<str>,
        receipt_schema: u32,
        ready: Readiness,
    ) -> Self {
        Self { producer, receipts, receipt_schema, ready, refused: AtomicBool::new(false) }
    }

    /// Writes a receipt; one that the topic finds too large goes without the answer.
    pub(crate) async fn receipt(
        &self,
        receipt: &Receipt,
        trace: TraceContext,
        starting: Option<TraceContext>,
    ) {
        let whole = self.outgoing(receipt, trace, starting);
        if let Err(ProduceError::TooLarge { .. }) = self.insist(&whole).await {
            let smaller = receipts::without_answer(receipt);
            self.surely(&self.outgoing(&smaller, trace, starting)).await;
        }
    }

    /// Writes a dead letter.
    pub(crate) async fn dead_letter(&self, letter: Outgoing) {
        self.surely(&letter).await;
    }

    /// Tries once to write the record by which an event goes to its fallback.
    ///
    /// # Errors
    /// Why it is not acknowledged; its caller tries again.
    pub(crate) async fn successor(&self, record: &Outgoing) -> Result<(), ProduceError> {
        let written = self.producer.send_ref(record).await;
        match &written {
            Ok(_) => self.taken(),
            Err(ProduceError::TooLarge { .. }) => {}
            Err(error) => self.refuse(error),
        }
        written.map(drop)
    }

    /// Tries once to write a record of `ctl.state` or `ctl.audit`, and says where it lies.
    ///
    /// # Errors
    /// Why it is not acknowledged; its caller holds on to it.
    pub(crate) async fn control(&self, record: &Outgoing) -> Result<Written, ProduceError> {
        self.producer.send_ref(record).await
    }

    /// Says whether the registry tells schemas that records need.
    pub(crate) fn registry_answers(&self, answer: Result<(), String>) {
        self.ready.set("registry", answer);
    }

    fn outgoing(
        &self,
        receipt: &Receipt,
        trace: TraceContext,
        starting: Option<TraceContext>,
    ) -> Outgoing {
        let value = match wire::encode(receipt, self.receipt_schema) {
            Ok(value) => Some(value),
            Err(error) => {
                // Lengths are bounded long before this; a receipt without a value still tells most.
                tracing::error!(%error, "receipt not encoded, its headers are written alone");
                None
            }
        };
        Outgoing {
            topic: self.receipts.clone(),
            partition: None,
            key: Some(Bytes::copy_from_slice(receipt.delivery_id.as_bytes())),
            value,
            headers: headers::receipt(receipt, Some(trace), starting),
            timestamp_ms: Some(receipt.at_ms),
        }
    }

    /// Tries until it is acknowledged, whatever stands in the way.
    async fn surely(&self, record: &Outgoing) {
        while let Err(error) = self.insist(record).await {
            self.refuse(&error);
            tokio::time::sleep(PAUSE_MAX).await;
        }
    }

    /// Tries until it is acknowledged or found too large, which only the caller can mend.
    async fn insist(&self, record: &Outgoing) -> Result<(), ProduceError> {
        let mut pause = PAUSE_MIN;
        loop {
            match self.producer.send_ref(record).await {
                Ok(_) => {
                    self.taken();
                    return Ok(());
                }
                Err(error @ ProduceError::TooLarge { .. }) => return Err(error),
                Err(error) => self.refuse(&error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn taken(&self) {
        if self.refused.load(Ordering::Relaxed) && self.refused.swap(false, Ordering::Relaxed) {
            tracing::info!("receipts and dead letters are taken again");
            self.ready.set("receipts", Ok(()));
        }
    }

    fn refuse(&self, error: &ProduceError) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "receipts and dead letters are not taken, deliveries wait");
        }
        self.ready.set("receipts", Err(error.to_string()));
    }
}
