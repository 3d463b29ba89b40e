//! The native consumer's settings, and questions to the cluster in the form the group needs them.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Partition as PartitionStatistics, Statistics};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::{GroupContext, Pair, Rebalance};
use super::{GroupConsumer, GroupError, GroupOptions, Partition};
use crate::config::{Config, GroupProtocol};

/// Bounds of the bytes that one partition holds ahead.
const PARTITION_BYTES_MIN: usize = 64 << 10;
const PARTITION_BYTES_MAX: usize = 8 << 20;
/// Partitions assumed when the cluster does not answer.
const PARTITIONS_ASSUMED: usize = 32;
/// Limit of the first question; the answer only makes queues fit better.
const FIRST_QUESTION: Duration = Duration::from_secs(2);
/// The embedded broker lets every rebalance last a second less than the session.
const EMBEDDED_SESSION: Duration = Duration::from_secs(4);

/// Returns the bytes one partition may hold ahead when all are assigned to one member.
pub(super) fn partition_bytes(budget: usize, partitions: usize) -> usize {
    (budget / partitions.max(1)).clamp(PARTITION_BYTES_MIN, PARTITION_BYTES_MAX)
}

/// Counts the partitions of topics, or assumes a number when the cluster does not answer in time.
pub(super) fn partition_count(config: &Config, topics: &[String]) -> usize {
    let ask = || {
        let client: BaseConsumer<_> = config.client_config().create_with_context(config.hooks())?;
        client.fetch_metadata(None, FIRST_QUESTION)
    };
    match ask() {
        Ok(metadata) => {
            let ours = metadata
                .topics()
                .iter()
                .filter(|topic| topics.iter().any(|name| name == topic.name()));
            ours.map(|topic| topic.partitions().len()).sum::<usize>().max(1)
        }
        Err(why) => {
            tracing::debug!(%why, "partitions not counted");
            PARTITIONS_ASSUMED
        }
    }
}

/// Returns those of `topics` that are not there, or may not be read.
pub(super) fn missing(
    consumer: &GroupConsumer,
    topics: &[String],
) -> Result<Vec<String>, KafkaError> {
    let metadata = consumer.fetch_metadata(None, FIRST_QUESTION)?;
    let there = |name: &str| {
        metadata.topics().iter().any(|topic| topic.name() == name && topic.error().is_none())
    };
    Ok(topics.iter().filter(|name| !there(name)).cloned().collect())
}

pub(super) fn open(
    config: &Config,
    options: &GroupOptions,
    partition_bytes: usize,
) -> Result<GroupConsumer, GroupError> {
    let mut client = config.client_config();
    let fetch_bytes = partition_bytes.min(1 << 20).to_string();
    let kilobytes = (partition_bytes / 1024).to_string();
    config.set_defaults(
        &mut client,
        &[
            ("queued.min.messages", "2000"),
            ("queued.max.messages.kbytes", &kilobytes),
            ("fetch.message.max.bytes", &fetch_bytes),
            ("fetch.queue.backoff.ms", "20"),
            ("fetch.wait.max.ms", "50"),
            ("topic.metadata.refresh.interval.ms", "5000"),
        ],
    );
    let session = if config.embedded { EMBEDDED_SESSION } else { options.session_timeout };
    let poll_interval = options.rebalance_timeout.max(session);
    let millis = |duration: Duration| duration.as_millis().to_string();
    client
        .set("group.id", &options.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Every start is given; what lies outside of the log is told, and not passed over.
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "false")
        .set("statistics.interval.ms", "5000")
        .set("max.poll.interval.ms", millis(poll_interval));
    if let Some(instance) = &options.instance_id {
        client.set("group.instance.id", instance);
    }
    match config.group_protocol {
        // The session is the broker's setting here.
        GroupProtocol::Consumer => client.set("group.protocol", "consumer"),
        GroupProtocol::Classic => client
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(session))
            .set("heartbeat.interval.ms", millis((session / 4).min(Duration::from_secs(2)))),
    };
    client
        .create_with_context(GroupContext::new(config.hooks()))
        .map_err(|why| GroupError::new("open a consumer", why))
}

