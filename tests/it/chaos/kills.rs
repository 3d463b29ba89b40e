//! Killing: a service that ends itself at a failpoint, a broker by its number.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use testkit::{
    receiver::{Answer, Counting, Rule},
    reconcile::{Crash, Down},
    wait,
};

use super::{
    Extent,
    cut::Cut,
    judge::{Bar, Tally, demand, now_ms, taken_not_committed},
    operator::Operator,
    traffic::{Mix, Traffic},
};
use crate::{
    SOON,
    events::sources,
    system::{PARTITIONS, Service, Setup, System, World},
};

const FAILPOINTS: &str = "MILLRACE_FAILPOINTS";
const KILLED: i32 = 9;
const STALL_MAX: Duration = Duration::from_secs(10);
// A second instance that ends keeps its partitions, and their keys, until its session is over.
const SESSION: Duration = Duration::from_secs(8);
// A dead broker is noticed after its session, 6 s here; then its partitions move, and with them the
// group and the transactions.
const BROKER_STALL_MAX: Duration = Duration::from_secs(20);

/// Kills a service at one point after the other, over and over, and judges.
pub(super) async fn of_service(service: Service, points: &[&str], extent: Extent) {
    let mix = if service == Service::DlqReplayer { Mix::Replays } else { Mix::Usual };
    let mut system = start(mix).await;
    let mut tally = Tally::default();
    tally.hits.extend(points.iter().map(|point| ((*point).to_owned(), 0)));
    let traffic = Traffic::start(&system.world, mix);
    let _operator = (mix == Mix::Replays).then(|| Operator::start(system.world.replayer()));
    let rounds = extent.kills(points.len());
    let point = |round: usize| points[round % points.len()];
    let armed =
        |round: usize| if round < rounds { arm(point(round), round) } else { String::new() };
    stop(&mut system, service).await;
    system.of(service).restart_with(&[(FAILPOINTS, &armed(0))]);
    for round in 0..rounds {
        let second = challenger(&mut system, service, point(round)).await;
        let status = system.of(service).wait_exit(SOON).await;
        assert_eq!(status.signal(), Some(KILLED), "{} ended by itself: {status}", service.name());
        let from_ms = now_ms(&system.world);
        let again = match service {
            Service::Deliver => {
                let since_ms = tally.crashes.last().map_or(0, |crash| crash.at_ms);
                taken_not_committed(&system.world, since_ms).await
            }
            Service::Ingest | Service::Transform | Service::DlqReplayer => Vec::new(),
        };
        let left = again.len() as u64;
        tally.crashes.push(Crash { at_ms: from_ms, left, may_repeat: again });
        tally.accepted_at.push(traffic.accepted());
        system.of(service).restart_with(&[(FAILPOINTS, &armed(round + 1))]);
        let down = Down { from_ms, to_ms: now_ms(&system.world) };
        let Down { from_ms, to_ms } = down;
        eprintln!("{}: down from {from_ms} to {to_ms} ms, {left} may come again", point(round));
        tally.down.push(down);
        if let Some(second) = second {
            let ending = end_second(&mut system, service, second).await;
            let to_ms = ending.to_ms + SESSION.as_millis() as u64;
            tally.keys_down.push(Down { from_ms: ending.to_ms, to_ms });
            tally.down.push(ending);
        }
    }
    count_hits(&mut tally, &system.of(service).log());
    let sent = traffic.finish().await;
    if service == Service::Transform {
        aborted_records_stay_unseen(&system.world).await;
    }
    let (stall_max, key_stall_max) = (STALL_MAX, STALL_MAX);
    let bar = Bar { scenario: service.name(), mix, stall_max, key_stall_max };
    demand(bar, &system.world, tally, &sent).await;
}

