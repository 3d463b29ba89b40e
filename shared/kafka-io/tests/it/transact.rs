//! Exactly once, whatever dies, moves or is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kafka_io::reader::{Isolation, Reader, ReaderOptions};
use kafka_io::{Config, EngineError, Outgoing, TransactOptions};
use testkit::wait::until;

use crate::cluster::{Cluster, PATIENCE};
use crate::copying::{Done, GROUP, PARTITIONS, STOP, copying, number, options, outgoing, start};

const KEYS: i32 = 20;
/// A round of an engine that hangs: a batch rolled back is given up after 20 s, its calls have 6 s more.
const ROUND: Duration = Duration::from_secs(26);
/// An engine that hangs begins anew beside its successor, so that beside other tests two rounds are usual; one more,
/// and 12 s to join.
const TAKEN_OVER_WITHIN: Duration = ROUND.saturating_mul(3).saturating_add(Duration::from_secs(12));

async fn world(cluster: &Cluster) {
    cluster.topic("in", PARTITIONS).await;
    cluster.topic("out", PARTITIONS).await;
}

/// Records `from..to`, each key in one partition, values rising.
fn feed(cluster: &Cluster, from: i32, to: i32) {
    let record = |n: i32| ((n % KEYS) % PARTITIONS, format!("k{}", n % KEYS), n.to_string());
    tokio::task::block_in_place(|| cluster.write("in", (from..to).map(record)));
}

fn numbers(cluster: &Cluster, topic: &str, isolation: Isolation) -> Vec<i32> {
    let records = tokio::task::block_in_place(|| cluster.read_all(topic, isolation));
    records.iter().map(number).collect()
}

/// Checks that `out` holds 0..n once each, in order within each key.
fn each_once_and_in_order(cluster: &Cluster, n: i32) {
    let found = numbers(cluster, "out", Isolation::Committed);
    let missing: Vec<i32> = (0..n).filter(|number| !found.contains(number)).collect();
    if !missing.is_empty() {
        let all = tokio::task::block_in_place(|| cluster.read_all("out", Isolation::Uncommitted));
        let aborted = all.iter().filter(|r| missing.contains(&number(r)));
        let places: Vec<_> = aborted.map(|r| (number(r), r.partition, r.offset)).collect();
        panic!("missing {missing:?}, aborted copies at {places:?}");
    }
    let mut by_key: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    found.iter().for_each(|number| by_key.entry(number % KEYS).or_default().push(*number));
    for (key, found) in by_key {
        let expected: Vec<i32> = (key..n).step_by(usize::try_from(KEYS).unwrap()).collect();
        assert_eq!(found, expected, "key {key}");
    }
    assert_eq!(found.len(), usize::try_from(n).unwrap());
}

/// What the group has committed, summed over the partitions.
fn position(config: &Config) -> i64 {
    let reader = Reader::open(config, ReaderOptions::default()).unwrap();
    let partitions: Vec<(String, i32)> = (0..PARTITIONS).map(|p| ("in".to_owned(), p)).collect();
    let committed = tokio::task::block_in_place(|| reader.committed(GROUP, &partitions));
    committed.unwrap().values().map(|map| map.commit_point()).sum()
}

async fn until_position(config: &Config, sum: i64) {
    until("all input is committed", PATIENCE, || position(config) == sum).await;
}

