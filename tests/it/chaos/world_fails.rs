//! Brokers that cannot be reached, all of them for a while, and the death of the one that leads the
//! cluster.

use std::time::Duration;

use testkit::{reconcile::Down, wait};

use super::{
    Extent,
    cut::Cut,
    judge::{Bar, Tally, demand, now_ms},
    plan::Plan,
    stage::{Signal, Stage, pass},
    traffic::{Mix, Traffic},
};
use crate::{SOON, system::World};

// Brokers that say nothing are noticed after their session, 6 s here; then leaders move, and with them
// the group and the transactions.
const STALL_MAX: Duration = Duration::from_secs(20);

const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";

/// All brokers stand still and go on again, and with them all that needs them.
pub(super) async fn brokers_unreachable(extent: Extent) {
    let away = match extent {
        Extent::Short => Duration::from_secs(10),
        Extent::Whole => Duration::from_secs(60),
    };
    let scenario = "brokers-unreachable";
    let (mut stage, mut plan, mut tally) =
        (Stage::usual().await, Plan::of(scenario, 1), Tally::default());
    stage.add(0);
    let traffic = Traffic::start(&stage.world, Mix::Usual);
    stage.flows().await;
    while plan.round().is_some() {
        let world = &stage.world;
        let cut = Cut::begin(world, last_ms(&tally)).await;
        tally.accepted_at.push(traffic.accepted());
        each_broker(world, Signal::Stop);
        pass(away).await;
        each_broker(world, Signal::Continue);
        tally.down.push(Down { from_ms: cut.at_ms, to_ms: now_ms(world) });
        let left = cut.left(world).await;
        stage.takes_more(300).await;
        tally.crashes.push(cut.end(world, left).await);
    }
    let sent = traffic.finish().await;
    demand(bar(scenario), &stage.world, tally, &sent).await;
}

/// The active controller dies, again and again; it is a broker as well.
pub(super) async fn controllers_killed(extent: Extent) {
    let rounds = match extent {
        Extent::Short => 1,
        Extent::Whole => 3,
    };
    let scenario = "controller";
    let (mut stage, mut plan, mut tally) =
        (Stage::usual().await, Plan::of(scenario, rounds), Tally::default());
    stage.add(0);
    let traffic = Traffic::start(&stage.world, Mix::Usual);
    stage.flows().await;
    while plan.round().is_some() {
        let world = &stage.world;
        let node = active_controller(world).await;
        let cut = Cut::begin(world, last_ms(&tally)).await;
        world.kafka.kill9(node);
        eprintln!("{scenario}: node {node} killed at {} ms", cut.at_ms);
        tally.accepted_at.push(traffic.accepted());
        let left = cut.left(world).await;
        stage.takes_more(300).await;
        assert_ne!(active_controller(world).await, node, "another one leads");
        world.kafka.restart(node).await;
        tally.crashes.push(cut.end(world, left).await);
    }
    let sent = traffic.finish().await;
    demand(bar(scenario), &stage.world, tally, &sent).await;
}

fn bar(scenario: &'static str) -> Bar {
    let (stall_max, key_stall_max) = (STALL_MAX, STALL_MAX);
    Bar { scenario, mix: Mix::Usual, stall_max, key_stall_max }
}

/// Since when what is taken and not committed is no earlier crash's.
fn last_ms(tally: &Tally) -> u64 {
    tally.crashes.last().map_or(0, |crash| crash.at_ms)
}

fn each_broker(world: &World, signal: Signal) {
    for node in 0..world.kafka.nodes() {
        signal.send(world.kafka.pid(node).expect("the broker runs"));
    }
}

/// The node that leads the metadata's quorum, once there is one.
async fn active_controller(world: &World) -> u16 {
    wait::until_some("the quorum to have a leader", SOON, || async {
        let told = world.kafka.tool(QUORUM, &["describe", "--status"]).await;
        let leader = told.lines().find_map(|line| line.strip_prefix("LeaderId:"));
        leader?.trim().parse().ok()
    })
    .await
}
