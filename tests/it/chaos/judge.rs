//! What is gathered while things die, and the judgement at the end.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use testkit::{
    load::Sent,
    reconcile::{Crash, Down, Promise, Run, reconcile, taken},
    wait,
};

use super::traffic::{Fate, Mix, id, key};
use crate::{
    SOON,
    events::resent,
    records::event_id,
    system::{DELIVER_GROUP, TRANSFORM_GROUP, World},
};

/// Requests in flight to one destination, at most.
pub(super) const CONCURRENCY: u64 = 64;

/// What was seen at the kills.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) down: Vec<Down>,
    /// When an ended instance's partitions are still its own.
    pub(super) keys_down: Vec<Down>,
    /// What each kill may let come again.
    pub(super) crashes: Vec<Crash>,
    /// Kills per point, those wanted but never seen with 0.
    pub(super) hits: BTreeMap<String, u64>,
    /// How many events had been accepted at each kill.
    pub(super) accepted_at: Vec<u64>,
}

/// What a run is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    pub(super) scenario: &'static str,
    pub(super) mix: Mix,
    /// How long everything, and how long the head of one key, may stand still.
    pub(super) stall_max: Duration,
    pub(super) key_stall_max: Duration,
}

/// Milliseconds on the receiver's clock, by which a run is judged.
pub(super) fn now_ms(world: &World) -> u64 {
    world.receiver.millis(Instant::now())
}

/// The deliveries that the receiver has taken since then and deliver has not committed, an id for each
/// record: a crash now lets these come again. What an earlier crash left and nobody has taken since is
/// that crash's.
pub(super) async fn taken_not_committed(world: &World, since_ms: u64) -> Vec<String> {
    let open = world.topics.uncommitted_by(DELIVER_GROUP, "out.app").await;
    let seen: HashSet<String> = taken_since(world, since_ms).collect();
    open.iter().map(event_id).filter(|id| seen.contains(id)).collect()
}

/// The ids of what the receiver has taken since then, an id for each take.
pub(super) fn taken_since(world: &World, since_ms: u64) -> impl Iterator<Item = String> {
    let taken = taken(&world.receiver.arrivals(), |arrival| arrival.id.clone());
    taken.into_iter().filter(move |taken| taken.at_ms >= since_ms).map(|taken| taken.id)
}

/// Waits until all that was accepted has found its end, judges, writes the report, and stops the
/// test if a promise is broken.
pub(super) async fn demand(bar: Bar, world: &World, tally: Tally, sent: &[Sent]) {
    let Bar { scenario, mix, stall_max, key_stall_max } = bar;
    let accepted: Vec<&Sent> = sent.iter().filter(|sent| sent.is_accepted()).collect();
    let total = accepted.len() as u64;
    for at in &tally.accepted_at {
        assert!(at * 5 <= total * 4, "at a kill {at} of {total} events had been accepted");
    }
    let missing = await_ends(world, mix, &accepted).await;
    let log = world.topics.all("raw.orders").await;
    let logged: HashSet<String> = log.iter().map(event_id).collect();
    // Nothing is left of these but their event, which transform has read: one that is not there is lost.
    let ids = |fate: Fate| {
        let of_fate = accepted.iter().filter(|sent| mix.fate(sent.number) == fate);
        of_fate.map(|sent| id(sent.number)).filter(|id| logged.contains(id)).collect()
    };
    let promise = |sent: &&Sent| {
        let (id, fate) = (id(sent.number), mix.fate(sent.number));
        // Whoever replays an event puts it after those of its key that followed it.
        let key = if fate == Fate::Replayed { id.clone() } else { key(sent.number) };
        Promise { id, key, accepted_ms: world.receiver.millis(sent.ended) }
    };
    let run = Run {
        scenario: scenario.to_owned(),
        accepted: accepted.iter().map(promise).collect(),
        taken: taken(&world.receiver.arrivals(), |arrival| arrival.id.clone()),
        filtered: ids(Fate::Filtered),
        unrouted: ids(Fate::Unrouted),
        dead_lettered: dead_lettered(world, mix, sent).await,
        crashes: tally.crashes,
        // What a sender had to send again may have been written the first time as well.
        resent: resent(&log, sent, id),
        in_flight: CONCURRENCY,
        down: tally.down,
        keys_down: tally.keys_down,
        stall_ms_max: Some(stall_max.as_millis() as u64),
        key_stall_ms_max: Some(key_stall_max.as_millis() as u64),
        hits: tally.hits,
    };
    written_once(world, &log).await;
    replayed_once(world, mix).await;
    reconcile(&run).demand();
    assert!(missing.is_empty(), "{} never arrived: {missing:?}", missing.len());
}

