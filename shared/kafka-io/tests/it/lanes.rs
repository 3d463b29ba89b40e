//! Lanes on a real broker: what stands after a stop, a rebalance and a log that was cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_io::topics::Change;
use kafka_io::{
    Acks, Config, Consumer, GroupOptions, GroupProtocol, Lane, LaneOptions, Metrics, lanes,
};
use parking_lot::Mutex;
use testkit::wait::until;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, PATIENCE};

const GROUP: &str = "millrace-deliver";
const PARTITIONS: i32 = 6;

/// Everything that members took, in the order in which they took it.
type Taken = Arc<Mutex<Vec<(i32, i64)>>>;

struct Member {
    consumer: Consumer,
    lanes: JoinHandle<()>,
}

impl Member {
    /// Joins, and completes each record as soon as it comes.
    fn join(cluster: &Cluster, taken: &Taken) -> Self {
        Self::join_with(&cluster.config, taken)
    }

    fn join_with(config: &Config, taken: &Taken) -> Self {
        let group = GroupOptions::new(GROUP, vec!["in".to_owned()]);
        let (consumer, lanes) =
            lanes(config, group, LaneOptions::default(), &Metrics::default()).unwrap();
        let lanes = tokio::spawn(serve_all(lanes, consumer.acks(), taken.clone()));
        Self { consumer, lanes }
    }

    async fn leave(self) {
        self.consumer.stop(PATIENCE).await.unwrap();
        self.lanes.await.unwrap();
    }
}

async fn serve_all(mut lanes: mpsc::Receiver<Lane>, acks: Acks, taken: Taken) {
    while let Some(lane) = lanes.recv().await {
        tokio::spawn(serve(lane, acks.clone(), taken.clone()));
    }
}

async fn serve(mut lane: Lane, acks: Acks, taken: Taken) {
    loop {
        let next = tokio::select! {
            biased;
            () = lane.closing.cancelled() => return,
            taken = lane.records.recv() => taken,
        };
        let Some(kafka_io::Taken { record, .. }) = next else { return };
        taken.lock().push((record.partition, record.offset));
        acks.complete(&lane.partition, record.offset);
    }
}

fn numbers(partitions: i32, each: i32) -> impl Iterator<Item = (i32, String, String)> {
    (0..each).flat_map(move |n| (0..partitions).map(move |p| (p, format!("k{p}"), n.to_string())))
}

