//! Lanes on the embedded broker; what needs a real one is in `tests/`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{offset_map::Head, time::UnixMillis};
use tokio::time::timeout;

use super::*;
use crate::embedded::{Broker, Failure, Request};
use crate::producer::{Producer, ProducerOptions};
use crate::record::{Outgoing, Record};

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    config: Config,
    producer: Producer,
    broker: Broker,
}

impl World {
    fn new(topics: &[&str]) -> Self {
        let topics: Vec<_> = topics.iter().map(|topic| ((*topic).to_owned(), 1)).collect();
        let broker = Broker::start(&topics).unwrap();
        let config = Config::embedded(broker.bootstrap_servers());
        let producer =
            Producer::open(&config, ProducerOptions::default(), &Metrics::default()).unwrap();
        Self { config, producer, broker }
    }

    async fn write(&self, topic: &str, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let record = Outgoing {
                topic: topic.into(),
                partition: Some(0),
                key: None,
                value: Some(Bytes::from(number.to_string())),
                headers: Vec::new(),
                timestamp_ms: None,
            };
            self.producer.send(record).await.unwrap();
        }
    }

    fn read(&self, topics: &[&str], options: LaneOptions) -> (Consumer, mpsc::Receiver<Lane>) {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        lanes(&self.config, GroupOptions::new("g", topics), options, &Metrics::default()).unwrap()
    }
}

async fn by_topic(lanes: &mut mpsc::Receiver<Lane>, count: usize) -> BTreeMap<String, Lane> {
    let mut found = BTreeMap::new();
    while found.len() < count {
        let lane = timeout(PATIENCE, lanes.recv()).await.expect("a lane in time").unwrap();
        found.insert(lane.partition.topic.to_string(), lane);
    }
    found
}

async fn take(lane: &mut Lane) -> Record {
    timeout(PATIENCE, lane.records.recv())
        .await
        .expect("a record in time")
        .expect("the lane is open")
        .record
}

