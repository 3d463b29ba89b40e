//! Ingest's floor: hyper reads the body, HMAC is checked, a ThreadedProducer writes it, 200.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use clap::Parser;
use hmac::{Hmac, Mac};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use millrace_floor::{Reports, headers, producer};
use rdkafka::producer::{BaseRecord, ThreadedProducer};
use sha2::Sha256;
use tokio::{net::TcpListener, sync::oneshot};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    secret: String,
}

/// What an event's record holds besides the body.
const AROUND: [u8; 300] = [b'e'; 300];
/// So that keys repeat as the sources' do.
const KEYS: usize = 2_000;

struct Floor {
    producer: ThreadedProducer<Reports>,
    topic: String,
    mac: Hmac<Sha256>,
    taken: AtomicUsize,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let mac = Hmac::new_from_slice(arguments.secret.as_bytes()).expect("HMAC takes any key");
    let producer = producer(&arguments.bootstrap, "1");
    let floor =
        Arc::new(Floor { producer, topic: arguments.topic, mac, taken: AtomicUsize::new(0) });
    let listener = TcpListener::bind(arguments.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let floor = floor.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &floor));
            // A broken connection is the sender's to notice.
            let _ended =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    floor: &Floor,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let signature = request.headers().get("x-hub-signature-256").cloned();
    let id = request.headers().get("x-github-delivery").cloned();
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let mut mac = floor.mac.clone();
    mac.update(&body);
    let given = signature.as_ref().and_then(|s| s.to_str().ok()).unwrap_or_default();
    let given = hex::decode(given.trim_start_matches("sha256=")).unwrap_or_default();
    let taken = mac.verify_slice(&given).is_ok() && write(floor, &id, &body).await;
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"event_id\":\"x\"}")));
    if !taken {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    Ok(response)
}

async fn write(floor: &Floor, id: &Option<http::HeaderValue>, body: &[u8]) -> bool {
    let id = id.as_ref().and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (sender, report) = oneshot::channel();
    let key = format!("bench/{}", floor.taken.fetch_add(1, Ordering::Relaxed) % KEYS);
    let value = [&AROUND, body].concat();
    let record = BaseRecord::with_opaque_to(&floor.topic, Box::new(sender))
        .key(&key)
        .payload(&value)
        .headers(headers(id));
    floor.producer.send(record).is_ok() && report.await.unwrap_or(false)
}
