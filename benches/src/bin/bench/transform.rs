//! Transform: a backlog of events, mapped as fast as it goes. Two sizes of body.

use std::time::{Duration, Instant};

use kafka_io::reader::{Reader, ReaderOptions};
use testkit::{Spawned, wait};

use crate::{
    measure::{Report, Run},
    records,
    world::World,
};

const DEADLINE: Duration = Duration::from_secs(300);
const PARTITIONS: i32 = 3;

pub async fn run(world: &World, pairs: usize, events: u64) {
    for (name, bytes) in [("transform-1kb", 1_200), ("transform", 7_700)] {
        let mut runs = Vec::new();
        for pair in 0..pairs {
            let source = format!("s{pair}");
            let end = fill(world, &source, events, bytes).await;
            let begun = Instant::now();
            let service = world.program("millrace").arg("transform");
            let service = service.env("MILLRACE_INSTANCE", "transform-0");
            let of_service = drained(world, service.spawn(), "millrace-transform", &source, end, events, begun).await;
            let group = format!("floor-{name}-{pair}");
            let begun = Instant::now();
            let floor = floor(world, &source, pair, &group);
            let all = end.max(0) as u64;
            let of_floor = drained(world, floor, &group, &source, end, all, begun).await;
            runs.push((of_service, of_floor));
        }
        Report::of_pairs(name, &runs).publish();
    }
}

/// Adds the events to the source's topic; returns the sum of its partitions' ends.
async fn fill(world: &World, source: &str, events: u64, bytes: usize) -> i64 {
    let topic = format!("raw.{source}");
    let id = world.schema_id(&topic, wire::Kind::Envelope).await;
    let bodies: Vec<Vec<u8>> = (0..200).map(|n| records::body(n, bytes)).collect();
    let records = (0..events).map(|n| {
        let body = bodies[(n % 200) as usize].clone();
        let envelope = records::envelope(source, n, body);
        (records::key(n), wire::encode(&envelope, id).unwrap())
    });
    world.fill(&topic, records).await;
    let reader = reader(world);
    tokio::task::spawn_blocking(move || {
        (0..PARTITIONS).map(|p| reader.watermarks(&topic, p).unwrap().high).sum()
    })
    .await
    .unwrap()
}

fn floor(world: &World, source: &str, pair: usize, group: &str) -> Spawned {
    let program = world.program("floor-transform").arg("--bootstrap").arg(world.kafka.bootstrap());
    let program = program.arg("--from").arg(format!("raw.{source}"));
    program.arg("--to").arg(format!("out.d{pair}")).arg("--group").arg(group).spawn()
}

/// Waits until the group has committed to the end, and measures the process.
async fn drained(
    world: &World,
    process: Spawned,
    group: &str,
    source: &str,
    end: i64,
    events: u64,
    begun: Instant,
) -> Run {
    let partitions: Vec<(String, i32)> =
        (0..PARTITIONS).map(|p| (format!("raw.{source}"), p)).collect();
    let what = format!("{group} has read {source}\n{}", process.log());
    wait::until_some(&what, DEADLINE, || async {
        let (reader, group, partitions) = (reader(world), group.to_owned(), partitions.clone());
        let committed = tokio::task::spawn_blocking(move || reader.committed(&group, &partitions));
        let sum: i64 = committed.await.unwrap().ok()?.into_values().flatten().sum();
        (sum >= end).then_some(())
    })
    .await;
    Run::of(&process, events, begun.elapsed(), Duration::ZERO)
}

fn reader(world: &World) -> Reader {
    let mut config = kafka_io::Config::default();
    config.bootstrap_servers = world.kafka.bootstrap();
    Reader::open(&config, ReaderOptions::default()).unwrap()
}
