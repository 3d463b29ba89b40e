//! Transform's floor: consume, parse into VRL's value, the mapping by hand, encode, produce and
//! commit the offsets in a transaction of the size that Millrace's have under load.

use std::time::{Duration, Instant};

use clap::Parser;
use millrace_floor::{
    Codec, DELIVERY, ENVELOPE, Envelope, Header, Order, delivery_headers, subscribed,
};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::Consumer,
    message::BorrowedMessage,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use serde::Serialize;
use vrl::value::Value;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIMEOUT: Duration = Duration::from_secs(30);
/// What one transaction holds at most.
const RECORDS: usize = 5_000;
const BYTES: usize = 8 << 20;
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    from: String,
    #[arg(long)]
    to: String,
    #[arg(long)]
    group: String,
}

#[derive(Serialize)]
struct Delivery<'a> {
    delivery_id: &'a str,
    event_id: &'a str,
    source: &'a str,
    event_type: &'a str,
    route: &'a str,
    destination: &'a str,
    correlation_id: &'a str,
    event_time_ms: i64,
    received_ms: i64,
    created_ms: i64,
    mapping_version: &'a str,
    split_index: u32,
    order: Order,
    request: Request<'a>,
}

#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: Vec<Header>,
    headers: Vec<Header>,
    content_type: &'a str,
    #[serde(with = "apache_avro::serde::bytes")]
    body: Vec<u8>,
}

/// The mapping's result.
#[derive(Serialize)]
struct Body<'a> {
    id: Option<&'a Value>,
    kind: Option<&'a Value>,
    customer: Option<&'a Value>,
    payload: Option<&'a Value>,
}

fn main() {
    let arguments = Arguments::parse();
    let consumer = subscribed(&arguments.bootstrap, &arguments.group, &[&arguments.from]);
    let producer = transactional(&arguments);
    producer.init_transactions(TIMEOUT).expect("the broker has a transaction coordinator");
    let (envelopes, deliveries) = (Codec::new(ENVELOPE), Codec::new(DELIVERY));
    loop {
        producer.begin_transaction().expect("no other is open");
        let mut batch = Batch::default();
        while !batch.is_full() {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(5)) else { continue };
            let value = message.payload().expect("every record has a value");
            let event: Envelope = envelopes.decode(value);
            let mapped = deliveries.encode(1, &map(&event));
            batch.take(&message, mapped.len());
            let record = BaseRecord::to(&arguments.to)
                .key(message.key().unwrap_or_default())
                .payload(&mapped)
                .headers(delivery_headers(&event.event_id));
            producer.send(record).map_err(|(e, _)| e).expect("the producer has room");
        }
        producer.flush(TIMEOUT).expect("the broker acknowledges");
        let group = consumer.group_metadata().expect("the consumer has a group");
        let offsets = producer.send_offsets_to_transaction(&batch.offsets, &group, TIMEOUT);
        offsets.expect("the offsets are taken");
        producer.commit_transaction(TIMEOUT).expect("the transaction stands");
    }
}

fn transactional(arguments: &Arguments) -> ThreadedProducer<DefaultProducerContext> {
    ClientConfig::new()
        .set("bootstrap.servers", &arguments.bootstrap)
        .set("transactional.id", &arguments.group)
        .set("partitioner", "murmur2_random")
        .set("compression.type", "lz4")
        .set("batch.size", "262144")
        .set("linger.ms", "0")
        .create()
        .expect("the producer's settings are known to librdkafka")
}

/// What one transaction has taken so far.
struct Batch {
    begun: Instant,
    records: usize,
    bytes: usize,
    offsets: TopicPartitionList,
}

impl Default for Batch {
    fn default() -> Self {
        let (begun, offsets) = (Instant::now(), TopicPartitionList::new());
        Self { begun, records: 0, bytes: 0, offsets }
    }
}

impl Batch {
    fn is_full(&self) -> bool {
        let late = self.records > 0 && self.begun.elapsed() >= INTERVAL;
        late || self.records >= RECORDS || self.bytes >= BYTES
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, bytes: usize) {
        let (topic, partition) = (message.topic(), message.partition());
        let next = Offset::Offset(message.offset() + 1);
        match self.offsets.find_partition(topic, partition) {
            Some(mut element) => element.set_offset(next),
            None => self.offsets.add_partition_offset(topic, partition, next),
        }
        .expect("the offset is valid");
        self.records += 1;
        self.bytes += bytes;
    }
}

/// The bench's mapping by hand: a few fields of the body become the request's.
fn map(event: &Envelope) -> Delivery<'_> {
    let body: Value = serde_json::from_slice(&event.body).expect("the body is JSON");
    let fields = body.as_object().expect("the body is an object");
    let body = Body {
        id: fields.get("id"),
        kind: fields.get("type"),
        customer: fields.get("customer"),
        payload: fields.get("data"),
    };
    let header = Header { name: "x-event".to_owned(), value: event.event_id.clone() };
    Delivery {
        delivery_id: "mr_00000000000000000000000000000000",
        event_id: &event.event_id,
        source: &event.source,
        event_type: &event.event_type,
        route: "bench",
        destination: "bench",
        correlation_id: &event.correlation_id,
        event_time_ms: event.time_ms,
        received_ms: event.received_ms,
        created_ms: event.received_ms,
        mapping_version: "000000000000",
        split_index: 0,
        order: Order::Strict,
        request: Request {
            method: "",
            path: "",
            query: Vec::new(),
            headers: vec![header],
            content_type: "application/json",
            body: serde_json::to_vec(&body).expect("it is JSON"),
        },
    }
}
