//! What an earlier process has left beside its commit, on a real broker: taken up where it is understood.

use domain::offset_map::Head;
use kafka_io::{GroupOptions, LaneOptions, Metrics, lanes};
use prometheus::{Registry, TextEncoder};
use tokio::time::timeout;

use crate::cluster::{Cluster, PATIENCE};

/// Complete beyond 1000: 1001 to 1004 and 1007 to 1009; tried so far: 1000 three times, 1006 once.
const KNOWN: &str = include_str!("../../../domain/golden/offset-map.1.txt");
const DAMAGED: &str = include_str!("../../../domain/golden/offset-map.1.damaged.txt");
const UNKNOWN: &str = include_str!("../../../domain/golden/offset-map.255.txt");
const COMMITTED: i64 = 1000;
const LAST: i64 = 1010;

/// Goes on where the group's commit says; returns each record's offset and how often it was tried.
async fn goes_on(cluster: &Cluster, group: &str, metrics: &Metrics) -> Vec<(i64, Option<u32>)> {
    let options = GroupOptions::new(group, vec!["in".to_owned()]);
    let (consumer, mut lanes) =
        lanes(&cluster.config, options, LaneOptions::default(), metrics).unwrap();
    let mut lane = timeout(PATIENCE, lanes.recv()).await.unwrap().unwrap();
    let mut found: Vec<(i64, Option<u32>)> = Vec::new();
    while found.last().is_none_or(|(offset, _)| *offset < LAST) {
        let taken = timeout(PATIENCE, lane.records.recv()).await.unwrap().unwrap();
        let attempts = taken.head.map(|Head { attempts_made, .. }| attempts_made);
        found.push((taken.record.offset, attempts));
        consumer.acks().complete(&lane.partition, taken.record.offset);
    }
    drop(lane);
    consumer.stop(PATIENCE).await.unwrap();
    found
}

fn unreadable(registry: &Registry) -> Option<String> {
    let shown = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let line =
        shown.lines().find(|line| line.starts_with("millrace_offset_maps_unreadable_total{"));
    line.map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_map_of_an_earlier_process_is_taken_up_and_one_that_is_not_understood_is_repeated_and_counted()
 {
    let cluster = Cluster::one().await;
    cluster.topic("in", 1).await;
    cluster.write("in", (0..=LAST).map(|n| (0, "k".to_owned(), n.to_string())));
    let registry = Registry::new();
    let metrics = Metrics::register(&registry);
    cluster.commit("known", "in", COMMITTED, KNOWN).await;
    let open = [(1000, Some(3)), (1005, None), (1006, Some(1)), (1010, None)];
    assert_eq!(goes_on(&cluster, "known", &metrics).await, open);
    assert_eq!(unreadable(&registry), None);
    let all: Vec<(i64, Option<u32>)> = (COMMITTED..=LAST).map(|offset| (offset, None)).collect();
    for (group, map, counted) in [("damaged", DAMAGED, 1), ("unknown", UNKNOWN, 2)] {
        cluster.commit(group, "in", COMMITTED, map).await;
        assert_eq!(goes_on(&cluster, group, &metrics).await, all, "{group}");
        let line = format!("millrace_offset_maps_unreadable_total{{topic=\"in\"}} {counted}");
        assert_eq!(unreadable(&registry), Some(line), "{group}");
    }
}
