//! Reads what may belong to a story: every topic of ours, between two points in time.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kafka_io::reader::{BorrowedView, Ended, Reader};
use registry_io::Registry;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wire::topics::{Names, TopicKind};

use super::{
    StoryProgress, StoryQuery,
    entry::{Decoder, Entries},
    matching::{Ids, Says},
};
use crate::{
    Counts, Error, JobRange,
    cluster::{self, Cluster},
    letter::Letter,
    progress::Meter,
};

/// The longest search.
const SEARCH: Duration = Duration::from_secs(600);
/// How much later than it says a record may have been written: writers wait two minutes at most for
/// Kafka, and their clocks differ.
const LATE_MS: i64 = 600_000;

/// What a search works with.
#[derive(Clone)]
pub(super) struct Search {
    pub(super) cluster: Cluster,
    pub(super) registry: Registry,
    pub(super) runtime: Handle,
    pub(super) query: StoryQuery,
    pub(super) stop: CancellationToken,
}

/// Reads all topics that may tell of an event; `ids` learns the events that are found.
pub(super) fn scan(
    search: &Search,
    ids: &mut Ids,
    told: &dyn Fn(&StoryProgress),
) -> Result<Entries, Error> {
    let Search { cluster, registry, runtime, query, stop } = search;
    let decoder = Decoder { names: &cluster.names, registry, runtime };
    let reader = cluster.reader()?;
    let ranges = ranges(cluster, &reader, query)?;
    let mut meter = Meter::new(&ranges);
    let mut entries = Entries::new();
    let deadline = Instant::now() + SEARCH;
    let go_on = || !stop.is_cancelled();
    let ended = cluster::read(&reader, &ranges, deadline, go_on, |view| {
        let says = ids.look(view.headers(), view.value());
        let is_wanted = says != Says::Other && is_in_time(view, &cluster.names, query);
        let has_room = !is_wanted || entries.take(&view.to_record(), says, ids, &decoder);
        if meter.passed(view.topic(), view.partition(), view.offset() + 1) {
            told(&progress(&meter, entries.count(), false));
        }
        if has_room && go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if stop.is_cancelled() {
        return Err(Error::CutOff("the search"));
    }
    entries.complete &= !matches!(ended, Ended::Deadline { .. });
    told(&progress(&meter, entries.count(), true));
    Ok(entries)
}

/// Says whether a record is of the time that is asked for, by what it says itself.
fn is_in_time(view: &BorrowedView<'_>, names: &Names, query: &StoryQuery) -> bool {
    let at_ms = match names.parse(view.topic()) {
        // Its record's time is the original's.
        Some(kind) if is_dead(kind) => Letter::of(view, names).at_ms,
        Some(_) | None => view.timestamp_ms(),
    };
    at_ms >= query.since_ms && query.until_ms.is_none_or(|until| at_ms < until)
}

fn progress(meter: &Meter, found: usize, is_complete: bool) -> StoryProgress {
    let counts = Counts::default();
    let progress = if is_complete { meter.complete(counts) } else { meter.progress(counts) };
    StoryProgress {
        passed: progress.passed,
        total: progress.total,
        found,
        elapsed: progress.elapsed,
        eta: progress.eta,
    }
}

/// Returns what may have been written in the time that is asked for.
fn ranges(cluster: &Cluster, reader: &Reader, query: &StoryQuery) -> Result<Vec<JobRange>, Error> {
    let topics = reader.topics()?;
    let places: Vec<Place> = topics
        .into_iter()
        .filter(|topic| cluster.names.parse(&topic.name).is_some_and(tells))
        .flat_map(|topic| {
            (0..topic.partitions).map(move |partition| (topic.name.clone(), partition))
        })
        .collect();
    let of = |ordered: fn(TopicKind<'_>) -> bool| -> Vec<Place> {
        let is_of = |place: &&Place| cluster.names.parse(&place.0).is_some_and(ordered);
        places.iter().filter(is_of).cloned().collect()
    };
    let until_ms = query.until_ms.map(|until| until.saturating_add(LATE_MS));
    let since = at(cluster, reader, Some(query.since_ms), &of(begins_by_time))?;
    let until = at(cluster, reader, until_ms, &of(ends_by_time))?;
    let mut ranges = Vec::new();
    for place in places {
        let marks = reader.watermarks(&place.0, place.1)?;
        // Where no record is as late, the partition ends before that time.
        let or = |found: &Offsets, unasked| {
            found.get(&place).map_or(unasked, |offset| offset.unwrap_or(marks.high))
        };
        let from = or(&since, marks.low).max(marks.low);
        let to = or(&until, marks.high).min(marks.high);
        let (topic, partition) = place;
        if from < to {
            ranges.push(JobRange { topic, partition, from, to });
        }
    }
    Ok(ranges)
}

type Place = (String, i32);

/// The first offset at or after a time by partition; one that is not named is read whole.
type Offsets = HashMap<Place, Option<i64>>;

fn at(
    cluster: &Cluster,
    reader: &Reader,
    time_ms: Option<i64>,
    places: &[Place],
) -> Result<Offsets, Error> {
    // The embedded broker knows no offsets by time; it holds little, and records tell their time.
    let time_ms = time_ms.filter(|_| !cluster.kafka.embedded && !places.is_empty());
    let Some(time_ms) = time_ms else { return Ok(Offsets::new()) };
    Ok(reader.offsets_for_time(time_ms, places)?.into_iter().collect())
}

/// Says whether nothing before the first record of a time can be of that time.
///
/// A dead letter's record has the original's time, which is earlier than its own by any time.
fn begins_by_time(kind: TopicKind<'_>) -> bool {
    !is_dead(kind)
}

/// Says whether records lie in the order of their times, but for [`LATE_MS`].
fn ends_by_time(kind: TopicKind<'_>) -> bool {
    match kind {
        TopicKind::Raw { .. }
        | TopicKind::RawReplay { .. }
        | TopicKind::Out { .. }
        | TopicKind::OutReplay { .. } => true,
        // A receipt has its attempt's time, and is written for as long as Kafka does not take it.
        TopicKind::Receipts
        | TopicKind::DeadLetters { .. }
        | TopicKind::Quarantine
        | TopicKind::Audit
        | TopicKind::State => false,
    }
}

fn is_dead(kind: TopicKind<'_>) -> bool {
    matches!(kind, TopicKind::DeadLetters { .. } | TopicKind::Quarantine)
}

fn tells(kind: TopicKind<'_>) -> bool {
    !matches!(kind, TopicKind::Audit | TopicKind::State)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_topics_in_the_order_of_their_times_are_cut_by_time() {
        let names = Names::new("t.");
        let rows = [
            (names.raw("git"), (true, true)),
            (names.raw_replay("git"), (true, true)),
            (names.out("crm"), (true, true)),
            (names.out_replay("crm"), (true, true)),
            (names.receipts(), (true, false)),
            (names.dlq("transform", "git"), (false, false)),
            (names.dlq("deliver", "crm"), (false, false)),
            (names.quarantine(), (false, false)),
        ];
        for (topic, wanted) in rows {
            let kind = names.parse(&topic).expect("it is ours");
            assert_eq!((begins_by_time(kind), ends_by_time(kind)), wanted, "{topic}");
        }
    }
}
