//! What a destination does not take goes to its route's fallback: once, in order, and no further.

use std::time::Duration;

use catalog_io::{Catalog, Catalogs, Environment};
use deliver::What;
use domain::ids::IdempotencyKey;
use registry_io::Registry;
use testkit::{
    Receiver, Scratch,
    receiver::{Arrival, Rule},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wire::{
    Delivery, Fallback, Receipt,
    headers::{self, text},
};

use crate::world::{AMPLE, World, config, delivery};

fn catalogs(receiver: &Receiver, fallback: &str) -> Catalogs {
    let folder = Scratch::new("fallback");
    Catalogs::fixed(declare(&folder, receiver, fallback))
}

/// `crm`, tried twice, with `spare` as what is in `fallback`; no breaker opens.
fn declare(folder: &Scratch, receiver: &Receiver, fallback: &str) -> Catalog {
    let fallback =
        if fallback.is_empty() { String::new() } else { format!(", fallback: {fallback}") };
    let keys = "partitions: 2, breaker: { attempts_min: 1000000 }, \
                retry: { attempts: 2, base: 10ms, cap: 20ms }";
    let catalog = format!(
        r#"apiVersion: millrace/v1
sources:
  shop: {{ kind: webhook, verify: {{ scheme: github, secrets: [{{ file: shop }}] }} }}
routes:
  - {{ name: shop-to-it, from: shop, to: crm{fallback} }}
destinations:
  crm: {{ kind: http, url: "{}", {keys} }}
  spare: {{ kind: http, url: "{}", {keys} }}
"#,
        receiver.url("/crm"),
        receiver.url("/spare"),
    );
    for (name, text) in [("shop", "s"), ("note.vrl", ". = \"note\""), ("catalog.yaml", &catalog)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let catalog = catalog_io::load(folder.path(), &Environment::default());
    catalog.unwrap_or_else(|e| panic!("{e}"))
}

async fn world() -> (World, Receiver) {
    let (world, receiver) = (World::of(&["crm", "spare"]).await, Receiver::start().await);
    receiver.on(Rule::path("/crm").statuses([503]));
    (world, receiver)
}

/// The ids that came under `path` for a key, in the order in which they came.
fn ids(receiver: &Receiver, path: &str, key: &str) -> Vec<String> {
    let mut arrivals: Vec<Arrival> = receiver.arrivals();
    arrivals.retain(|arrival| arrival.path == path && arrival.key.as_deref() == Some(key));
    arrivals.sort_by_key(|arrival| arrival.begun);
    arrivals.into_iter().filter_map(|arrival| arrival.id).collect()
}

/// The ids of a key's deliveries at the fallback.
fn successors(key: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    let id = |number| IdempotencyKey::of_fallback(&format!("{key}-{number}"), "spare");
    numbers.map(|number| id(number).as_str().to_owned()).collect()
}

async fn letters(world: &World, destination: &str) -> Vec<kafka_io::Record> {
    let mut letters = world.dead_letters(destination, 0).await;
    letters.extend(world.dead_letters(destination, 1).await);
    letters
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_destination_gets_goes_to_the_fallback_once_each_and_in_key_order() {
    let (world, receiver) = world().await;
    let running = world.start(catalogs(&receiver, "{ to: spare }"));
    for number in 0..5 {
        for key in ["a", "b", "c"] {
            world.send(&delivery("crm", key, number)).await;
        }
    }
    receiver.await_taken(15, AMPLE).await;
    world.await_committed("crm", 0, 15).await;
    for key in ["a", "b", "c"] {
        assert_eq!(ids(&receiver, "/spare", key), successors(key, 0..5), "key {key}");
    }
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
    for destination in ["crm", "spare"] {
        assert!(letters(&world, destination).await.is_empty(), "{destination}");
    }
    let count = r#"millrace_delivery_fallbacks_total{destination="crm",fallback="spare",reason="attempts_spent",route="shop-to-it"} 15"#;
    let settled = r#"millrace_delivery_events_total{destination="crm",outcome="handed_over"} 15"#;
    assert!(world.shows(count) && world.shows(settled));
    let receipts = world.receipts().await;
    let last = |of: &&Receipt| of.destination == "crm" && of.settled;
    let last: Vec<&Receipt> = receipts.iter().filter(last).collect();
    assert_eq!(last.len(), 15);
    for receipt in last {
        let to = receipt.handed_over.as_ref().unwrap();
        let successor = IdempotencyKey::of_fallback(&receipt.delivery_id, "spare");
        assert_eq!((to.destination.as_str(), to.reason.as_str()), ("spare", "attempts_spent"));
        assert_eq!(to.delivery_id, successor.as_str());
        assert_eq!((receipt.dead_letter_reason.as_ref(), receipt.attempt_number), (None, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_fallback_does_not_take_either_is_one_dead_letter_that_tells_both_reasons() {
    let (world, receiver) = world().await;
    receiver.on(Rule::path("/spare").statuses([404]));
    let running = world.start(catalogs(&receiver, "{ to: spare }"));
    world.send(&delivery("crm", "a", 0)).await;
    world.await_over(1).await;
    world.await_committed("crm", 0, 1).await;
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!((ids(&receiver, "/crm", "a").len(), ids(&receiver, "/spare", "a").len()), (2, 1));
    assert!(letters(&world, "crm").await.is_empty());
    let letters = letters(&world, "spare").await;
    assert_eq!(letters.len(), 1);
    let header = |name| text(&letters[0].headers, name).unwrap();
    assert_eq!(header(headers::DLQ_REASON), "permanent");
    assert_eq!(header(headers::FALLBACK_FROM), "crm");
    assert_eq!(header(headers::FALLBACK_DELIVERY_ID), "a-0");
    assert_eq!(header(headers::CE_CORRELATIONID), "cor");
    let told = header(headers::DLQ_ERROR_MESSAGE);
    assert!(told.starts_with("the destination answered 404"), "{told}");
    assert!(told.contains("before that crm gave up: attempts_spent: "), "{told}");
    assert!(told.contains("answered 503"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fallback_is_not_for_becomes_a_dead_letter_at_once() {
    let (world, receiver) = world().await;
    receiver.on(Rule::path("/crm").statuses([404]));
    let running = world.start(catalogs(&receiver, "{ to: spare, on: [exhausted] }"));
    world.send(&delivery("crm", "a", 0)).await;
    world.await_over(1).await;
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(letters(&world, "crm").await.len(), 1);
    assert!(ids(&receiver, "/spare", "a").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_with_a_mapping_is_sent_what_that_made_of_the_event_or_nothing() {
    let (world, receiver) = world().await;
    let running = world.start(catalogs(&receiver, "{ to: spare, map: note.vrl }"));
    let sent = delivery("crm", "a", 0);
    let request = wire::Request { body: b"note".to_vec(), ..sent.request.clone() };
    let (mapping_version, request) = ("v2".to_owned(), Some(request));
    let to = "spare".to_owned();
    let fallback = Some(Fallback { to, mapping_version, key: None, error: None, request });
    world.send(&Delivery { fallback, ..sent }).await;
    world.send(&delivery("crm", "b", 0)).await;
    world.await_over(2).await;
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
    let arrivals = receiver.arrivals();
    let at_spare: Vec<_> = arrivals.iter().filter(|a| a.path == "/spare").collect();
    assert_eq!(at_spare.len(), 1);
    assert_eq!(&at_spare[0].body[..], b"note");
    let letters = letters(&world, "crm").await;
    assert_eq!(letters.len(), 1);
    assert_eq!(text(&letters[0].headers, headers::DELIVERY_ID), Some("b-0"));
    let told = text(&letters[0].headers, headers::DLQ_ERROR_MESSAGE).unwrap();
    assert!(told.contains("503") && told.contains("before the route had this fallback"), "{told}");
}

/// A registry on a port of its own, until the token is cancelled.
async fn registry(address: &str) -> (String, CancellationToken) {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    tokio::spawn(registry_io::embedded::serve(listener, stop.clone()));
    (address, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_more_of_a_key_is_tried_until_its_event_is_with_the_fallback() {
    let (world, receiver) = world().await;
    let (address, stop) = registry("127.0.0.1:0").await;
    let ours = Registry::new(&registry_io::Config::at(format!("http://{address}"))).unwrap();
    // Under the id that the world's deliveries are written with.
    ours.register("out.any-value", wire::Kind::Delivery).await.unwrap();
    let running = world.start_with(config(), catalogs(&receiver, "{ to: spare }"), ours);
    world.await_ready().await;
    stop.cancel();
    for (key, number) in [("a", 0), ("a", 1), ("b", 0)] {
        world.send(&delivery("crm", key, number)).await;
    }
    // The schema of the fallback's topic can't be registered, so that nothing can be written there.
    world.await_unmet("registry", "").await;
    let more = || std::future::ready((ids(&receiver, "/crm", "a").len() > 2).then_some(()));
    assert!(testkit::wait::within(Duration::from_millis(500), more).await.is_none());
    assert_eq!(ids(&receiver, "/crm", "a"), ["a-0", "a-0"]);
    assert_eq!(ids(&receiver, "/crm", "b"), ["b-0", "b-0"]);
    let is_settled = world.committed("crm", 0).await.is_some_and(|map| map.commit_point() > 0);
    assert!(!is_settled, "no offset moves before the fallback has the event");
    let (_address, _stop) = registry(&address).await;
    receiver.await_taken(3, AMPLE).await;
    assert_eq!(ids(&receiver, "/spare", "a"), successors("a", 0..2));
    world.await_committed("crm", 0, 3).await;
    let handed_over = |told: &deliver::Told| matches!(told.what, What::HandedOver { .. });
    assert_eq!(world.told().iter().filter(|told| handed_over(told)).count(), 3);
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_that_is_taken_out_of_the_catalog_is_no_longer_waited_for() {
    let (world, receiver) = world().await;
    let (address, stop) = registry("127.0.0.1:0").await;
    let ours = Registry::new(&registry_io::Config::at(format!("http://{address}"))).unwrap();
    ours.register("out.any-value", wire::Kind::Delivery).await.unwrap();
    let folder = Scratch::new("fallback");
    let first = declare(&folder, &receiver, "{ to: spare }");
    let (path, ended) = (folder.path().to_owned(), world.process.stop.clone());
    let (catalogs, watching) = catalog_io::watch(first, path, ended, |_| {});
    tokio::spawn(watching);
    let running = world.start_with(config(), catalogs, ours);
    world.await_ready().await;
    stop.cancel();
    world.send(&delivery("crm", "a", 0)).await;
    world.await_unmet("registry", "").await;
    declare(&folder, &receiver, "");
    world.await_committed("crm", 0, 1).await;
    let letters = letters(&world, "crm").await;
    let told = text(&letters[0].headers, headers::DLQ_ERROR_MESSAGE).unwrap();
    assert!(told.contains("503") && told.contains("has taken it from the route"), "{told}");
    assert!(ids(&receiver, "/spare", "a").is_empty());
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
}
