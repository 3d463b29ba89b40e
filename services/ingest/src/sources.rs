//! The sources as they are now: which exist, and which of them can be written to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use catalog_io::Catalog;
use wire::topics::Names;

use crate::{
    refusal::Refusal,
    series::{Families, SourceSeries},
};

/// All sources of a catalog, by name.
pub(crate) struct Sources(HashMap<String, Arc<Source>>);

/// A source and what writing its events needs.
pub(crate) struct Source {
    pub(crate) declared: Arc<catalog_io::Source>,
    pub(crate) series: SourceSeries,
    pub(crate) topic: Arc<str>,
    /// The name of the span of writing.
    pub(crate) send: String,
    gate: Gate,
}

/// Whether events can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open { schema_id: u32 },
    NoTopic,
    NoSchema,
}

/// A topic that the catalog needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) topic: String,
    pub(crate) partitions: i32,
}

/// What is known of the world around: it outlives a cluster or a registry that is down.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The topics that are there; `None` until the cluster has said so.
    pub(crate) topics: Option<BTreeSet<String>>,
    /// The ids of schemas, by topic.
    pub(crate) schemas: BTreeMap<String, u32>,
}

impl Known {
    /// Names the topics that are missing, what is wanted and what to do; nothing while the cluster
    /// has not spoken.
    pub(crate) fn missing(&self, wanted: &[Wanted]) -> Result<(), String> {
        let Some(topics) = &self.topics else { return Ok(()) };
        let missing = wanted.iter().filter(|wanted| !topics.contains(&wanted.topic));
        let missing = missing.map(|Wanted { topic, partitions }| {
            format!("topic {topic} is missing (wanted: {partitions} partitions)")
        });
        let missing: Vec<String> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        // Replication and retention are the operator's settings, not the catalog's: the plan tells them.
        Err(format!(
            "{}; run `millrace topics apply`, or first `millrace topics plan` to see all that is wanted",
            missing.join(", ")
        ))
    }

    fn gate(&self, topic: &str) -> Gate {
        if !self.topics.as_ref().is_some_and(|topics| topics.contains(topic)) {
            return Gate::NoTopic;
        }
        match self.schemas.get(topic) {
            Some(id) => Gate::Open { schema_id: *id },
            None => Gate::NoSchema,
        }
    }
}

impl Sources {
    pub(crate) fn of(catalog: &Catalog, names: &Names, known: &Known, families: &Families) -> Self {
        let sources = catalog.sources.iter().map(|(name, declared)| {
            let topic = names.raw(name.as_str());
            let source = Source {
                declared: declared.clone(),
                series: families.of_source(name.as_str()),
                send: format!("send {topic}"),
                gate: known.gate(&topic),
                topic: topic.into(),
            };
            (name.as_str().to_owned(), Arc::new(source))
        });
        Self(sources.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Source>> {
        self.0.get(name).cloned()
    }
}

impl Source {
    /// Returns the id of the schema to write with.
    ///
    /// # Errors
    /// `NoTopic` or `NoSchema` while one is wanting.
    pub(crate) fn schema_id(&self) -> Result<u32, Refusal> {
        match self.gate {
            Gate::Open { schema_id } => Ok(schema_id),
            Gate::NoTopic => Err(Refusal::NoTopic),
            Gate::NoSchema => Err(Refusal::NoSchema),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_open_once_its_topic_and_its_schema_are_known() {
        let mut known = Known::default();
        assert_eq!(known.gate("raw.a"), Gate::NoTopic);
        known.topics = Some(BTreeSet::from(["raw.a".to_owned()]));
        assert_eq!(known.gate("raw.a"), Gate::NoSchema);
        known.schemas.insert("raw.a".into(), 7);
        assert_eq!(known.gate("raw.a"), Gate::Open { schema_id: 7 });
        assert_eq!(known.gate("raw.b"), Gate::NoTopic);
    }

    #[test]
    fn missing_topics_are_named_with_what_is_wanted_and_the_command_that_makes_them() {
        let mut known = Known::default();
        let wanted = [("raw.a", 6), ("raw.b", 3), ("raw.c", 1)]
            .map(|(topic, partitions)| Wanted { topic: topic.to_owned(), partitions });
        assert_eq!(known.missing(&wanted), Ok(()), "the cluster has not spoken");
        known.topics = Some(BTreeSet::from(["raw.b".to_owned()]));
        let said = known.missing(&wanted).expect_err("two are missing");
        for part in [
            "topic raw.a is missing (wanted: 6 partitions), topic raw.c is missing (wanted: 1 ",
            "run `millrace topics apply`",
            "`millrace topics plan`",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("raw.b"), "{said}");
        known.topics = Some(wanted.iter().map(|wanted| wanted.topic.clone()).collect());
        assert_eq!(known.missing(&wanted), Ok(()));
    }
}
