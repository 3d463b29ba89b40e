//! Start, outage and stop: why it waits is told, it goes on by itself, and nothing in flight is cut short.

use std::time::{Duration, Instant};

use bytes::Bytes;
use catalog_io::Environment;
use chassis::{Hook, Process};
use http::Request;
use http_body_util::{BodyExt, Full};
use ingest::Config;
use kafka_io::embedded::{Failure, Request as Asked};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::world::{AMPLE, Bench, Setup, assert_refused, read_to_end};

fn impatient() -> Config {
    Config { acknowledge_within: Duration::from_secs(2), ..Config::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_at_the_start_is_waited_for() {
    let mut bench = Bench::start(Setup { registry_is_up: false, ..Setup::default() }).await;
    bench.await_unmet("registry", "check that http://127.0.0.1").await;
    let reply = bench.send(bench.signed("shop", "e", b"1")).await;
    assert_refused(&reply, 503);
    assert!(reply.headers.contains_key("retry-after"));
    bench.start_registry().await;
    bench.await_ready().await;
    assert_eq!(bench.send(bench.signed("shop", "e", b"1")).await.status, 200);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named_and_holds_up_its_own_source_only() {
    let topics = ["raw.code", "raw.pay", "raw.standard"].map(str::to_owned).to_vec();
    let bench = Bench::start(Setup { topics, ..Setup::default() }).await;
    let missing = "topic raw.shop is missing (wanted: 3 partitions); run `millrace topics apply`";
    bench.await_unmet("topics", missing).await;
    assert_refused(&bench.send(bench.signed("shop", "e", b"1")).await, 503);
    testkit::wait::until_some("another source to take events", AMPLE, || async {
        (bench.send(bench.signed("pay", "e", b"1")).await.status == 200).then_some(())
    })
    .await;
    bench.broker.create_topic("raw.shop", 1).unwrap();
    bench.await_ready().await;
    assert_eq!(bench.send(bench.signed("shop", "e", b"1")).await.status, 200);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_senders_are_told_in_time_and_it_goes_on_by_itself() {
    let bench = Bench::ready_with(Setup { config: impatient(), ..Setup::default() }).await;
    assert_eq!(bench.send(bench.signed("shop", "e1", b"1")).await.status, 200);
    bench.broker.down().unwrap();
    let begun = Instant::now();
    let reply = bench.send(bench.signed("shop", "e2", b"1")).await;
    assert_refused(&reply, 503);
    assert!(reply.headers.contains_key("retry-after"));
    // In the second before the limit; the machine may be busy.
    let (first, last) = (Duration::from_secs(1), Duration::from_millis(2800));
    assert!((first..last).contains(&begun.elapsed()), "after {:?}", begun.elapsed());
    bench.await_unmet("kafka", "").await;
    let labels = [("source", "shop"), ("reason", "broker")];
    assert_eq!(bench.counted("millrace_ingest_events_total", &labels), 1);
    bench.broker.up().unwrap();
    bench.await_ready().await;
    assert_eq!(bench.send(bench.signed("shop", "e3", b"1")).await.status, 200);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_may_be_written_all_the_same_is_refused_and_counted() {
    let bench = Bench::ready_with(Setup { config: impatient(), ..Setup::default() }).await;
    assert_eq!(bench.send(bench.signed("shop", "e1", b"1")).await.status, 200);
    // The connection breaks after the request was sent, each time it is tried.
    bench.broker.fail_next(Asked::Produce, &[Failure::Disconnect; 200]).unwrap();
    assert_refused(&bench.send(bench.signed("shop", "e2", b"1")).await, 503);
    assert_eq!(bench.counted("millrace_producer_possibly_written_total", &[]), 1);
    bench.broker.heal(Asked::Produce).unwrap();
    bench.await_ready().await;
    assert_eq!(bench.send(bench.signed("shop", "e3", b"1")).await.status, 200);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_source_and_a_changed_secret_hold_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("catalog.yaml", &format!("apiVersion: millrace/v1\nsources:\n{}", hook("shop")));
    write("secret", "the old one");
    let first = catalog_io::load(folder.path(), &Environment::of_process());
    let process = Process::alone("millrace-ingest");
    let (catalogs, keep) = catalog_io::watch(
        first.unwrap_or_else(|e| panic!("{e}")),
        folder.path().into(),
        process.stop.clone(),
        |_| {},
    );
    tokio::spawn(keep);
    let setup = Setup { catalogs: Some(catalogs), process, ..Setup::default() };
    let bench = Bench::ready_with(setup).await;
    let old = || bench.signed("shop", "e", b"1");
    let sent_before = old();
    assert_eq!(bench.send(old()).await.status, 200);
    let both = hook("shop") + &hook("pay");
    write("catalog.yaml", &format!("apiVersion: millrace/v1\nsources:\n{both}"));
    write("secret", "the new one");
    let status = |source: &str| {
        let request = bench.catalogs.current().sources.keys().any(|name| name.as_str() == source);
        let request = request.then(|| bench.signed(source, "e", b"1"));
        let sent = request.map(|request| bench.send(request));
        async { Some(sent?.await.status.as_u16()) }
    };
    testkit::wait::until_some("the new source to take events", AMPLE, || async {
        (status("pay").await == Some(200)).then_some(())
    })
    .await;
    assert_refused(&bench.send(sent_before).await, 401);
    assert_eq!(status("shop").await, Some(200));
    bench.stop().await;
}

/// A source of a catalog whose secret lies in the file `secret`.
fn hook(name: &str) -> String {
    format!(
        "  {name}: {{ kind: webhook, verify: {{ scheme: github, secrets: [{{ file: secret }}] }} }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn between_the_acknowledgement_and_the_answer_a_test_can_stop_it() {
    let mut process = Process::alone("millrace-ingest");
    process.hook = Hook::parse("ingest.after_ack=delay:300ms").unwrap();
    let bench = Bench::ready_with(Setup { process, ..Setup::default() }).await;
    let begun = Instant::now();
    assert_eq!(bench.send(bench.signed("shop", "e", b"1")).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_refused(&bench.send(bench.signed_at("shop", "e", b"1", 0)).await, 401);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_before_ingest_stops() {
    let mut bench = Bench::ready().await;
    let request = bench.signed("shop", "e1", b"0123456789");
    let mut stream = bench.open(&bytes_of(request, 5).await).await;
    let mut idle = TcpStream::connect(bench.address).await.unwrap();
    let active = || bench.gauge("http_server_active_requests");
    testkit::wait::until("the request to be in flight", AMPLE, || active() == 1).await;
    bench.process.stop.cancel();
    read_to_end(&mut idle).await;
    stream.write_all(b"56789").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"e1\""), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    bench.await_end().await;
    assert!(TcpStream::connect(bench.address).await.is_err());
    assert_eq!(bench.logged("shop").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_does_not_hold_up_the_stop() {
    let config = Config { drain_within: Duration::from_millis(100), ..Config::default() };
    let mut bench = Bench::ready_with(Setup { config, ..Setup::default() }).await;
    let request = bench.signed("shop", "e1", b"0123456789");
    let mut stream = bench.open(&bytes_of(request, 5).await).await;
    let active = || bench.gauge("http_server_active_requests");
    testkit::wait::until("the request to be in flight", AMPLE, || active() == 1).await;
    bench.process.stop.cancel();
    bench.await_end().await;
    assert_eq!(read_to_end(&mut stream).await, "");
    assert_eq!(bench.gauge("http_server_active_requests"), 0);
}

/// Writes a request out, with so many bytes of its body only.
async fn bytes_of(request: Request<Full<Bytes>>, body_bytes: usize) -> Vec<u8> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut text =
        format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", parts.uri, body.len());
    for (name, value) in &parts.headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    text += "\r\n";
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&body[..body_bytes]);
    bytes
}
