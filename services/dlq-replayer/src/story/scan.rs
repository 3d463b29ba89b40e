//! Reads what may belong to a story: every topic of ours, between two points in time.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kafka_io::{
    Record,
    reader::{Ended, Reader},
};
use tokio_util::sync::CancellationToken;
use wire::topics::{Names, TopicKind};

use super::{
    ENTRIES_MAX, StoryProgress, StoryQuery,
    matching::{Ids, Says},
};
use crate::{
    Counts, Error, JobRange,
    cluster::{self, Cluster},
    progress::Meter,
};

/// The longest search.
const SEARCH: Duration = Duration::from_secs(600);

/// Records that belong to a story, or may.
pub(super) struct Found {
    /// With whether the headers say that it does.
    pub(super) records: Vec<(Record, bool)>,
    pub(super) complete: bool,
    pub(super) names: Names,
}

/// Reads all topics that may tell of an event.
pub(super) fn scan(
    cluster: &Cluster,
    ids: &Ids,
    query: &StoryQuery,
    stop: &CancellationToken,
    told: &dyn Fn(&StoryProgress),
) -> Result<Found, Error> {
    let reader = cluster.reader()?;
    let ranges = ranges(cluster, &reader, query)?;
    let mut meter = Meter::new(&ranges);
    let mut found = Found { records: Vec::new(), complete: true, names: cluster.names.clone() };
    let deadline = Instant::now() + SEARCH;
    let go_on = || !stop.is_cancelled();
    let ended = cluster::read(&reader, &ranges, deadline, go_on, |view| {
        let at = view.timestamp_ms();
        let in_time = at >= query.since_ms && query.until_ms.is_none_or(|until| at < until);
        if in_time {
            match ids.look(view.headers(), view.value()) {
                Says::Ours => found.records.push((view.to_record(), true)),
                Says::Perhaps => found.records.push((view.to_record(), false)),
                Says::Other => {}
            }
        }
        if meter.passed(view.topic(), view.partition(), view.offset() + 1) {
            told(&progress(&meter, found.records.len(), false));
        }
        if found.records.len() >= ENTRIES_MAX {
            found.complete = false;
            return ControlFlow::Break(());
        }
        if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if stop.is_cancelled() {
        return Err(Error::CutOff("the search"));
    }
    found.complete &= !matches!(ended, Ended::Deadline { .. });
    told(&progress(&meter, found.records.len(), true));
    Ok(found)
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

/// Returns what was written in the time that is asked for.
fn ranges(cluster: &Cluster, reader: &Reader, query: &StoryQuery) -> Result<Vec<JobRange>, Error> {
    let topics = reader.topics()?;
    let places: Vec<(String, i32)> = topics
        .into_iter()
        .filter(|topic| tells(cluster.names.parse(&topic.name)))
        .flat_map(|topic| {
            (0..topic.partitions).map(move |partition| (topic.name.clone(), partition))
        })
        .collect();
    let since = at(cluster, reader, Some(query.since_ms), &places)?;
    let until = at(cluster, reader, query.until_ms, &places)?;
    let mut ranges = Vec::new();
    for place in places {
        let marks = reader.watermarks(&place.0, place.1)?;
        let of = |offsets: &Offsets| offsets.as_ref().map(|found| found.get(&place).copied());
        // No record as late as `since`: nothing of this partition is meant.
        let from = of(&since).map_or(marks.low, |offset| offset.flatten().unwrap_or(marks.high));
        let to = of(&until).map_or(marks.high, |offset| offset.flatten().unwrap_or(marks.high));
        if from.max(marks.low) < to.min(marks.high) {
            let (topic, partition) = place;
            ranges.push(JobRange {
                topic,
                partition,
                from: from.max(marks.low),
                to: to.min(marks.high),
            });
        }
    }
    Ok(ranges)
}

/// The first offset at or after a time by partition; `None` where all are read.
type Offsets = Option<HashMap<(String, i32), Option<i64>>>;

fn at(
    cluster: &Cluster,
    reader: &Reader,
    time_ms: Option<i64>,
    places: &[(String, i32)],
) -> Result<Offsets, Error> {
    let Some(time_ms) = time_ms else { return Ok(None) };
    // The embedded broker knows no offsets by time; it holds little, and records tell their time.
    if cluster.kafka.embedded || places.is_empty() {
        return Ok(None);
    }
    Ok(Some(reader.offsets_for_time(time_ms, places)?.into_iter().collect()))
}

fn tells(kind: Option<TopicKind<'_>>) -> bool {
    match kind {
        Some(
            TopicKind::Raw { .. }
            | TopicKind::RawReplay { .. }
            | TopicKind::Out { .. }
            | TopicKind::OutReplay { .. }
            | TopicKind::DeadLetters { .. }
            | TopicKind::Quarantine
            | TopicKind::Receipts,
        ) => true,
        Some(TopicKind::Audit | TopicKind::State) | None => false,
    }
}
