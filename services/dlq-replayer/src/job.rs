//! A replay job as it is recorded: who wants what put through again, and how far it is.
//!
//! Its ranges are fixed when it starts, so that letters that come later, its own failures among
//! them, are none of its business.

use std::{fmt, ops::Range, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Filter, LetterId, letter::Letter};

/// The most letters one job names by id.
pub const IDS_MAX: usize = 1000;

/// A job's name.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct JobId(String);

/// A text that names no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a replay job: write it as `millrace dlq jobs` prints it")]
pub struct InvalidJobId(pub String);

impl JobId {
    /// Makes an id of random bits; ids made later are greater.
    pub(crate) fn of(uuid: uuid::Uuid) -> Self {
        Self(uuid.simple().to_string())
    }

    /// Returns the id as text: 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the consumer group that holds the job's position.
    pub fn group(&self) -> String {
        format!("millrace-replay-{}", self.0)
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let digit = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
        let named = text.len() == 32 && text.bytes().all(digit);
        if named { Ok(Self(text.to_owned())) } else { Err(InvalidJobId(text.to_owned())) }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which letters a job is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    Filter(Filter),
    Ids(Vec<LetterId>),
}

/// What somebody wants replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub choice: Choice,
    /// Also what an earlier job has replayed.
    pub again: bool,
    /// Who wants it, for the audit and the records' headers.
    pub by: String,
    /// A record replayed this often goes to quarantine.
    pub replays_max: u32,
}

/// A part of a dead-letter topic: from the first offset up to and without the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRange {
    pub topic: String,
    pub partition: i32,
    pub from: i64,
    pub to: i64,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Recorded, or under way; whoever finds it silent goes on with it.
    Unfinished,
    Done,
}

/// What became of the letters in a job's ranges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// Records looked at.
    pub scanned: u64,
    /// Those the choice means, doubles left out.
    pub chosen: u64,
    /// Put through again; in a dry run, those that would be.
    pub republished: u64,
    /// Left out because an earlier job has replayed them.
    pub replayed_before: u64,
    /// Left out because another letter has the same origin.
    pub doubles: u64,
    /// Set aside because they were replayed too often.
    pub quarantined: u64,
    /// Not put through: no lane to put them into, or Kafka refused the record.
    pub failed: u64,
}

/// A replay job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    pub id: JobId,
    pub by: String,
    pub created_ms: i64,
    /// Where its first record lies among all jobs': of two that mean one letter, the first replays it.
    #[serde(default)]
    pub place: Option<i64>,
    pub choice: Choice,
    pub again: bool,
    pub replays_max: u32,
    /// At most one for a partition, fixed when the job was made.
    pub ranges: Vec<JobRange>,
    /// Origins of the letters chosen by id: their doubles count as replayed too.
    #[serde(default)]
    pub origins: Vec<LetterId>,
    pub status: Status,
    pub counts: Counts,
    /// Letters that were not put through, of those that have a lane.
    #[serde(default)]
    pub failed: Vec<LetterId>,
    /// So many letters failed that the job ended early: its ranges are what it has passed.
    #[serde(default)]
    pub cut_short: bool,
    /// Who runs it, and when it was last heard of.
    pub runner: String,
    pub updated_ms: i64,
    #[serde(default)]
    pub finished_ms: Option<i64>,
}

impl Job {
    /// Returns the part of a partition that the job is about; empty for one it is not about.
    pub(crate) fn range(&self, topic: &str, partition: i32) -> Range<i64> {
        let found = self.ranges.iter().find(|r| r.partition == partition && r.topic == topic);
        found.map_or(0..0, |range| range.from..range.to)
    }

    /// Says whether a letter the job means was not put through.
    pub(crate) fn has_failed(&self, letter: &Letter<'_>) -> bool {
        self.failed.iter().any(|id| is(id, (letter.topic, letter.partition, letter.offset)))
    }

    /// Returns what orders jobs: one that is not recorded comes after all that are.
    pub(crate) fn turn(&self) -> (i64, i64, &JobId) {
        (self.place.unwrap_or(i64::MAX), self.created_ms, &self.id)
    }

    /// Says whether the choice means a letter, whatever became of it.
    pub(crate) fn means(&self, letter: &Letter<'_>) -> bool {
        match &self.choice {
            Choice::Filter(filter) => filter.wants(letter),
            Choice::Ids(ids) => {
                let origin = letter.origin();
                ids.iter().any(|id| is(id, (letter.topic, letter.partition, letter.offset)))
                    || origin.is_some_and(|o| {
                        self.origins.iter().any(|id| is(id, (o.topic, o.partition, o.offset)))
                    })
            }
        }
    }

    /// Says whether a job of somebody silent since `silent_ms` may be gone on with.
    pub fn is_abandoned(&self, now_ms: i64, silent_ms: i64) -> bool {
        self.status == Status::Unfinished && now_ms.saturating_sub(self.updated_ms) >= silent_ms
    }
}

fn is(id: &LetterId, (topic, partition, offset): (&str, i32, i64)) -> bool {
    id.offset == offset && id.partition == partition && id.topic == topic
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A job over `dlq.deliver.crm/0` from 0 up to `to`.
    pub(crate) fn job(number: u128, choice: Choice, to: i64) -> Job {
        let range = JobRange { topic: "dlq.deliver.crm".into(), partition: 0, from: 0, to };
        Job {
            id: JobId::of(uuid::Uuid::from_u128(number)),
            by: "ann".into(),
            created_ms: 1,
            place: i64::try_from(number).ok(),
            choice,
            again: false,
            replays_max: 5,
            ranges: vec![range],
            origins: vec![],
            status: Status::Unfinished,
            counts: Counts::default(),
            failed: vec![],
            cut_short: false,
            runner: "a".into(),
            updated_ms: 1_000,
            finished_ms: None,
        }
    }

    #[test]
    fn a_job_reads_back_as_it_is_recorded() {
        let id = "dlq.deliver.crm/0/7".parse().expect("it is an id");
        for choice in [Choice::Ids(vec![id]), Choice::Filter(Filter::default())] {
            let job = job(1, choice, 9);
            let text = serde_json::to_string(&job).expect("it is written");
            assert_eq!(serde_json::from_str::<Job>(&text).expect("it reads back"), job);
        }
    }

    #[test]
    fn only_a_silent_unfinished_job_is_taken_over() {
        let mut job = job(1, Choice::Ids(vec![]), 9);
        assert!(!job.is_abandoned(1_999, 1_000));
        assert!(job.is_abandoned(2_000, 1_000));
        job.status = Status::Done;
        assert!(!job.is_abandoned(2_000, 1_000));
    }

    #[test]
    fn a_job_by_id_means_the_doubles_of_its_letters_too() {
        let mut job = job(1, Choice::Ids(vec!["dlq.deliver.crm/0/7".parse().expect("id")]), 9);
        job.origins = vec!["out.crm/0/70".parse().expect("id")];
        let letter = |offset, origin| Letter {
            topic: "dlq.deliver.crm",
            offset,
            origin_topic: "out.crm",
            origin_partition: Some(0),
            origin_offset: Some(origin),
            ..Letter::default()
        };
        assert!(job.means(&letter(7, 1)));
        assert!(job.means(&letter(5, 70)));
        assert!(!job.means(&letter(5, 71)));
    }

    #[test]
    fn a_text_that_is_no_job_id_is_refused() {
        for bad in ["", "1", "0123456789ABCDEF0123456789abcdef", "0123456789abcdef0123456789abcde/"]
        {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }
}
