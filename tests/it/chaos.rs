//! Kills: every service at its named failpoints, and brokers, under load, with at least a fifth of
//! the events still to come. `make chaos` runs the whole, `make test` each point once.

mod clock;
mod cut;
mod destinations;
mod judge;
mod kills;
mod operator;
mod paused;
mod plan;
mod rebalances;
mod restarts;
mod stage;
mod traffic;
mod world_fails;

use crate::system::Service;

/// How often, and whether all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Short,
    Whole,
}

impl Extent {
    fn asked_for() -> Self {
        match std::env::var("MILLRACE_CHAOS").as_deref() {
            Ok("whole") => Self::Whole,
            _ => Self::Short,
        }
    }

    fn kills(self, points: usize) -> usize {
        match self {
            Self::Short => points,
            Self::Whole => 20,
        }
    }

    fn broker_kills(self) -> usize {
        match self {
            Self::Short => 1,
            Self::Whole => 5,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_ingest_killed_loses_nothing_it_acknowledged() {
    kills::of_service(Service::Ingest, &["ingest.after_ack"], Extent::asked_for()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_transform_killed_loses_and_doubles_nothing() {
    let points = ["transact.after_flush", "transact.after_send_offsets", "transact.during_revoke"];
    kills::of_service(Service::Transform, &points, Extent::asked_for()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_deliver_killed_doubles_only_what_was_not_committed() {
    let points = ["deliver.after_response", "deliver.before_complete", "lanes.during_revoke"];
    kills::of_service(Service::Deliver, &points, Extent::asked_for()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_replays_killed_put_each_dead_letter_through_once() {
    let points = ["replay.after_flush", "replay.after_send_offsets"];
    kills::of_service(Service::DlqReplayer, &points, Extent::asked_for()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_brokers_killed_lose_nothing_acknowledged() {
    kills::of_brokers(Extent::asked_for()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute: `make chaos` runs it"]
async fn chaos_rebalances_lose_double_and_reorder_nothing() {
    rebalances::keep_order().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute: `make chaos` runs it"]
async fn chaos_limits_hold_for_the_whole_group_while_partitions_move() {
    rebalances::keep_limits().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute: `make chaos` runs it"]
async fn chaos_paused_past_its_session_a_member_sends_nothing_of_what_another_owns() {
    paused::past_its_session().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes: `make chaos` runs it"]
async fn chaos_brokers_unreachable_lose_nothing_acknowledged() {
    world_fails::brokers_unreachable(Extent::asked_for()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute: `make chaos` runs it"]
async fn chaos_controllers_killed_lose_nothing_acknowledged() {
    world_fails::controllers_killed(Extent::asked_for()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute: `make chaos` runs it"]
async fn chaos_destinations_that_misbehave_lose_nothing_and_their_neighbours_flow_on() {
    destinations::misbehave_alone().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute: `make chaos` runs it"]
async fn chaos_restarts_let_each_partition_flow_within_five_seconds() {
    restarts::flow_in_time(Extent::asked_for()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a minute, and wants libfaketime: `make chaos` runs it"]
async fn chaos_clock_steps_by_an_hour_lose_double_and_give_up_nothing() {
    clock::steps_by_an_hour().await;
}
