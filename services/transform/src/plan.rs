//! The catalog as transform needs it: what to do with a record of each topic it reads.
//!
//! A plan is made before it is used, with every schema registered and every topic looked at, so
//! that no record waits for either. It is swapped whole when the catalog or a topic changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use catalog_io::Catalog;
use kafka_io::topics::Existing;
use registry_io::Registry;
use wire::{Kind, topics::Names};

use crate::series::{Families, RouteSeries, SourceSeries};

/// The service's part of the name of its dead-letter topics.
pub(crate) const STREAM: &str = "transform";
/// How long until the topics are looked at again though nothing is missing; dead letters tell it.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(30);
/// What a topic takes that does not say so.
const RECORD_BYTES_DEFAULT: usize = 1024 * 1024;
/// What Kafka's format adds to a record alone in its batch.
const RECORD_BYTES_AROUND: usize = 1024;

/// What the processor works by.
pub(crate) struct Plan {
    pub(crate) catalog_version: String,
    /// By the topic's name: a source has two, its events and its replays.
    sources: HashMap<Arc<str>, Arc<Source>>,
}

/// What to do with the records of one topic.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) topic: Arc<str>,
    /// Whether dead letters are put through again here.
    pub(crate) is_replay: bool,
    pub(crate) dead_letters: DeadLetters,
    /// In the catalog's order.
    pub(crate) routes: Vec<Route>,
    pub(crate) series: SourceSeries,
    /// The span's name.
    pub(crate) process: String,
}

/// Where a source's dead letters go.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    pub(crate) topic: Arc<str>,
    partitions: i32,
    /// The span's name.
    pub(crate) send: String,
}

impl DeadLetters {
    pub(crate) fn of(topic: &str, partitions: i32) -> Self {
        Self { topic: topic.into(), partitions, send: format!("send {topic}") }
    }

    /// Returns the partition of the same number; a topic that has fewer takes them in turn.
    pub(crate) fn partition(&self, of_source: i32) -> i32 {
        of_source.rem_euclid(self.partitions.max(1))
    }
}

/// One route, its lanes beside it.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) catalog: Arc<catalog_io::Route>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) series: Arc<RouteSeries>,
}

impl Route {
    pub(crate) fn name(&self) -> &str {
        self.catalog.rule.name.as_str()
    }
}

/// Where a destination's deliveries are written.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) destination: String,
    pub(crate) topic: Arc<str>,
    pub(crate) schema_id: u32,
    /// The largest record the topic took when it was last looked at.
    pub(crate) record_bytes_max: usize,
    /// The span's name.
    pub(crate) send: String,
}

impl Plan {
    /// Registers the schemas of every topic read and written, and makes the plan of the sources that
    /// are `read`: all of their topics are `existing`.
    ///
    /// # Errors
    /// The registry's, naming the subject; nothing is used in part.
    pub(crate) async fn make(
        catalog: &Catalog,
        names: &Names,
        registry: &Registry,
        read: &BTreeSet<String>,
        existing: &BTreeMap<String, Existing>,
        families: &Families,
    ) -> Result<Self, registry_io::Error> {
        let mut lanes = HashMap::new();
        for name in catalog.destinations.keys() {
            let topic = names.out(name.as_str());
            // Of what is read, nothing goes to a lane that is not there.
            if !existing.contains_key(&topic) {
                continue;
            }
            let schema_id = registry.register(&wire::subject(&topic), Kind::Delivery).await?;
            let record_bytes_max = record_bytes_max(existing.get(&topic));
            let send = format!("send {topic}");
            let (destination, topic) = (name.as_str().to_owned(), topic.into());
            let lane = Lane { destination, topic, schema_id, record_bytes_max, send };
            lanes.insert(name.as_str(), lane);
        }
        let mut sources = HashMap::new();
        for name in catalog.sources.keys().filter(|name| read.contains(name.as_str())) {
            // Known schemas carry on when the registry is down later.
            for topic in [names.raw(name.as_str()), names.raw_replay(name.as_str())] {
                registry.register(&wire::subject(&topic), Kind::Envelope).await?;
            }
            for source in of_source(name.as_str(), catalog, names, &lanes, existing, families) {
                sources.insert(source.topic.clone(), Arc::new(source));
            }
        }
        Ok(Self { catalog_version: catalog.version.clone(), sources })
    }

    /// Returns what to do with a topic's records, `None` for one that is not, or no longer, read.
    pub(crate) fn source(&self, topic: &str) -> Option<&Arc<Source>> {
        self.sources.get(topic)
    }
}

fn of_source(
    name: &str,
    catalog: &Catalog,
    names: &Names,
    lanes: &HashMap<&str, Lane>,
    existing: &BTreeMap<String, Existing>,
    families: &Families,
) -> [Source; 2] {
    let wants = |route: &catalog_io::Route| route.rule.from.iter().any(|s| s.as_str() == name);
    let routes: Vec<Route> = catalog
        .routes
        .iter()
        .filter(|route| wants(route))
        .map(|route| Route {
            catalog: route.clone(),
            lanes: route.rule.to.iter().filter_map(|d| lanes.get(d.as_str()).cloned()).collect(),
            series: Arc::new(families.of_route(route.rule.name.as_str())),
        })
        .collect();
    let dlq = names.dlq(STREAM, name);
    let partitions = existing.get(&dlq).map_or(i32::MAX, |topic| topic.partitions);
    let dead_letters = DeadLetters::of(&dlq, partitions);
    [(names.raw(name), false), (names.raw_replay(name), true)].map(|(topic, is_replay)| Source {
        name: name.to_owned(),
        is_replay,
        dead_letters: dead_letters.clone(),
        routes: routes.clone(),
        series: families.of_source(&topic),
        process: format!("process {topic}"),
        topic: topic.into(),
    })
}

/// The embedded broker tells no limit and has none below the largest body.
fn record_bytes_max(topic: Option<&Existing>) -> usize {
    let Some(topic) = topic.filter(|topic| !topic.config.is_empty()) else { return usize::MAX };
    let told = topic.config.get("max.message.bytes").and_then(|text| text.parse().ok());
    told.unwrap_or(RECORD_BYTES_DEFAULT).saturating_sub(RECORD_BYTES_AROUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_keeps_its_partition_where_the_topic_has_it() {
        let letters = |partitions| DeadLetters::of("d", partitions);
        assert_eq!([0, 2, 5].map(|p| letters(6).partition(p)), [0, 2, 5]);
        assert_eq!([0, 2, 5].map(|p| letters(3).partition(p)), [0, 2, 2]);
    }

    #[test]
    fn a_topics_limit_is_what_it_says_or_the_brokers_usual_one() {
        let topic = |key: &str, value: &str| Existing {
            partitions: 1,
            replication: 1,
            config: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        };
        assert_eq!(record_bytes_max(Some(&topic("max.message.bytes", "5000"))), 3976);
        let usual = RECORD_BYTES_DEFAULT - RECORD_BYTES_AROUND;
        assert_eq!(record_bytes_max(Some(&topic("retention.ms", "1"))), usual);
    }
}
