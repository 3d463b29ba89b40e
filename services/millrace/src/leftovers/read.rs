//! Counts records on the cluster. It blocks: it is called from a thread that may.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use domain::offset_map::OffsetMap;
use kafka_io::reader::{BorrowedView, Ended, Range, ReadError, Reader, ReaderOptions, TopicInfo};
use wire::topics::{Names, TopicKind};

use super::{Count, Decision, Left, Looked, Which, decisions};
use crate::failure::Failure;

/// What is committed, by partition.
type Commits = BTreeMap<i32, OffsetMap>;

const READ_WITHIN: Duration = Duration::from_secs(30);
/// How far records are counted; who decides needs no larger number.
const COUNT_MAX: u64 = 10_000;
/// How long the counting of all topics may take.
const COUNT_WITHIN: Duration = Duration::from_secs(10);
/// How long the first record of a topic may take when that time is over: none or some decides.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
const DOING: &str = "count what removed destinations have left";

pub(super) fn look(
    kafka: &kafka_io::Config,
    names: &Names,
    which: &Which,
) -> Result<Looked, Failure> {
    let reader = Reader::open(kafka, ReaderOptions::default()).map_err(failed)?;
    let topics = reader.topics().map_err(failed)?;
    let decided = decided(&reader, &topics, &names.state())?;
    let until = Instant::now() + COUNT_WITHIN;
    let mut left: BTreeMap<String, Left> = BTreeMap::new();
    for topic in &topics {
        let (destination, dead) = match names.parse(&topic.name) {
            Some(TopicKind::Out { destination } | TopicKind::OutReplay { destination }) => {
                (destination, false)
            }
            Some(TopicKind::DeadLetters { service: "deliver", stream }) => (stream, true),
            Some(_) | None => continue,
        };
        let decision = decided.get(destination).copied();
        if !which.counts(destination, decision) {
            continue;
        }
        let found = left.entry(destination.to_owned()).or_insert_with(|| Left {
            destination: destination.to_owned(),
            undelivered: Count::default(),
            dead_letters: Count::default(),
            decided: decision,
        });
        if dead {
            found.dead_letters += count(&reader, topic, &BTreeMap::new(), until)?;
        } else {
            let committed = committed(&reader, topic, names)?;
            found.undelivered += count(&reader, topic, &committed, until)?;
        }
    }
    let returned = decided.into_keys().filter(|name| which.is_declared(name)).collect();
    Ok(Looked { left: left.into_values().collect(), returned })
}

fn decided(
    reader: &Reader,
    topics: &[TopicInfo],
    state: &str,
) -> Result<BTreeMap<String, Decision>, Failure> {
    let Some(topic) = topics.iter().find(|topic| topic.name == state) else {
        return Ok(BTreeMap::new());
    };
    let mut records = Vec::new();
    let all = ranges(reader, topic, &BTreeMap::new())?;
    read(reader, &all, |record| {
        let key = record.key().unwrap_or_default().to_vec();
        records.push((key, record.value().map(<[u8]>::to_vec)));
    })?;
    Ok(decisions(records.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))))
}

/// What deliver has committed of each partition.
fn committed(reader: &Reader, topic: &TopicInfo, names: &Names) -> Result<Commits, Failure> {
    let partitions: Vec<(String, i32)> =
        (0..topic.partitions).map(|partition| (topic.name.clone(), partition)).collect();
    let committed = reader.committed(&deliver::group(names), &partitions).map_err(failed)?;
    Ok(committed.into_iter().map(|((_, partition), map)| (partition, map)).collect())
}

fn ranges(reader: &Reader, topic: &TopicInfo, committed: &Commits) -> Result<Vec<Range>, Failure> {
    let mut ranges = Vec::new();
    for partition in 0..topic.partitions {
        let ends = reader.watermarks(&topic.name, partition).map_err(failed)?;
        let from = committed.get(&partition).map_or(ends.low, OffsetMap::commit_point);
        let from = from.max(ends.low);
        if from < ends.high {
            ranges.push(Range { topic: topic.name.clone(), partition, from, to: ends.high });
        }
    }
    Ok(ranges)
}

/// Counts records that are not done with by reading them: a transaction's markers take offsets and are none. At
/// `until` one record is enough.
fn count(
    reader: &Reader,
    topic: &TopicInfo,
    committed: &Commits,
    until: Instant,
) -> Result<Count, Failure> {
    let ranges = ranges(reader, topic, committed)?;
    let offsets = ranges.iter().map(|range| range.to.abs_diff(range.from)).sum();
    let mut counted = 0;
    let deadline = until.max(Instant::now() + FIRST_WITHIN);
    let ended = reader.read(&ranges, deadline, |record| {
        let map = committed.get(&record.partition());
        counted += u64::from(!map.is_some_and(|map| map.is_done(record.offset())));
        match counted >= COUNT_MAX || Instant::now() >= until {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    Ok(match ended.map_err(failed)? {
        Ended::Complete => Count::exactly(counted),
        Ended::Stopped | Ended::Deadline { .. } => Count::of_part(counted, offsets),
    })
}

fn read(
    reader: &Reader,
    ranges: &[Range],
    mut each: impl FnMut(&BorrowedView<'_>),
) -> Result<(), Failure> {
    if ranges.is_empty() {
        return Ok(());
    }
    let ended = reader.read(ranges, Instant::now() + READ_WITHIN, |record| {
        each(record);
        ControlFlow::Continue(())
    });
    match ended.map_err(failed)? {
        Ended::Complete | Ended::Stopped => Ok(()),
        Ended::Deadline { .. } => {
            let why = format!("the decisions could not be read within {READ_WITHIN:?}");
            Err(Failure::new(DOING, why, "check that the brokers are reachable, then try again"))
        }
    }
}

fn failed(error: ReadError) -> Failure {
    Failure::new(DOING, error, "")
}
