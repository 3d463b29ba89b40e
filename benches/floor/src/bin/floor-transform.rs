//! Transform's floor: consume, parse into VRL's value, the mapping by hand, encode, produce and
//! commit the offsets in a transaction.

use std::time::{Duration, Instant};

use apache_avro::{from_avro_datum, types::Value as Avro};
use clap::Parser;
use millrace_floor::{DELIVERY, ENVELOPE, Envelope, framed, headers, schema};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use vrl::value::Value;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TIMEOUT: Duration = Duration::from_secs(30);

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
    /// The most records of a transaction.
    #[arg(long, default_value_t = 1000)]
    batch: usize,
}

fn main() {
    let arguments = Arguments::parse();
    let consumer = consumer(&arguments);
    let producer = transactional(&arguments);
    producer.init_transactions(TIMEOUT).expect("the broker has a transaction coordinator");
    let (envelope, delivery) = (schema(ENVELOPE), schema(DELIVERY));
    loop {
        producer.begin_transaction().expect("no other is open");
        let mut offsets = TopicPartitionList::new();
        let begun = Instant::now();
        let mut batch = 0;
        while batch < arguments.batch && begun.elapsed() < Duration::from_millis(200) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(5)) else { continue };
            let datum = &message.payload().expect("every record has a value")[5..];
            let value = from_avro_datum(&envelope, &mut &datum[..], None).expect("an envelope");
            let event: Envelope = apache_avro::from_value(&value).expect("an envelope");
            let mapped = map(&event, &delivery);
            let key = message.key().unwrap_or_default();
            let record = BaseRecord::to(&arguments.to)
                .key(key)
                .payload(&mapped)
                .headers(headers(&event.event_id));
            producer.send(record).map_err(|(e, _)| e).expect("the producer has room");
            note(&mut offsets, message.topic(), message.partition(), message.offset() + 1);
            batch += 1;
        }
        producer.flush(TIMEOUT).expect("the broker acknowledges");
        let group = consumer.group_metadata().expect("the consumer has a group");
        producer.send_offsets_to_transaction(&offsets, &group, TIMEOUT).expect("offsets are taken");
        producer.commit_transaction(TIMEOUT).expect("the transaction stands");
    }
}

fn consumer(arguments: &Arguments) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.bootstrap)
        .set("group.id", &arguments.group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "50")
        .create()
        .expect("the consumer's settings are known to librdkafka");
    consumer.subscribe(&[&arguments.from]).expect("the topic's name is valid");
    consumer
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

fn note(offsets: &mut TopicPartitionList, topic: &str, partition: i32, next: i64) {
    match offsets.find_partition(topic, partition) {
        Some(mut element) => element.set_offset(Offset::Offset(next)),
        None => offsets.add_partition_offset(topic, partition, Offset::Offset(next)),
    }
    .expect("the offset is valid");
}

/// The bench's mapping by hand: a few fields of the body become the request's.
fn map(event: &Envelope, schema: &apache_avro::Schema) -> Vec<u8> {
    let body: Value = serde_json::from_slice(&event.body).expect("the body is JSON");
    let text = |path: &str| {
        body.get(path).map_or_else(String::new, |v| v.to_string_lossy().into_owned())
    };
    let request = serde_json::json!({
        "id": text("id"), "kind": text("type"), "customer": text("customer"), "payload": body.get("data"),
    });
    let request = serde_json::to_vec(&request).expect("it is JSON");
    framed(1, apache_avro::to_avro_datum(schema, delivery(event, request)).expect("a delivery"))
}

fn delivery(event: &Envelope, body: Vec<u8>) -> Avro {
    let text = |t: &str| Avro::String(t.to_owned());
    let request = Avro::Record(vec![
        ("method".into(), text("")),
        ("path".into(), text("")),
        ("query".into(), Avro::Array(Vec::new())),
        ("headers".into(), Avro::Array(Vec::new())),
        ("content_type".into(), text("application/json")),
        ("body".into(), Avro::Bytes(body)),
    ]);
    Avro::Record(vec![
        ("delivery_id".into(), text("mr_00000000000000000000000000000000")),
        ("event_id".into(), text(&event.event_id)),
        ("source".into(), text(&event.source)),
        ("event_type".into(), text(&event.event_type)),
        ("route".into(), text("bench")),
        ("destination".into(), text("bench")),
        ("correlation_id".into(), text(&event.correlation_id)),
        ("event_time_ms".into(), Avro::Long(event.time_ms)),
        ("received_ms".into(), Avro::Long(event.received_ms)),
        ("created_ms".into(), Avro::Long(event.received_ms)),
        ("mapping_version".into(), text("000000000000")),
        ("split_index".into(), Avro::Int(0)),
        ("order".into(), Avro::Enum(0, "STRICT".into())),
        ("request".into(), request),
    ])
}
