//! Kafka and the registry down, at the start and in flight: refused events are refused clearly,
//! accepted ones arrive, and everything recovers by itself.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use testkit::{
    get,
    load::{self, Load},
    wait,
};

use crate::{
    SOON,
    events::{is_unwritten, orders, repeats},
    system::{SERVICES, Service, Setup, System, World},
};

const EVENTS: u64 = 150;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_down_at_the_start_is_waited_for() {
    let world = World::start(&Setup::default()).await;
    kill_kafka(&world);
    world.registry.kill9();
    let mut services = SERVICES.map(|service| world.spawn(service, 0));
    let admin = world.admin(Service::Ingest, 0);
    wait::until_some("ingest to say what it waits for", SOON, || async {
        let reply = get(admin, "/readyz", SOON).await.ok()?;
        (reply.status == 503 && !reply.text().is_empty()).then_some(())
    })
    .await;
    let refused = wait::until_some("ingest to listen", SOON, || async {
        let request = orders().request("early", "order.placed", &json!({ "key": "k" }));
        testkit::request(world.ingest(), request, SOON).await.ok()
    })
    .await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(refused.headers["content-type"], "application/problem+json");

    tokio::join!(restart_kafka(&world), world.registry.restart());
    for service in &mut services {
        service.wait_ready(SOON).await;
    }
    let accepted = world.send(&orders(), "late", &json!({ "key": "k" })).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    wait::until("the event to arrive", SOON, || taken(&world, "late") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_down_in_flight_loses_nothing_accepted() {
    let system = System::start(&Setup::default()).await;
    let world = &system.world;
    world.send(&orders(), "before", &json!({ "key": "k" })).await;
    wait::until("the first event to arrive", SOON, || taken(world, "before") == 1).await;

    // Schemas once seen are kept: without the registry everything flows on.
    world.registry.kill9();
    let reply = world.send(&orders(), "without-registry", &json!({ "key": "k" })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    wait::until("the second event to arrive", SOON, || taken(world, "without-registry") == 1).await;
    world.registry.restart().await;

    let load = Load {
        per_second: Some(30.0),
        resend: true,
        unwritten: is_unwritten,
        deadline: SOON * 3,
        ..Load::new(world.ingest(), EVENTS)
    };
    let source = Arc::new(orders());
    let request = move |number| {
        let body = json!({ "key": format!("k{}", number % 8) });
        source.request(&format!("e{number}"), "order.placed", &body)
    };
    let sending = tokio::spawn(async move { load::send(&load, request, |_| {}).await });
    wait::until("some events to arrive", SOON, || world.receiver.taken() > 30).await;
    kill_kafka(world);
    refuses_in_time(world).await;
    restart_kafka(world).await;
    let sent = sending.await.unwrap();
    assert_eq!(sent.iter().filter(|sent| sent.is_accepted()).count() as u64, EVENTS);
    assert!(repeats(&sent) > 0, "the outage was noticed");
    let all = (0..EVENTS).map(|number| format!("e{number}"));
    let all: Vec<String> = all.collect();
    wait::until("every accepted event to arrive", SOON * 2, || {
        let seen = world.receiver.taken_per_id();
        all.iter().all(|id| seen.contains_key(id))
    })
    .await;
}

/// While Kafka does not acknowledge, a sender is told so within the limit (4 s) and a little.
async fn refuses_in_time(world: &World) {
    let begun = tokio::time::Instant::now();
    let reply = world.send(&orders(), "refused", &json!({ "key": "k" })).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.headers.contains_key("retry-after"));
    assert!(begun.elapsed() < Duration::from_secs(8), "after {:?}", begun.elapsed());
}

fn taken(world: &World, id: &str) -> usize {
    world.receiver.taken_per_id().get(id).copied().unwrap_or(0)
}

fn kill_kafka(world: &World) {
    for node in 0..world.kafka.nodes() {
        world.kafka.kill9(node);
    }
}

/// All nodes at once: none is ready without a quorum.
async fn restart_kafka(world: &World) {
    tokio::join!(world.kafka.restart(0), world.kafka.restart(1), world.kafka.restart(2));
}
