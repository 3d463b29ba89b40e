//! Deliver: a backlog of deliveries of 2,000 keys to one destination, 256 in flight.

use std::time::{Duration, Instant};

use testkit::Spawned;

use crate::{
    measure::{Report, Run},
    records,
    world::World,
};

const BODY: usize = 2_000;
const DEADLINE: Duration = Duration::from_secs(300);

pub async fn run(world: &World, pairs: usize, events: u64) {
    let mut runs = Vec::new();
    for pair in 0..pairs {
        let destination = format!("d{pair}");
        fill(world, &destination, events).await;
        let begun = Instant::now();
        let service = world.program("millrace").arg("deliver").env("MILLRACE_INSTANCE", "deliver-0");
        let of_service = drained(world, service.spawn(), events, begun).await;
        let begun = Instant::now();
        let of_floor = drained(world, floor(world, pair), events, begun).await;
        runs.push((of_service, of_floor));
    }
    Report::of_pairs("deliver", &runs).publish();
}

async fn fill(world: &World, destination: &str, events: u64) {
    let topic = format!("out.{destination}");
    let id = world.schema_id(&topic, wire::Kind::Delivery).await;
    let records = (0..events).map(|n| {
        let delivery = records::delivery(destination, n, records::body(n, BODY));
        (records::key(n), wire::encode(&delivery, id).unwrap())
    });
    world.fill(&topic, records).await;
}

fn floor(world: &World, pair: usize) -> Spawned {
    let program = world.program("floor-deliver").arg("--bootstrap").arg(world.kafka.bootstrap());
    let program = program.arg("--topic").arg(format!("out.d{pair}"));
    let program = program.arg("--receipts").arg("receipts").arg("--group").arg(format!("floor-{pair}"));
    program.arg("--to").arg(world.receiver.address()).arg("--in-flight").arg(256).spawn()
}

/// Waits until the receiver has taken the events, and measures the process.
async fn drained(world: &World, process: Spawned, events: u64, begun: Instant) -> Run {
    let before = world.receiver.taken();
    world.receiver.await_taken(before + events as usize, DEADLINE).await;
    Run::of(&process, events, begun.elapsed(), Duration::ZERO)
}
