//! One dead letter with all it holds: one seek.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kafka_io::Record;
use registry_io::Registry;
use serde::Serialize;
use wire::topics::{Names, TopicKind};

use crate::{
    Error, Filter, LetterId, Summary, cluster::Cluster, decode, letter::Letter, scan::History,
    state,
};

/// The most one seek may take.
pub(crate) const SEEK: Duration = Duration::from_secs(10);

/// A dead letter in full.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Shown {
    pub summary: Summary,
    /// In their order; a value that is no text is in base64 after `base64:`.
    pub headers: Vec<(String, String)>,
    /// As text, or in base64 after `base64:`.
    pub key: Option<String>,
    /// The value's bytes in base64.
    pub value: Option<String>,
    /// The value as a record of ours; `None` where it is none, or its schema is not at hand.
    pub decoded: Option<serde_json::Value>,
}

/// What was found before it is decoded.
pub(crate) struct Found {
    record: Record,
    summary: Summary,
}

/// Seeks a letter.
pub(crate) fn find(cluster: &Cluster, id: &LetterId) -> Result<Found, Error> {
    let reader = cluster.reader()?;
    let asked = Filter { topics: vec![id.topic.clone()], ..Filter::default() };
    if let Some(problem) = asked.problem(&cluster.names) {
        return Err(Error::Asked(problem));
    }
    let topics = reader.topics()?;
    let topic = topics.iter().find(|topic| topic.name == id.topic);
    if topic.is_none_or(|topic| id.partition >= topic.partitions) {
        return Err(Error::NoSuchLetter(id.clone()));
    }
    let found = reader.fetch_one(&id.topic, id.partition, id.offset, SEEK)?;
    let record = found.ok_or_else(|| Error::NoSuchLetter(id.clone()))?;
    let history = History::new(state::jobs(cluster, &reader)?);
    let letter = Letter::of_record(&record, &cluster.names);
    let summary = letter.summary(history.replayed_by(&letter).cloned());
    Ok(Found { record, summary })
}

/// Decodes what was found, where that can be done.
pub(crate) async fn decoded(found: Found, registry: &Registry, names: &Names) -> Shown {
    let Found { record, summary } = found;
    let home = match names.parse(&record.topic) {
        Some(TopicKind::Quarantine) => summary.origin.as_ref().map_or("", |origin| &origin.topic),
        _ => &*record.topic,
    };
    let value = record.value.as_deref().unwrap_or_default();
    let decoded = match names.parse(home) {
        Some(TopicKind::DeadLetters { service: "deliver", .. }) => {
            decode::decoded(registry, value).await.and_then(|found| decode::delivery(&found))
        }
        Some(TopicKind::DeadLetters { service: "transform", .. }) => {
            decode::decoded(registry, value).await.and_then(|found| decode::envelope(&found))
        }
        _ => None,
    };
    Shown {
        summary,
        headers: record.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        key: record.key.as_deref().map(text),
        value: record.value.as_deref().map(|value| STANDARD.encode(value)),
        decoded,
    }
}

/// Returns bytes as text, or in base64 where they are none.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_all_the_same() {
        assert_eq!(text("grün".as_bytes()), "grün");
        assert_eq!(text(&[0xff, 0]), "base64:/wA=");
    }
}