/// Blocks who calls it until it is opened.
#[derive(Default)]
struct Gate {
    reached: AtomicBool,
    open: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        self.reached.store(true, Ordering::SeqCst);
        while !self.open.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_and_positions_stand_together_and_in_order() {
    let cluster = Cluster::one().await;
    world(&cluster).await;
    feed(&cluster, 0, 3000);
    let run = copying(&cluster.config, options(0));
    until("half is committed", PATIENCE, || run.committed() >= 3000).await;
    feed(&cluster, 3000, 6000);
    until_position(&cluster.config, 6000).await;
    run.engine.stop(STOP).await.unwrap();
    assert_eq!(run.committed(), 6000);
    each_once_and_in_order(&cluster, 6000);

    feed(&cluster, 6000, 6200);
    let run = copying(&cluster.config, options(0));
    until_position(&cluster.config, 6200).await;
    run.engine.stop(STOP).await.unwrap();
    assert_eq!(run.committed(), 200, "a restart goes on where the last one ended");
    each_once_and_in_order(&cluster, 6200);
}

/// Stops an engine for ever at a point, puts another with the same ids in its place, then lets the first go on.
async fn replaced_at(point: &'static str) {
    let cluster = Cluster::one().await;
    world(&cluster).await;
    feed(&cluster, 0, 3000);
    let gate = Arc::new(Gate::default());
    let (hits, at) = (AtomicUsize::new(0), gate.clone());
    // It begins anew by itself after a while, and hangs again: the second one must win whenever it comes.
    let hook = Arc::new(move |name: &'static str| {
        if name == point && hits.fetch_add(1, Ordering::SeqCst) >= 3 {
            at.pass();
        }
    });
    let hung = copying(&cluster.config, TransactOptions { hook, ..options(0) });
    until("the engine hangs", PATIENCE, || gate.reached.load(Ordering::SeqCst)).await;

