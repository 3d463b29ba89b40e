//! SIGTERM under load: each service ends in time, with nothing lost and nothing done twice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use testkit::{load, wait};

use crate::{
    SOON,
    events::orders,
    numbered::{self, body, id},
    system::{DELIVER_GROUP, Service, Setup, System, TRANSFORM_GROUP},
};

const EVENTS: u64 = 1_500;
const DRAINED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_service_told_to_stop_under_load_loses_and_doubles_nothing() {
    let mut system = System::start(&Setup::default()).await;
    let accepted = Arc::new(AtomicU64::new(0));
    let load = numbered::load(&system.world, EVENTS);
    let sending = {
        let (source, accepted) = (orders(), accepted.clone());
        let request = move |number| source.request(&id(number), "order.placed", &body(number));
        let count = move |_: &load::Sent| {
            accepted.fetch_add(1, Ordering::Relaxed);
        };
        tokio::spawn(async move { load::send(&load, request, count).await })
    };
    for (service, at) in
        [(Service::Deliver, 150), (Service::Transform, 500), (Service::Ingest, 850)]
    {
        wait::until("the load to be under way", SOON, || accepted.load(Ordering::Relaxed) > at)
            .await;
        let process = system.of(service);
        process.sigterm();
        let status = process.wait_exit(DRAINED_WITHIN).await;
        assert!(status.success(), "{} ended with {status}:\n{}", service.name(), process.log());
        process.restart();
        process.wait_ready(SOON).await;
    }
    let sent = sending.await.unwrap();
    system.world.receiver.await_taken(EVENTS as usize, SOON * 2).await;
    system.world.await_committed(TRANSFORM_GROUP, "raw.orders").await;
    system.world.await_committed(DELIVER_GROUP, "out.app").await;
    numbered::demand("stopping", &system.world, &sent, EVENTS).await;
}
