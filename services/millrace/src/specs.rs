//! Which topics a catalog needs, and how they must be: pure.
//!
//! What a topic's records mean is `wire`'s; how topics are compared and made is `kafka-io`'s.

use std::time::Duration;

use catalog_io::{Catalog, Destination, Source};
use kafka_io::topics::Spec;
use wire::topics::Names;

use crate::settings::Topics;

/// A broker takes a record of this size without being told so.
const RECORD_BYTES_DEFAULT: usize = 1024 * 1024;
/// What a record holds besides the body: headers, ids, the frame of a batch.
const RECORD_BYTES_AROUND: usize = 256 * 1024;

/// Returns the topics in the order in which they are listed to the operator.
pub(crate) fn specs(catalog: &Catalog, names: &Names, topics: &Topics) -> Vec<Spec> {
    let body = catalog.sources.values().map(|source| source.body_bytes_max).max().unwrap_or(0);
    let make = Make { names, topics, record_bytes: body + RECORD_BYTES_AROUND };
    let sources = catalog.sources.values().flat_map(|source| make.of_source(source));
    let destinations =
        catalog.destinations.values().flat_map(|destination| make.of_destination(destination));
    sources.chain(destinations).chain(make.of_all()).collect()
}

struct Make<'a> {
    names: &'a Names,
    topics: &'a Topics,
    /// The largest record: a body goes from source to destination, or to a dead letter, as it is.
    record_bytes: usize,
}

impl Make<'_> {
    fn of_source(&self, source: &Source) -> [Spec; 3] {
        let (name, partitions) = (source.name.as_str(), source.partitions);
        let events = self.topics.retention.events;
        [
            self.records(self.names.raw(name), partitions, events),
            self.records(self.names.raw_replay(name), partitions, events),
            self.dead_letters("transform", name, partitions),
        ]
    }

    fn of_destination(&self, destination: &Destination) -> [Spec; 3] {
        let (name, partitions) = (destination.spec.name.as_str(), destination.partitions);
        let (retention, retry) = (self.topics.retention, &destination.spec.retry);
        let lane = |topic| Spec {
            // A record waits while those before it are tried, and their budgets may stand still.
            longest_wait: Some(retry.budget.max(retry.max_age)),
            ..self.records(topic, partitions, retention.deliveries)
        };
        let (out, replay) = (self.names.out(name), self.names.out_replay(name));
        [lane(out), lane(replay), self.dead_letters("deliver", name, partitions)]
    }

    fn of_all(&self) -> [Spec; 4] {
        let retention = self.topics.retention;
        let receipts = self.topics.receipts_partitions;
        let unkeyed = |spec: Spec| Spec { keyed: false, ..spec };
        let state = self.topic(self.names.state(), 1).with("cleanup.policy", "compact");
        [
            self.records(self.names.receipts(), receipts, retention.receipts),
            unkeyed(self.records(self.names.quarantine(), 1, retention.quarantine)),
            unkeyed(self.records(self.names.audit(), 1, retention.audit)),
            state,
        ]
    }

    /// The same partition count as the stream's, so that a dead letter keeps its partition.
    fn dead_letters(&self, service: &str, stream: &str, partitions: i32) -> Spec {
        let topic = self.names.dlq(service, stream);
        self.records(topic, partitions, self.topics.retention.dead_letters)
    }

    fn records(&self, name: String, partitions: i32, retention: Duration) -> Spec {
        let spec = self
            .topic(name, partitions)
            .with("cleanup.policy", "delete")
            .with("retention.ms", retention.as_millis().to_string());
        if self.record_bytes <= RECORD_BYTES_DEFAULT {
            return spec;
        }
        spec.with("max.message.bytes", self.record_bytes.to_string())
    }

    fn topic(&self, name: String, partitions: i32) -> Spec {
        let replication = self.topics.replication;
        // One replica may be away without stopping the flow, and no acknowledged record is on one only.
        let in_sync = (replication - 1).max(1);
        Spec::new(name, partitions, replication).with("min.insync.replicas", in_sync.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use catalog_io::Environment;
    use std::path::Path;

    use super::*;
    use crate::settings;

    fn examples() -> (Catalog, Topics) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let catalog = catalog_io::load(&folder, &Environment::of_process());
        (catalog.map_err(|e| e.to_string()).unwrap(), settings::load(None).unwrap().config.topics)
    }

    #[test]
    fn a_catalog_needs_its_lanes_and_its_dead_letters_and_each_name_reads_back() {
        let (catalog, topics) = examples();
        let names = Names::new("test.");
        let specs = specs(&catalog, &names, &topics);
        let expected = 3 * catalog.sources.len() + 3 * catalog.destinations.len() + 4;
        assert_eq!(specs.len(), expected);
        for spec in &specs {
            assert!(names.parse(&spec.name).is_some(), "{}", spec.name);
        }
        let of = |name: &str| specs.iter().find(|spec| spec.name == name).unwrap();
        let (out, dead) = (of("test.out.crm"), of("test.dlq.deliver.crm"));
        assert_eq!(out.partitions, dead.partitions);
        assert_eq!(out.longest_wait, Some(Duration::from_secs(7 * 24 * 3600)));
        assert_eq!(of("test.ctl.state").config["cleanup.policy"], "compact");
        assert_eq!(of("test.raw.github").config["retention.ms"], "604800000");
        assert_eq!(of("test.raw.github").config["min.insync.replicas"], "2");
    }

    #[test]
    fn a_topic_takes_the_largest_body_that_a_source_may_send() {
        let (catalog, topics) = examples();
        let largest = catalog.sources.values().map(|source| source.body_bytes_max).max().unwrap();
        for spec in specs(&catalog, &Names::new(""), &topics) {
            let bytes = spec.config.get("max.message.bytes").map(|text| text.parse().unwrap());
            let takes = bytes.unwrap_or(RECORD_BYTES_DEFAULT);
            assert!(spec.name == "ctl.state" || takes > largest, "{} takes {takes}", spec.name);
        }
    }

    #[test]
    fn one_broker_can_hold_all_topics() {
        let (catalog, mut topics) = examples();
        topics.replication = 1;
        for spec in specs(&catalog, &Names::new(""), &topics) {
            assert_eq!(spec.config["min.insync.replicas"], "1", "{}", spec.name);
        }
    }
}
