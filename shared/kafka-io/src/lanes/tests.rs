//! Lanes on the embedded broker; what needs a real one is in `tests/`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{offset_map::Head, time::UnixMillis};
use futures::future::join_all;
use testkit::wait::until;
use tokio::time::{sleep, timeout};

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
            self.producer.send(outgoing(topic, number)).await.unwrap();
        }
    }

    /// Has `count` records of `a` taken and the start of reading committed; counts commits from that one on.
    async fn taken(count: u32, options: LaneOptions) -> Reading {
        let world = Self::new(&["a"]);
        let sent = (0..count).map(|number| world.producer.send(outgoing("a", number)));
        assert!(join_all(sent).await.iter().all(Result::is_ok));
        world.broker.count_requests().unwrap();
        let (consumer, mut lanes) = world.read(&["a"], options);
        let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
        let mut offsets = Vec::new();
        for _ in 0..count {
            offsets.push(take(&mut lane).await.offset);
        }
        let reading = Reading { world, consumer, lane, offsets };
        until("the start is committed", PATIENCE, || reading.requests() == 1).await;
        reading
    }

    fn read(&self, topics: &[&str], options: LaneOptions) -> (Consumer, mpsc::Receiver<Lane>) {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        lanes(&self.config, GroupOptions::new("g", topics), options, &Metrics::default()).unwrap()
    }
}

/// A partition of which everything was taken and nothing is completed.
struct Reading {
    world: World,
    consumer: Consumer,
    lane: Lane,
    offsets: Vec<i64>,
}

impl Reading {
    fn requests(&self) -> usize {
        self.world.broker.requests(Request::OffsetCommit).unwrap()
    }

    /// Commits after that of the start.
    fn commits(&self) -> usize {
        self.requests() - 1
    }

    fn complete(&self, offsets: &[i64]) {
        let acks = self.consumer.acks();
        offsets.iter().for_each(|offset| acks.complete(&self.lane.partition, *offset));
    }

    /// Stops, with the last commit; returns how many there were.
    async fn stop(self) -> usize {
        let Self { world, consumer, lane, .. } = self;
        drop(lane);
        consumer.stop(PATIENCE).await.unwrap();
        world.broker.requests(Request::OffsetCommit).unwrap() - 1
    }
}

fn outgoing(topic: &str, number: u32) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        partition: Some(0),
        key: None,
        value: Some(Bytes::from(number.to_string())),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

/// How many commits fit into this time at most, one of them at the end.
fn by_time(elapsed: Duration) -> usize {
    let every = LaneOptions::default().commit_every;
    usize::try_from(elapsed.as_millis() / every.as_millis()).unwrap() + 1
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
    assert!(!acks.has_room(Instant::now()), "two have had their effect");
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
    assert!(acks.has_room(Instant::now()));
}

#[tokio::test]
async fn nothing_has_its_effect_before_a_word_of_the_group_nor_long_after_the_last() {
    let world = World::new(&["a"]);
    world.write("a", 0..1).await;
    world.broker.count_requests().unwrap();
    let lease = Some(Duration::from_millis(1_500));
    let (consumer, mut lanes) = world.read(&["a"], LaneOptions { lease, ..LaneOptions::default() });
    let acks = consumer.acks();
    assert!(!acks.has_room(Instant::now()), "nothing was heard yet");
    let mut lane = by_topic(&mut lanes, 1).await.remove("a").unwrap();
    take(&mut lane).await;
    timeout(PATIENCE, acks.room()).await.expect("a commit stands though nothing has changed");
    let commits = || world.broker.requests(Request::OffsetCommit).unwrap();
    let before = commits();
    until("it is renewed", PATIENCE, || commits() >= before + 3).await;
    assert!(acks.has_room(Instant::now()), "it was renewed in time");
    assert!(!acks.has_room(Instant::now() + Duration::from_millis(1_500)), "as after a pause");
    world.broker.down().unwrap();
    until("the lease to lapse", PATIENCE, || !acks.has_room(Instant::now())).await;
    world.broker.up().unwrap();
    timeout(PATIENCE, acks.room()).await.expect("the group gives word again");
    drop(lane);
    consumer.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_single_completion_is_committed_by_itself_and_once() {
    let reading = World::taken(20, LaneOptions::default()).await;
    for (before, offset) in reading.offsets.iter().enumerate() {
        reading.complete(&[*offset]);
        until("it is committed", PATIENCE, || reading.commits() == before + 1).await;
    }
    assert_eq!(reading.stop().await, 20, "nothing is left for the stop");
}

#[tokio::test]
async fn a_trickle_of_completions_is_committed_by_time() {
    let reading = World::taken(100, LaneOptions::default()).await;
    let begun = Instant::now();
    for offset in &reading.offsets {
        reading.complete(&[*offset]);
        sleep(Duration::from_millis(5)).await;
    }
    let (trickled, at_once) = (begun.elapsed(), reading.commits());
    let commits = reading.stop().await;
    assert!(commits <= by_time(begun.elapsed()), "{commits} in {:?}", begun.elapsed());
    assert!(at_once >= by_time(trickled) / 10, "only {at_once} in {trickled:?}");
}

#[tokio::test]
async fn a_flood_of_completions_is_committed_by_number_and_time() {
    const RECORDS: usize = 2_500;
    let options = LaneOptions { window_records: RECORDS, ..LaneOptions::default() };
    let by_number = RECORDS / options.commit_completions;
    let reading = World::taken(RECORDS as u32, options).await;
    let begun = Instant::now();
    for offsets in reading.offsets.chunks(25) {
        reading.complete(offsets);
        sleep(Duration::from_millis(1)).await;
    }
    let commits = reading.stop().await;
    let bound = by_number + by_time(begun.elapsed());
    assert!((2..=bound).contains(&commits), "{commits}, at most {bound}");
}

#[tokio::test]
async fn so_many_completions_are_committed_though_it_is_not_time() {
    let hour = Duration::from_secs(3600);
    let options = LaneOptions { commit_every: hour, ..LaneOptions::default() };
    let reading = World::taken(501, options).await;
    reading.complete(&reading.offsets[..499]);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(reading.commits(), 0, "one is missing");
    reading.complete(&reading.offsets[499..500]);
    until("they are committed", PATIENCE, || reading.commits() == 1).await;
    reading.complete(&reading.offsets[500..]);
    assert_eq!(reading.stop().await, 2, "the last one by the stop");
}