pub(super) fn list<'a>(
    elements: impl Iterator<Item = (&'a str, i32, Offset)>,
) -> Result<TopicPartitionList, GroupError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in elements {
        list.add_partition_offset(topic, partition, offset)
            .map_err(|why| GroupError::new("name partitions to the client", why))?;
    }
    Ok(list)
}

type Offsets = HashMap<Pair, Option<i64>>;

/// What the group has committed of a partition.
pub(super) struct Commit {
    pub(super) next: i64,
    /// What the commit says beside the offset; empty for nothing.
    pub(super) metadata: String,
}

/// Returns what is committed; what is not is left out. Offsets of open transactions are waited for.
pub(super) fn committed(
    consumer: &GroupConsumer,
    pairs: &[(&str, i32)],
    limit: Duration,
) -> Result<HashMap<Pair, Commit>, GroupError> {
    const DOING: &str = "find the committed offsets";
    let asked = list(pairs.iter().map(|(topic, partition)| (*topic, *partition, Offset::Invalid)))?;
    let found =
        consumer.committed_offsets(asked, limit).map_err(|why| GroupError::new(DOING, why))?;
    let offsets = offsets(&found).map_err(|why| GroupError::new(DOING, why))?;
    let commit = |(pair, next): (Pair, Option<i64>)| {
        let metadata = found.find_partition(&pair.0, pair.1)?.metadata().to_owned();
        Some((pair, Commit { next: next?, metadata }))
    };
    Ok(offsets.into_iter().filter_map(commit).collect())
}

/// Returns the first or the end offsets of partitions, with one request to each leader.
pub(super) fn ends(
    consumer: &GroupConsumer,
    pairs: &[(&str, i32)],
    end: Offset,
    limit: Duration,
) -> Result<Offsets, GroupError> {
    const DOING: &str = "find the bounds of partitions";
    let asked = list(pairs.iter().map(|(topic, partition)| (*topic, *partition, end)))?;
    let found =
        consumer.offsets_for_times(asked, limit).map_err(|why| GroupError::new(DOING, why))?;
    offsets(&found).map_err(|why| GroupError::new(DOING, why))
}

fn offsets(list: &TopicPartitionList) -> Result<Offsets, KafkaError> {
    let mut offsets = HashMap::new();
    for element in list.elements() {
        element.error()?;
        let offset = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        };
        offsets.insert((Arc::from(element.topic()), element.partition()), offset);
    }
    Ok(offsets)
}

pub(super) fn statistics_of<'a>(
    statistics: &'a Statistics,
    partition: &Partition,
) -> Option<&'a PartitionStatistics> {
    statistics.topics.get(&*partition.topic)?.partitions.get(&partition.partition)
}

/// Lets everything go, so that the group can be left.
pub(super) fn answer_while_closing(consumer: &GroupConsumer, rebalance: &Rebalance) {
    let answer = match rebalance {
        Rebalance::Assigned(_) | Rebalance::Failed(_) => Ok(()),
        Rebalance::Revoked(pairs) | Rebalance::Lost(pairs) => match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                let pairs =
                    pairs.iter().map(|(topic, partition)| (&**topic, *partition, Offset::Invalid));
                list(pairs).and_then(|list| {
                    let done = consumer.incremental_unassign(&list);
                    done.map_err(|why| GroupError::new("let partitions go", why))
                })
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => {
                consumer.unassign().map_err(|why| GroupError::new("let partitions go", why))
            }
        },
    };
    if let Err(why) = answer {
        tracing::debug!(%why, "partitions let go while leaving");
    }
}

/// Frees a consumer where it cannot hold anybody up: its destructor waits for the brokers.
pub(super) fn dispose(consumer: Arc<GroupConsumer>) {
    let freeing =
        thread::Builder::new().name("kafka-free".to_owned()).spawn(move || drop(consumer));
    if let Err(why) = freeing {
        tracing::warn!(%why, "consumer freed in place");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_by_the_partitions_within_bounds() {
        let cases = [
            (64 << 20, 0, 8 << 20),
            (64 << 20, 16, 4 << 20),
            (64 << 20, 10_000, 64 << 10),
            (1 << 20, 1, 1 << 20),
        ];
        for (budget, partitions, expected) in cases {
            assert_eq!(partition_bytes(budget, partitions), expected, "{partitions} partitions");
        }
    }
}
