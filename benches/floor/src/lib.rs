//! What the three floors share: records of the same shape as Millrace's, and nothing of Millrace.
//!
//! A floor does the least work that gives the same effect on the same broker. It has no retries, no
//! bounds, no metrics and no error handling: an error ends it.

use apache_avro::{Schema, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use rdkafka::{
    ClientConfig, ClientContext,
    consumer::{BaseConsumer, Consumer},
    message::{self, DeliveryResult, OwnedHeaders},
    producer::{ProducerContext, ThreadedProducer},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

pub const ENVELOPE: &str = include_str!("../../../shared/wire/schemas/envelope.avsc");
pub const DELIVERY: &str = include_str!("../../../shared/wire/schemas/delivery.avsc");

const ID: &str = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
const TIME: &str = "2026-01-05T10:00:00.000Z";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Writes and reads the records of one schema on the library's fast path.
pub struct Codec {
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
}

impl Codec {
    /// Prepares a schema for as long as the program runs.
    pub fn new(schema: &str) -> Self {
        let schema = Schema::parse_str(schema).expect("the schema of this repository parses");
        let schema: &'static Schema = Box::leak(Box::new(schema));
        let writer = GenericDatumWriter::builder(schema).human_readable(false).build();
        let reader = GenericDatumReader::builder(schema).human_readable(false).build();
        Self {
            writer: writer.expect("the schema resolves"),
            reader: reader.expect("the schema resolves"),
        }
    }

    /// Encodes a record behind the five bytes of the wire format.
    pub fn encode(&self, schema_id: u32, record: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4096);
        bytes.push(0);
        bytes.extend_from_slice(&schema_id.to_be_bytes());
        self.writer.write_ser(&mut bytes, record).expect("the record follows the schema");
        bytes
    }

    /// Decodes what follows the five bytes of the wire format.
    pub fn decode<T: DeserializeOwned>(&self, value: &[u8]) -> T {
        self.reader.read_deser(&mut &value[5..]).expect("the record follows the schema")
    }
}

/// A name and a value.
#[derive(Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// An event, all of which is read, whatever is used of it.
#[derive(Deserialize)]
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
    pub http_headers: Vec<Header>,
    #[serde(with = "apache_avro::serde::bytes")]
    pub body: Vec<u8>,
}

/// A delivery, all of which is read, whatever is used of it.
#[derive(Deserialize)]
pub struct Delivery {
    pub delivery_id: String,
    pub event_id: String,
    pub source: String,
    pub event_type: String,
    pub route: String,
    pub destination: String,
    pub correlation_id: String,
    pub event_time_ms: i64,
    pub received_ms: i64,
    pub created_ms: i64,
    pub mapping_version: String,
    pub split_index: u32,
    pub order: Order,
    pub request: Request,
}

/// The order of a delivery among those of its key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    Strict,
    None,
}

/// The HTTP request of a delivery.
#[derive(Deserialize)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Vec<Header>,
    pub headers: Vec<Header>,
    pub content_type: String,
    #[serde(with = "apache_avro::serde::bytes")]
    pub body: Vec<u8>,
}

/// Headers of the number and size that a raw event or a receipt carries.
pub fn headers(id: &str) -> OwnedHeaders {
    let pairs = [
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_source", "bench"),
        ("ce_type", "push"),
        ("ce_time", TIME),
        ("ce_recordedtime", TIME),
        ("ce_correlationid", ID),
        ("content-type", "application/avro"),
        ("traceparent", TRACE),
        ("ce_traceparent", TRACE),
    ];
    added(OwnedHeaders::new_with_capacity(pairs.len() + 3), &pairs)
}

/// Headers of the number and size that a delivery carries.
pub fn delivery_headers(id: &str) -> OwnedHeaders {
    let pairs = [
        ("millrace-delivery-id", "mr_00000000000000000000000000000000"),
        ("millrace-route", "bench"),
        ("millrace-destination", "bench"),
    ];
    added(headers(id), &pairs)
}

fn added(headers: OwnedHeaders, pairs: &[(&str, &str)]) -> OwnedHeaders {
    pairs.iter().fold(headers, |headers, (key, value)| {
        headers.insert(message::Header { key, value: Some(*value) })
    })
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

/// Returns a producer with the settings that Millrace uses.
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

/// Returns a consumer that has joined its group to read these topics.
pub fn subscribed(bootstrap: &str, group: &str, topics: &[&str]) -> BaseConsumer {
    let consumer = consumer(bootstrap, group);
    consumer.subscribe(topics).expect("the topics' names are valid");
    consumer
}

/// Returns a consumer of nothing yet, with the settings that Millrace uses.
pub fn consumer(bootstrap: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "true")
        .set("auto.offset.reset", "earliest")
        .set("queued.min.messages", "2000")
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "50")
        .create()
        .expect("the consumer's settings are known to librdkafka")
}