    let second = copying(&cluster.config, options(0));
    until("the second engine works", TAKEN_OVER_WITHIN, || second.committed() > 0).await;
    let (stopped, ()) = tokio::join!(hung.engine.stop(STOP), async {
        gate.open.store(true, Ordering::SeqCst);
    });
    drop(stopped); // A fenced engine may say so.
    until_position(&cluster.config, 3000).await;
    second.engine.stop(STOP).await.unwrap();
    each_once_and_in_order(&cluster, 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_replaced_after_flush_loses_and_doubles_nothing() {
    replaced_at("transact.after_flush").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_replaced_after_send_offsets_loses_and_doubles_nothing() {
    replaced_at("transact.after_send_offsets").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_processor_ends_the_engine_and_leaves_nothing_half_done() {
    let cluster = Cluster::one().await;
    world(&cluster).await;
    feed(&cluster, 0, 2000);
    let run = start(&cluster.config, options(0), |record, _| {
        assert_ne!(number(record), 1234, "a defect");
        Done::Copy
    });
    let ended = tokio::time::timeout(PATIENCE, run.engine.ended()).await.unwrap();
    let Err(EngineError::Processor { why, .. }) = ended else { panic!("{ended:?}") };
    assert!(why.contains("a defect"), "{why}");

    let run = copying(&cluster.config, options(0));
    until_position(&cluster.config, 2000).await;
    run.engine.stop(STOP).await.unwrap();
    each_once_and_in_order(&cluster, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_kafka_refuses_becomes_a_dead_letter_and_blocks_nothing() {
    const POISON: [i32; 2] = [777, 1501];
    let cluster = Cluster::one().await;
    cluster.topic("in", PARTITIONS).await;
    cluster.create(cluster.spec("out", PARTITIONS).with("max.message.bytes", "20000")).await;
    cluster.topic("dlq", 1).await;
    feed(&cluster, 0, 2000);
    let run = start(&cluster.config, options(0), |record, batch| {
        if !POISON.contains(&number(record)) {
            return Done::Copy;
        }
        // Larger than the topic takes, and nothing that a compressor would shrink.
        let mut state = 1u32;
        let noise = (0..50_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        let value: Vec<u8> = noise.collect();
        batch.send(Outgoing { value: Some(value.into()), ..outgoing("out", record) }).unwrap();
        Done::Itself
    });
    until_position(&cluster.config, 2000).await;
    run.engine.stop(STOP).await.unwrap();

    let mut dead = numbers(&cluster, "dlq", Isolation::Committed);
    dead.sort_unstable();
    assert_eq!(dead, POISON);
    let mut copied = numbers(&cluster, "out", Isolation::Committed);
    copied.sort_unstable();
    let expected: Vec<i32> = (0..2000).filter(|n| !POISON.contains(n)).collect();
    assert_eq!(copied, expected);
    assert_eq!(run.committed(), 1998, "what was rolled back was not counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postponed_record_is_presented_again_and_nothing_overtakes_it() {
    let cluster = Cluster::one().await;
    world(&cluster).await;
    feed(&cluster, 0, 400);
    let mut left = 5;
    let run = start(&cluster.config, options(0), move |record, batch| {
        if number(record) == 100 && left > 0 {
            left -= 1;
            batch.postpone("the registry is down", Duration::from_millis(20));
        }
        Done::Copy
    });
    until_position(&cluster.config, 400).await;
    run.engine.stop(STOP).await.unwrap();
    each_once_and_in_order(&cluster, 400);
    assert_eq!(run.committed(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_move_between_engines_without_loss_or_double() {
    let cluster = Cluster::one().await;
    world(&cluster).await;
    feed(&cluster, 0, 4000);
    let revokes = Arc::new(AtomicUsize::new(0));
    let counted = revokes.clone();
    let hook = Arc::new(move |name: &'static str| {
        if name == "transact.during_revoke" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    // Small transactions, so that some are open whenever partitions move.
    let small = |ordinal| TransactOptions { batch_records: 10, ..options(ordinal) };
    let first = copying(&cluster.config, TransactOptions { hook, ..small(0) });
    until("the first works", PATIENCE, || first.committed() > 100).await;
    let second = copying(&cluster.config, small(1));
    feed(&cluster, 4000, 8000);
    until("the second works", PATIENCE, || second.committed() > 100).await;
    assert!(revokes.load(Ordering::SeqCst) > 0, "the first let partitions go");
    feed(&cluster, 8000, 10_000);
    first.engine.stop(STOP).await.unwrap();
    let third = copying(&cluster.config, small(2));
    feed(&cluster, 10_000, 12_000);
    until_position(&cluster.config, 12_000).await;
    second.engine.stop(STOP).await.unwrap();
    third.engine.stop(STOP).await.unwrap();
    each_once_and_in_order(&cluster, 12_000);
    assert_eq!(first.committed() + second.committed() + third.committed(), 12_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_three_that_dies_under_load_costs_nothing() {
    let cluster = Cluster::three().await;
    world(&cluster).await;
    let run = copying(&cluster.config, TransactOptions { batch_records: 20, ..options(0) });
    feed(&cluster, 0, 2000);
    until("the engine works", PATIENCE, || run.committed() > 200).await;
    let mut fed = 2000;
    for node in 0..3 {
        cluster.kafka.kill9(node);
        feed(&cluster, fed, fed + 1000);
        fed += 1000;
        cluster.kafka.restart(node).await;
        until_position(&cluster.config, fed.into()).await;
    }
    run.engine.stop(STOP).await.unwrap();
    each_once_and_in_order(&cluster, fed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_committed_records_never_sees_an_aborted_one() {
    let cluster = Cluster::one().await;
    world(&cluster).await;
    feed(&cluster, 0, 1000);
    let hits = AtomicUsize::new(0);
    let hook = Arc::new(move |name: &'static str| {
        let hit = hits.fetch_add(1, Ordering::SeqCst);
        assert!(name != "transact.after_flush" || hit < 7, "a slot dies with its transaction open");
    });
    let run = copying(&cluster.config, TransactOptions { hook, batch_records: 50, ..options(0) });
    let ended = tokio::time::timeout(PATIENCE, run.engine.ended()).await.unwrap();
    assert!(matches!(ended, Err(EngineError::Slot { .. })), "{ended:?}");
    let run = copying(&cluster.config, options(0));
    until_position(&cluster.config, 1000).await;
    run.engine.stop(STOP).await.unwrap();
    each_once_and_in_order(&cluster, 1000);
    let all = numbers(&cluster, "out", Isolation::Uncommitted);
    assert!(all.len() > 1000, "there are aborted records: {}", all.len());
}