/// Kills one broker after the other, each when the last is in sync again, and judges.
pub(super) async fn of_brokers(extent: Extent) {
    let system = start(Mix::Usual).await;
    let world = &system.world;
    let mut tally = Tally::default();
    let traffic = Traffic::start(world, Mix::Usual);
    wait::until("the load to flow", SOON, || world.receiver.taken() > 100).await;
    for round in 0..extent.broker_kills() {
        let node = (round % 3) as u16;
        let cut = Cut::begin(world, 0).await;
        world.kafka.kill9(node);
        let left = cut.left(world).await;
        tally.accepted_at.push(traffic.accepted());
        let taken = world.receiver.taken();
        let flows = || world.receiver.taken() > taken + 300;
        wait::until("the load to flow with a broker dead", SOON, flows).await;
        world.kafka.restart(node).await;
        tally.crashes.push(cut.end(world, left).await);
    }
    let sent = traffic.finish().await;
    let (stall_max, key_stall_max) = (BROKER_STALL_MAX, BROKER_STALL_MAX);
    let bar = Bar { scenario: "broker", mix: Mix::Usual, stall_max, key_stall_max };
    demand(bar, world, tally, &sent).await;
}

async fn start(mix: Mix) -> System {
    let system = System::start(&Setup { keep_content: false, ..Setup::default() }).await;
    let refused = Rule::path("/app/refused");
    system.world.receiver.on(match mix {
        Mix::Usual => refused.answers([Answer::Status(422)]),
        Mix::Replays => refused.counting(Counting::PerId).fails_first(1, Answer::Status(422)),
    });
    system
}

/// The failpoint's setting: another hit in every round, the first one for what happens once, and
/// few for a replay, which has two transactions, the first of them without a dead letter. Others are
/// hit once an event or once a transaction, so that kills fall into the backlog and behind it.
fn arm(point: &str, round: usize) -> String {
    let hit = match point {
        "replay.after_flush" => 1 + round / 2 % 2,
        "replay.after_send_offsets" => 2 + round / 2 % 2 * 2,
        _ if is_revoke(point) => 1,
        _ if point.starts_with("transact.") => 20 + round * 17 % 60,
        _ => 120 + round * 97 % 400,
    };
    format!("{point}=kill@{hit}")
}

fn is_revoke(point: &str) -> bool {
    point.ends_with("during_revoke")
}

/// A second instance, which makes the first give partitions away, where that is the point. The group
/// remembers the last one for a while after its end; only then has the first all to give.
async fn challenger(
    system: &mut System,
    service: Service,
    point: &str,
) -> Option<testkit::Spawned> {
    if !is_revoke(point) {
        return None;
    }
    system.of(service).wait_ready(SOON).await;
    let (world, all) = (&system.world, partitions_of(service));
    wait::until_some("the first instance to own all partitions", SOON, || async {
        let owned = world.metric(service, "millrace_consumer_assigned_partitions").await?;
        (owned as i32 == all).then_some(())
    })
    .await;
    Some(system.world.spawn(service, 1))
}

/// Stops a second instance once the first is back. Until it is gone its partitions are its own, and
/// stand still on purpose.
async fn end_second(system: &mut System, service: Service, mut second: testkit::Spawned) -> Down {
    system.of(service).wait_ready(SOON).await;
    let from_ms = now_ms(&system.world);
    second.sigterm();
    second.wait_exit(SOON).await;
    let to_ms = now_ms(&system.world);
    eprintln!("the second instance: stopped from {from_ms} to {to_ms} ms");
    Down { from_ms, to_ms }
}

/// How many partitions a service reads, with those for replays.
fn partitions_of(service: Service) -> i32 {
    match service {
        Service::Transform => 2 * PARTITIONS * sources().len() as i32,
        Service::Deliver => 2 * PARTITIONS,
        Service::Ingest | Service::DlqReplayer => 0,
    }
}

async fn stop(system: &mut System, service: Service) {
    system.of(service).sigterm();
    system.of(service).wait_exit(SOON).await;
}

/// A process that ends itself says at which point on the way.
fn count_hits(tally: &mut Tally, log: &str) {
    for (point, hits) in &mut tally.hits {
        *hits = log.matches(&format!("failpoint {point}: killed")).count() as u64;
    }
}

/// Kills left transactions open; what they had written is there, and no committed reader sees it.
async fn aborted_records_stay_unseen(world: &World) {
    let (seen, written) =
        (world.topics.all("out.app").await, world.topics.all_and_aborted("out.app").await);
    assert!(written.len() > seen.len(), "a kill left something aborted: {}", written.len());
}
