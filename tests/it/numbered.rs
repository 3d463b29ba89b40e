//! A load of numbered events over 64 keys that are all to arrive, and the judgement that each did, once and in order.

use serde_json::{Value, json};
use testkit::{
    load::{Load, Sent},
    reconcile::{Promise, Run, reconcile, taken},
};

use crate::{
    SOON,
    events::{is_unwritten, resent},
    system::World,
};

const KEYS: u64 = 64;

pub(crate) fn id(number: u64) -> String {
    format!("e{number}")
}

fn key(number: u64) -> String {
    format!("k{}", number % KEYS)
}

pub(crate) fn body(number: u64) -> Value {
    json!({ "key": key(number) })
}

/// So many events at 150 a second, each sent again until it is accepted.
pub(crate) fn load(world: &World, events: u64) -> Load {
    Load {
        per_second: Some(150.0),
        resend: true,
        unwritten: is_unwritten,
        deadline: SOON * 3,
        ..Load::new(world.ingest(), events)
    }
}

/// Judges a run whose `events` have all been sent, and stops the test if a promise is broken.
pub(crate) async fn demand(scenario: &str, world: &World, sent: &[Sent], events: u64) {
    let promise = |sent: &Sent| Promise {
        id: id(sent.number),
        key: key(sent.number),
        accepted_ms: world.receiver.millis(sent.ended),
    };
    let run = Run {
        scenario: scenario.to_owned(),
        accepted: sent.iter().filter(|sent| sent.is_accepted()).map(promise).collect(),
        taken: taken(&world.receiver.arrivals(), |arrival| arrival.id.clone()),
        // A sender cut off or told 503 comes again, and may have been written the first time as well.
        resent: resent(&world.topics.all("raw.orders").await, sent, id),
        ..Run::default()
    };
    assert_eq!(run.accepted.len() as u64, events);
    reconcile(&run).demand();
}
