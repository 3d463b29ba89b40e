//! Transform: a backlog of events, mapped as fast as it goes. Two sizes of body.

use std::sync::Arc;

use kafka_io::reader::{Reader, ReaderOptions};
use testkit::Spawned;
use wire::{Kind, headers};

use crate::{
    measure::{Report, Run, start_of},
    records,
    world::{PARTITIONS, Site, World},
};

pub(crate) async fn run(world: &World, pairs: usize, events: u64) {
    let reader = Arc::new(reader(world));
    let site = world.site("transform-start").await;
    let start = start_of(site.spawn("transform")).await;
    let floor_start = start_of(floor(&site)).await;
    for (name, bytes) in [("transform-1kb", 1_200), ("transform", 7_700)] {
        let mut runs = Vec::new();
        for pair in 0..pairs {
            let site = world.site(&format!("{name}-{pair}")).await;
            fill(&site, events, bytes).await;
            let group = format!("{}millrace-transform", site.names.prefix());
            let done = async || committed(&reader, &site, group.clone()).await;
            let service = Run::of_backlog(site.spawn("transform"), events, start, done).await;
            let done = async || committed(&reader, &site, floor_group(&site)).await;
            runs.push((service, Run::of_backlog(floor(&site), events, floor_start, done).await));
        }
        Report::of_pairs(name, &runs).publish();
    }
}

async fn fill(site: &Site<'_>, events: u64, bytes: usize) {
    let topic = site.names.raw("bench");
    let id = site.schema_id(&topic, Kind::Envelope).await;
    let topic = topic.into();
    let bodies: Vec<Vec<u8>> = (0..200).map(|n| records::body(n, bytes)).collect();
    let records = (0..events).map(|n| {
        let envelope = records::envelope(n, bodies[(n % 200) as usize].clone());
        let trace = Some(records::trace());
        let value = wire::encode(&envelope, id).unwrap();
        records::outgoing(&topic, records::key(n), value, headers::cloud_event(&envelope, trace))
    });
    site.world.fill(records).await;
}

fn floor(site: &Site<'_>) -> Spawned {
    let program = site.world.program("floor-transform");
    let program = program.arg("--bootstrap").arg(site.world.kafka.bootstrap());
    let program = program.arg("--from").arg(site.names.raw("bench"));
    program.arg("--to").arg(site.names.out("bench")).arg("--group").arg(floor_group(site)).spawn()
}

fn floor_group(site: &Site<'_>) -> String {
    format!("{}floor-transform", site.names.prefix())
}

/// How many events a group has done with: their topic begins at 0 and holds nothing else.
async fn committed(reader: &Arc<Reader>, site: &Site<'_>, group: String) -> u64 {
    let topic = site.names.raw("bench");
    let partitions: Vec<_> = (0..PARTITIONS).map(|p| (topic.clone(), p)).collect();
    let reader = reader.clone();
    let asked = tokio::task::spawn_blocking(move || reader.committed(&group, &partitions));
    // A group that does not exist yet has done nothing.
    let offsets = asked.await.unwrap().unwrap_or_default();
    offsets.into_values().map(|map| u64::try_from(map.commit_point()).unwrap()).sum()
}

fn reader(world: &World) -> Reader {
    let config = kafka_io::Config::plain(world.kafka.bootstrap());
    Reader::open(&config, ReaderOptions::default()).unwrap()
}
