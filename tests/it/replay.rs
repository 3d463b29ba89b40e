//! A destination that fails until its events are given up on, heals, and gets each of them once,
//! by the operator's own command.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use testkit::{receiver::Answer, wait};
use wire::headers;

use crate::{
    SOON,
    events::orders,
    records::{event_id, header},
    system::{DELIVER_GROUP, EVENT, Setup, System},
};

const EVENTS: usize = 12;
const KEYS: usize = 4;
const LETTERS: &str = "dlq.deliver.app";

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_destinations_events_are_kept_and_replayed_once() {
    let setup = Setup {
        retry: json!({ "budget": "1s", "base": "50ms" }),
        // With an open breaker the budgets would stand still.
        breaker: json!({ "attempts_min": 1000 }),
        ..Setup::default()
    };
    let system = System::start(&setup).await;
    system.world.receiver.fail("/app", Answer::Status(503));
    for number in 0..EVENTS {
        let body = json!({ "key": format!("key-{}", number % KEYS) });
        let reply = system.world.send(&orders(), &id(number), &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    given_up_on_when_the_budget_is_spent(&system).await;
    system.world.receiver.heal();
    let (done, told) = dlq(&system, &["list", "--destination", "app"]).await;
    assert!(done && told.contains("12 dead letters"), "{told}");
    let (done, told) = dlq(&system, &["replay", "--destination", "app", "--dry-run"]).await;
    assert!(done && told.contains("12 of 12 dead letters would be replayed"), "{told}");
    assert_eq!(system.world.topics.all("out.app.replay").await.len(), 0, "a dry run does nothing");

    let (done, told) = dlq(&system, &["replay", "--destination", "app"]).await;
    assert!(done && told.contains("12 of 12 dead letters replayed"), "{told}");
    delivered_once_with_the_same_key(&system).await;

    let (done, told) = dlq(&system, &["replay", "--all"]).await;
    assert!(done && told.contains("0 of 12 dead letters replayed"), "{told}");
    assert_eq!(system.world.topics.all("out.app.replay").await.len(), EVENTS);
    system.world.await_committed(DELIVER_GROUP, "out.app.replay").await;
    assert_eq!(system.world.receiver.taken(), EVENTS, "each once");
}

fn id(number: usize) -> String {
    format!("e{number}")
}

async fn dlq(system: &System, arguments: &[&str]) -> (bool, String) {
    system.world.command(&[&["dlq"], arguments].concat()).await
}

async fn given_up_on_when_the_budget_is_spent(system: &System) {
    let world = &system.world;
    let what = format!("{EVENTS} dead letters in {LETTERS}");
    let letters = wait::until_some(&what, SOON, || async {
        let letters = world.topics.all(LETTERS).await;
        (letters.len() >= EVENTS).then_some(letters)
    })
    .await;
    world.await_committed(DELIVER_GROUP, "out.app").await;
    assert_eq!(
        letters.iter().map(event_id).collect::<BTreeSet<_>>(),
        (0..EVENTS).map(id).collect()
    );
    assert_eq!(world.receiver.taken(), 0);
    let originals = world.topics.all("out.app").await;
    for letter in &letters {
        assert_eq!(header(letter, headers::DLQ_REASON), Some("budget_spent"));
        let original = originals.iter().find(|record| event_id(record) == event_id(letter));
        let original = original.expect("the delivery is still in its lane");
        assert_eq!((&original.value, &original.key), (&letter.value, &letter.key));
        assert_eq!(original.partition, letter.partition);
    }
}

/// The third party sees the key it saw at the attempts that failed, and can tell a repeat by it.
async fn delivered_once_with_the_same_key(system: &System) {
    let receiver = &system.world.receiver;
    receiver.await_taken(EVENTS, SOON).await;
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut taken = Vec::new();
    for arrival in receiver.arrivals() {
        let header = |name| arrival.header(name).unwrap_or_default().to_owned();
        keys.entry(header(EVENT)).or_default().insert(header("webhook-id"));
        if arrival.is_taken() {
            taken.push(header(EVENT));
        }
    }
    assert_eq!(taken.len(), EVENTS, "each once: {taken:?}");
    assert!(keys.len() == EVENTS && keys.values().all(|keys| keys.len() == 1), "{keys:?}");
    for key in 0..KEYS {
        let of_key: Vec<&String> = taken
            .iter()
            .filter(|taken| (key..EVENTS).step_by(KEYS).any(|n| id(n) == **taken))
            .collect();
        let wanted: Vec<String> = (key..EVENTS).step_by(KEYS).map(id).collect();
        assert_eq!(of_key, wanted.iter().collect::<Vec<_>>(), "in the order of their key");
    }
}
