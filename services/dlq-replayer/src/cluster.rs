//! The cluster as this crate reads it: which dead-letter topics there are and where they end.
//!
//! Everything here blocks; `Replayer` calls it from threads that may.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use kafka_io::{
    Config,
    reader::{BorrowedView, Ended, Isolation, Range, Reader, ReaderOptions},
};
use wire::topics::Names;

use crate::{Error, Filter, JobRange};

/// The most one look at the cluster's records may take, where nobody waits for more.
pub(crate) const LOOK: Duration = Duration::from_secs(20);

/// How long a read that nothing comes of keeps a caller from being asked whether to go on.
const SLICE: Duration = Duration::from_secs(5);

/// What every read needs.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) kafka: Config,
    pub(crate) names: Names,
}

impl Cluster {
    pub(crate) fn reader(&self) -> Result<Reader, Error> {
        self.reader_of("millrace-dlq-replayer")
    }

    /// Opens a reader that sees the records of open transactions too.
    pub(crate) fn reader_of_all(&self) -> Result<Reader, Error> {
        let isolation = Isolation::Uncommitted;
        Ok(Reader::open(&self.kafka, ReaderOptions { isolation, ..ReaderOptions::default() })?)
    }

    /// Opens a reader that names a group to the broker.
    pub(crate) fn reader_of(&self, group_id: &str) -> Result<Reader, Error> {
        let options = ReaderOptions { group_id: group_id.to_owned(), ..ReaderOptions::default() };
        Ok(Reader::open(&self.kafka, options)?)
    }

    /// Returns the partitions that may hold letters a filter means, with where they begin and end.
    pub(crate) fn ranges(&self, reader: &Reader, filter: &Filter) -> Result<Vec<JobRange>, Error> {
        if let Some(problem) = filter.problem(&self.names) {
            return Err(Error::Asked(problem));
        }
        let topics = reader.topics()?;
        if let Some(name) = filter.topics.iter().find(|n| topics.iter().all(|t| t.name != **n)) {
            return Err(Error::Asked(format!("there is no topic {name}")));
        }
        let mut ranges = Vec::new();
        for topic in topics.iter().filter(|topic| filter.wants_topic(&topic.name, &self.names)) {
            for partition in 0..topic.partitions {
                let marks = reader.watermarks(&topic.name, partition)?;
                ranges.push(JobRange {
                    topic: topic.name.clone(),
                    partition,
                    from: marks.low,
                    to: marks.high,
                });
            }
        }
        Ok(ranges)
    }
}

/// Returns what a reader reads of a range, between two offsets.
pub(crate) fn part(range: &JobRange, from: i64, to: i64) -> Range {
    Range { topic: range.topic.clone(), partition: range.partition, from, to }
}

/// Reads ranges as a reader does, and asks in between whether to go on, also while nothing comes.
pub(crate) fn read(
    reader: &Reader,
    ranges: &[JobRange],
    deadline: Instant,
    go_on: impl Fn() -> bool,
    mut each: impl FnMut(&BorrowedView<'_>) -> ControlFlow<()>,
) -> Result<Ended, Error> {
    let mut left: Vec<Range> = ranges.iter().map(|r| part(r, r.from, r.to)).collect();
    loop {
        let slice = deadline.min(Instant::now() + SLICE);
        match reader.read(&left, slice, &mut each)? {
            Ended::Deadline { left: rest } if Instant::now() < deadline => {
                if !go_on() {
                    return Ok(Ended::Stopped);
                }
                left = rest;
            }
            ended => return Ok(ended),
        }
    }
}

/// Returns when a look has taken too long.
pub(crate) fn deadline() -> Instant {
    Instant::now() + LOOK
}

/// Returns the time, for records and headers.
pub(crate) fn now_ms() -> i64 {
    domain::time::UnixMillis::from(std::time::SystemTime::now()).0
}
