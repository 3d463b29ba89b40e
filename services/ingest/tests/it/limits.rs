//! What is bounded: requests and bytes in hand, connections, and the time a sender may take.

use std::time::Duration;

use ingest::Config;
use testkit::wait;
use tokio::io::AsyncWriteExt;

use crate::world::{AMPLE, Bench, Setup, assert_refused, read_to_end};

const HALF: &[u8] = b"POST /v1/events/shop HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345";

async fn bench(config: Config) -> Bench {
    Bench::ready_with(Setup { config, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_at_a_time_than_allowed_are_told_to_come_again() {
    let bench = bench(Config { requests_max: 1, ..Config::default() }).await;
    let mut first = bench.open(HALF).await;
    let refused = wait::until_some("the one place to be taken", AMPLE, || async {
        let reply = bench.send(bench.signed("shop", "e", b"1")).await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_refused(&refused, 429);
    assert_eq!(refused.headers["retry-after"], "1");
    first.write_all(b"67890").await.unwrap();
    wait::until_some("the place to be free again", AMPLE, || async {
        (bench.send(bench.signed("shop", "e", b"1")).await.status == 200).then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_at_a_time_than_allowed_are_told_to_come_again() {
    let bench = bench(Config { body_bytes_max: 1000, ..Config::default() }).await;
    let reply = bench.send(bench.signed("shop", "e", &[b'x'; 1001])).await;
    assert_refused(&reply, 429);
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(bench.send(bench.signed("shop", "e", &[b'x'; 1000])).await.status, 200);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stalls_or_breaks_off_is_refused() {
    let bench =
        bench(Config { body_within: Duration::from_millis(100), ..Config::default() }).await;
    let answer = read_to_end(&mut bench.open(HALF).await).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("incomplete-body"), "{answer}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_or_half_a_head_is_closed() {
    let bench =
        bench(Config { head_within: Duration::from_millis(100), ..Config::default() }).await;
    for said in ["", "P", "PRI * HT", "POST /v1/events/shop HTTP/1.1\r\nhost:"] {
        let answer = read_to_end(&mut bench.open(said.as_bytes()).await).await;
        assert!(!answer.contains("200"), "{answer}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_wait_for_their_turn() {
    let bench = bench(Config { connections_max: 1, ..Config::default() }).await;
    let first = bench.open(HALF).await;
    let path = bench.signed("shop", "e", b"1");
    let second = testkit::request(bench.address, path, Duration::from_millis(300)).await;
    assert!(second.is_err(), "{second:?}");
    drop(first);
    assert_eq!(bench.send(bench.signed("shop", "e", b"1")).await.status, 200);
    bench.stop().await;
}
