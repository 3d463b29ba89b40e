//! The record a dead letter becomes: in its lane, or in quarantine.

use std::sync::Arc;

use domain::{dead_letter::Reason, trace::TraceContext};
use kafka_io::{Outgoing, Record};
use wire::headers::{self, Failure, Replay};

use super::lanes::Lane;
use crate::Job;

/// Returns the letter as it goes into its lane again.
///
/// `trace` is the replay's own context; without one the record's stays, by which others link to it.
pub(super) fn replayed(
    record: Record,
    lane: &Lane,
    job: &Job,
    trace: Option<TraceContext>,
    now_ms: i64,
) -> Outgoing {
    let replay = Replay { job: job.id.as_str(), by: &job.by, at_ms: now_ms };
    let mut headers = headers::replay(&record.headers, &replay);
    if let Some(trace) = trace {
        headers.retain(|(name, _)| name != headers::TRACEPARENT);
        headers.push((headers::TRACEPARENT.to_owned(), trace.to_string().into()));
    }
    Outgoing {
        topic: lane.topic.clone(),
        partition: lane.partition(record.partition),
        headers,
        key: record.key,
        value: record.value,
        // The time of now: the lane's retention would remove a record of weeks ago at once.
        timestamp_ms: None,
    }
}

/// Returns the letter as it is set aside for good.
pub(super) fn quarantined(record: Record, topic: &Arc<str>, job: &Job, now_ms: i64) -> Outgoing {
    let count = headers::replay_count(&record.headers);
    let message = format!(
        "it was replayed {count} times, at most {} are allowed; what it failed of last: {}",
        job.replays_max,
        headers::text(&record.headers, headers::DLQ_ERROR_MESSAGE).unwrap_or("unknown"),
    );
    let failure = Failure {
        reason: Reason::ReplayCap,
        error_type: "replay_cap",
        message: &message,
        service: "millrace-dlq-replayer",
        service_version: env!("CARGO_PKG_VERSION"),
        at_ms: now_ms,
        source_topic: &record.topic,
        source_partition: record.partition,
        source_offset: record.offset,
        source_timestamp_ms: record.timestamp_ms,
        traceparent: None,
    };
    Outgoing {
        topic: topic.clone(),
        partition: None,
        headers: headers::dead_letter(&record.headers, &failure),
        key: record.key,
        value: record.value,
        timestamp_ms: Some(record.timestamp_ms).filter(|ms| *ms > 0),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Choice, Filter, job::tests::job};

    fn record() -> Record {
        let header =
            |name: &str, value: &'static [u8]| (name.to_owned(), Bytes::from_static(value));
        Record {
            topic: "dlq.deliver.crm".into(),
            partition: 2,
            offset: 9,
            epoch: 0,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(&[0, 1, 255])),
            headers: vec![
                header("x", &[255]),
                header("millrace-replay-count", b"5"),
                header("millrace-dlq-reason", b"permanent"),
                header("millrace-dlq-error-message", b"410"),
            ],
            timestamp_ms: 77,
        }
    }

    #[test]
    fn a_replayed_letter_is_the_original_record_and_counts_on() {
        let job = job(1, Choice::Filter(Filter::default()), 9);
        let lane = Lane::new("out.crm.replay", 3);
        let sent = replayed(record(), &lane, &job, None, 0);
        assert_eq!((sent.key, sent.value), (record().key, record().value));
        assert_eq!(sent.headers[0], record().headers[0]);
        assert_eq!(headers::text(&sent.headers, "millrace-replay-count"), Some("6"));
        assert_eq!(headers::text(&sent.headers, "millrace-replay-by"), Some("ann"));
        assert_eq!(headers::text(&sent.headers, "millrace-dlq-reason"), None);
        assert_eq!((sent.partition, sent.timestamp_ms), (Some(2), None));
    }

    #[test]
    fn a_replay_that_is_traced_carries_its_own_context() {
        let job = job(1, Choice::Filter(Filter::default()), 9);
        let trace = TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled: true };
        let sent = replayed(record(), &Lane::new("out.crm.replay", 1), &job, Some(trace), 0);
        assert_eq!(headers::context(&sent.headers, headers::TRACEPARENT), Some(trace));
        assert_eq!(sent.partition, None);
    }

    #[test]
    fn a_quarantined_letter_keeps_its_count_and_says_why_and_from_where() {
        let job = job(1, Choice::Filter(Filter::default()), 9);
        let sent = quarantined(record(), &"dlq.quarantine".into(), &job, 0);
        let text = |name| headers::text(&sent.headers, name);
        assert_eq!(text("millrace-dlq-reason"), Some("replay_cap"));
        assert_eq!(text("millrace-replay-count"), Some("5"));
        assert_eq!(text("millrace-dlq-source-topic"), Some("dlq.deliver.crm"));
        assert_eq!(text("millrace-dlq-source-offset"), Some("9"));
        assert!(text("millrace-dlq-error-message").is_some_and(|told| told.ends_with("last: 410")));
        assert_eq!(sent.timestamp_ms, Some(77));
    }
}
