//! Where letters are put through again: the lane of the consumer that gave up on them.

use std::{collections::HashMap, sync::Arc};

use kafka_io::reader::{Reader, TopicInfo};
use wire::topics::Names;

use crate::{Error, JobRange, letter::Letter};

/// A topic that a consumer reads besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) topic: Arc<str>,
    partitions: i32,
}

impl Lane {
    #[cfg(test)]
    pub(super) fn new(topic: &str, partitions: i32) -> Self {
        Self { topic: topic.into(), partitions }
    }

    /// Returns the letter's own partition number, by which its key's order is kept; where the lane
    /// has no such partition the key decides.
    pub(super) fn partition(&self, letter: i32) -> Option<i32> {
        (letter < self.partitions).then_some(letter)
    }
}

/// The lanes of a job's letters, and quarantine.
pub(super) struct Lanes {
    names: Names,
    topics: HashMap<String, i32>,
    /// By what [`home`] returns.
    known: HashMap<String, Option<Lane>>,
    pub(super) quarantine: Lane,
}

impl Lanes {
    /// Looks which lanes there are.
    ///
    /// # Errors
    /// [`Error::NoTopic`] where one is missing: its letters would be waited for in vain.
    pub(super) fn open(reader: &Reader, names: &Names, ranges: &[JobRange]) -> Result<Self, Error> {
        Self::among(reader.topics()?, names, ranges)
    }

    fn among(topics: Vec<TopicInfo>, names: &Names, ranges: &[JobRange]) -> Result<Self, Error> {
        let topics: HashMap<String, i32> =
            topics.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
        let needed = ranges.iter().filter_map(|range| lane_of_topic(&range.topic, names));
        let ours = [names.audit(), names.state(), names.quarantine()];
        if let Some(missing) = ours.into_iter().chain(needed).find(|t| !topics.contains_key(t)) {
            return Err(Error::NoTopic(missing));
        }
        let quarantine = lane(&topics, names.quarantine()).expect("it was looked for above");
        Ok(Self { names: names.clone(), topics, known: HashMap::new(), quarantine })
    }

    /// Returns a letter's lane, `None` where nobody reads what it is.
    pub(super) fn of(&mut self, letter: &Letter<'_>) -> Option<&Lane> {
        let home = home(letter, &self.names);
        if !self.known.contains_key(home) {
            let found = letter.lane(&self.names).and_then(|topic| lane(&self.topics, topic));
            self.known.insert(home.to_owned(), found);
        }
        self.known.get(home)?.as_ref()
    }
}

/// Returns the topic of dead letters that says whose a letter is.
fn home<'a>(letter: &Letter<'a>, names: &Names) -> &'a str {
    if letter.topic == names.quarantine() { letter.origin_topic } else { letter.topic }
}

fn lane_of_topic(topic: &str, names: &Names) -> Option<String> {
    Letter { topic, ..Letter::default() }.lane(names)
}

fn lane(topics: &HashMap<String, i32>, topic: String) -> Option<Lane> {
    let partitions = *topics.get(&topic)?;
    Some(Lane { topic: topic.into(), partitions })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(extra: &[(&str, i32)]) -> Vec<TopicInfo> {
        let ours = [("ctl.audit", 1), ("ctl.state", 1), ("dlq.quarantine", 1)];
        let all = ours.iter().chain(extra);
        all.map(|(name, partitions)| TopicInfo { name: (*name).into(), partitions: *partitions })
            .collect()
    }

    fn range(topic: &str) -> JobRange {
        JobRange { topic: topic.into(), partition: 0, from: 0, to: 1 }
    }

    fn letter<'a>(topic: &'a str, origin_topic: &'a str) -> Letter<'a> {
        Letter { topic, origin_topic, ..Letter::default() }
    }

    #[test]
    fn a_letter_goes_to_the_lane_of_who_gave_up_on_it_also_from_quarantine() {
        let there = topics(&[("out.crm.replay", 2), ("raw.git.replay", 3)]);
        let names = Names::new("");
        let ranges =
            [range("dlq.deliver.crm"), range("dlq.transform.git"), range("dlq.quarantine")];
        let mut lanes = Lanes::among(there, &names, &ranges).expect("all lanes are there");
        let rows = [
            ("dlq.deliver.crm", "out.crm", Some("out.crm.replay")),
            ("dlq.transform.git", "raw.git", Some("raw.git.replay")),
            ("dlq.quarantine", "dlq.deliver.crm", Some("out.crm.replay")),
            ("dlq.quarantine", "dlq.deliver.gone", None),
            ("dlq.quarantine", "", None),
        ];
        for (topic, origin, wanted) in rows {
            let found = lanes.of(&letter(topic, origin)).map(|lane| lane.topic.to_string());
            assert_eq!(found.as_deref(), wanted, "{topic} {origin}");
        }
        let lane = lanes.of(&letter("dlq.deliver.crm", "")).expect("it is there").clone();
        assert_eq!((lane.partition(1), lane.partition(2)), (Some(1), None));
    }

    #[test]
    fn a_missing_lane_is_told_before_anything_is_replayed() {
        let names = Names::new("");
        let Err(error) = Lanes::among(topics(&[]), &names, &[range("dlq.deliver.crm")]) else {
            panic!("the lane is missing");
        };
        assert!(error.to_string().contains("out.crm.replay is missing"), "{error}");
    }
}
