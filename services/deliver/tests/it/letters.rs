//! What is given up on: kept whole, with its reason, before its offset is committed.

use std::time::Duration;

use bytes::Bytes;
use catalog_io::Catalogs;
use deliver::{Config, What};
use testkit::{Receiver, receiver::Answer};
use wire::headers::{self, text};

use crate::world::{World, catalog, config, delivery, destination};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_becomes_a_dead_letter_that_is_the_record_itself() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.fail("/", Answer::body(404, "text/plain", "no such contact"));
    let running =
        world.start(Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))])));
    let sent = delivery("crm", "a", 0);
    world.send_as(&sent, 1).await;
    world.await_over(1).await;
    world.await_committed("crm", 1, 1).await;
    let letters = world.dead_letters("crm", 1).await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(letter.key.as_deref(), Some(&b"a"[..]));
    assert_eq!(letter.timestamp_ms, 1_700_000_000_000);
    let header = |name| text(&letter.headers, name);
    assert_eq!(header(headers::DLQ_REASON), Some("permanent"));
    assert_eq!(header(headers::DLQ_ERROR_TYPE), Some("404"));
    assert_eq!(header(headers::DLQ_SOURCE_TOPIC), Some("out.crm"));
    assert_eq!(header(headers::DLQ_SOURCE_PARTITION), Some("1"));
    assert_eq!(header(headers::DLQ_SOURCE_OFFSET), Some("0"));
    assert_eq!(header(headers::CE_ID), Some("evt-a-0"));
    assert!(header(headers::DLQ_ERROR_MESSAGE).unwrap().contains("404"));
    assert!(!header(headers::DLQ_ERROR_MESSAGE).unwrap().contains("contact"));
    let receipts = world.receipts().await;
    assert_eq!(receipts[0].dead_letter_reason.as_deref(), Some("permanent"));
    assert!(receipts[0].settled);
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_is_refused_and_nothing_is_sent() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    let catalogs = Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))]));
    let registry = world.registry();
    world.start_with(Config::default(), catalogs, registry);
    world.send(&delivery("crm", "a", 0)).await;
    world.await_over(1).await;
    assert_eq!(reason(&world), "egress_refused");
    assert!(receiver.arrivals().is_empty());
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_spent_ends_the_tries_and_lets_the_key_go_on() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.on(testkit::receiver::Rule::any().id("a-0").statuses([503]));
    let mut crm = destination("crm", &receiver.url("/"));
    crm.spec.retry.budget = Duration::from_millis(300);
    world.start(Catalogs::fixed(catalog(vec![crm])));
    world.send(&delivery("crm", "a", 0)).await;
    world.send(&delivery("crm", "a", 1)).await;
    world.await_over(2).await;
    assert_eq!(reason(&world), "budget_spent");
    assert!(receiver.arrivals().iter().filter(|a| a.id.as_deref() == Some("a-0")).count() > 1);
    assert_eq!(receiver.taken(), 1);
    world.await_committed("crm", 0, 2).await;
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_no_deliveries_of_this_destination_stop_nobody() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    world.start(Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))])));
    let key = || Some(Bytes::from_static(b"a"));
    let values: [Option<&'static [u8]>; 4] =
        [None, Some(b""), Some(b"{\"no\":\"avro\"}"), Some(b"\0\0\0\0\x01cut")];
    for value in values {
        let value = value.map(Bytes::from_static);
        world.write("crm", 0, key(), value, Vec::new()).await;
    }
    let mut stranger = delivery("crm", "a", 0);
    stranger.destination = "other".to_owned();
    let value = wire::encode(&stranger, 1).unwrap();
    world.write("crm", 0, key(), Some(value), Vec::new()).await;
    world.send(&delivery("crm", "a", 1)).await;
    world.await_committed("crm", 0, 6).await;
    let letters = world.dead_letters("crm", 0).await;
    let mut reasons: Vec<_> =
        letters.iter().map(|l| text(&l.headers, headers::DLQ_REASON).unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        ["destination_unknown", "undecodable", "undecodable", "undecodable", "undecodable"]
    );
    assert!(letters.iter().any(|letter| letter.value.is_none()));
    assert_eq!(receiver.taken(), 1);
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_made_is_not_tried() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    world.start_with(
        config(),
        Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/x"))])),
        world.registry(),
    );
    let mut outside = delivery("crm", "a", 0);
    outside.request.path = "../admin".to_owned();
    world.send(&outside).await;
    world.await_over(1).await;
    assert_eq!(reason(&world), "invalid_result");
    assert!(receiver.arrivals().is_empty());
    world.process.stop.cancel();
}

fn reason(world: &World) -> &'static str {
    let told = world.told();
    let mut reasons = told.iter().filter_map(|told| match &told.what {
        What::DeadLettered { reason, .. } => Some(reason.label()),
        What::Attempted { .. } | What::HandedOver { .. } => None,
    });
    reasons.next_back().unwrap_or("none")
}
