//! What changes behind a stopped service's back: partitions are added, and a log's start moves
//! past what was committed.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{get, wait};

use crate::{
    SOON,
    events::orders,
    system::{DELIVER_GROUP, PARTITIONS, Service, Setup, System, World},
};

const STOPPED_WITHIN: Duration = Duration::from_secs(30);
const MORE_PARTITIONS: i32 = 9;
/// How many events each of two services never sees.
const LOST: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_stopped_is_neither_skipped_nor_silent() {
    let mut system = System::start(&Setup::default()).await;
    send(&system, "first", 30).await;
    system.world.receiver.await_taken(30, SOON).await;
    system.world.await_committed(DELIVER_GROUP, "out.app").await;
    added_partitions_are_read_from_their_start(&mut system).await;
    records_deleted_unread_are_told(&mut system, Service::Deliver, "out.app").await;
    records_deleted_unread_are_told(&mut system, Service::Transform, "raw.orders").await;
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

/// A service stands still while records of its topic are deleted that it has not read: it tells so in every
/// way, and goes on with what came after them.
async fn records_deleted_unread_are_told(system: &mut System, service: Service, topic: &str) {
    let before = system.world.topics.all(topic).await.len();
    stop(system, service).await;
    send(system, &format!("unread-{topic}"), LOST).await;
    wait::until_some("what is to be lost to be in the topic", SOON, || async {
        (system.world.topics.all(topic).await.len() == before + LOST).then_some(())
    })
    .await;
    system.world.kafka.delete_records(topic, MORE_PARTITIONS).await;
    system.of(service).restart();
    await_told(&system.world, service, topic).await;
    let log = system.of(service).log();
    let tells = |line: &str| line.contains("removed from the log") && line.contains(topic);
    assert!(log.lines().any(tells), "the log names the topic:\n{log}");
    let taken = system.world.receiver.taken();
    send(system, &format!("after-{topic}"), 20).await;
    system.world.receiver.await_taken(taken + 20, SOON).await;
    let ids = system.world.receiver.taken_per_id();
    assert!(!ids.keys().any(|id| id.starts_with("unread")), "they were lost: {ids:?}");
}

/// Waits for what an operator sees of a loss: the counter, the readiness, and the audit.
async fn await_told(world: &World, service: Service, topic: &str) {
    wait::until_some("the loss to be counted, and in the audit as it is counted", SOON, || async {
        let counted = world.metric(service, "millrace_records_lost_total").await? as i64;
        let all_told = counted >= LOST as i64 && audited(world, service, topic).await == counted;
        all_told.then_some(())
    })
    .await;
    wait::until_some("the readiness to tell the loss", SOON, || async {
        let ready = get(world.admin(service, 0), "/readyz", SOON).await.ok()?;
        (ready.status == 503 && ready.text().contains(topic)).then_some(())
    })
    .await;
}

/// How many records of a topic a service has lost by the audit.
async fn audited(world: &World, service: Service, topic: &str) -> i64 {
    let audit = world.topics.all("ctl.audit").await;
    let told = audit
        .iter()
        .filter_map(|record| serde_json::from_slice::<Value>(record.value.as_deref()?).ok());
    let group = format!("millrace-{}", service.name());
    let lost = told.filter(|it| {
        it["what"] == "records_lost" && it["topic"] == topic && it["group"] == group.as_str()
    });
    lost.filter_map(|it| Some(it["to"].as_i64()? - it["from"].as_i64()?)).sum()
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
