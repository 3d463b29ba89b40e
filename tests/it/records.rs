//! What Kafka holds, read from outside: whole topics, and what a group has not committed yet.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use domain::offset_map::OffsetMap;
use kafka_io::{
    Config, Record,
    reader::{Ended, Isolation, Range, ReadError, Reader, ReaderOptions},
};
use testkit::wait;

const READ_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(90);

/// A view of one cluster's topics.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    config: Config,
}

impl Topics {
    pub(crate) fn of(bootstrap: String) -> Self {
        Self { config: Config::plain(bootstrap) }
    }

    /// All topics whose name begins with `prefix`.
    pub(crate) async fn names(&self, prefix: &str) -> Vec<String> {
        let prefix = prefix.to_owned();
        self.ask(Isolation::Committed, move |reader| {
            let names = reader.topics()?.into_iter().map(|topic| topic.name);
            Ok(names.filter(|name| name.starts_with(&prefix)).collect())
        })
        .await
    }

    /// All records of a topic that a reader of committed records sees, by partition, in order.
    pub(crate) async fn all(&self, topic: &str) -> Vec<Record> {
        self.read(topic, Isolation::Committed).await
    }

    /// The same, with those of aborted transactions.
    pub(crate) async fn all_and_aborted(&self, topic: &str) -> Vec<Record> {
        self.read(topic, Isolation::Uncommitted).await
    }

    /// What a group has committed, by topic and partition.
    pub(crate) async fn committed_by(
        &self,
        group: &str,
        topic: &str,
    ) -> BTreeMap<(String, i32), OffsetMap> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.ask(Isolation::Committed, move |reader| {
            reader.committed(&group, &partitions(reader, &topic)?)
        })
        .await
    }

    /// What a group would read again, or for the first time, if it started now.
    pub(crate) async fn uncommitted_by(&self, group: &str, topic: &str) -> Vec<Record> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.ask(Isolation::Committed, move |reader| {
            let partitions = partitions(reader, &topic)?;
            let committed = reader.committed(&group, &partitions)?;
            let from = |partition| committed.get(partition).map_or(0, OffsetMap::commit_point);
            let ranges = partitions.iter().map(|partition| range(partition, from(partition)));
            let mut open = records(reader, &ranges.collect::<Vec<_>>())?;
            open.retain(|record| {
                let map = committed.get(&(record.topic.to_string(), record.partition));
                !map.is_some_and(|map| map.is_done(record.offset))
            });
            Ok(open)
        })
        .await
    }

    async fn read(&self, topic: &str, isolation: Isolation) -> Vec<Record> {
        let topic = topic.to_owned();
        self.ask(isolation, move |reader| {
            let ranges = partitions(reader, &topic)?;
            records(reader, &ranges.iter().map(|partition| range(partition, 0)).collect::<Vec<_>>())
        })
        .await
    }

    /// Asks until the cluster answers: a broker may just have died. Reading blocks, so it has a
    /// thread of its own.
    async fn ask<T: Send + 'static>(
        &self,
        isolation: Isolation,
        question: impl Fn(&Reader) -> Result<T, ReadError> + Clone + Send + 'static,
    ) -> T {
        wait::until_some("the cluster to answer", ANSWER_WITHIN, || {
            let (config, question) = (self.config.clone(), question.clone());
            let asking = tokio::task::spawn_blocking(move || {
                let options = ReaderOptions { isolation, ..ReaderOptions::default() };
                question(&Reader::open(&config, options)?)
            });
            async { asking.await.expect("reading does not panic").ok() }
        })
        .await
    }
}

fn partitions(reader: &Reader, topic: &str) -> Result<Vec<(String, i32)>, ReadError> {
    let topics = reader.topics()?;
    let count = topics.iter().find(|known| known.name == topic).map(|known| known.partitions);
    let count = count.unwrap_or_else(|| panic!("topic {topic} exists"));
    Ok((0..count).map(|partition| (topic.to_owned(), partition)).collect())
}

fn range((topic, partition): &(String, i32), from: i64) -> Range {
    Range { topic: topic.clone(), partition: *partition, from, to: i64::MAX }
}

fn records(reader: &Reader, ranges: &[Range]) -> Result<Vec<Record>, ReadError> {
    let mut records = Vec::new();
    let ended = reader.read(ranges, Instant::now() + READ_WITHIN, |view| {
        records.push(view.to_record());
        ControlFlow::Continue(())
    })?;
    assert_eq!(ended, Ended::Complete);
    Ok(records)
}

/// A header of a record as text.
pub(crate) fn header<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    wire::headers::text(&record.headers, name)
}

/// The id of the event a record is about.
pub(crate) fn event_id(record: &Record) -> String {
    header(record, wire::headers::CE_ID).expect("a record of ours names its event").to_owned()
}
