//! A destination that misbehaves in one way after the other, and its neighbour, which must not notice.

use std::time::Duration;

use serde_json::json;
use testkit::{
    Receiver,
    load::Sent,
    receiver::{Answer, Options},
    reconcile::{Crash, Down, Promise, Run, reconcile, taken},
};

use super::{
    judge::{Bar, CONCURRENCY, Tally, demand, now_ms},
    plan::Plan,
    stage::{Stage, change_catalog, pass, refuse, usual},
    traffic::{Fate, Mix, Traffic, id, key},
};
use crate::{
    SOON,
    system::{EVENT, KEY, Setup, World},
};

const SCENARIO: &str = "destinations";
const MISDEEDS: [Answer; 5] =
    [Answer::Reset, Answer::Half, Answer::Hang, Answer::Endless, Answer::Drip];
const LASTS: Duration = Duration::from_secs(8);

// Once healed, its breaker is open for 2 s at most, and a retry waits for 2 s at most.
const STALL_MAX: Duration = Duration::from_secs(10);
const NEIGHBOUR_STALL_MAX: Duration = Duration::from_secs(3);

pub(super) async fn misbehave_alone() {
    let neighbour = Receiver::with(Options {
        id_header: EVENT,
        key_header: KEY,
        keep_content: false,
        ..Options::default()
    })
    .await;
    let mut stage = Stage::on(two_destinations(&neighbour).await).await;
    stage.add(0);
    let (mut plan, mut tally) = (Plan::of(SCENARIO, MISDEEDS.len()), Tally::default());
    let traffic = Traffic::start(&stage.world, Mix::Usual);
    stage.flows().await;
    let first = plan.below(MISDEEDS.len() as u64) as usize;
    while let Some(round) = plan.round() {
        let misdeed = &MISDEEDS[(first + round) % MISDEEDS.len()];
        misbehave(&stage.world, misdeed, &mut tally).await;
        stage.takes_more(300).await;
        tally.accepted_at.push(traffic.accepted());
    }
    let sent = traffic.finish().await;
    let (stall_max, key_stall_max) = (STALL_MAX, STALL_MAX);
    let bar = Bar { scenario: SCENARIO, mix: Mix::Usual, stall_max, key_stall_max };
    demand(bar, &stage.world, tally, &sent).await;
    demand_of_neighbour(&neighbour, &sent).await;
}

/// Both take what is to be delivered; only the first one is asked for the rest.
async fn two_destinations(neighbour: &Receiver) -> World {
    let setup = Setup {
        retry: json!({ "budget": "60s", "base": "50ms", "cap": "2s" }),
        breaker: json!({ "open": "1s", "open_max": "2s" }),
        ..usual()
    };
    let world = World::start(&setup).await;
    change_catalog(&world, "catalog", |catalog| {
        let mut destination = catalog["destinations"]["app"].clone();
        destination["url"] = json!(neighbour.url("/neighbour"));
        catalog["destinations"]["neighbour"] = destination;
        catalog["destinations"]["app"]["timeout"] = json!("2s");
        let mut route = catalog["routes"][0].clone();
        route["name"] = json!("to-neighbour");
        route["to"] = json!("neighbour");
        route["when"] = json!(r#".what == "deliver""#);
        catalog["routes"].as_array_mut().expect("routes are a list").push(route);
    });
    let (done, told) = world.command(&["topics", "apply"]).await;
    assert!(done, "{told}");
    world
}

/// Answers everything in one bad way for a while.
async fn misbehave(world: &World, misdeed: &Answer, tally: &mut Tally) {
    let from_ms = now_ms(world);
    world.receiver.fail("/app", misdeed.clone());
    pass(LASTS).await;
    world.receiver.heal();
    refuse(&world.receiver);
    let to_ms = now_ms(world);
    let mut met = world.receiver.arrivals();
    met.retain(|arrival| (from_ms..=to_ms).contains(&(arrival.begun.as_millis() as u64)));
    eprintln!(
        "{SCENARIO}: {misdeed:?} from {from_ms} to {to_ms} ms, met by {} attempts",
        met.len()
    );
    tally.hits.insert(format!("{misdeed:?}"), met.len() as u64);
    tally.down.push(Down { from_ms, to_ms });
    // The receiver counts half an answer as taken, and deliver can't know it.
    if *misdeed == Answer::Half {
        let taken = met.into_iter().filter(|arrival| arrival.is_taken());
        let may_repeat: Vec<String> = taken.filter_map(|arrival| arrival.id).collect();
        tally.crashes.push(Crash { at_ms: from_ms, left: may_repeat.len() as u64, may_repeat });
    }
}

/// The neighbour took everything, once, in order, and without a pause.
async fn demand_of_neighbour(neighbour: &Receiver, sent: &[Sent]) {
    let is_its =
        |sent: &&Sent| sent.is_accepted() && Mix::Usual.fate(sent.number) == Fate::Delivered;
    let promise = |sent: &Sent| Promise {
        id: id(sent.number),
        key: key(sent.number),
        accepted_ms: neighbour.millis(sent.ended),
    };
    let accepted: Vec<Promise> = sent.iter().filter(is_its).map(promise).collect();
    neighbour.await_taken(accepted.len(), SOON).await;
    let run = Run {
        scenario: format!("{SCENARIO}-neighbour"),
        accepted,
        taken: taken(&neighbour.arrivals(), |arrival| arrival.id.clone()),
        in_flight: CONCURRENCY,
        stall_ms_max: Some(NEIGHBOUR_STALL_MAX.as_millis() as u64),
        key_stall_ms_max: Some(NEIGHBOUR_STALL_MAX.as_millis() as u64),
        ..Run::default()
    };
    reconcile(&run).demand();
}