fn count(taken: &Taken) -> usize {
    taken.lock().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_come_and_go_pass_over_nothing_and_repeat_nothing() {
    let cluster = Cluster::one().await;
    cluster.topic("in", PARTITIONS).await;
    let taken = Taken::default();
    let first = Member::join(&cluster, &taken);
    cluster.write("in", numbers(PARTITIONS, 500));
    until("some are taken", PATIENCE, || count(&taken) > 100).await;
    let second = Member::join(&cluster, &taken);
    let owns = |member: &Member| member.consumer.status().borrow().assigned;
    until("both have a share", PATIENCE, || owns(&first) == 3 && owns(&second) == 3).await;
    cluster.write("in", numbers(PARTITIONS, 500));
    first.leave().await;
    cluster.write("in", numbers(PARTITIONS, 500));
    let all = PARTITIONS as usize * 1500;
    until("all are taken", PATIENCE, || count(&taken) >= all).await;
    second.leave().await;

    let mut by_partition: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (partition, offset) in taken.lock().iter() {
        by_partition.entry(*partition).or_default().push(*offset);
    }
    for (partition, offsets) in by_partition {
        assert_eq!(offsets, (0..1500).collect::<Vec<_>>(), "partition {partition}");
    }
    // What was completed stands: nothing comes again.
    let again = Taken::default();
    let third = Member::join(&cluster, &again);
    until("it owns all", PATIENCE, || owns(&third) == 6).await;
    cluster.write("in", numbers(PARTITIONS, 1));
    until("the new ones are taken", PATIENCE, || count(&again) >= 6).await;
    third.leave().await;
    assert_eq!(count(&again), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_protocol_consumer_members_pass_over_nothing_and_repeat_nothing_either() {
    let cluster = Cluster::one().await;
    cluster.topic("in", PARTITIONS).await;
    let config = Config { group_protocol: GroupProtocol::Consumer, ..cluster.config.clone() };
    let taken = Taken::default();
    let first = Member::join_with(&config, &taken);
    cluster.write("in", numbers(PARTITIONS, 300));
    until("some are taken", PATIENCE, || count(&taken) > 100).await;
    let second = Member::join_with(&config, &taken);
    let owns = |member: &Member| member.consumer.status().borrow().assigned;
    until("both have a share", PATIENCE, || owns(&first) == 3 && owns(&second) == 3).await;
    cluster.write("in", numbers(PARTITIONS, 300));
    first.leave().await;
    until("one has all", PATIENCE, || owns(&second) == 6).await;
    until("all are taken", PATIENCE, || count(&taken) >= 3600).await;
    second.leave().await;
    let mut offsets = taken.lock().clone();
    offsets.sort_unstable();
    let each = (0..PARTITIONS).flat_map(|partition| (0..600).map(move |at| (partition, at)));
    assert!(offsets.into_iter().eq(each), "each once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_dropped_before_it_was_read_is_counted_and_told() {
    let cluster = Cluster::one().await;
    cluster.topic("in", 1).await;
    cluster.write("in", numbers(1, 5));
    let taken = Taken::default();
    let member = Member::join(&cluster, &taken);
    until("the first are taken", PATIENCE, || count(&taken) == 5).await;
    member.leave().await;
    cluster.write("in", numbers(1, 10));
    cluster.truncate("in", 0, 12).await;
    let member = Member::join(&cluster, &taken);
    until("the rest is taken", PATIENCE, || count(&taken) == 8).await;
    let status = member.consumer.status().borrow().clone();
    member.leave().await;
    assert_eq!(status.records_lost, 7);
    let loss = &status.losses[0];
    assert_eq!((&*loss.topic, loss.partition, loss.from, loss.to), ("in", 0, 5, 12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_is_told_once_also_where_nothing_comes_after_it() {
    let cluster = Cluster::one().await;
    cluster.topic("in", 1).await;
    cluster.write("in", numbers(1, 5));
    let taken = Taken::default();
    let member = Member::join(&cluster, &taken);
    until("the first are taken", PATIENCE, || count(&taken) == 5).await;
    member.leave().await;
    cluster.write("in", numbers(1, 2));
    cluster.truncate("in", 0, 7).await;
    let mut lost = Vec::new();
    for _ in 0..2 {
        let member = Member::join(&cluster, &taken);
        let owns = || member.consumer.status().borrow().assigned == 1;
        until("it owns the emptied partition", PATIENCE, owns).await;
        lost.push(member.consumer.status().borrow().records_lost);
        member.leave().await;
    }
    assert_eq!(lost, [2, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_dropped_before_the_first_record_was_read_is_counted_too() {
    let cluster = Cluster::one().await;
    cluster.topic("in", 1).await;
    let taken = Taken::default();
    let member = Member::join(&cluster, &taken);
    let owns = || member.consumer.status().borrow().assigned == 1;
    until("it owns the empty partition", PATIENCE, owns).await;
    member.leave().await;
    cluster.write("in", numbers(1, 4));
    cluster.truncate("in", 0, 3).await;
    let member = Member::join(&cluster, &taken);
    until("the rest is taken", PATIENCE, || count(&taken) == 1).await;
    let lost = member.consumer.status().borrow().records_lost;
    member.leave().await;
    assert_eq!(lost, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_added_while_nobody_reads_is_read_from_its_start() {
    let cluster = Cluster::one().await;
    cluster.topic("in", 1).await;
    cluster.write("in", numbers(1, 3));
    let taken = Taken::default();
    let member = Member::join(&cluster, &taken);
    until("the first are taken", PATIENCE, || count(&taken) == 3).await;
    member.leave().await;
    let more = Change::AddPartitions { topic: "in".to_owned(), from: 1, to: 2, keyed: true };
    cluster.admin.apply(&more).await.unwrap();
    let wanted = [cluster.spec("in", 2)];
    let there = || async { cluster.admin.verify(&wanted).await.ok() };
    testkit::wait::until_some("the partition is there", PATIENCE, there).await;
    cluster.write("in", [(1, "k".to_owned(), "v".to_owned())]);
    let member = Member::join(&cluster, &taken);
    until("the new one is taken", PATIENCE, || count(&taken) == 4).await;
    member.leave().await;
    let all: BTreeSet<(i32, i64)> = taken.lock().iter().copied().collect();
    assert_eq!(all, BTreeSet::from([(0, 0), (0, 1), (0, 2), (1, 0)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_with_records_in_flight_says_so_and_commits_the_rest() {
    let cluster = Cluster::one().await;
    cluster.topic("in", 1).await;
    cluster.write("in", numbers(1, 3));
    let group = GroupOptions::new(GROUP, vec!["in".to_owned()]);
    let (consumer, mut lanes) =
        lanes(&cluster.config, group, LaneOptions::default(), &Metrics::default()).unwrap();
    let mut lane = tokio::time::timeout(PATIENCE, lanes.recv()).await.unwrap().unwrap();
    for _ in 0..3 {
        tokio::time::timeout(PATIENCE, lane.records.recv()).await.unwrap().unwrap();
    }
    // Behind a gap, which the commit's metadata tells of.
    consumer.acks().complete(&lane.partition, 1);
    let stopped = consumer.stop(Duration::from_secs(3)).await;
    let said = stopped.unwrap_err().to_string();
    assert!(said.contains("in flight"), "{said}");
    drop(lane);
    let taken = Taken::default();
    let member = Member::join(&cluster, &taken);
    until("the two are taken", PATIENCE, || count(&taken) == 2).await;
    member.leave().await;
    assert_eq!(taken.lock().clone(), [(0, 0), (0, 2)]);
}
