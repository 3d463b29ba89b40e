//! The judge of a run: which accepted ids arrived, once, in order, and what became of the others.
//! Pure: ids and times in, a report out. How ids are gathered is the run's business.

mod doubles;
mod order;
mod stall;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs, io,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{receiver, scratch};

const IDS_SHOWN: usize = 20;
// Beside what was in flight: what completed since the last acknowledged commit.
const DOUBLED_SLACK: u64 = 500;

/// One delivery that was promised: the id the destination sees, and its ordering key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    pub id: String,
    pub key: String,
    /// When its sender was answered.
    pub accepted_ms: u64,
}

/// One delivery a destination took, which is: answered 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub id: String,
    pub at_ms: u64,
}

/// A time in which a part was dead on purpose; standing still in it is no stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Down {
    pub from_ms: u64,
    pub to_ms: u64,
}

/// What a kill may let come again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Crash {
    pub at_ms: u64,
    /// How many deliveries were taken and not committed; at most [`repeats_max`].
    pub left: u64,
    /// The ids that may be taken again after it, each as often as it stands here.
    pub may_repeat: Vec<String>,
}

/// Everything known about a run. Times count from any moment, the same for all.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub scenario: String,
    /// What was accepted, in the order of acceptance; the order within a key is judged by it.
    pub accepted: Vec<Promise>,
    /// What the destinations took, in the order of arrival.
    pub taken: Vec<Taken>,
    pub filtered: HashSet<String>,
    pub unrouted: HashSet<String>,
    pub dead_lettered: HashSet<String>,
    /// What explains doubles, besides their senders.
    pub crashes: Vec<Crash>,
    /// How often each id may come once more because its sender came again.
    pub resent: HashMap<String, u64>,
    /// How many deliveries are in flight at most.
    pub in_flight: u64,
    pub down: Vec<Down>,
    /// Times in which some keys stand still on purpose while others flow, as those of a member do that
    /// is gone and still counts as one.
    pub keys_down: Vec<Down>,
    pub stall_ms_max: Option<u64>,
    /// The same for the head of one key, while others flow.
    pub key_stall_ms_max: Option<u64>,
    /// Hits per failpoint; those wanted but never hit are there with 0.
    pub hits: BTreeMap<String, u64>,
}

/// What became of a run's deliveries, in ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub scenario: String,
    pub accepted: u64,
    pub delivered: u64,
    pub filtered: u64,
    pub unrouted: u64,
    pub dead_lettered: u64,
    /// Accepted, and found nowhere.
    pub lost: u64,
    /// Taken again: two takes of an id are one double.
    pub doubled: u64,
    /// What all crashes left unfinished, and what senders sent again.
    pub doubled_allowed: u64,
    /// Doubles that no crash and no sender explains.
    pub unexplained: u64,
    /// Taken, but never accepted.
    pub unexpected: u64,
    /// Taken, and a dead letter as well; right only after a replay.
    pub delivered_and_dead_lettered: u64,
    /// Taken, though filtered or unrouted.
    pub unwanted: u64,
    /// Taken for the first time after a later one of the same key.
    pub reordered_within_key: u64,
    /// How long everything stood still while nothing was dead on purpose.
    pub longest_stall_ms: u64,
    /// On the clock of the takes.
    pub longest_stall_ended_ms: u64,
    /// How long the head of one key stood still, whatever the others did.
    pub longest_key_stall_ms: u64,
    pub longest_stall_key: Option<String>,
    pub hits: BTreeMap<String, u64>,
    pub lost_ids: Vec<String>,
    pub doubled_ids: Vec<String>,
    pub unexplained_ids: Vec<String>,
    pub reordered_ids: Vec<String>,
    pub unexpected_ids: Vec<String>,
    /// What breaks a promise, in sentences; empty if the run is good.
    pub broken: Vec<String>,
}

