//! Which sources transform reads, and which topics are missing for the others. Pure.
//!
//! A source is read once its own topics and those of every destination of its routes are there:
//! nothing is begun that could not be ended. The others wait at their committed position, and
//! hold up nobody. It makes no topic.

use std::collections::{BTreeMap, BTreeSet};

use catalog_io::{Catalog, Source};
use kafka_io::topics::Existing;
use wire::topics::Names;

use crate::plan::STREAM;

/// A topic that the catalog needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    name: String,
    partitions: i32,
}

/// What one source needs.
struct Need {
    source: String,
    /// Its events and its replays.
    reads: [Wanted; 2],
    /// Its dead letters, and a lane of each destination of its routes.
    writes: Vec<Wanted>,
}

/// What the sources of a catalog need.
pub(crate) struct Needs(Vec<Need>);

/// What can be read now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Readable {
    /// Their names.
    pub(crate) sources: BTreeSet<String>,
    /// Topics to subscribe to.
    pub(crate) topics: Vec<String>,
    /// What is missing, what is wanted, and what to do; `None` when nothing is.
    pub(crate) missing: Option<String>,
}

impl Needs {
    pub(crate) fn of(catalog: &Catalog, names: &Names) -> Self {
        Self(catalog.sources.values().map(|source| Need::of(source, catalog, names)).collect())
    }

    /// Returns the topics to look for.
    pub(crate) fn topics(&self) -> BTreeSet<&str> {
        self.0.iter().flat_map(Need::all).map(|wanted| wanted.name.as_str()).collect()
    }

    /// Says what can be read where these topics are there.
    pub(crate) fn decide(&self, existing: &BTreeMap<String, Existing>) -> Readable {
        let mut readable = Readable::default();
        let mut missing = BTreeSet::new();
        let mut held_up = Vec::new();
        for need in &self.0 {
            let lacks: Vec<&Wanted> =
                need.all().filter(|wanted| !existing.contains_key(&wanted.name)).collect();
            if lacks.is_empty() {
                readable.sources.insert(need.source.clone());
                readable.topics.extend(need.reads.iter().map(|wanted| wanted.name.clone()));
            } else {
                held_up.push(need.source.as_str());
                missing.extend(lacks);
            }
        }
        readable.missing = (!missing.is_empty()).then(|| told(&missing, &held_up));
        readable
    }
}

impl Need {
    fn of(source: &Source, catalog: &Catalog, names: &Names) -> Self {
        let name = source.name.as_str();
        let own = |topic| Wanted { name: topic, partitions: source.partitions };
        let routes = catalog.routes.iter().filter(|route| route.rule.from.contains(&source.name));
        let destinations: BTreeSet<_> = routes.flat_map(|route| &route.rule.to).collect();
        let lanes = destinations.into_iter().filter_map(|name| catalog.destinations.get(name));
        let lanes = lanes.map(|destination| Wanted {
            name: names.out(destination.spec.name.as_str()),
            partitions: destination.partitions,
        });
        Self {
            source: name.to_owned(),
            reads: [own(names.raw(name)), own(names.raw_replay(name))],
            writes: [own(names.dlq(STREAM, name))].into_iter().chain(lanes).collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Wanted> {
        self.reads.iter().chain(&self.writes)
    }
}

/// Replication and retention are the operator's settings, not the catalog's: the plan tells them.
fn told(missing: &BTreeSet<&Wanted>, held_up: &[&str]) -> String {
    let each = missing.iter().map(|Wanted { name, partitions }| {
        format!("topic {name} is missing (wanted: {partitions} partitions)")
    });
    let each: Vec<String> = each.collect();
    format!(
        "{}; sources not read until then: {}; run `millrace topics apply`, or first `millrace topics plan` to see all that is wanted",
        each.join(", "),
        held_up.join(", ")
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use catalog_io::Environment;

    use super::*;

    /// `a` goes to `x`, `b` to `x` and `y`, `c` nowhere, and nothing goes to `z`.
    const CATALOG: &str = r#"apiVersion: millrace/v1
sources:
  a: { kind: webhook, verify: { scheme: github, secrets: [{ env: KEY }] }, partitions: 6 }
  b: { kind: webhook, verify: { scheme: github, secrets: [{ env: KEY }] } }
  c: { kind: webhook, verify: { scheme: github, secrets: [{ env: KEY }] } }
routes:
  - { name: a-to-x, from: a, to: x }
  - { name: b-to-both, from: b, to: [x, y] }
destinations:
  x: { kind: http, url: https://x.example }
  y: { kind: http, url: https://y.example, partitions: 2 }
  z: { kind: http, url: https://z.example }
"#;

    fn needs() -> Needs {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("catalog.yaml"), CATALOG).unwrap();
        let environment: Environment = [("KEY", "k")].into_iter().collect();
        let catalog = catalog_io::load(folder.path(), &environment);
        Needs::of(&catalog.unwrap_or_else(|e| panic!("{e}")), &Names::new("p."))
    }

    fn without(absent: &[&str]) -> Readable {
        let needs = needs();
        let there = needs.topics().into_iter().filter(|name| !absent.contains(name));
        let there = there.map(|name| (name.to_owned(), Existing::default()));
        needs.decide(&there.collect())
    }

    #[test]
    fn a_missing_topic_holds_up_the_sources_that_need_it_and_no_others() {
        let cases: [(&[&str], &[&str]); 8] = [
            (&[], &["a", "b", "c"]),
            (&["p.raw.a"], &["b", "c"]),
            (&["p.raw.a.replay"], &["b", "c"]),
            (&["p.dlq.transform.a"], &["b", "c"]),
            (&["p.out.y"], &["a", "c"]),
            (&["p.out.x"], &["c"]),
            (&["p.out.x", "p.dlq.transform.c"], &[]),
            (&["p.out.z"], &["a", "b", "c"]),
        ];
        for (absent, read) in cases {
            let readable = without(absent);
            assert_eq!(Vec::from_iter(&readable.sources), read, "without {absent:?}");
            let topics =
                read.iter().flat_map(|s| [format!("p.raw.{s}"), format!("p.raw.{s}.replay")]);
            assert_eq!(readable.topics, Vec::from_iter(topics), "without {absent:?}");
            assert_eq!(readable.missing.is_none(), read.len() == 3, "without {absent:?}");
        }
    }

    #[test]
    fn a_missing_topic_is_told_once_with_what_is_wanted_whom_it_holds_up_and_the_command() {
        let told = without(&["p.out.x", "p.out.y", "p.raw.a"]).missing.unwrap();
        for part in [
            "topic p.raw.a is missing (wanted: 6 partitions)",
            "topic p.out.x is missing (wanted: 3 partitions)",
            "topic p.out.y is missing (wanted: 2 partitions)",
            "not read until then: a, b;",
            "run `millrace topics apply`",
            "`millrace topics plan`",
        ] {
            assert_eq!(told.matches(part).count(), 1, "{part}: {told}");
        }
    }
}
