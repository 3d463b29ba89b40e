//! A dead letter's id: the coordinate it lies at.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Topic, partition and offset; reading it is one seek.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct LetterId {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the id of a dead letter: write topic/partition/offset, as `millrace dlq list` prints it"
)]
pub struct InvalidId(pub String);

impl FromStr for LetterId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let read = || {
            let mut parts = text.rsplitn(3, '/');
            let offset = digits(parts.next()?)?.parse().ok()?;
            let partition = digits(parts.next()?)?.parse().ok()?;
            let topic = parts.next()?;
            let named = !topic.is_empty() && !topic.contains('/');
            named.then(|| Self { topic: topic.to_owned(), partition, offset })
        };
        read().ok_or_else(|| InvalidId(text.to_owned()))
    }
}

/// Passes on plain digits only: a sign would make two texts of one id.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl TryFrom<String> for LetterId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<LetterId> for String {
    fn from(id: LetterId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_is_printed() {
        let id = LetterId { topic: "prod.dlq.deliver.crm".into(), partition: 3, offset: 42 };
        assert_eq!(id.to_string(), "prod.dlq.deliver.crm/3/42");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn anything_else_is_told_how_to_write_it() {
        for bad in [
            "",
            "a",
            "a/1",
            "a/b/1",
            "a/1/b",
            "/1/2",
            "a/-1/2",
            "a/+1/2",
            "a/b/1/2",
            "a/1/99999999999999999999",
        ] {
            let told = bad.parse::<LetterId>().expect_err(bad).to_string();
            assert!(told.contains("topic/partition/offset"), "{told}");
        }
    }
}