/// Returns what has not arrived and should have, also where it lies among the dead letters: a replay
/// was promised.
async fn await_ends(world: &World, mix: Mix, accepted: &[&Sent]) -> Vec<String> {
    let to_arrive: Vec<String> = accepted
        .iter()
        .filter(|sent| mix.fate(sent.number).arrives())
        .map(|sent| id(sent.number))
        .collect();
    wait::within(SOON * 2, || {
        let seen = world.receiver.taken_per_id();
        std::future::ready(to_arrive.iter().all(|id| seen.contains_key(id)).then_some(()))
    })
    .await;
    world.await_committed(TRANSFORM_GROUP, "raw.orders").await;
    world.await_committed(DELIVER_GROUP, "out.app").await;
    world.await_committed(DELIVER_GROUP, "out.app.replay").await;
    let seen = world.receiver.taken_per_id();
    to_arrive.into_iter().filter(|id| !seen.contains_key(id)).collect()
}

/// A dead letter of an event that should have arrived is a loss by another name.
async fn dead_lettered(world: &World, mix: Mix, sent: &[Sent]) -> HashSet<String> {
    let fate = |sent: &Sent| (id(sent.number), mix.fate(sent.number));
    let fates: HashMap<String, Fate> = sent.iter().map(fate).collect();
    let mut ids = HashSet::new();
    for (topic, meant) in [
        ("dlq.transform.orders", [Fate::Unmapped, Fate::Unmapped]),
        ("dlq.deliver.app", [Fate::Refused, Fate::Replayed]),
    ] {
        for id in world.topics.all(topic).await.iter().map(event_id) {
            let fate = fates.get(&id);
            assert!(fate.is_some_and(|fate| meant.contains(fate)), "{id} is in {topic}: {fate:?}");
            ids.insert(id);
        }
    }
    ids
}

/// Whatever died, a reader of committed records finds each delivery once: as often as its event is
/// in the log, which is more than once only where a sender repeated it.
async fn written_once(world: &World, log: &[kafka_io::Record]) {
    let deliveries = world.topics.all("out.app").await;
    let dead = world.topics.all("dlq.transform.orders").await;
    let count = |records: &[kafka_io::Record]| {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for id in records.iter().map(event_id) {
            *counts.entry(id).or_default() += 1;
        }
        counts
    };
    let (raw, mut made) = (count(log), count(&deliveries));
    for (id, times) in count(&dead) {
        *made.entry(id).or_default() += times;
    }
    let wrong: Vec<_> = made.iter().filter(|(id, times)| raw.get(*id) != Some(times)).collect();
    assert!(wrong.is_empty(), "written not as often as their event: {wrong:?}");
}

/// Each dead letter that was chosen is once in the lane, however often its replayer died.
async fn replayed_once(world: &World, mix: Mix) {
    if mix != Mix::Replays {
        return;
    }
    let ids = |records: Vec<kafka_io::Record>| {
        let mut ids: Vec<String> = records.iter().map(event_id).collect();
        ids.sort_unstable();
        ids
    };
    let letters = ids(world.topics.all("dlq.deliver.app").await);
    assert_eq!(ids(world.topics.all("out.app.replay").await), letters, "each once in the lane");
}
