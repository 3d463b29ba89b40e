//! Start, change, outage and stop: nothing is lost, and the reason is told.

use std::time::Duration;

use catalog_io::{Catalogs, Environment};
use registry_io::Registry;
use testkit::{
    Receiver, Scratch,
    receiver::{Answer, Rule},
    wait,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::world::{AMPLE, World, catalog, config, delivery, destination};

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_missing_are_named_and_waited_for() {
    let (world, receiver) = (World::without_topics().await, Receiver::start().await);
    world.start(Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))])));
    world.await_unmet("topics", "out.crm is missing").await;
    world.make_topics(&["crm"]);
    world.await_ready().await;
    world.send(&delivery("crm", "a", 0)).await;
    receiver.await_taken(1, AMPLE).await;
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_down_at_start_is_waited_for() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let late = Registry::new(&registry_io::Config::at(format!("http://{address}"))).unwrap();
    let catalogs = Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))]));
    world.start_with(config(), catalogs, late.clone());
    world.send(&delivery("crm", "a", 0)).await;
    world.await_unmet("registry", "").await;
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(registry_io::embedded::serve(listener, CancellationToken::new()));
    // Schemas get their ids in the order of their registration; the sender's has the first.
    late.register("out.any-value", wire::Kind::Delivery).await.unwrap();
    receiver.await_taken(1, AMPLE).await;
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_nothing_is_completed_and_afterwards_all_is() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.fail("/", Answer::Status(200).after(Duration::from_secs(2)));
    for number in 0..20 {
        world.send(&delivery("crm", &format!("k{number}"), 0)).await;
    }
    let mut crm = destination("crm", &receiver.url("/"));
    crm.spec.concurrency_min = 20;
    let running = world.start(Catalogs::fixed(catalog(vec![crm])));
    wait::until("requests in flight", AMPLE, || receiver.arrivals().len() == 20).await;
    world.broker.down().unwrap();
    receiver.await_taken(20, AMPLE).await;
    world.await_unmet("receipts", "").await;
    world.broker.up().unwrap();
    world.await_committed("crm", 0, 20).await;
    assert!(receiver.taken_per_id().len() == 20);
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_finishes_what_is_in_flight_and_the_next_start_the_rest() {
    let (mut world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.fail("/", Answer::Status(200).after(Duration::from_millis(20)));
    let mut crm = destination("crm", &receiver.url("/"));
    crm.spec.concurrency = 5;
    let running = world.start(Catalogs::fixed(catalog(vec![crm])));
    for number in 0..200 {
        world.send(&delivery("crm", &format!("k{number}"), 0)).await;
    }
    receiver.await_taken(20, AMPLE).await;
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
    let before = receiver.taken();
    assert!(before < 200, "the stop came too late to show anything");
    world.process = chassis::Process::alone("millrace-deliver");
    world.start(Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))])));
    receiver.await_taken(200, AMPLE).await;
    world.await_committed("crm", 0, 200).await;
    let counts = receiver.taken_per_id();
    assert_eq!((counts.len(), receiver.taken()), (200, 200), "a graceful stop doubles nothing");
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_repeats_nothing_that_is_settled_and_goes_on_with_the_attempts_that_were_made() {
    let (mut world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    // A 500 that asks to wait speaks of its own delivery only.
    receiver.on(Rule::any().id("a-0").fails_first(3, Answer::retry_after(500, 1)));
    let crm = || {
        let mut crm = destination("crm", &receiver.url("/"));
        crm.spec.retry.attempts_max = 3;
        Catalogs::fixed(catalog(vec![crm]))
    };
    let running = world.start(crm());
    world.send(&delivery("crm", "a", 0)).await;
    for number in 0..20 {
        world.send(&delivery("crm", "b", number)).await;
    }
    receiver.await_taken(20, AMPLE).await;
    wait::until_some("the first attempt's receipt", AMPLE, || async {
        (world.receipts().await.len() == 21).then_some(())
    })
    .await;
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
    world.process = chassis::Process::alone("millrace-deliver");
    world.start(crm());
    // All of it is settled once the record that was tried again has become a dead letter.
    world.await_committed("crm", 0, 21).await;
    let receipts = world.receipts().await;
    let of_a: Vec<i32> = receipts
        .iter()
        .filter(|receipt| receipt.delivery_id == "a-0")
        .map(|receipt| receipt.attempt_number)
        .collect();
    assert_eq!(of_a, [1, 2, 3], "no restart gives attempts back");
    assert_eq!((receiver.taken(), receipts.len()), (20, 23), "what was settled came once");
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_catalog_is_followed_without_a_restart() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.fail("/old", Answer::Status(503));
    let folder = Scratch::new("deliver-catalog");
    let write = |text: &str| std::fs::write(folder.path().join("catalog.yaml"), text).unwrap();
    write(&yaml(&[("crm", &receiver.url("/old"))]));
    let environment = Environment::of_process();
    let first = catalog_io::load(folder.path(), &environment).map_err(|p| p.to_string()).unwrap();
    let stop = world.process.stop.clone();
    let (catalogs, keep) = catalog_io::watch(first, folder.path().to_owned(), stop, |_| {});
    tokio::spawn(keep);
    world.start(catalogs);
    world.send(&delivery("crm", "a", 0)).await;
    wait::until("an attempt at the old address", AMPLE, || !receiver.arrivals().is_empty()).await;
    write(&yaml(&[("crm", &receiver.url("/new")), ("mail", &receiver.url("/mail"))]));
    receiver.await_taken(1, AMPLE).await;
    world.await_unmet("topics", "out.mail is missing").await;
    for topic in ["out.mail", "out.mail.replay", "dlq.deliver.mail"] {
        world.broker.create_topic(topic, 2).unwrap();
    }
    world.send(&delivery("mail", "b", 0)).await;
    receiver.await_taken(2, AMPLE).await;
    let taken = receiver.arrivals().into_iter().filter(|a| a.is_taken());
    let paths: Vec<_> = taken.map(|arrival| arrival.path).collect();
    assert_eq!(paths, ["/new", "/mail"]);
    world.process.stop.cancel();
}

fn yaml(destinations: &[(&str, &str)]) -> String {
    let mut text = "apiVersion: millrace/v1\ndestinations:\n".to_owned();
    for (name, url) in destinations {
        text += &format!("  {name}:\n    kind: http\n    url: {url}\n    partitions: 2\n");
        text += "    retry: { base: 20ms, cap: 100ms }\n    breaker: { attempts_min: 1000 }\n";
    }
    text
}
