//! Acknowledged or refused, on the embedded broker; what needs a real one is in `tests/`.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use testkit::wait::until_some;

use super::*;
use crate::embedded::{Broker, Failure, Request};

fn record(topic: &str, value: &[u8]) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        partition: None,
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::copy_from_slice(value)),
        headers: vec![("name".to_owned(), Bytes::from_static(b"value"))],
        timestamp_ms: None,
    }
}

fn producer(broker: &Broker, change: impl FnOnce(&mut ProducerOptions)) -> Producer {
    let mut options =
        ProducerOptions { ack_timeout: Duration::from_secs(10), ..ProducerOptions::default() };
    change(&mut options);
    let config = Config::embedded(broker.bootstrap_servers());
    Producer::open(&config, options, &Metrics::default()).unwrap()
}

fn broker() -> Broker {
    Broker::start(&[("t".to_owned(), 2)]).unwrap()
}

#[tokio::test]
async fn an_acknowledged_record_says_where_it_lies_and_leaves_the_window() {
    let broker = broker();
    let producer = producer(&broker, |_| {});
    let first = producer.send(record("t", b"1")).await.unwrap();
    let second = producer.send(record("t", b"2")).await.unwrap();
    assert_eq!(first.partition, second.partition, "same key");
    assert_eq!((first.offset, second.offset), (0, 1));
    assert_eq!(producer.queue().records, 0);
}

#[tokio::test]
async fn a_record_too_large_is_refused_at_once() {
    let broker = broker();
    let producer = producer(&broker, |options| options.record_bytes_max = 500);
    let refused = producer.send(record("t", &[0; 1000])).await.unwrap_err();
    assert!(matches!(refused, ProduceError::TooLarge { limit: 500, .. }), "{refused}");
    assert_eq!(producer.queue().records, 0);
}

#[tokio::test]
async fn a_missing_topic_is_named() {
    let broker = broker();
    let producer = producer(&broker, |options| options.ack_timeout = Duration::from_secs(4));
    let refused = producer.send(record("nowhere", b"1")).await.unwrap_err();
    assert!(
        matches!(&refused, ProduceError::UnknownTopic { topic } if &**topic == "nowhere"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_record_that_never_left_expires_as_not_written() {
    let broker = broker();
    let producer = producer(&broker, |options| options.ack_timeout = Duration::from_secs(1));
    // On a busy machine a connection takes longer than a record may wait.
    until_some("it is connected", Duration::from_secs(30), || async {
        producer.send(record("t", b"connects")).await.ok()
    })
    .await;
    broker.down().unwrap();
    let refused = producer.send(record("t", b"2")).await.unwrap_err();
    assert!(matches!(refused, ProduceError::Expired { .. }), "{refused}");
    assert!(producer.flush(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_full_window_refuses_and_a_flush_waits_for_the_rest() {
    let broker = broker();
    let producer = producer(&broker, |options| {
        options.window_records = 3;
        options.linger = Duration::from_millis(50);
    });
    let acknowledged: Vec<_> =
        (0..3).map(|_| producer.try_send(record("t", b"x")).unwrap()).collect();
    assert!(matches!(
        producer.try_send(record("t", b"x")),
        Err(ProduceError::WindowFull { records: 3, .. })
    ));
    assert!(producer.flush(Duration::from_secs(10)).await);
    for acknowledgement in acknowledged {
        acknowledgement.await.unwrap();
    }
    assert!(producer.try_send(record("t", b"x")).is_ok());
}

#[tokio::test]
async fn a_failure_that_passes_is_not_seen() {
    let broker = broker();
    let producer = producer(&broker, |_| {});
    broker.fail_next(Request::Produce, &[Failure::NotLeader, Failure::NotLeader]).unwrap();
    assert_eq!(producer.send(record("t", b"1")).await.unwrap().offset, 0);
}
