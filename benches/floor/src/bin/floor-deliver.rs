//! Deliver's floor: consume, decode, one POST over a pool of raw hyper connections, a receipt.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Parser;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use millrace_floor::{Codec, DELIVERY, Delivery, consumer, headers, producer};
use rdkafka::{
    Message,
    consumer::{CommitMode, Consumer},
    producer::{BaseRecord, ThreadedProducer},
};
use tokio::{
    net::TcpStream,
    sync::{Mutex, Semaphore, mpsc, oneshot},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A receipt's usual size.
const RECEIPT: [u8; 600] = [b'r'; 600];

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    receipts: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    in_flight: usize,
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
    let (sender, mut records) = mpsc::channel(4096);
    let pool = Arc::new(Pool {
        to: arguments.to,
        idle: Mutex::default(),
        producer: producer(&arguments.bootstrap, "5"),
        receipts: arguments.receipts.clone(),
    });
    let in_flight = Arc::new(Semaphore::new(arguments.in_flight));
    std::thread::spawn(move || read(&arguments, &sender));
    while let Some(delivery) = records.recv().await {
        let permit = in_flight.clone().acquire_owned().await.expect("it is never closed");
        let pool = pool.clone();
        tokio::spawn(async move {
            deliver(&pool, delivery).await;
            drop(permit);
        });
    }
}

fn read(arguments: &Arguments, sender: &mpsc::Sender<Delivery>) {
    let consumer = consumer(&arguments.bootstrap, &arguments.group, &arguments.topic);
    let deliveries = Codec::new(DELIVERY);
    let mut read: usize = 0;
    loop {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let delivery = deliveries.decode(message.payload().expect("every record has a value"));
        sender.blocking_send(delivery).expect("the other end lives as long");
        read += 1;
        if read.is_multiple_of(500) {
            // The floor does not wait for what is in flight: it only pays for the commits.
            let _committed = consumer.commit_consumer_state(CommitMode::Async);
        }
    }
}

async fn deliver(pool: &Pool, delivery: Delivery) {
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
    let (sender, report) = oneshot::channel();
    let record = BaseRecord::with_opaque_to(&pool.receipts, Box::new(sender))
        .key(&delivery.delivery_id)
        .payload(&RECEIPT[..])
        .headers(headers(&delivery.delivery_id));
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
