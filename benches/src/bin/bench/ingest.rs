//! Ingest: signed requests of 2 kB over 256 connections, as fast as they are answered; then at half
//! that rate, for the latency.

use std::{sync::Arc, time::Duration, time::Instant};

use bytes::Bytes;
use testkit::{
    Spawned,
    load::{Load, Sent, send},
    wait,
};

use crate::{
    measure::{Report, Run, percentile_ms},
    records,
    world::{Site, World},
};

const BODY: usize = 2_000;
const LATENCY_SECONDS: f64 = 10.0;

pub(crate) async fn run(world: &World, pairs: usize, events: u64) {
    let bodies: Arc<Vec<Bytes>> =
        Arc::new((0..records::KEYS).map(|n| records::body(n, BODY).into()).collect());
    let site = world.site("ingest").await;
    let mut runs = Vec::new();
    for _ in 0..pairs {
        let service = site.service("ingest").await;
        let of_service = full(world, &service, &bodies, events).await;
        drop(service);
        let floor = floor(&site).await;
        let of_floor = full(world, &floor, &bodies, events).await;
        drop(floor);
        runs.push((of_service, of_floor));
    }
    let mut report = Report::of_pairs("ingest", &runs);
    let service = site.service("ingest").await;
    let rate = report.events_per_second / 2.0;
    let load = Load {
        connections: records::IN_FLIGHT,
        per_second: Some(rate),
        ..Load::new(world.ingest(), (rate * LATENCY_SECONDS) as u64)
    };
    let sent = requests(&load, &bodies).await;
    drop(service);
    let mut times: Vec<Duration> = sent.iter().map(|s| s.latency).collect();
    report.p50_ms = percentile_ms(&mut times, 0.5);
    report.p99_ms = percentile_ms(&mut times, 0.99);
    report.publish();
}

async fn floor(site: &Site<'_>) -> Spawned {
    let program = site.world.program("floor-ingest").arg("--listen").arg(site.world.ingest());
    let program = program.arg("--bootstrap").arg(site.world.kafka.bootstrap());
    let program = program.arg("--topic").arg(site.names.raw("bench"));
    let floor = program.arg("--secret").arg(records::SECRET).spawn();
    wait::until_some("the floor listens", Duration::from_secs(20), || async {
        tokio::net::TcpStream::connect(site.world.ingest()).await.ok()
    })
    .await;
    floor
}

async fn full(world: &World, process: &Spawned, bodies: &Arc<Vec<Bytes>>, events: u64) -> Run {
    let load = |n| Load { connections: records::IN_FLIGHT, ..Load::new(world.ingest(), n) };
    requests(&load(events / 10), bodies).await; // connections and caches are warm from here on
    let (cpu, begun) = (process.cpu().unwrap(), Instant::now());
    requests(&load(events), bodies).await;
    Run::of(process, events, begun.elapsed(), cpu)
}

async fn requests(load: &Load, bodies: &Arc<Vec<Bytes>>) -> Vec<Sent> {
    let bodies = bodies.clone();
    let make =
        move |number: u64| records::github(number, &bodies[(number % records::KEYS) as usize]);
    let sent = send(load, make, |_| {}).await;
    let refused = sent.iter().filter(|s| !s.is_accepted()).count();
    assert_eq!((sent.len() as u64, refused), (load.requests, 0), "every request is accepted");
    sent
}
