//! What the three floors share: records of the same shape as Millrace's, and nothing of Millrace.
//!
//! A floor does the least work that gives the same effect on the same broker. It has no retries, no
//! bounds, no metrics and no error handling: an error ends it.

use apache_avro::{Schema, serde_avro_bytes};
use rdkafka::{
    ClientConfig, ClientContext,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{ProducerContext, ThreadedProducer},
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub const ENVELOPE: &str = include_str!("../../../shared/wire/schemas/envelope.avsc");
pub const DELIVERY: &str = include_str!("../../../shared/wire/schemas/delivery.avsc");
pub const RECEIPT: &str = include_str!("../../../shared/wire/schemas/receipt.avsc");

/// A name and a value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pair {
    pub name: String,
    pub value: String,
}

/// An accepted event.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    pub event_id: String,
    pub source: String,
    pub event_type: String,
    pub subject: Option<String>,
    pub time_ms: i64,
    pub received_ms: i64,
    pub correlation_id: String,
    pub causation_id: Option<String>,
    pub content_type: String,
    pub http_headers: Vec<Pair>,
    #[serde(with = "serde_avro_bytes")]
    pub body: Vec<u8>,
}

/// Parses one of the three schemas.
pub fn schema(text: &str) -> Schema {
    Schema::parse_str(text).expect("the schema of this repository parses")
}

/// Puts the five bytes of the wire format before a datum.
pub fn framed(id: u32, datum: Vec<u8>) -> Vec<u8> {
    let mut framed = Vec::with_capacity(datum.len() + 5);
    framed.push(0);
    framed.extend_from_slice(&id.to_be_bytes());
    framed.extend_from_slice(&datum);
    framed
}

/// Headers of the number and size that Millrace's records carry.
pub fn headers(id: &str) -> OwnedHeaders {
    let pairs = [
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_source", "/sources/bench"),
        ("ce_type", "bench.happened"),
        ("ce_time", "2026-01-05T10:00:00.000Z"),
        ("ce_correlationid", "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"),
        ("ce_recordedtime", "2026-01-05T10:00:00.000Z"),
        ("content-type", "application/avro"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("ce_traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let mut headers = OwnedHeaders::new_with_capacity(pairs.len());
    for (key, value) in pairs {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    headers
}

/// Sends each delivery report to who waits for it.
pub struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<oneshot::Sender<bool>>;
    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Box<oneshot::Sender<bool>>) {
        // Nobody waits for a receipt's report.
        let _gone = waiting.send(result.is_ok());
    }
}

/// A producer with the settings that Millrace uses.
pub fn producer(bootstrap: &str, linger_ms: &str) -> ThreadedProducer<Reports> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("batch.size", "262144")
        .set("linger.ms", linger_ms)
        .create_with_context(Reports)
        .expect("the producer's settings are known to librdkafka")
}
