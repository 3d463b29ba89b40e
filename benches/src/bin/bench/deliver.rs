//! Deliver: a backlog of deliveries of 2,000 keys to one destination, 256 in flight.

use std::{net::SocketAddr, time::Duration};

use testkit::Spawned;
use wire::{Kind, headers};

use crate::{
    measure::{Report, Run, start_of},
    records,
    world::{Site, World},
};

const BODY: usize = 2_000;

/// The least that delivers what deliver delivers.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    pub(crate) topics: Vec<String>,
    /// What its group is called, after the site's prefix.
    pub(crate) group: &'static str,
    pub(crate) to: SocketAddr,
    /// How many requests at a time; `None` is one for each partition, in the order of its records.
    pub(crate) in_flight: Option<u64>,
}

impl Floor {
    pub(crate) fn spawn(&self, site: &Site<'_>) -> Spawned {
        let program = site.world.program("floor-deliver");
        let program = program.arg("--bootstrap").arg(site.world.kafka.bootstrap());
        let topics = self.topics.iter();
        let program = topics.fold(program, |program, topic| program.arg("--topic").arg(topic));
        let program = program.arg("--receipts").arg(site.names.receipts());
        let group = format!("{}{}", site.names.prefix(), self.group);
        let program = program.arg("--group").arg(group).arg("--to").arg(self.to);
        match self.in_flight {
            Some(in_flight) => program.arg("--in-flight").arg(in_flight).spawn(),
            None => program.arg("--one-per-partition").spawn(),
        }
    }
}

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
    let topic = topic.into();
    let records = (0..events).map(|n| {
        let delivery = records::delivery(n, records::body(n, BODY));
        let trace = Some(records::trace());
        let value = wire::encode(&delivery, id).unwrap();
        let headers = headers::delivery(&delivery, trace, trace);
        records::outgoing(&topic, records::key(n), value, headers)
    });
    site.world.fill(records).await;
}

fn floor(site: &Site<'_>) -> Spawned {
    let topics = vec![site.names.out("bench")];
    let (group, to) = ("floor-deliver", site.world.receiver.address());
    Floor { topics, group, to, in_flight: Some(records::IN_FLIGHT) }.spawn(site)
}

async fn drained(world: &World, process: Spawned, events: u64, start: Duration) -> Run {
    let before = world.receiver.taken();
    let done = async || (world.receiver.taken() - before) as u64;
    Run::of_backlog(process, events, start, done).await
}
