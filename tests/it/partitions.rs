//! What changes behind a stopped service's back: partitions are added, and a log's start moves
//! past what was committed.

use std::time::Duration;

use serde_json::json;
use testkit::{get, wait};

use crate::{
    SOON,
    events::orders,
    system::{DELIVER_GROUP, PARTITIONS, Service, Setup, System, TRANSFORM_GROUP},
};

const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const MORE_PARTITIONS: i32 = 9;

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_stopped_is_neither_skipped_nor_silent() {
    let mut system = System::start(&Setup::default()).await;
    send(&system, "first", 30).await;
    system.world.receiver.await_taken(30, SOON).await;
    system.world.await_committed(DELIVER_GROUP, "out.app").await;
    added_partitions_are_read_from_their_start(&mut system).await;
    records_deleted_unread_are_counted(&mut system).await;
}

async fn added_partitions_are_read_from_their_start(system: &mut System) {
    for service in [Service::Transform, Service::Deliver] {
        stop(system, service).await;
    }
    system.world.repartition(MORE_PARTITIONS);
    let (done, told) = system.world.command(&["topics", "apply"]).await;
    assert!(done, "{told}");
    // A sender sees new partitions when its producer does; a new process does at once.
    stop(system, Service::Ingest).await;
    start(system, Service::Ingest).await;
    send(system, "second", 60).await;
    let raw = system.world.topics.all("raw.orders").await;
    assert!(raw.iter().any(|record| record.partition >= PARTITIONS), "new partitions are used");
    for service in [Service::Transform, Service::Deliver] {
        start(system, service).await;
    }
    system.world.receiver.await_taken(90, SOON).await;
    assert!(system.world.receiver.taken_per_id().values().all(|times| *times == 1));
}

async fn records_deleted_unread_are_counted(system: &mut System) {
    stop(system, Service::Deliver).await;
    send(system, "third", 40).await;
    system.world.await_committed(TRANSFORM_GROUP, "raw.orders").await;
    system.world.kafka.delete_records("out.app", MORE_PARTITIONS).await;
    system.of(Service::Deliver).restart();
    let (world, admin) = (&system.world, system.world.admin(Service::Deliver, 0));
    wait::until_some("the lost records to be counted", SOON, || async {
        let lost = world.metric(Service::Deliver, "millrace_records_lost_total").await?;
        (lost >= 40.0).then_some(())
    })
    .await;
    let unready = get(admin, "/readyz", SOON).await.expect("the admin port answers");
    assert!(unready.status == 503 && unready.text().contains("out.app"), "{}", unready.text());
    let log = system.of(Service::Deliver).log();
    assert!(log.contains("out.app"), "the log names the topic:\n{log}");
    send(system, "fourth", 20).await;
    system.world.receiver.await_taken(110, SOON).await;
    let tells = |value: &[u8]| String::from_utf8_lossy(value).contains("out.app");
    wait::until_some("the loss to be audited", SOON, || async {
        let audit = system.world.topics.all("ctl.audit").await;
        audit.iter().filter_map(|it| it.value.as_deref()).any(tells).then_some(())
    })
    .await;
}

async fn send(system: &System, run: &str, count: usize) {
    for number in 0..count {
        let body = json!({ "key": format!("{run}-{number}") });
        let reply = system.world.send(&orders(), &format!("{run}-{number}"), &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

async fn stop(system: &mut System, service: Service) {
    let process = system.of(service);
    process.sigterm();
    let status = process.wait_exit(STOPPED_WITHIN).await;
    assert!(status.success(), "{} ended with {status}:\n{}", service.name(), process.log());
}

async fn start(system: &mut System, service: Service) {
    let process = system.of(service);
    process.restart();
    process.wait_ready(SOON).await;
}
