//! Members of deliver that come and go under load, so that partitions move every three seconds.

use std::time::Duration;

use serde_json::json;
use testkit::{
    load::Sent,
    receiver::{Answer, Peak, Rule, most_begun, most_open},
};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    judge::{Bar, Tally, demand, now_ms},
    plan::Plan,
    stage::{SESSION, Stage, change_catalog, usual},
    traffic::{Mix, Traffic},
};
use crate::system::World;

const EVERY: Duration = Duration::from_secs(3);
const ROUNDS: usize = 12;
// Each that goes is away for three turns, 9 s: its partitions move when its session of 8 s is over, and
// once more when it is back. The first member stays.
const AT_FIRST: [u16; 3] = [0, 1, 3];
const ORDERS: [[u16; 3]; 2] = [[1, 2, 3], [3, 2, 1]];

const STALL_MAX: Duration = Duration::from_secs(10);
// Partitions that wait for a session's end may then be given to a member that goes.
const KEY_STALL_MAX: Duration = Duration::from_secs(10 + 2 * SESSION.as_secs());

// Both are less than the load wants, so that there is always more to send; of the concurrency, one for
// each partition.
const RATE: usize = 100;
const CONCURRENCY: usize = 12;
const ANSWER_AFTER: Duration = Duration::from_millis(50);
// One answer of so many takes longer than a partition takes to move.
const SLOW_OF: usize = 40;
const SLOW_AFTER: Duration = Duration::from_secs(2);
// More than there are requests.
const ANSWERS: usize = 50_000;
const SECOND: Duration = Duration::from_secs(1);

/// Nothing is lost, doubled or reordered.
pub(super) async fn keep_order() {
    let mut stage = Stage::usual().await;
    let (tally, sent) = come_and_go("rebalances", &mut stage).await;
    demand(bar("rebalances"), &stage.world, tally, &sent).await;
}

/// The same, and the receiver is asked no more than the catalog says, by all of them together.
pub(super) async fn keep_limits() {
    let world = World::start(&usual()).await;
    change_catalog(&world, "catalog", |catalog| {
        let app = &mut catalog["destinations"]["app"];
        app["rate"] = json!(format!("{RATE}/s"));
        app["concurrency"] = json!(CONCURRENCY);
        app["concurrency_min"] = json!(CONCURRENCY);
    });
    let after =
        |number: usize| if number.is_multiple_of(SLOW_OF) { SLOW_AFTER } else { ANSWER_AFTER };
    let answers = (0..ANSWERS).map(|number| Answer::Status(200).after(after(number)));
    world.receiver.on(Rule::path("/app").answers(answers));
    let mut stage = Stage::on(world).await;
    let (tally, sent) = come_and_go("limits", &mut stage).await;
    most_asked(&stage.world); // should the judgement end here
    demand(bar("limits"), &stage.world, tally, &sent).await;
    let (begun, open) = most_asked(&stage.world);
    assert!(begun.count * 10 <= RATE * 11, "{begun:?} began within a second, {RATE} are the rate");
    assert!(open.count <= CONCURRENCY, "{open:?} were open at once, {CONCURRENCY} may be");
}

/// How many requests began within a second, and how many were open at once.
fn most_asked(world: &World) -> (Peak, Peak) {
    let arrivals = world.receiver.arrivals();
    let (begun, open) = (most_begun(&arrivals, SECOND), most_open(&arrivals));
    eprintln!("limits: {begun:?} began within a second, {open:?} were open at once");
    (begun, open)
}

fn bar(scenario: &'static str) -> Bar {
    let (stall_max, key_stall_max) = (STALL_MAX, KEY_STALL_MAX);
    Bar { scenario, mix: Mix::Usual, stall_max, key_stall_max }
}

/// An orderly move repeats nothing, so that nothing is told to explain a double.
async fn come_and_go(scenario: &'static str, stage: &mut Stage) -> (Tally, Vec<Sent>) {
    let (mut plan, mut tally) = (Plan::of(scenario, ROUNDS), Tally::default());
    let order = ORDERS[plan.below(ORDERS.len() as u64) as usize];
    AT_FIRST.into_iter().for_each(|ordinal| stage.add(ordinal));
    let traffic = Traffic::start(&stage.world, Mix::Usual);
    stage.flows().await;
    let before = stage.rebalances(0).await;
    let mut turns = interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(round) = plan.round() {
        turns.tick().await;
        let ordinal = order[round % order.len()];
        eprintln!("{scenario}: deliver-{ordinal} at {} ms", now_ms(&stage.world));
        stage.toggle(ordinal).await;
        tally.accepted_at.push(traffic.accepted());
    }
    turns.tick().await;
    let moved = stage.rebalances(0).await - before;
    eprintln!("{scenario}: the assignment of deliver-0 changed {moved} times");
    tally.hits.insert("rebalance".to_owned(), moved);
    (tally, traffic.finish().await)
}
