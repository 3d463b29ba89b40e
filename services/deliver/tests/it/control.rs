//! What operators say, and what a 410 says: obeyed by every replica, over restarts, without loss.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use catalog_io::Catalogs;
use domain::outcome::Outcome as Means;
use testkit::{
    Receiver,
    receiver::{Answer, Arrival, Rule},
    wait,
};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use wire::{
    Outcome,
    control::Act,
    headers::{self, text},
};

use crate::world::{AMPLE, World, catalog, delivery, destination};

/// How long after an operator has spoken a replica may still begin an attempt.
const OBEYED_WITHIN: Duration = Duration::from_secs(2);

fn of<'a>(arrivals: &'a [Arrival], path: &str) -> Vec<&'a Arrival> {
    arrivals.iter().filter(|arrival| arrival.path == path).collect()
}

fn ids(arrivals: &[&Arrival]) -> Vec<String> {
    arrivals.iter().filter_map(|arrival| arrival.id.clone()).collect()
}

/// A destination that a test holds, and one that shows that others go on.
fn two(receiver: &Receiver) -> Catalogs {
    let (crm, mail) = (receiver.url("/crm"), receiver.url("/mail"));
    Catalogs::fixed(catalog(vec![destination("crm", &crm), destination("mail", &mail)]))
}

