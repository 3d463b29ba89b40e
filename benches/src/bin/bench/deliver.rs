//! Deliver: a backlog of deliveries of 2,000 keys to one destination, 256 in flight.

use testkit::Spawned;
use wire::{Kind, headers};

use crate::{
    measure::{Report, Run, start_of},
    records,
    world::{Site, World},
};

const BODY: usize = 2_000;

pub(crate) async fn run(world: &World, pairs: usize, events: u64) {
    let site = world.site("deliver-start").await;
    let start = start_of(site.spawn("deliver")).await;
    let floor_start = start_of(floor(&site)).await;
    let mut runs = Vec::new();
    for pair in 0..pairs {
        let site = world.site(&format!("deliver-{pair}")).await;
        fill(&site, events).await;
        let service = drained(world, site.spawn("deliver"), events, start).await;
        runs.push((service, drained(world, floor(&site), events, floor_start).await));
    }
    Report::of_pairs("deliver", &runs).publish();
}

async fn fill(site: &Site<'_>, events: u64) {
    let topic = site.names.out("bench");
    let id = site.schema_id(&topic, Kind::Delivery).await;
    let records = (0..events).map(|n| {
        let delivery = records::delivery(n, records::body(n, BODY));
        let trace = Some(records::trace());
        let value = wire::encode(&delivery, id).unwrap();
        (records::key(n), value, headers::delivery(&delivery, trace, trace))
    });
    site.world.fill(&topic, records).await;
}

fn floor(site: &Site<'_>) -> Spawned {
    let program = site.world.program("floor-deliver");
    let program = program.arg("--bootstrap").arg(site.world.kafka.bootstrap());
    let program = program.arg("--topic").arg(site.names.out("bench"));
    let program = program.arg("--receipts").arg(site.names.receipts());
    let program = program.arg("--group").arg(format!("{}floor-deliver", site.names.prefix()));
    let program = program.arg("--to").arg(site.world.receiver.address());
    program.arg("--in-flight").arg(records::IN_FLIGHT).spawn()
}

async fn drained(world: &World, process: Spawned, events: u64, start: std::time::Duration) -> Run {
    let before = world.receiver.taken();
    let done = async || (world.receiver.taken() - before) as u64;
    Run::of_backlog(process, events, start, done).await
}
