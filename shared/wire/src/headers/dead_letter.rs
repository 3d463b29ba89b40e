//! The headers that turn a record into a dead letter, and back.
//!
//! The record's own headers stay byte for byte and in their order; ours of an earlier failure are
//! replaced, those about replays stay.

use bytes::Bytes;
use domain::{dead_letter::Reason, trace::TraceContext};

use super::{
    DLQ_AT, DLQ_ERROR_MESSAGE, DLQ_ERROR_TYPE, DLQ_PREFIX, DLQ_REASON, DLQ_SERVICE,
    DLQ_SERVICE_VERSION, DLQ_SOURCE_OFFSET, DLQ_SOURCE_PARTITION, DLQ_SOURCE_TIMESTAMP,
    DLQ_SOURCE_TOPIC, DLQ_TRACEPARENT, Headers, fixed, owned, rfc3339,
};

/// The longest error message kept, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// Why a record was given up on, and where it lay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure<'a> {
    pub reason: Reason,
    /// The error's class in one word, such as `timeout`.
    pub error_type: &'a str,
    /// For a person; shortened and scrubbed when written.
    pub message: &'a str,
    pub service: &'a str,
    pub service_version: &'a str,
    pub at_ms: i64,
    pub source_topic: &'a str,
    pub source_partition: i32,
    pub source_offset: i64,
    pub source_timestamp_ms: i64,
    pub traceparent: Option<TraceContext>,
}

/// Where a dead letter lay before: two with the same origin are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
}

/// Returns the headers of the dead letter of a record that had `original`.
pub fn dead_letter(original: &[(String, Bytes)], failure: &Failure<'_>) -> Headers {
    let mut headers = without_ours(original);
    let text = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
    headers.extend([
        fixed(DLQ_REASON, failure.reason.label()),
        owned(DLQ_ERROR_TYPE, failure.error_type),
        text(DLQ_ERROR_MESSAGE, scrub(failure.message)),
        owned(DLQ_SERVICE, failure.service),
        owned(DLQ_SERVICE_VERSION, failure.service_version),
        text(DLQ_AT, rfc3339(failure.at_ms)),
        owned(DLQ_SOURCE_TOPIC, failure.source_topic),
        text(DLQ_SOURCE_PARTITION, failure.source_partition.to_string()),
        text(DLQ_SOURCE_OFFSET, failure.source_offset.to_string()),
        text(DLQ_SOURCE_TIMESTAMP, failure.source_timestamp_ms.to_string()),
    ]);
    if let Some(context) = failure.traceparent {
        headers.push(text(DLQ_TRACEPARENT, context.to_string()));
    }
    headers
}

/// Returns the headers without what we said of an earlier failure.
pub fn without_ours(headers: &[(String, Bytes)]) -> Headers {
    headers.iter().filter(|(name, _)| !name.starts_with(DLQ_PREFIX)).cloned().collect()
}

/// Reads where a dead letter lay before, `None` where the headers do not say it.
pub fn origin<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Option<Origin<'a>> {
    let (mut topic, mut partition, mut offset) = (None, None, None);
    for (name, value) in headers {
        let Some(rest) = name.strip_prefix(DLQ_PREFIX) else { continue };
        let value = std::str::from_utf8(value).ok();
        match rest {
            "source-topic" => topic = value,
            "source-partition" => partition = value.and_then(|v| v.parse().ok()),
            "source-offset" => offset = value.and_then(|v| v.parse().ok()),
            _ => {}
        }
    }
    Some(Origin { topic: topic?, partition: partition?, offset: offset? })
}

/// Makes an error message fit for the log: one line, at most [`MESSAGE_BYTES_MAX`] bytes, without
/// what may be a credential.
pub fn scrub(message: &str) -> String {
    let mut kept = String::with_capacity(message.len().min(MESSAGE_BYTES_MAX));
    let mut after_scheme = false;
    for word in message.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.push_str(&if after_scheme { "***".to_owned() } else { scrubbed(word) });
        after_scheme = is_scheme(word);
        if kept.len() > MESSAGE_BYTES_MAX {
            break;
        }
    }
    kept.truncate(kept.floor_char_boundary(MESSAGE_BYTES_MAX));
    kept
}

/// Says whether a credential follows this word of an `authorization` header.
fn is_scheme(word: &str) -> bool {
    let word = word.trim_start_matches(['"', '\'', '(']);
    ["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Hides an address's user, password and query.
fn scrubbed(word: &str) -> String {
    let Some(start) = word.find("://").map(|at| at + 3) else { return word.to_owned() };
    let (before, rest) = word.split_at(start);
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(host);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("***@{host}"),
        None => authority.to_owned(),
    };
    let path = match path.find('?') {
        Some(at) => format!("{}?***", &path[..at]),
        None => path.to_owned(),
    };
    format!("{before}{authority}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{CE_ID, REPLAY_COUNT, text};

    fn failure(reason: Reason) -> Failure<'static> {
        Failure {
            reason,
            error_type: "timeout",
            message: "no answer within 30 s",
            service: "millrace-deliver",
            service_version: "0.1.0",
            at_ms: 1_700_000_000_000,
            source_topic: "out.crm",
            source_partition: 3,
            source_offset: 42,
            source_timestamp_ms: 1_699_999_999_000,
            traceparent: None,
        }
    }

    #[test]
    fn original_headers_stay_byte_for_byte_and_in_their_order() {
        let original: Headers = vec![
            ("b".into(), Bytes::from_static(&[0xff, 0, 1])),
            (CE_ID.into(), Bytes::from_static(b"evt_1")),
            ("b".into(), Bytes::new()),
        ];
        let letter = dead_letter(&original, &failure(Reason::BudgetSpent));
        assert_eq!(letter[..3], original[..]);
        assert_eq!(text(&letter, DLQ_REASON), Some("budget_spent"));
        assert_eq!(text(&letter, DLQ_AT), Some("2023-11-14T22:13:20Z"));
        assert_eq!(without_ours(&letter), original);
    }

    #[test]
    fn a_second_failure_replaces_the_first_and_keeps_the_replay_count() {
        let original = vec![(REPLAY_COUNT.to_owned(), Bytes::from_static(b"2"))];
        let first = dead_letter(&original, &failure(Reason::BudgetSpent));
        let second = dead_letter(&first, &failure(Reason::Permanent));
        assert_eq!(second.len(), first.len());
        assert_eq!(text(&second, DLQ_REASON), Some("permanent"));
        assert_eq!(text(&second, REPLAY_COUNT), Some("2"));
    }

    #[test]
    fn the_origin_reads_back_and_half_of_one_is_none() {
        let letter = dead_letter(&[], &failure(Reason::Permanent));
        let pairs = || letter.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
        let wanted = Origin { topic: "out.crm", partition: 3, offset: 42 };
        assert_eq!(origin(pairs()), Some(wanted));
        assert_eq!(origin(pairs().filter(|(name, _)| *name != DLQ_SOURCE_OFFSET)), None);
    }

    #[test]
    fn a_message_is_one_short_line_without_credentials() {
        let rows = [
            ("a\r\n\tb\0c", "a b c"),
            ("GET https://u:p@h.example/x?key=1 failed", "GET https://***@h.example/x?*** failed"),
            ("authorization: Bearer abc.def refused", "authorization: Bearer *** refused"),
            ("plain", "plain"),
            ("", ""),
        ];
        for (message, wanted) in rows {
            assert_eq!(scrub(message), wanted);
        }
        assert!(scrub(&"ä".repeat(2000)).len() <= MESSAGE_BYTES_MAX);
    }
}
