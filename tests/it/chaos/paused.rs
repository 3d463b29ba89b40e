//! A member of deliver that is stopped past its session, while another one takes its partitions over,
//! and what it does when it goes on.

use std::{
    collections::HashSet,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;
use testkit::{
    Receiver,
    receiver::{Answer, Arrival, Rule},
    reconcile::Crash,
    wait,
};

use super::{
    judge::{Bar, CONCURRENCY, Tally, demand, now_ms, taken_not_committed},
    plan::Plan,
    stage::{ALL_PARTITIONS, Signal, Stage, change_catalog, pass, refuse},
    traffic::{Mix, Traffic},
};
use crate::{
    SOON,
    system::{Setup, World},
};

const MEMBERS: [u16; 2] = [0, 1];
const ROUNDS: usize = 2;
const PAUSED: Duration = Duration::from_secs(12);
// So that a few requests are in flight when a member stops.
const ANSWER_AFTER: Duration = Duration::from_millis(50);

const STALL_MAX: Duration = Duration::from_secs(10);
// Until the session of 8 s is over and the partitions have moved.
const KEY_STALL_MAX: Duration = Duration::from_secs(18);

/// The header that says which member made an attempt.
const BY: &str = "x-by";

/// A member that was stopped, on the receiver's clock.
#[derive(Debug)]
struct Pause {
    member: String,
    from_ms: u64,
    /// The wall clock when it was stopped, in seconds, as attempts are signed.
    stopped_unix: u64,
    to_ms: u64,
    /// When it was given partitions again.
    over_ms: u64,
}

pub(super) async fn past_its_session() {
    // Content is kept: it says who made an attempt, and when it began.
    let world = World::start(&Setup::default()).await;
    answer_late(&world.receiver);
    let mut stage = Stage::on(world).await;
    for member in MEMBERS {
        let folder = signed_catalog(&stage.world, member);
        let folder = stage.world.path(&folder);
        stage.add_with(member, |it| it.env("MILLRACE_CATALOG__FOLDER", folder.display()));
    }
    let (mut plan, mut tally) = (Plan::of("paused", ROUNDS), Tally::default());
    let traffic = Traffic::start(&stage.world, Mix::Usual);
    stage.flows().await;
    let mut pauses = Vec::new();
    let first = plan.below(MEMBERS.len() as u64) as usize;
    while let Some(round) = plan.round() {
        let member = MEMBERS[(first + round) % MEMBERS.len()];
        pauses.push(stand_still(&mut stage, member, &mut tally).await);
        tally.accepted_at.push(traffic.accepted());
        stage.takes_more(300).await;
    }
    let sent = traffic.finish().await;
    let arrivals = stage.world.receiver.arrivals();
    let late: Vec<Arrival> = pauses.iter().flat_map(|pause| too_late(pause, &arrivals)).collect();
    let (stall_max, key_stall_max) = (STALL_MAX, KEY_STALL_MAX);
    let bar = Bar { scenario: "paused", mix: Mix::Usual, stall_max, key_stall_max };
    demand(bar, &stage.world, tally, &sent).await;
    assert!(late.is_empty(), "{} attempts at what another member owned", late.len());
}

fn answer_late(receiver: &Receiver) {
    receiver.heal();
    receiver.on(Rule::path("/app").answers([Answer::Status(200).after(ANSWER_AFTER)]));
    refuse(receiver);
}

/// A catalog of a member's own, by which its requests name it.
fn signed_catalog(world: &World, member: u16) -> String {
    let folder = format!("catalog-{member}");
    let (from, to) = (world.path("catalog"), world.path(&folder));
    let copied = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "a folder can be copied");
    change_catalog(world, &folder, |catalog| {
        catalog["destinations"]["app"]["headers"] = json!({ BY: member.to_string() });
    });
    folder
}

/// Stops a member, which has requests in flight and others to be tried again, until another one has all
/// partitions, and lets it go on until it has some again.
async fn stand_still(stage: &mut Stage, member: u16, tally: &mut Tally) -> Pause {
    let other = MEMBERS[1 - usize::from(member)];
    stage.retries_some().await;
    let since_ms = tally.crashes.last().map_or(0, |crash| crash.at_ms);
    let (stopped, from_ms, pid) =
        (Instant::now(), now_ms(&stage.world), stage.member(member).pid());
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let stopped_unix = unix.expect("it is after 1970").as_secs();
    Signal::Stop.send(pid);
    answer_late(&stage.world.receiver);
    let by_it: HashSet<String> = {
        let mut arrivals = stage.world.receiver.arrivals();
        arrivals.retain(|arrival| arrival.header(BY) == Some(member.to_string().as_str()));
        arrivals.into_iter().filter_map(|arrival| arrival.id).collect()
    };
    let mut may_repeat = taken_not_committed(&stage.world, since_ms).await;
    may_repeat.retain(|id| by_it.contains(id));
    let left = may_repeat.len() as u64;
    tally.crashes.push(Crash { at_ms: from_ms, left, may_repeat });
    owns(stage, other, "all", |owned| owned == ALL_PARTITIONS).await;
    pass(PAUSED.saturating_sub(stopped.elapsed())).await;
    let to_ms = now_ms(&stage.world);
    Signal::Continue.send(pid);
    owns(stage, other, "fewer than all", |owned| owned < ALL_PARTITIONS).await;
    let over_ms = now_ms(&stage.world);
    eprintln!("paused: deliver-{member} from {from_ms} to {to_ms} ms, back at {over_ms} ms");
    Pause { member: member.to_string(), from_ms, stopped_unix, to_ms, over_ms }
}

async fn owns(stage: &Stage, member: u16, what: &str, is_so: impl Fn(i32) -> bool) {
    let what = format!("deliver-{member} to own {what} partitions");
    wait::until_some(&what, SOON, || async {
        stage.owned(member).await.filter(|owned| is_so(*owned)).map(drop)
    })
    .await;
}

/// The attempts of a member that went on, before it was given anything again, at what the other owned.
/// Those begun before it was stopped are told, and are no more than can be in flight.
fn too_late(pause: &Pause, arrivals: &[Arrival]) -> Vec<Arrival> {
    let millis = |arrival: &Arrival| arrival.begun.as_millis() as u64;
    let is_its = |arrival: &Arrival| arrival.header(BY) == Some(pause.member.as_str());
    let others = arrivals.iter().filter(|it| !is_its(it) && millis(it) >= pause.from_ms);
    let others: HashSet<_> = others.filter_map(|arrival| arrival.id.as_deref()).collect();
    let woken = arrivals.iter().filter(|it| is_its(it));
    let woken = woken.filter(|it| (pause.to_ms..=pause.over_ms).contains(&millis(it)));
    let woken: Vec<_> = woken.collect();
    let in_all = woken.len();
    let woken =
        woken.into_iter().filter(|it| it.id.as_deref().is_some_and(|id| others.contains(id)));
    let signed = |arrival: &Arrival| arrival.header("webhook-timestamp")?.parse::<u64>().ok();
    let (before, late): (Vec<_>, Vec<_>) = woken
        .cloned()
        .partition(|arrival| signed(arrival).is_some_and(|at| at <= pause.stopped_unix));
    let ids = |all: &[Arrival]| all.iter().filter_map(|it| it.id.clone()).collect::<Vec<_>>();
    eprintln!(
        "paused: deliver-{} went on with {in_all} attempts; at what was another's, {} were begun before \
         {:?} and {} after {:?}",
        pause.member,
        before.len(),
        ids(&before),
        late.len(),
        ids(&late),
    );
    assert!(before.len() as u64 <= CONCURRENCY, "no more than were in flight");
    late
}
