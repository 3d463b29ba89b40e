//! deliver killed and started again: how soon each partition flows, with the group settings that a
//! broker is shipped with.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use testkit::reconcile::{Crash, Down};

use super::{
    Extent,
    judge::{Bar, Tally, demand, now_ms, taken_not_committed},
    plan::Plan,
    stage::{SESSION, Stage, pass, usual},
    traffic::{Mix, Traffic},
};
use crate::{
    records::event_id,
    system::{PARTITIONS, World},
};

const FLOWS_WITHIN: Duration = Duration::from_secs(5);
const STALL_MAX: Duration = Duration::from_secs(10);

const AS_SHIPPED: [&str; 2] =
    ["group.initial.rebalance.delay.ms=3000", "group.min.session.timeout.ms=6000"];

/// Every other time it is back only when its session is over, and its group empty.
pub(super) async fn flow_in_time(extent: Extent) {
    let rounds = match extent {
        Extent::Short => 2,
        Extent::Whole => 6,
    };
    let world = World::start(&usual()).await;
    with_shipped_settings(&world).await;
    let mut stage = Stage::on(world).await;
    stage.add(0);
    let (mut plan, mut tally) = (Plan::of("restarts", rounds), Tally::default());
    let traffic = Traffic::start(&stage.world, Mix::Usual);
    stage.flows().await;
    while let Some(round) = plan.round() {
        stage.takes_more(300 + plan.below(300) as usize).await;
        tally.accepted_at.push(traffic.accepted());
        stage.member(0).kill9();
        let (from_ms, last) = (now_ms(&stage.world), tally.crashes.last());
        let since_ms = last.map_or(0, |crash| crash.at_ms);
        let may_repeat = taken_not_committed(&stage.world, since_ms).await;
        tally.crashes.push(Crash { at_ms: from_ms, left: may_repeat.len() as u64, may_repeat });
        if round % 2 == 1 {
            pass(SESSION + Duration::from_secs(1)).await;
        }
        stage.member(0).restart();
        tally.down.push(Down { from_ms, to_ms: now_ms(&stage.world) });
    }
    stage.takes_more(300).await;
    let sent = traffic.finish().await;
    let starts: Vec<u64> = tally.down.iter().map(|down| down.to_ms).collect();
    let waits = waits_ms(&stage.world, &starts).await;
    let (stall_max, key_stall_max) = (STALL_MAX, STALL_MAX);
    let bar = Bar { scenario: "restarts", mix: Mix::Usual, stall_max, key_stall_max };
    demand(bar, &stage.world, tally, &sent).await;
    for (start_ms, waits_ms) in waits {
        assert_eq!(waits_ms.len() as i32, PARTITIONS, "all flow that began at {start_ms} ms");
        let longest_ms = waits_ms.values().max().copied().unwrap_or(u64::MAX);
        assert!(longest_ms <= FLOWS_WITHIN.as_millis() as u64, "{start_ms} ms: {waits_ms:?}");
    }
}

async fn with_shipped_settings(world: &World) {
    let (kafka, settings) = (&world.kafka, AS_SHIPPED.map(str::to_owned));
    // All nodes at once: none is ready without a quorum.
    tokio::join!(
        kafka.restart_with(0, &settings),
        kafka.restart_with(1, &settings),
        kafka.restart_with(2, &settings),
    );
}

/// How long after each start the first delivery of each partition was taken.
async fn waits_ms(world: &World, starts: &[u64]) -> Vec<(u64, BTreeMap<i32, u64>)> {
    let deliveries = world.topics.all("out.app").await;
    let partition_of: HashMap<String, i32> =
        deliveries.iter().map(|record| (event_id(record), record.partition)).collect();
    let mut arrivals = world.receiver.arrivals();
    arrivals.retain(|arrival| arrival.is_taken());
    let of_start = |start_ms: &u64| {
        let mut waits = BTreeMap::new();
        for arrival in &arrivals {
            let wait = (arrival.begun.as_millis() as u64).checked_sub(*start_ms);
            let partition = arrival.id.as_ref().and_then(|id| partition_of.get(id));
            if let (Some(wait_ms), Some(partition)) = (wait, partition) {
                let least = waits.entry(*partition).or_insert(wait_ms);
                *least = wait_ms.min(*least);
            }
        }
        eprintln!("restarts: from the start at {start_ms} ms each partition waited {waits:?} ms");
        (*start_ms, waits)
    };
    starts.iter().map(of_start).collect()
}
