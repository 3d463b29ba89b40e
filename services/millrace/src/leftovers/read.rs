//! Counts records on the cluster. It blocks: it is called from a thread that may.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kafka_io::reader::{Ended, Range, ReadError, Reader, ReaderOptions, TopicInfo};
use wire::topics::{Names, TopicKind};

use super::{Count, Decision, Left, Looked, Which, decisions};
use crate::failure::Failure;

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
            found.dead_letters += count(&reader, &whole(&reader, topic)?, until)?;
        } else {
            found.undelivered += count(&reader, &uncommitted(&reader, topic, names)?, until)?;
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
    read(reader, &whole(reader, topic)?, |key, value| {
        records.push((key.unwrap_or_default().to_vec(), value.map(<[u8]>::to_vec)));
    })?;
    Ok(decisions(records.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))))
}

fn whole(reader: &Reader, topic: &TopicInfo) -> Result<Vec<Range>, Failure> {
    ranges(reader, topic, |_| None)
}

/// What deliver has not committed yet.
fn uncommitted(reader: &Reader, topic: &TopicInfo, names: &Names) -> Result<Vec<Range>, Failure> {
    let partitions: Vec<(String, i32)> =
        (0..topic.partitions).map(|partition| (topic.name.clone(), partition)).collect();
    let group = deliver::group(names);
    let committed = reader.committed(&group, &partitions).map_err(failed)?;
    ranges(reader, topic, |partition| {
        committed.get(&(topic.name.clone(), partition)).copied().flatten()
    })
}

fn ranges(
    reader: &Reader,
    topic: &TopicInfo,
    from: impl Fn(i32) -> Option<i64>,
) -> Result<Vec<Range>, Failure> {
    let mut ranges = Vec::new();
    for partition in 0..topic.partitions {
        let ends = reader.watermarks(&topic.name, partition).map_err(failed)?;
        let from = from(partition).unwrap_or(ends.low).max(ends.low);
        if from < ends.high {
            ranges.push(Range { topic: topic.name.clone(), partition, from, to: ends.high });
        }
    }
    Ok(ranges)
}

/// Counts records by reading them: a transaction's markers take offsets and are none. At `until`
/// one record is enough.
fn count(reader: &Reader, ranges: &[Range], until: Instant) -> Result<Count, Failure> {
    let offsets = ranges.iter().map(|range| range.to.abs_diff(range.from)).sum();
    let mut counted = 0;
    let deadline = until.max(Instant::now() + FIRST_WITHIN);
    let ended = reader.read(ranges, deadline, |_| {
        counted += 1;
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
    mut each: impl FnMut(Option<&[u8]>, Option<&[u8]>),
) -> Result<(), Failure> {
    if ranges.is_empty() {
        return Ok(());
    }
    let ended = reader.read(ranges, Instant::now() + READ_WITHIN, |record| {
        each(record.key(), record.value());
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
