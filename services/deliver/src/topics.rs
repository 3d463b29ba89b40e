//! Which topics deliver reads, and whether all are there that it needs for it.
//!
//! A destination is read once its lanes, its dead letters and the receipts are there: nothing is
//! begun that could not be ended. It makes no topic.

use std::collections::{BTreeMap, BTreeSet};

use catalog_io::Catalog;
use kafka_io::topics::{Admin, AdminError, Existing};
use wire::topics::Names;

/// What can be read now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Readable {
    /// Topics to subscribe to.
    pub(crate) topics: Vec<String>,
    /// How many partitions the topics of each destination have together.
    pub(crate) partitions: BTreeMap<String, u32>,
    /// What is missing, and what to do; `None` when nothing is.
    pub(crate) missing: Option<String>,
}

/// Asks the cluster which of the catalog's destinations can be read.
pub(crate) async fn look(
    admin: &Admin,
    names: &Names,
    catalog: &Catalog,
) -> Result<Readable, AdminError> {
    let destinations = wanted(catalog);
    let wanted = destinations.keys().flat_map(|destination| of(names, destination));
    let wanted: Vec<String> = wanted.chain([names.receipts()]).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let existing = admin.describe(&wanted).await?;
    Ok(decide(names, &destinations, &existing))
}

/// The destinations, each with those that its deliveries may go to in the end.
fn wanted(catalog: &Catalog) -> BTreeMap<&str, BTreeSet<&str>> {
    let names = catalog.destinations.keys();
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> =
        names.map(|name| (name.as_str(), BTreeSet::new())).collect();
    for route in &catalog.routes {
        let Some(fallback) = &route.fallback else { continue };
        for destination in &route.rule.to {
            wanted.entry(destination.as_str()).or_default().insert(fallback.rule.to.as_str());
        }
    }
    wanted
}

fn of(names: &Names, destination: &str) -> [String; 3] {
    [names.out(destination), names.out_replay(destination), names.dlq("deliver", destination)]
}

fn decide(
    names: &Names,
    destinations: &BTreeMap<&str, BTreeSet<&str>>,
    existing: &BTreeMap<String, Existing>,
) -> Readable {
    let mut missing = Vec::new();
    let mut readable = Readable::default();
    let receipts = names.receipts();
    if !existing.contains_key(&receipts) {
        missing.push(is_missing(receipts.clone()));
    }
    for (destination, fallbacks) in destinations {
        let mut lacks = lacks(&of(names, destination), existing);
        let beyond = fallbacks.iter().map(|fallback| names.out(fallback));
        lacks.extend(beyond.filter(|topic| !existing.contains_key(topic)).map(is_missing));
        if lacks.is_empty() && existing.contains_key(&receipts) {
            let lanes = [names.out(destination), names.out_replay(destination)];
            let partitions = lanes.iter().filter_map(|topic| existing.get(topic));
            let partitions = partitions.map(|topic| topic.partitions.unsigned_abs()).sum();
            readable.partitions.insert((*destination).to_owned(), partitions);
            readable.topics.extend(lanes);
        }
        // A fallback's lane is its own destination's as well.
        let news = lacks.into_iter().filter(|lack| !missing.contains(lack));
        let news: Vec<String> = news.collect();
        missing.extend(news);
    }
    readable.missing = (!missing.is_empty())
        .then(|| format!("{}; run `millrace topics apply`", missing.join(", ")));
    readable
}

fn lacks(topics: &[String; 3], existing: &BTreeMap<String, Existing>) -> Vec<String> {
    let absent = topics.iter().filter(|topic| !existing.contains_key(*topic));
    let mut lacks: Vec<String> = absent.cloned().map(is_missing).collect();
    let [out, replay, dead] = topics.each_ref().map(|topic| existing.get(topic));
    if let (Some(out), Some(replay), Some(dead_letters)) = (out, replay, dead) {
        let most = out.partitions.max(replay.partitions);
        if dead_letters.partitions < most {
            // A dead letter keeps its record's partition.
            lacks.push(format!(
                "topic {} has {} partitions and needs {most}",
                topics[2], dead_letters.partitions
            ));
        }
    }
    lacks
}

fn is_missing(topic: String) -> String {
    format!("topic {topic} is missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone<'a>(destinations: &[&'a str]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        destinations.iter().map(|name| (*name, BTreeSet::new())).collect()
    }

    fn existing(topics: &[(&str, i32)]) -> BTreeMap<String, Existing> {
        let each = topics.iter();
        each.map(|(name, partitions)| {
            ((*name).to_owned(), Existing { partitions: *partitions, ..Existing::default() })
        })
        .collect()
    }

    #[test]
    fn a_destination_is_read_once_all_it_needs_is_there() {
        let names = Names::new("");
        let all = [
            ("receipts", 6),
            ("out.a", 3),
            ("out.a.replay", 3),
            ("dlq.deliver.a", 3),
            ("out.b", 1),
        ];
        let readable = decide(&names, &alone(&["a", "b"]), &existing(&all));
        assert_eq!(readable.topics, ["out.a", "out.a.replay"]);
        assert_eq!(readable.partitions, BTreeMap::from([("a".to_owned(), 6)]));
        let missing = readable.missing.expect("b is not whole");
        for part in ["out.b.replay is missing", "dlq.deliver.b is missing", "topics apply"] {
            assert!(missing.contains(part), "{missing}");
        }
    }

    #[test]
    fn a_destination_whose_fallback_has_no_lane_is_not_read() {
        let topics = [("receipts", 1), ("out.a", 1), ("out.a.replay", 1), ("dlq.deliver.a", 1)];
        let mut destinations = alone(&["a", "b"]);
        destinations.insert("a", BTreeSet::from(["b"]));
        let readable = decide(&Names::new(""), &destinations, &existing(&topics));
        assert!(readable.topics.is_empty());
        let missing = readable.missing.expect("b has no lane");
        assert_eq!(missing.matches("topic out.b is missing").count(), 1, "{missing}");
        let whole = [("out.b", 1), ("out.b.replay", 1), ("dlq.deliver.b", 1)];
        let readable =
            decide(&Names::new(""), &destinations, &existing(&[&topics[..], &whole[..]].concat()));
        assert_eq!((readable.topics.len(), readable.missing), (4, None));
    }

    #[test]
    fn without_receipts_nothing_is_read() {
        let topics = [("out.a", 3), ("out.a.replay", 3), ("dlq.deliver.a", 3)];
        let readable = decide(&Names::new(""), &alone(&["a"]), &existing(&topics));
        assert!(readable.topics.is_empty() && readable.missing.is_some());
    }

    #[test]
    fn dead_letters_need_as_many_partitions_as_their_records_have() {
        let topics = [("receipts", 1), ("out.a", 6), ("out.a.replay", 3), ("dlq.deliver.a", 3)];
        let readable = decide(&Names::new(""), &alone(&["a"]), &existing(&topics));
        assert!(readable.topics.is_empty());
        assert!(readable.missing.expect("too few").contains("has 3 partitions and needs 6"));
    }
}
