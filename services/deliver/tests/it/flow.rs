//! How much a destination is asked: waits it asks for, its rate, its breaker.

use std::{
    future::ready,
    time::{Duration, Instant},
};

use catalog_io::{Catalogs, Destination};
use domain::{breaker, catalog::SharedRate, rate::Rate};
use testkit::{
    Receiver,
    receiver::{Answer, Arrival, Rule},
    wait,
};

use crate::world::{AMPLE, World, catalog, delivery, destination};

/// Sends one delivery of each of so many keys.
async fn send(world: &World, keys: usize) {
    for number in 0..keys {
        let partition = i32::try_from(number % 2).unwrap();
        world.send_as(&delivery("crm", &format!("k{number}"), 0), partition).await;
    }
}

/// In the order of their beginnings.
fn arrivals(receiver: &Receiver) -> Vec<Arrival> {
    let mut arrivals = receiver.arrivals();
    arrivals.sort_by_key(|arrival| arrival.begun);
    arrivals
}

fn most_in_a_second(arrivals: &[Arrival]) -> usize {
    let within = |from: &Arrival| {
        let second = from.begun..from.begun + Duration::from_secs(1);
        arrivals.iter().filter(|arrival| second.contains(&arrival.begun)).count()
    };
    arrivals.iter().map(within).max().unwrap_or(0)
}

/// Ten attempts a second.
fn limited(receiver: &Receiver) -> Destination {
    let mut crm = destination("crm", &receiver.url("/"));
    crm.spec.rate = Rate::per_second(10.0).unwrap();
    crm
}

