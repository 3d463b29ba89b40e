//! Deliver's floor: consume, decode, one POST over a pool of raw hyper connections, a receipt.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use clap::Parser;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use millrace_floor::{Codec, DELIVERY, Delivery, consumer, headers, producer, subscribed};
use rdkafka::{
    Message, TopicPartitionList,
    consumer::{
        BaseConsumer, CommitMode, Consumer, DefaultConsumerContext, base_consumer::PartitionQueue,
    },
    producer::{BaseRecord, ThreadedProducer},
};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::{Mutex, Semaphore, mpsc, oneshot},
    task::spawn_blocking,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A receipt's usual size.
const RECEIPT: [u8; 600] = [b'r'; 600];
const LOOK: Duration = Duration::from_millis(100);

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    bootstrap: String,
    /// One or several.
    #[arg(long)]
    topic: Vec<String>,
    #[arg(long)]
    receipts: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    to: SocketAddr,
    /// How many requests at a time, whatever the order.
    #[arg(long, required_unless_present = "one_per_partition")]
    in_flight: Option<usize>,
    /// One request at a time for each partition, in the order of its records: the plain loop.
    #[arg(long)]
    one_per_partition: bool,
}

struct Pool {
    to: SocketAddr,
    idle: Mutex<VecDeque<SendRequest<Full<Bytes>>>>,
    producer: ThreadedProducer<millrace_floor::Reports>,
    receipts: String,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let pool = Arc::new(Pool {
        to: arguments.to,
        idle: Mutex::default(),
        producer: producer(&arguments.bootstrap, "5"),
        receipts: arguments.receipts.clone(),
    });
    match arguments.in_flight.filter(|_| !arguments.one_per_partition) {
        Some(in_flight) => many(arguments, &pool, in_flight).await,
        None => {
            let reading = spawn_blocking(move || one_per_partition(&arguments, &pool));
            reading.await.expect("it reads for as long as the process lives");
        }
    }
}

async fn many(arguments: Arguments, pool: &Arc<Pool>, in_flight: usize) {
    let (sender, mut records) = mpsc::channel(4096);
    thread::spawn(move || read(&arguments, &sender));
    let in_flight = Arc::new(Semaphore::new(in_flight));
    while let Some(delivery) = records.recv().await {
        let permit = in_flight.clone().acquire_owned().await.expect("it is never closed");
        let pool = pool.clone();
        tokio::spawn(async move {
            let delivery_id = deliver(&pool, delivery).await;
            drop(permit);
            receipt(&pool, &delivery_id).await;
        });
    }
}

/// A thread for each partition takes a record, delivers it, and takes the next.
fn one_per_partition(arguments: &Arguments, pool: &Arc<Pool>) {
    let consumer = Arc::new(consumer(&arguments.bootstrap, &arguments.group));
    let partitions = partitions(&consumer, &arguments.topic);
    consumer.assign(&partitions).expect("the partitions are there");
    for partition in partitions.elements() {
        // Before the first poll, so that no record comes by the common queue.
        let queue = consumer.split_partition_queue(partition.topic(), partition.partition());
        let queue = queue.expect("the partition is assigned");
        let (pool, runtime) = (pool.clone(), Handle::current());
        thread::spawn(move || in_turn(&queue, &pool, &runtime));
    }
    loop {
        let stray = matches!(consumer.poll(LOOK), Some(Ok(_)));
        assert!(!stray, "records come by their partition's queue");
        // Before anything is delivered there is nothing to commit.
        let _committed = consumer.commit_consumer_state(CommitMode::Async);
    }
}

fn partitions(consumer: &BaseConsumer, topics: &[String]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for topic in topics {
        let known = consumer.fetch_metadata(Some(topic), Duration::from_secs(10));
        let known = known.expect("the broker knows its topics");
        let count = known.topics().iter().map(|topic| topic.partitions().len()).sum::<usize>();
        for partition in (0..).take(count) {
            list.add_partition(topic, partition);
        }
    }
    list
}

fn in_turn(queue: &PartitionQueue<DefaultConsumerContext>, pool: &Arc<Pool>, runtime: &Handle) {
    let deliveries = Codec::new(DELIVERY);
    loop {
        let Some(Ok(message)) = queue.poll(LOOK) else { continue };
        let delivery = deliveries.decode(message.payload().expect("every record has a value"));
        let delivery_id = runtime.block_on(deliver(pool, delivery));
        let pool = pool.clone();
        runtime.spawn(async move { receipt(&pool, &delivery_id).await });
    }
}

fn read(arguments: &Arguments, sender: &mpsc::Sender<Delivery>) {
    let topics: Vec<&str> = arguments.topic.iter().map(String::as_str).collect();
    let consumer = subscribed(&arguments.bootstrap, &arguments.group, &topics);
    let deliveries = Codec::new(DELIVERY);
    let mut read: usize = 0;
    loop {
        let Some(Ok(message)) = consumer.poll(LOOK) else { continue };
        let delivery = deliveries.decode(message.payload().expect("every record has a value"));
        sender.blocking_send(delivery).expect("the other end lives as long");
        read += 1;
        if read.is_multiple_of(500) {
            // The floor does not wait for what is in flight: it only pays for the commits.
            let _committed = consumer.commit_consumer_state(CommitMode::Async);
        }
    }
}

/// Returns the id of what was delivered.
async fn deliver(pool: &Pool, delivery: Delivery) -> String {
    let idle = pool.idle.lock().await.pop_front();
    let mut connection = match idle {
        Some(connection) => connection,
        None => connect(pool.to).await,
    };
    let request = Request::post("/")
        .header("host", "receiver")
        .header("content-type", "application/json")
        .header("webhook-id", &delivery.delivery_id)
        .header("idempotency-key", &delivery.delivery_id)
        .body(Full::from(delivery.request.body))
        .expect("the request is valid");
    connection.ready().await.expect("the receiver keeps its connections");
    let response = connection.send_request(request).await.expect("the receiver answers");
    response.into_body().collect().await.expect("the receiver answers whole");
    pool.idle.lock().await.push_back(connection);
    delivery.delivery_id
}

async fn receipt(pool: &Pool, delivery_id: &str) {
    let (sender, report) = oneshot::channel();
    let record = BaseRecord::with_opaque_to(&pool.receipts, Box::new(sender))
        .key(delivery_id)
        .payload(&RECEIPT[..])
        .headers(headers(delivery_id));
    pool.producer.send(record).map_err(|(e, _)| e).expect("the producer has room");
    report.await.expect("every record has a report");
}

async fn connect(to: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(to).await.expect("the receiver listens");
    stream.set_nodelay(true).expect("the socket is open");
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.expect("the receiver speaks HTTP");
    tokio::spawn(connection);
    sender
}