/// Takes out of a receiver's log what it answered 2xx, by the id `id_of` finds in a request.
pub fn taken(
    log: &[receiver::Arrival],
    id_of: impl Fn(&receiver::Arrival) -> Option<String>,
) -> Vec<Taken> {
    let good = log.iter().filter(|arrival| arrival.is_taken());
    let millis =
        |arrival: &receiver::Arrival| arrival.begun.as_millis().try_into().unwrap_or(u64::MAX);
    good.filter_map(|arrival| Some(Taken { id: id_of(arrival)?, at_ms: millis(arrival) })).collect()
}

/// How many deliveries one crash may repeat.
pub fn repeats_max(in_flight: u64) -> u64 {
    in_flight + DOUBLED_SLACK
}

/// Judges a run.
pub fn reconcile(run: &Run) -> Report {
    let promised: HashSet<&str> = run.accepted.iter().map(|promise| promise.id.as_str()).collect();
    let mut takes: HashMap<&str, u64> = HashMap::new();
    for taken in &run.taken {
        *takes.entry(&taken.id).or_default() += 1;
    }
    let elsewhere = |id: &str| {
        [&run.filtered, &run.unrouted, &run.dead_lettered].iter().any(|ids| ids.contains(id))
    };
    let lost: BTreeSet<&str> =
        promised.iter().filter(|id| !takes.contains_key(*id) && !elsewhere(id)).copied().collect();
    let doubled: BTreeMap<&str, u64> =
        takes.iter().filter(|(_, count)| **count > 1).map(|(id, count)| (*id, count - 1)).collect();
    let unexpected: BTreeSet<&str> =
        takes.keys().filter(|id| !promised.contains(*id)).copied().collect();
    let reordered = order::reordered(&run.accepted, &run.taken);
    let count =
        |ids: &HashSet<String>| ids.iter().filter(|id| promised.contains(id.as_str())).count();
    let taken_of = |is_of: &dyn Fn(&str) -> bool| takes.keys().filter(|id| is_of(id)).count();
    let unexplained = doubles::unexplained(run);
    let (stall, key_stall) = (stall::of_all(run), stall::of_a_key(run));
    let report = Report {
        scenario: run.scenario.clone(),
        accepted: promised.len() as u64,
        delivered: (takes.len() - unexpected.len()) as u64,
        filtered: count(&run.filtered) as u64,
        unrouted: count(&run.unrouted) as u64,
        dead_lettered: count(&run.dead_lettered) as u64,
        lost: lost.len() as u64,
        doubled: doubled.values().sum(),
        doubled_allowed: run.doubled_allowed(),
        unexplained: unexplained.len() as u64,
        unexpected: unexpected.len() as u64,
        delivered_and_dead_lettered: taken_of(&|id| run.dead_lettered.contains(id)) as u64,
        unwanted: taken_of(&|id| run.filtered.contains(id) || run.unrouted.contains(id)) as u64,
        reordered_within_key: reordered.len() as u64,
        longest_stall_ms: stall.ms,
        longest_stall_ended_ms: stall.ended_ms,
        longest_key_stall_ms: key_stall.ms,
        longest_stall_key: key_stall.key.map(str::to_owned),
        hits: run.hits.clone(),
        lost_ids: first(lost),
        doubled_ids: first(doubled.into_keys()),
        unexplained_ids: first(unexplained),
        reordered_ids: first(reordered),
        unexpected_ids: first(unexpected),
        broken: Vec::new(),
    };
    Report { broken: broken(run, &report), ..report }
}

fn first<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    ids.into_iter().take(IDS_SHOWN).map(str::to_owned).collect()
}

