//! Headers as they were once written: what is read from them is found in them for ever.
//!
//! A file is `<kind>.<version>.headers`, one `name: value` a line, in their order. None is ever changed.

use bytes::Bytes;
use domain::{dead_letter::Reason, trace::TraceContext};

use super::{assert_golden, golden, sample_delivery, sample_envelope, sample_receipt};
use crate::headers::{
    self, CE_CORRELATIONID, CE_ID, CE_RECORDEDTIME, CE_TRACEPARENT, DELIVERY_ID, DESTINATION,
    DLQ_AT, DLQ_REASON, Failure, Headers, Origin, Replay, TRACEPARENT,
};

const HERE: TraceContext = TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled: true };
const BEGAN: TraceContext = TraceContext { trace_id: [1; 16], span_id: [3; 8], sampled: true };

fn failure() -> Failure<'static> {
    Failure {
        reason: Reason::BudgetSpent,
        error_type: "timeout",
        message: "no answer from https://ann:hush@crm.example/contacts?key=hush within 30 s",
        service: "millrace-deliver",
        service_version: "0.1.0",
        at_ms: 1_700_000_002_000,
        source_topic: "out.crm",
        source_partition: 3,
        source_offset: 42,
        source_timestamp_ms: 1_699_999_999_000,
        traceparent: Some(HERE),
    }
}

/// The dead letter of the golden delivery, and that letter put through again.
fn letter_and_replay() -> (Headers, Headers) {
    let delivery = headers::delivery(&sample_delivery(), Some(HERE), Some(BEGAN));
    let letter = headers::dead_letter(&delivery, &failure());
    let job = "0123456789abcdef0123456789abcdef";
    let again = headers::replay(&letter, &Replay { job, by: "ann", at_ms: 1_700_000_003_000 });
    (letter, again)
}

fn as_text(headers: &[(String, Bytes)]) -> String {
    let line =
        |(name, value): &(String, Bytes)| format!("{name}: {}\n", String::from_utf8_lossy(value));
    headers.iter().map(line).collect()
}

fn read(file: &str) -> Headers {
    let text = String::from_utf8(golden(file)).expect("it is text");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a line is a header");
        (name.to_owned(), Bytes::from(value.to_owned()))
    };
    text.lines().map(pair).collect()
}

fn origin(headers: &[(String, Bytes)]) -> Option<Origin<'_>> {
    headers::origin(headers.iter().map(|(name, value)| (name.as_str(), value.as_ref())))
}

#[test]
fn the_headers_written_now_are_among_the_golden_files() {
    let (letter, again) = letter_and_replay();
    let written = [
        ("envelope.1.headers", headers::cloud_event(&sample_envelope(), Some(BEGAN))),
        ("delivery.1.headers", headers::delivery(&sample_delivery(), Some(HERE), Some(BEGAN))),
        ("receipt.1.headers", headers::receipt(&sample_receipt(), Some(HERE), Some(BEGAN))),
        ("dead-letter.1.headers", letter),
        ("replay.1.headers", again),
    ];
    for (file, headers) in written {
        assert_golden(file, as_text(&headers).as_bytes());
    }
}

#[test]
fn every_header_ever_written_tells_of_which_event_and_delivery_it_is() {
    let all = ["envelope.1", "delivery.1", "receipt.1", "dead-letter.1", "replay.1"];
    for kind in all {
        let found = read(&format!("{kind}.headers"));
        let text = |name| headers::text(&found, name);
        assert_eq!((text(CE_ID), text(CE_CORRELATIONID)), (Some("evt_1"), Some("c-1")), "{kind}");
        assert_eq!(headers::context(&found, CE_TRACEPARENT), Some(BEGAN), "{kind}");
        if kind == "envelope.1" {
            let recorded = text(CE_RECORDEDTIME).and_then(headers::unix_millis);
            assert_eq!(recorded, Some(sample_envelope().received_ms));
            continue;
        }
        assert_eq!(headers::context(&found, TRACEPARENT), Some(HERE), "{kind}");
        assert_eq!(text(DELIVERY_ID), Some(&*sample_delivery().delivery_id), "{kind}");
        assert_eq!(text(DESTINATION), Some("crm"), "{kind}");
    }
}

#[test]
fn every_dead_letter_ever_written_tells_why_when_and_where_it_lay_and_is_replayed() {
    let letter = read("dead-letter.1.headers");
    let text = |name| headers::text(&letter, name);
    assert_eq!(
        text(DLQ_REASON).and_then(|word| word.parse::<Reason>().ok()),
        Some(Reason::BudgetSpent)
    );
    assert_eq!(text(DLQ_AT).and_then(headers::unix_millis), Some(failure().at_ms));
    let wanted = Origin { topic: "out.crm", partition: 3, offset: 42 };
    assert_eq!((origin(&letter), headers::replay_count(&letter)), (Some(wanted), 0));
    let again = read("replay.1.headers");
    assert_eq!((origin(&again), headers::replay_count(&again)), (None, 1));
    assert_eq!(headers::without_ours(&letter), read("delivery.1.headers"));
}

#[test]
fn a_dead_letter_of_a_later_version_is_known_by_what_it_has_of_this_one() {
    // A header more of each kind, its reason a new one, and no time of its source.
    let letter = read("dead-letter.newer.headers");
    let wanted = Origin { topic: "out.crm", partition: 3, offset: 42 };
    assert_eq!((origin(&letter), headers::replay_count(&letter)), (Some(wanted), 2));
    let again = headers::replay(&letter, &Replay { job: "j", by: "ann", at_ms: 0 });
    assert_eq!(headers::replay_count(&again), 3);
    let left = again.iter().filter(|(name, _)| name.starts_with(headers::DLQ_PREFIX));
    assert_eq!(left.count(), 0);
    assert_eq!(headers::text(&again, "x-tenant"), Some("a"));
}