/// One that shares ten attempts a second with others.
fn sharing(name: &str, receiver: &Receiver) -> Destination {
    let destination = destination(name, &receiver.url(&format!("/{name}")));
    let rate = Rate::per_second(10.0).unwrap();
    Destination { shared_rate: Some(SharedRate { name: "app".to_owned(), rate }), ..destination }
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_of_one_credential_are_asked_together_no_more_than_its_rate() {
    let (world, receiver) = (World::of(&["crm", "mail"]).await, Receiver::start().await);
    let mut crm = sharing("crm", &receiver);
    crm.spec.rate = Rate::per_second(2.0).unwrap();
    world.start(Catalogs::fixed(catalog(vec![crm, sharing("mail", &receiver)])));
    for number in 0..20 {
        world.send(&delivery("mail", &format!("k{number}"), 0)).await;
        if number < 4 {
            world.send(&delivery("crm", &format!("k{number}"), 0)).await;
        }
    }
    world.await_over(24).await;
    let all = arrivals(&receiver);
    assert!(most_in_a_second(&all) <= 11, "{}", most_in_a_second(&all));
    let of = |path: &str| -> Vec<Arrival> {
        all.iter().filter(|arrival| arrival.path == path).cloned().collect()
    };
    assert!(most_in_a_second(&of("/crm")) <= 3, "its own rate holds beside it");
    assert_eq!((of("/crm").len(), of("/mail").len()), (4, 20));
    world.process.stop.cancel();
}

/// One whose breaker opens after five failures, for as long.
fn with_breaker(receiver: &Receiver, open: Duration) -> Destination {
    let mut crm = destination("crm", &receiver.url("/"));
    let usual = breaker::Policy::default();
    crm.spec.breaker = breaker::Policy { attempts_min: 5, open, open_max: open, ..usual };
    crm
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_one_answer_asks_for_holds_all_of_the_destinations_and_nobody_elses() {
    let (world, receiver) = (World::of(&["crm", "mail"]).await, Receiver::start().await);
    receiver.on(Rule::path("/crm").fails_first(1, Answer::retry_after(429, 2)));
    let crm = destination("crm", &receiver.url("/crm"));
    let mail = destination("mail", &receiver.url("/mail"));
    world.start(Catalogs::fixed(catalog(vec![crm, mail])));
    world.send(&delivery("crm", "a", 0)).await;
    wait::until("the refusal", AMPLE, || {
        receiver.arrivals().first().is_some_and(|arrival| arrival.ended.is_some())
    })
    .await;
    send(&world, 6).await;
    world.send(&delivery("mail", "a", 0)).await;
    world.await_over(8).await;
    let all = arrivals(&receiver);
    let refused = all[0].ended.unwrap();
    assert_eq!(all[1].path, "/mail");
    for of_crm in &all[2..] {
        let waited = of_crm.begun - refused;
        // The delivery's own wait is counted in whole milliseconds.
        assert!(waited >= Duration::from_millis(1_990), "{waited:?}");
    }
    assert_eq!((all.len(), world.given_up()), (9, 0));
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_as_the_destination_sees_it() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    send(&world, 25).await;
    world.start(Catalogs::fixed(catalog(vec![limited(&receiver)])));
    receiver.await_taken(25, AMPLE).await;
    let all = arrivals(&receiver);
    // A burst of one, and as much again for a request that caught up on the way.
    assert!(most_in_a_second(&all) <= 12, "{}", most_in_a_second(&all));
    assert!(all[24].begun - all[0].begun >= Duration::from_millis(2_200));
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_the_groups_and_not_each_processes() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    let both = [(); 2].map(|()| world.start(Catalogs::fixed(catalog(vec![limited(&receiver)]))));
    send(&world, 40).await;
    receiver.await_taken(40, AMPLE).await;
    let all = arrivals(&receiver);
    // Each of the two has a burst of one, and a request may catch up on the way.
    assert!(most_in_a_second(&all) <= 13, "{}", most_in_a_second(&all));
    world.process.stop.cancel();
    for running in both {
        running.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_stops_all_but_one_probe_and_no_delivery_is_given_up_on() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.fail("/", Answer::Status(503));
    let mut crm = with_breaker(&receiver, Duration::from_secs(1));
    crm.spec.retry.budget = Duration::from_secs(3);
    world.start(Catalogs::fixed(catalog(vec![crm])));
    send(&world, 60).await;
    world.await_breaker("crm", "open").await;
    // What was in flight when it opened may still arrive; the first probe comes after a second.
    let mut asked = receiver.arrivals().len();
    let more = |asked| ready((receiver.arrivals().len() > asked).then_some(()));
    while wait::within(Duration::from_millis(300), || more(asked)).await.is_some() {
        asked = receiver.arrivals().len();
    }
    assert!(asked < 60, "the breaker stopped nothing");
    // The budget of 3 s is over long before the third probe, after 7 s, had it not stood still.
    wait::until("three probes that fail", AMPLE, || receiver.arrivals().len() >= asked + 3).await;
    receiver.heal();
    receiver.await_taken(60, AMPLE).await;
    world.await_breaker("crm", "closed").await;
    let all = arrivals(&receiver);
    let probe = all.iter().position(Arrival::is_taken).unwrap();
    let open = all[probe].begun - all[probe - 1].begun;
    assert!(open >= Duration::from_millis(900), "the next probe came after {open:?}");
    assert!(all[probe + 1].begun >= all[probe].ended.unwrap(), "two probes at a time");
    assert_eq!(world.given_up(), 0);
    for partition in [0, 1] {
        world.await_committed("crm", partition, 30).await;
    }
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_breaker_is_open_is_quick_and_keeps_what_is_left_of_the_budgets() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.fail("/", Answer::Status(503));
    let crm = with_breaker(&receiver, Duration::from_secs(600));
    let running = world.start(Catalogs::fixed(catalog(vec![crm])));
    for number in 0..10 {
        world.send(&delivery("crm", &format!("k{number}"), 0)).await;
    }
    world.await_breaker("crm", "open").await;
    let (open, still) = (Instant::now(), Duration::from_millis(500));
    wait::until("a standstill", AMPLE, || open.elapsed() >= still).await;
    world.process.stop.cancel();
    let stopping = Instant::now();
    running.await.unwrap().unwrap();
    // It drains for 5 s at most, and nothing was in flight.
    assert!(stopping.elapsed() < Duration::from_secs(4), "{:?}", stopping.elapsed());
    let map = world.committed("crm", 0).await.unwrap();
    assert_eq!(map.commit_point(), 0, "no record moved");
    let heads: Vec<_> = (0..10).filter_map(|offset| map.head(offset)).collect();
    assert!(heads.len() >= 5, "{heads:?}");
    // The first that failed did so before the breaker opened, the last just then.
    assert!(heads.iter().all(|head| head.stood_still >= still), "{heads:?}");
    assert_eq!(world.given_up(), 0);
}
