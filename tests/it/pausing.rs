//! A pause under load: three replicas obey it, and go on obeying it after all of them were killed.

use std::time::Duration;

use testkit::{Spawned, load, receiver::Arrival, wait};

use crate::{
    SOON,
    events::orders,
    numbered::{self, body, id},
    system::{DELIVER_GROUP, Service, Setup, System},
};

const EVENTS: u64 = 2_500;
const OBEYED_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_destination_is_sent_nothing_until_resume_though_every_replica_is_killed() {
    let mut system = System::start(&Setup::default()).await;
    let mut others = [1, 2].map(|instance| system.world.spawn(Service::Deliver, instance));
    for other in &mut others {
        other.wait_ready(SOON).await;
    }
    let load = numbered::load(&system.world, EVENTS);
    let source = orders();
    let request = move |number| source.request(&id(number), "order.placed", &body(number));
    let sending =
        tokio::spawn(async move { load::send(&load, request, |_: &load::Sent| {}).await });

    let receiver = &system.world.receiver;
    wait::until("the load to flow", SOON, || receiver.taken() > 300).await;
    destination(&system, &["pause", "app", "--reason", "it is moved"]).await;
    let paused = receiver.started().elapsed();
    let obeyed = || receiver.started().elapsed() > paused + OBEYED_WITHIN;
    wait::until("the pause to be obeyed", SOON, obeyed).await;
    let mut all: Vec<&mut Spawned> =
        [system.of(Service::Deliver)].into_iter().chain(&mut others).collect();
    all.iter_mut().for_each(|replica| replica.kill9());
    all.iter_mut().for_each(|replica| replica.restart());
    system.of(Service::Deliver).wait_ready(SOON).await;
    for other in &mut others {
        other.wait_ready(SOON).await;
    }
    let sent = sending.await.unwrap();
    let late = |arrival: &&Arrival| arrival.begun > paused + OBEYED_WITHIN;
    assert_eq!(system.world.receiver.arrivals().iter().filter(late).count(), 0);
    destination(&system, &["resume", "app"]).await;
    system.world.receiver.await_taken(EVENTS as usize, SOON * 2).await;
    system.world.await_committed(DELIVER_GROUP, "out.app").await;
    numbered::demand("pausing", &system.world, &sent, EVENTS).await;
}

async fn destination(system: &System, arguments: &[&str]) {
    let (succeeded, told) = system.world.command(&[&["destination"], arguments].concat()).await;
    assert!(succeeded, "{told}");
}
