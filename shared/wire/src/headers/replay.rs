//! The headers of a dead letter that is put through again.

use bytes::Bytes;

use super::{
    Headers, REPLAY_AT, REPLAY_BY, REPLAY_COUNT, REPLAY_JOB, REPLAY_PREFIX, owned, rfc3339, text,
    without_ours,
};

/// Who puts a record through again, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay<'a> {
    pub job: &'a str,
    pub by: &'a str,
    pub at_ms: i64,
}

/// Returns the headers of a dead letter's replay: the original ones, and ours about this replay.
pub fn replay(letter: &[(String, Bytes)], replay: &Replay<'_>) -> Headers {
    let count = replay_count(letter).saturating_add(1);
    let mut headers = without_ours(letter);
    headers.retain(|(name, _)| !name.starts_with(REPLAY_PREFIX));
    headers.push((REPLAY_COUNT.to_owned(), count.to_string().into()));
    headers.push(owned(REPLAY_JOB, replay.job));
    headers.push(owned(REPLAY_BY, replay.by));
    headers.push((REPLAY_AT.to_owned(), rfc3339(replay.at_ms).into()));
    headers
}

/// Returns how often a record was replayed; 0 for one that does not say.
pub fn replay_count(headers: &[(String, Bytes)]) -> u32 {
    text(headers, REPLAY_COUNT).and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::DLQ_REASON;

    #[test]
    fn a_replay_carries_the_original_headers_and_counts_on() {
        let original = ("x".to_owned(), Bytes::from_static(b"y"));
        let letter = vec![original.clone(), owned(DLQ_REASON, "permanent")];
        let first = replay(&letter, &Replay { job: "j1", by: "ann", at_ms: 0 });
        assert_eq!(first[0], original);
        assert_eq!(text(&first, DLQ_REASON), None);
        assert_eq!(replay_count(&first), 1);
        let second = replay(&first, &Replay { job: "j2", by: "ann", at_ms: 0 });
        assert_eq!((replay_count(&second), second.len()), (2, first.len()));
        assert_eq!(text(&second, REPLAY_JOB), Some("j2"));
        assert_eq!(text(&second, REPLAY_AT), Some("1970-01-01T00:00:00Z"));
    }
}