fn broken(run: &Run, report: &Report) -> Vec<String> {
    let Report { lost, unexpected, reordered_within_key, .. } = report;
    let never_hit: Vec<&str> =
        run.hits.iter().filter(|(_, hits)| **hits == 0).map(|(name, _)| name.as_str()).collect();
    let found = [
        (*lost > 0, format!("{lost} lost: {}", report.lost_ids.join(" "))),
        (
            *unexpected > 0,
            format!("{unexpected} never accepted: {}", report.unexpected_ids.join(" ")),
        ),
        (report.unwanted > 0, format!("{} delivered that nobody wanted", report.unwanted)),
        (
            *reordered_within_key > 0,
            format!(
                "{reordered_within_key} reordered within their key: {}",
                report.reordered_ids.join(" ")
            ),
        ),
        (
            run.stall_ms_max.is_some_and(|most| report.longest_stall_ms > most),
            format!("everything stood still for {} ms", report.longest_stall_ms),
        ),
        (
            run.key_stall_ms_max.is_some_and(|most| report.longest_key_stall_ms > most),
            format!("{} stood still for {} ms", report.who_stalled(), report.longest_key_stall_ms),
        ),
        (!never_hit.is_empty(), format!("failpoints never hit: {}", never_hit.join(" "))),
        (run.accepted.is_empty(), "nothing was accepted, so nothing is shown".to_owned()),
    ];
    told(found).chain(told(broken_by_doubles(run, report))).collect()
}

/// Doubles are judged three times: each by its reason, all together, and crash by crash.
fn broken_by_doubles(run: &Run, report: &Report) -> [(bool, String); 4] {
    let Report { doubled, doubled_allowed, unexplained, .. } = report;
    let one_crash = repeats_max(run.in_flight);
    let ceiling = one_crash * (run.crashes.len() as u64).max(1);
    let most_left = run.crashes.iter().map(|crash| crash.left).max().unwrap_or(0);
    [
        (
            *unexplained > 0,
            format!("{unexplained} doubled without a cause: {}", report.unexplained_ids.join(" ")),
        ),
        (
            doubled > doubled_allowed,
            format!(
                "{doubled} doubled, {doubled_allowed} allowed: {}",
                report.doubled_ids.join(" ")
            ),
        ),
        (*doubled > ceiling, format!("{doubled} doubled, never more than {ceiling}")),
        (
            most_left > one_crash,
            format!("a crash left {most_left} unfinished, never more than {one_crash}"),
        ),
    ]
}

fn told<const N: usize>(found: [(bool, String); N]) -> impl Iterator<Item = String> {
    found.into_iter().filter_map(|(is_broken, what)| is_broken.then_some(what))
}

impl Run {
    fn doubled_allowed(&self) -> u64 {
        let left: u64 = self.crashes.iter().map(|crash| crash.left).sum();
        left + self.resent.values().sum::<u64>()
    }
}

impl Report {
    /// Writes the report to `target/chaos/SCENARIO.json` and gives the file's path.
    pub fn write(&self) -> io::Result<PathBuf> {
        let folder = scratch::target().join("chaos");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.scenario));
        fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    fn who_stalled(&self) -> String {
        self.longest_stall_key.as_ref().map_or("no key".to_owned(), |key| format!("key {key}"))
    }

    /// The counts in one line, for the one who watches.
    pub fn line(&self) -> String {
        let Self { scenario, accepted, delivered, filtered, unrouted, dead_lettered, .. } = self;
        let Self { lost, doubled, doubled_allowed, reordered_within_key, .. } = self;
        let Self { longest_stall_ms, longest_key_stall_ms, .. } = self;
        format!(
            "{scenario}: {accepted} accepted, {delivered} delivered, {filtered} filtered, \
             {unrouted} unrouted, {dead_lettered} dead-lettered, {lost} lost, {doubled} doubled \
             ({doubled_allowed} allowed), {reordered_within_key} reordered within a key, \
             longest stall {longest_stall_ms} ms, of one key {longest_key_stall_ms} ms ({})",
            self.who_stalled()
        )
    }

    /// Writes the report, prints its line, and returns if the run is good.
    ///
    /// # Panics
    /// When a promise is broken, with all that are.
    pub fn demand(&self) {
        let path = self.write().expect("the target folder is writable");
        eprintln!("{}", self.line());
        assert!(self.broken.is_empty(), "{}\nsee {}", self.broken.join("\n"), path.display());
    }
}

#[cfg(test)]
mod tests;
