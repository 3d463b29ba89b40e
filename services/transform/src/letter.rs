//! Dead letters: the record as it came, why it was given up on, and for which routes. Pure.
//!
//! A record gives at most one dead letter, also when several of its routes failed: it names them
//! all, and its replay runs only those. What other routes made of the event stands already; a
//! replay without route names runs all, and idempotency keys make what is repeated harmless.

use bytes::Bytes;
use domain::{dead_letter::Reason, time::UnixMillis, trace::TraceContext};
use kafka_io::{Outgoing, Record};
use wire::headers::{self, Failure, Headers, ROUTE};

use crate::{plan::DeadLetters, series::SERVICE};

/// What stands in a dead letter whose value Kafka did not take: how many bytes it had.
pub(crate) const OMITTED: &str = "millrace-dlq-omitted-bytes";

/// Why a record is given up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reasoned {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    /// The routes that failed, joined by commas; empty for all.
    pub(crate) routes: String,
}

impl Reasoned {
    /// Takes the failures of one record's routes together; `None` for none.
    pub(crate) fn of_routes(failures: &[(&str, mapping::Failed)]) -> Option<Self> {
        let reason = failures.first()?.1.reason;
        let names: Vec<&str> = failures.iter().map(|(route, _)| *route).collect();
        let message = match failures {
            [(_, only)] => only.message.clone(),
            several => {
                let each: Vec<String> =
                    several.iter().map(|(route, failed)| format!("{route}: {failed}")).collect();
                each.join("; ")
            }
        };
        Some(Self { reason, message, routes: names.join(",") })
    }
}

/// How much of the record a dead letter keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Everything, byte for byte.
    All,
    /// All but its headers: Kafka refused it with them.
    NoHeaders,
    /// Only where it lies: Kafka refuses its value.
    Place,
}

/// Who gives up, when, and in which span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) version: &'static str,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) now: UnixMillis,
}

/// Writes the dead letter of a record.
pub(crate) fn write(
    record: &Record,
    why: &Reasoned,
    to: &DeadLetters,
    keep: Keep,
    stamp: Stamp,
) -> Outgoing {
    let failure = Failure {
        reason: why.reason,
        error_type: why.reason.label(),
        message: &why.message,
        service: SERVICE,
        service_version: stamp.version,
        at_ms: stamp.now.0,
        source_topic: &record.topic,
        source_partition: record.partition,
        source_offset: record.offset,
        source_timestamp_ms: record.timestamp_ms,
        traceparent: stamp.trace,
    };
    let original: Headers = match keep {
        Keep::All => record.headers.clone(),
        Keep::NoHeaders | Keep::Place => Vec::new(),
    };
    let mut headers = headers::dead_letter(&named(original, &why.routes), &failure);
    let value = match keep {
        Keep::All | Keep::NoHeaders => record.value.clone(),
        Keep::Place => {
            let bytes = record.value.as_ref().map_or(0, Bytes::len);
            headers.push((OMITTED.to_owned(), Bytes::from(bytes.to_string())));
            None
        }
    };
    Outgoing {
        topic: to.topic.clone(),
        partition: Some(to.partition(record.partition)),
        key: record.key.clone(),
        value,
        headers,
        // Without a time of its own it would count as old as the epoch, and be removed at once.
        timestamp_ms: Some(record.timestamp_ms).filter(|ms| *ms > 0),
    }
}

/// The route names stand among the record's own headers, so that a replay carries them.
fn named(mut headers: Headers, routes: &str) -> Headers {
    headers.retain(|(name, _)| name != ROUTE);
    if !routes.is_empty() {
        headers.push((ROUTE.to_owned(), Bytes::copy_from_slice(routes.as_bytes())));
    }
    headers
}

/// Returns the routes that a replayed record is to be put through again; empty for all.
pub(crate) fn routes_of(record: &Record, is_replay: bool) -> Vec<&str> {
    if !is_replay {
        return Vec::new();
    }
    let named = headers::text(&record.headers, ROUTE).unwrap_or_default();
    named.split(',').filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use wire::headers::{CE_ID, Replay, replay, text};

    use super::*;

    fn record() -> Record {
        Record {
            topic: "raw.shop".into(),
            partition: 2,
            offset: 7,
            epoch: 1,
            key: Some("k".into()),
            value: Some("value".into()),
            headers: vec![(CE_ID.to_owned(), "e1".into())],
            timestamp_ms: 1000,
        }
    }

    fn letters() -> DeadLetters {
        DeadLetters::of("dlq.transform.shop", 3)
    }

    fn failed(message: &str) -> mapping::Failed {
        mapping::Failed { reason: Reason::MappingFailed, message: message.into() }
    }

    fn letter(why: &Reasoned, keep: Keep) -> Outgoing {
        let stamp = Stamp { version: "0.1.0", trace: None, now: UnixMillis(5) };
        write(&record(), why, &letters(), keep, stamp)
    }

    #[test]
    fn a_dead_letter_keeps_the_record_and_its_partition() {
        let why = Reasoned::of_routes(&[("crm", failed("no id"))]).expect("one failed");
        let letter = letter(&why, Keep::All);
        assert_eq!((letter.partition, letter.timestamp_ms), (Some(2), Some(1000)));
        assert_eq!((&letter.key, &letter.value), (&record().key, &record().value));
        assert_eq!(letter.headers[0], record().headers[0]);
        assert_eq!(text(&letter.headers, headers::DLQ_REASON), Some("mapping_failed"));
        assert_eq!(text(&letter.headers, headers::DLQ_ERROR_MESSAGE), Some("no id"));
        assert_eq!(text(&letter.headers, headers::DLQ_SOURCE_OFFSET), Some("7"));
    }

    #[test]
    fn a_replay_runs_the_routes_that_failed_and_no_others() {
        let why = Reasoned::of_routes(&[("crm", failed("no id")), ("mail", failed("no name"))]);
        let why = why.expect("two failed");
        assert_eq!(why.message, "crm: no id; mail: no name");
        let letter = letter(&why, Keep::All);
        let again = replay(&letter.headers, &Replay { job: "j", by: "ann", at_ms: 0 });
        let replayed = Record { headers: again, ..record() };
        assert_eq!(routes_of(&replayed, true), ["crm", "mail"]);
        assert_eq!(routes_of(&replayed, false), Vec::<&str>::new());
        assert_eq!(routes_of(&record(), true), Vec::<&str>::new());
    }

    #[test]
    fn what_kafka_refuses_shrinks_to_its_place() {
        let why =
            Reasoned { reason: Reason::InvalidResult, message: "m".into(), routes: "".into() };
        let small = letter(&why, Keep::Place);
        assert_eq!((small.value.as_ref(), text(&small.headers, OMITTED)), (None, Some("5")));
        assert_eq!(text(&small.headers, headers::DLQ_SOURCE_TOPIC), Some("raw.shop"));
        assert_eq!(letter(&why, Keep::NoHeaders).value, record().value);
    }
}
