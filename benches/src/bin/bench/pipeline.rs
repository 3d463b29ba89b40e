//! All four services together on the same broker: latency from the request to the third party, and
//! processor time of our processes per event, at 200 and at 2,000 events per second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use testkit::{
    Spawned,
    load::{Load, send},
};

use crate::{
    measure::{Report, percentile_ms},
    records,
    world::World,
};

const SERVICES: [&str; 4] = ["ingest", "transform", "deliver", "dlq-replayer"];
const SECONDS: u64 = 20;
const BODY: usize = 2_000;
const ARRIVED: Duration = Duration::from_secs(60);

pub(crate) async fn run(world: &World) {
    let site = world.site("pipeline").await;
    let mut services = Vec::new();
    for name in SERVICES {
        services.push(site.service(name).await);
    }
    at_rate(world, &services, 100, 1_000_000, None).await; // warm: connections, caches, schema ids
    at_rate(world, &services, 200, 2_000_000, Some("pipeline-200")).await;
    at_rate(world, &services, 2_000, 3_000_000, Some("pipeline-2000")).await;
}

async fn at_rate(world: &World, services: &[Spawned], rate: u64, first: u64, name: Option<&str>) {
    let events = rate * SECONDS;
    let bodies: Arc<Vec<Bytes>> =
        Arc::new((0..records::KEYS).map(|n| records::body(n, BODY).into()).collect());
    let begun: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let starts = begun.clone();
    let make = move |number: u64| {
        let request = records::github(first + number, &bodies[(number % records::KEYS) as usize]);
        starts.lock().unwrap().insert(records::id(first + number), Instant::now());
        request
    };
    let load = Load {
        connections: 64,
        per_second: Some(rate as f64),
        ..Load::new(world.ingest(), events)
    };
    let cpu = cpu_of(services);
    let taken = world.receiver.taken();
    let sent = send(&load, make, |_| {}).await;
    assert!(sent.iter().all(|s| s.is_accepted()), "every request is accepted");
    world.receiver.await_taken(taken + events as usize, ARRIVED).await;
    let Some(name) = name else { return };
    let used: Vec<Duration> =
        cpu_of(services).iter().zip(&cpu).map(|(now, before)| *now - *before).collect();
    for (service, used) in SERVICES.iter().zip(&used) {
        println!("  {name}: {service} {:.0} µs", used.as_secs_f64() * 1e6 / events as f64);
    }
    let used: Duration = used.iter().sum();
    let mut times = latencies(world, &begun.lock().unwrap());
    Report {
        name: name.to_owned(),
        events,
        events_per_second: rate as f64,
        cpu_us_per_event: used.as_secs_f64() * 1e6 / events as f64,
        floor_cpu_us_per_event: None,
        ratio: None,
        p50_ms: percentile_ms(&mut times, 0.5),
        p99_ms: percentile_ms(&mut times, 0.99),
        rss_mib: services.iter().map(|s| s.rss_bytes().unwrap() as f64).sum::<f64>() / 1048576.0,
    }
    .publish();
}

fn cpu_of(services: &[Spawned]) -> Vec<Duration> {
    services.iter().map(|s| s.cpu().unwrap()).collect()
}

/// From the request's making to its arrival at the third party.
fn latencies(world: &World, begun: &HashMap<String, Instant>) -> Vec<Duration> {
    let start = world.receiver.started();
    let arrivals = world.receiver.arrivals();
    let each = arrivals.iter().filter_map(|arrival| {
        let sent = begun.get(arrival.id.as_ref()?)?;
        Some((start + arrival.begun).saturating_duration_since(*sent))
    });
    each.collect()
}
