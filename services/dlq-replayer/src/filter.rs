//! Which dead letters are meant: pure.

use domain::dead_letter::Reason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::topics::{Names, TopicKind};

use crate::letter::Letter;

/// Which dead letters are meant; an empty list of a field means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Names of dead-letter topics; the quarantine is meant only where it is named here.
    pub topics: Vec<String>,
    #[schemars(with = "Vec<String>")]
    pub reasons: Vec<Reason>,
    pub destinations: Vec<String>,
    pub sources: Vec<String>,
    /// Given up on at or after, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Given up on before, in milliseconds since 1970.
    pub until_ms: Option<i64>,
}

impl Filter {
    /// Says whether a topic may hold letters that are meant.
    pub(crate) fn wants_topic(&self, topic: &str, names: &Names) -> bool {
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        match names.parse(topic) {
            Some(TopicKind::Quarantine) => self.topics.iter().any(|name| name == topic),
            Some(TopicKind::DeadLetters { service, stream }) => {
                named(&self.topics, topic)
                    && match service {
                        "deliver" => named(&self.destinations, stream),
                        "transform" => named(&self.sources, stream) && self.destinations.is_empty(),
                        _ => true,
                    }
            }
            _ => false,
        }
    }

    /// Says whether a letter of a wanted topic is meant.
    pub(crate) fn wants(&self, letter: &Letter<'_>) -> bool {
        let named = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
        let reason = |wanted: &[Reason]| {
            wanted.is_empty() || letter.reason.is_some_and(|reason| wanted.contains(&reason))
        };
        self.since_ms.is_none_or(|since| letter.at_ms >= since)
            && self.until_ms.is_none_or(|until| letter.at_ms < until)
            && reason(&self.reasons)
            && named(&self.topics, letter.topic)
            && named(&self.destinations, letter.destination)
            && named(&self.sources, letter.source)
    }

    /// Returns what can't be meant, for a person who typed it.
    pub(crate) fn problem(&self, names: &Names) -> Option<String> {
        let letters = |topic: &&String| {
            let kind = names.parse(topic);
            !matches!(kind, Some(TopicKind::DeadLetters { .. } | TopicKind::Quarantine))
        };
        if let Some(topic) = self.topics.iter().find(letters) {
            return Some(format!("{topic:?} is not a topic of dead letters"));
        }
        let empty = matches!((self.since_ms, self.until_ms), (Some(s), Some(u)) if s >= u);
        empty.then(|| "the time range ends before it begins".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(change: impl FnOnce(&mut Filter)) -> Filter {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    }

    #[test]
    fn topics_are_chosen_by_name_destination_and_source() {
        let names = Names::new("p.");
        let rows: [(Filter, &[&str]); 5] = [
            (Filter::default(), &["p.dlq.deliver.crm", "p.dlq.deliver.erp", "p.dlq.transform.git"]),
            (filter(|f| f.destinations = vec!["crm".into()]), &["p.dlq.deliver.crm"]),
            (
                filter(|f| f.sources = vec!["git".into()]),
                &["p.dlq.deliver.crm", "p.dlq.deliver.erp", "p.dlq.transform.git"],
            ),
            (filter(|f| f.topics = vec!["p.dlq.quarantine".into()]), &["p.dlq.quarantine"]),
            (filter(|f| f.sources = vec!["x".into()]), &["p.dlq.deliver.crm", "p.dlq.deliver.erp"]),
        ];
        let all = [
            "p.dlq.deliver.crm",
            "p.dlq.deliver.erp",
            "p.dlq.transform.git",
            "p.dlq.quarantine",
            "p.out.crm",
            "dlq.deliver.crm",
        ];
        for (filter, wanted) in rows {
            let found: Vec<&str> =
                all.into_iter().filter(|topic| filter.wants_topic(topic, &names)).collect();
            assert_eq!(found, wanted, "{filter:?}");
        }
    }

    #[test]
    fn each_field_narrows_what_is_meant() {
        let letter = Letter {
            topic: "dlq.deliver.crm",
            at_ms: 100,
            reason: Some(Reason::Permanent),
            source: "git",
            destination: "crm",
            ..Letter::default()
        };
        let rows = [
            (Filter::default(), true),
            (filter(|f| f.since_ms = Some(100)), true),
            (filter(|f| f.since_ms = Some(101)), false),
            (filter(|f| f.until_ms = Some(100)), false),
            (filter(|f| f.until_ms = Some(101)), true),
            (filter(|f| f.reasons = vec![Reason::Permanent]), true),
            (filter(|f| f.reasons = vec![Reason::BudgetSpent]), false),
            (filter(|f| f.destinations = vec!["crm".into()]), true),
            (filter(|f| f.destinations = vec!["erp".into()]), false),
            (filter(|f| f.sources = vec!["git".into()]), true),
            (filter(|f| f.sources = vec!["pay".into()]), false),
            (filter(|f| f.topics = vec!["dlq.deliver.erp".into()]), false),
        ];
        for (filter, wanted) in rows {
            assert_eq!(filter.wants(&letter), wanted, "{filter:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let names = Names::new("");
        assert_eq!(Filter::default().problem(&names), None);
        let other = filter(|f| f.topics = vec!["out.crm".into()]);
        assert!(other.problem(&names).is_some_and(|told| told.contains("out.crm")));
        let empty = filter(|f| (f.since_ms, f.until_ms) = (Some(5), Some(5)));
        assert!(empty.problem(&names).is_some());
    }
}
