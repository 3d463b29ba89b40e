//! Order, isolation and bounds: who waits for whom.

use std::time::Duration;

use catalog_io::Catalogs;
use testkit::{
    Receiver,
    receiver::{Answer, Arrival, Counting, Rule},
};
use wire::Order;

use crate::world::{AMPLE, World, catalog, delivery, destination};

fn of_key<'a>(arrivals: &'a [Arrival], key: &str) -> Vec<&'a Arrival> {
    arrivals.iter().filter(|arrival| arrival.key.as_deref() == Some(key)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_its_order_through_retries_one_at_a_time() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.on(Rule::any().counting(Counting::PerId).fails_first(2, Answer::Status(503)));
    let running =
        world.start(Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))])));
    for number in 0..10 {
        for key in ["a", "b", "c"] {
            world.send(&delivery("crm", key, number)).await;
        }
    }
    world.await_over(30).await;
    let arrivals = receiver.arrivals();
    assert_eq!(arrivals.len(), 90, "each is tried three times");
    for key in ["a", "b", "c"] {
        let arrivals = of_key(&arrivals, key);
        let taken: Vec<_> =
            arrivals.iter().filter(|a| a.is_taken()).map(|a| a.id.clone()).collect();
        let expected: Vec<_> = (0..10).map(|number| Some(format!("{key}-{number}"))).collect();
        assert_eq!(taken, expected);
        for pair in arrivals.windows(2) {
            assert!(pair[0].ended <= Some(pair[1].begun), "two of key {key} at a time");
        }
    }
    world.await_committed("crm", 0, 30).await;
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_order_a_retry_is_overtaken() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    // A 500 that asks to wait speaks of its own delivery only.
    receiver.on(Rule::any().id("a-0").fails_first(1, Answer::retry_after(500, 1)));
    world.start(Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))])));
    for number in 0..3 {
        world.send(&wire::Delivery { order: Order::None, ..delivery("crm", "a", number) }).await;
    }
    world.await_over(3).await;
    let last = receiver.arrivals().last().and_then(|arrival| arrival.id.clone());
    assert_eq!(last.as_deref(), Some("a-0"));
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_destination_stops_no_other_and_is_never_sent_more_than_allowed() {
    let (world, receiver) = (World::of(&["crm", "mail"]).await, Receiver::start().await);
    receiver.fail("/stuck", Answer::Hang);
    let mut stuck = destination("crm", &receiver.url("/stuck"));
    stuck.spec.concurrency = 3;
    let mail = destination("mail", &receiver.url("/mail"));
    world.start(Catalogs::fixed(catalog(vec![stuck, mail])));
    for number in 0..100 {
        world.send(&delivery("crm", &format!("k{number}"), 0)).await;
    }
    for number in 0..50 {
        world.send(&delivery("mail", "a", number)).await;
    }
    receiver.await_taken(50, AMPLE).await;
    let hanging = receiver.arrivals().iter().filter(|a| a.path == "/stuck").count();
    assert_eq!(hanging, 3);
    world.await_committed("mail", 0, 50).await;
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_destination_is_given_the_time_it_asks_for() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.on(Rule::any().fails_first(1, Answer::retry_after(429, 1)));
    world.start(Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/"))])));
    world.send(&delivery("crm", "a", 0)).await;
    world.await_over(1).await;
    let arrivals = receiver.arrivals();
    let waited = arrivals[1].begun - arrivals[0].ended.unwrap();
    // The wait is counted in whole milliseconds from a moment after the answer was read.
    assert!(waited >= Duration::from_millis(990), "{waited:?}");
    world.process.stop.cancel();
}