fn number(record: &Record) -> u32 {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

#[tokio::test]
async fn records_come_in_order_and_what_is_completed_does_not_come_again() {
    let world = World::new(&["a"]);
    world.write("a", 0..20).await;
    let (consumer, mut lanes) = world.read(&["a"], LaneOptions::default());
    let acks = consumer.acks();
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    let mut taken = Vec::new();
    for _ in 0..20 {
        taken.push(take(&mut lane).await);
    }
    assert_eq!(taken.iter().map(number).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    // All but two complete, in the wrong order; one of the two is tried again.
    for record in taken.iter().rev().filter(|record| ![12, 15].contains(&number(record))) {
        acks.complete(&lane.partition, record.offset);
    }
    let head = Head {
        first_attempt_at: UnixMillis(1_764_000_000_000),
        attempts_made: 3,
        stood_still: Duration::ZERO,
    };
    acks.retrying(&lane.partition, 15, head);
    drop(lane);
    consumer.stop(PATIENCE).await.unwrap();
    world.write("a", 20..21).await;
    let (consumer, mut lanes) = world.read(&["a"], LaneOptions::default());
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    let mut again = Vec::new();
    for _ in 0..3 {
        let taken = timeout(PATIENCE, lane.records.recv()).await.unwrap().unwrap();
        again.push((number(&taken.record), taken.head));
    }
    assert_eq!(again, [(12, None), (15, Some(head)), (20, None)]);
    drop(lane);
    consumer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_lane_that_is_stuck_stops_nobody_and_holds_no_more_than_its_window() {
    let world = World::new(&["stuck", "free"]);
    world.write("stuck", 0..50).await;
    world.write("free", 0..50).await;
    let options = LaneOptions { window_records: 10, ..LaneOptions::default() };
    let (consumer, mut lanes) = world.read(&["stuck", "free"], options);
    let acks = consumer.acks();
    let mut found = by_topic(&mut lanes, 2).await;
    let (mut stuck, mut free) = (found.remove("stuck").unwrap(), found.remove("free").unwrap());
    for expected in 0..50 {
        let record = take(&mut free).await;
        assert_eq!(number(&record), expected);
        acks.complete(&free.partition, record.offset);
    }
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(take(&mut stuck).await);
    }
    assert!(stuck.records.try_recv().is_err(), "ten are the window");
    for record in held {
        acks.complete(&stuck.partition, record.offset);
    }
    assert_eq!(number(&take(&mut stuck).await), 10, "room lets it flow again");
    drop((stuck, free));
    consumer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn stopping_waits_for_what_is_in_flight_and_commits_it() {
    let world = World::new(&["a"]);
    world.write("a", 0..3).await;
    let (consumer, mut lanes) = world.read(&["a"], LaneOptions::default());
    let acks = consumer.acks();
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    let first = take(&mut lane).await;
    let service = tokio::spawn(async move {
        let lane = lane;
        lane.closing.cancelled().await;
        acks.complete(&lane.partition, first.offset);
    });
    consumer.stop(PATIENCE).await.unwrap();
    service.await.unwrap();
    let (consumer, mut lanes) = world.read(&["a"], LaneOptions::default());
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    assert_eq!(number(&take(&mut lane).await), 1);
    drop(lane);
    consumer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_lane_that_breaks_is_begun_again_where_it_was() {
    let world = World::new(&["a"]);
    world.write("a", 0..3).await;
    let (consumer, mut lanes) = world.read(&["a"], LaneOptions::default());
    let acks = consumer.acks();
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    let first = take(&mut lane).await;
    acks.complete(&lane.partition, first.offset);
    let epoch = lane.partition.epoch;
    drop(lane);
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    assert!(lane.partition.epoch > epoch);
    assert_eq!(number(&take(&mut lane).await), 1);
    acks.complete(&lane.partition, 1);
    drop(lane);
    consumer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn topics_may_be_added_while_it_runs() {
    let world = World::new(&["a", "b"]);
    world.write("b", 0..1).await;
    let (consumer, mut lanes) = world.read(&["a"], LaneOptions::default());
    let _a = by_topic(&mut lanes, 1).await;
    consumer.set_topics(vec!["a".to_owned(), "b".to_owned()]);
    let mut found = BTreeMap::new();
    while !found.contains_key("b") {
        found.extend(by_topic(&mut lanes, 1).await);
    }
    assert_eq!(number(&take(found.get_mut("b").unwrap()).await), 0);
    drop((found, _a));
    consumer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_consumer_that_is_given_nothing_though_there_is_something_is_replaced() {
    let world = World::new(&["a"]);
    world.write("a", 0..1).await;
    let group = GroupOptions {
        stall_after: Duration::from_secs(3),
        ..GroupOptions::new("g", vec!["a".into()])
    };
    let (consumer, mut lanes) =
        lanes(&world.config, group, LaneOptions::default(), &Metrics::default()).unwrap();
    let acks = consumer.acks();
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    let first = take(&mut lane).await.offset;
    acks.complete(&lane.partition, first);
    world.broker.fail_next(Request::Fetch, &[Failure::NotLeader; 2_000]).unwrap();
    world.write("a", 1..2).await;
    let mut status = consumer.status();
    timeout(PATIENCE, status.wait_for(|status| status.rebuilt == 1)).await.unwrap().unwrap();
    world.broker.heal(Request::Fetch).unwrap();
    drop(lane);
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    assert_eq!(number(&take(&mut lane).await), 1);
    drop(lane);
    consumer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn there_is_no_room_while_too_much_would_be_repeated() {
    let world = World::new(&["a"]);
    world.write("a", 0..3).await;
    let options = LaneOptions { repeats_max: 2, ..LaneOptions::default() };
    let (consumer, mut lanes) = world.read(&["a"], options);
    let acks = consumer.acks();
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    for _ in 0..3 {
        take(&mut lane).await;
    }
    let (second, first) = (acks.effect(), acks.effect());
    assert!(!acks.has_room(), "two have had their effect");
    acks.complete(&lane.partition, 1);
    drop(second);
    timeout(PATIENCE, acks.room())
        .await
        .expect("room once one is committed, behind a gap as it is");
    acks.complete(&lane.partition, 0);
    drop(first);
    timeout(PATIENCE, acks.room()).await.expect("room once both are committed");
    let unfinished = acks.effect();
    drop((lane, unfinished));
    consumer.stop(PATIENCE).await.unwrap();
    assert!(acks.has_room());
}