/// Sends a delivery to the other destination and waits for it: what may be sent has been.
async fn await_others(world: &World, receiver: &Receiver, number: usize) {
    world.send(&delivery("mail", "m", number)).await;
    let arrived = || of(&receiver.arrivals(), "/mail").len() > number;
    wait::until("a delivery to another destination", AMPLE, arrived).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_stays_paused_over_restarts_until_it_is_resumed() {
    let (mut world, receiver) = (World::of(&["crm", "mail"]).await, Receiver::start().await);
    world.operator(Act::Pause, "crm").await;
    // What can't be read takes nothing back.
    let garbage = (Some(Bytes::from_static(b"destination/crm/paused")), Some(Bytes::from("{")));
    world.put("ctl.state", 0, garbage, Vec::new()).await;
    for number in 0..2 {
        let running = world.start(two(&receiver));
        world.send(&delivery("crm", "a", number)).await;
        await_others(&world, &receiver, number).await;
        world.await_ready().await;
        assert!(world.shows("millrace_destination_paused{destination=\"crm\"} 1"));
        world.process.stop.cancel();
        running.await.unwrap().unwrap();
        world.process = chassis::Process::alone("millrace-deliver");
    }
    world.start(two(&receiver));
    await_others(&world, &receiver, 2).await;
    assert!(of(&receiver.arrivals(), "/crm").is_empty());
    world.operator(Act::Resume, "crm").await;
    world.await_committed("crm", 0, 2).await;
    assert_eq!(ids(&of(&receiver.arrivals(), "/crm")), ["a-0", "a-1"]);
    assert_eq!(world.audit().await, ["ann destination_paused crm", "ann destination_resumed crm"]);
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_under_load_is_obeyed_in_time_and_what_was_in_flight_ends() {
    let (world, receiver) = (World::of(&["crm", "mail"]).await, Receiver::start().await);
    receiver.fail("/crm", Answer::Status(200).after(Duration::from_millis(50)));
    let replicas = [world.start(two(&receiver)), world.start(two(&receiver))];
    let (sent, done) = (AtomicUsize::new(0), CancellationToken::new());
    let sending = async {
        let mut ticks = interval(Duration::from_millis(5));
        while !done.is_cancelled() {
            ticks.tick().await;
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let partition = i32::from(number % 2 == 1);
            world.send_as(&delivery("crm", &format!("k{number}"), 0), partition).await;
        }
    };
    let pausing = async {
        receiver.await_taken(200, AMPLE).await;
        world.operator(Act::Pause, "crm").await;
        let paused = receiver.started().elapsed();
        let watched = || receiver.started().elapsed() > paused + OBEYED_WITHIN * 2;
        wait::until("the load to go on for a while", AMPLE, watched).await;
        await_others(&world, &receiver, 0).await;
        let late = |arrival: &&Arrival| arrival.begun > paused + OBEYED_WITHIN;
        let arrivals = receiver.arrivals();
        let arrivals = of(&arrivals, "/crm");
        assert!(arrivals.iter().all(|a| a.is_taken()), "what was in flight was cut off");
        assert_eq!(arrivals.into_iter().filter(late).count(), 0);
        done.cancel();
        world.operator(Act::Resume, "crm").await;
    };
    tokio::join!(sending, pausing);
    let sent = sent.load(Ordering::Relaxed);
    receiver.await_taken(sent + 1, AMPLE).await;
    let doubled: Vec<_> = receiver.taken_per_id().into_iter().filter(|(_, n)| *n > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    world.process.stop.cancel();
    for replica in replicas {
        replica.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_disables_the_destination_until_it_is_enabled_and_nothing_is_lost_or_overtaken() {
    let (mut world, receiver) = (World::of(&["crm", "mail"]).await, Receiver::start().await);
    receiver.on(Rule::any().id("a-3").fails_first(1, Answer::Status(410)));
    let running = world.start(two(&receiver));
    for number in 0..10 {
        world.send(&delivery("crm", "a", number)).await;
    }
    let desk = world.desk();
    let word = wait::until_some("the destination to be disabled", AMPLE, || async {
        desk.said().await.unwrap().of("crm").disabled
    })
    .await;
    assert_eq!((word.by.as_str(), word.event_id.as_deref()), ("millrace-deliver", Some("evt-a-3")));
    assert!(word.why.contains("410"), "{}", word.why);
    assert!(world.shows("millrace_destination_disabled{destination=\"crm\"} 1"));
    world.send(&delivery("crm", "b", 0)).await;
    await_others(&world, &receiver, 0).await;
    assert!(world.process.ready.is_ready(), "{:?}", world.process.ready.unmet());
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
    world.process = chassis::Process::alone("millrace-deliver");
    world.start(two(&receiver));
    await_others(&world, &receiver, 1).await;
    assert_eq!(ids(&of(&receiver.arrivals(), "/crm")), ["a-0", "a-1", "a-2", "a-3"]);

    world.operator(Act::Enable, "crm").await;
    world.await_committed("crm", 0, 11).await;
    let arrivals = receiver.arrivals();
    let taken: Vec<_> = of(&arrivals, "/crm").into_iter().filter(|a| a.is_taken()).collect();
    let of_a: Vec<_> = taken.into_iter().filter(|a| a.key.as_deref() == Some("a")).collect();
    let expected: Vec<_> = (0..10).map(|number| format!("a-{number}")).collect();
    assert_eq!(ids(&of_a), expected);
    assert!(world.dead_letters("crm", 0).await.is_empty());
    let receipts = world.receipts().await;
    let of_gone = receipts.iter().filter(|receipt| receipt.delivery_id == "a-3");
    let told: Vec<_> =
        of_gone.map(|r| (r.attempt_number, r.outcome, r.status, r.settled)).collect();
    let (gone, delivered) = (Outcome::Permanent, Outcome::Delivered);
    assert_eq!(told, [(1, gone, Some(410), false), (2, delivered, Some(200), true)]);
    let audit = world.audit().await;
    assert_eq!(audit, ["millrace-deliver destination_disabled crm", "ann destination_enabled crm"]);
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_410_that_the_catalog_gives_a_meaning_disables_nothing() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.on(Rule::any().id("a-0").statuses([410]));
    let mut crm = destination("crm", &receiver.url("/crm"));
    crm.spec.outcomes.0.insert(410, Means::Permanent);
    world.start(Catalogs::fixed(catalog(vec![crm])));
    world.send(&delivery("crm", "a", 0)).await;
    world.send(&delivery("crm", "a", 1)).await;
    world.await_committed("crm", 0, 2).await;
    let letters = world.dead_letters("crm", 0).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(text(&letters[0].headers, headers::DLQ_ERROR_TYPE), Some("410"));
    assert_eq!(world.desk().said().await.unwrap().iter().count(), 0);
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_it_is_known_what_operators_say() {
    let (world, receiver) = (World::without_topics().await, Receiver::start().await);
    world.make_lanes(&["crm"]);
    world.send(&delivery("crm", "a", 0)).await;
    world.start(Catalogs::fixed(catalog(vec![destination("crm", &receiver.url("/crm"))])));
    world.await_unmet("control", "ctl.state is missing").await;
    assert!(receiver.arrivals().is_empty());
    world.broker.create_topic("ctl.state", 1).unwrap();
    receiver.await_taken(1, AMPLE).await;
    world.await_ready().await;
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_operators_cannot_be_heard_what_they_said_last_is_obeyed() {
    let (world, receiver) = (World::of(&["crm", "mail"]).await, Receiver::start().await);
    world.operator(Act::Pause, "crm").await;
    world.start(two(&receiver));
    world.send(&delivery("crm", "a", 0)).await;
    await_others(&world, &receiver, 0).await;
    world.broker.down().unwrap();
    world.await_unmet("control", "what was read last is obeyed").await;
    world.broker.up().unwrap();
    await_others(&world, &receiver, 1).await;
    world.await_ready().await;
    assert!(of(&receiver.arrivals(), "/crm").is_empty());
    world.operator(Act::Resume, "crm").await;
    receiver.await_taken(3, AMPLE).await;
    world.process.stop.cancel();
}
