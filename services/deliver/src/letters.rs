//! What a record given up on becomes: itself, unchanged, with the reason beside it. Pure.

use std::sync::Arc;

use domain::{time::UnixMillis, trace::TraceContext};
use kafka_io::{Outgoing, Record};
use wire::headers::{self, Failure};

use crate::held::GivenUp;

/// The name under which a dead letter says who gave up.
const SERVICE: &str = "millrace-deliver";

/// Makes the dead letter of a record: the same partition, key, value, headers and time.
pub(crate) fn dead_letter(
    record: &Record,
    topic: &Arc<str>,
    why: &GivenUp,
    version: &str,
    now: UnixMillis,
    trace: TraceContext,
) -> Outgoing {
    let failure = Failure {
        reason: why.reason,
        error_type: &why.error_type,
        message: &why.message,
        service: SERVICE,
        service_version: version,
        at_ms: now.0,
        source_topic: &record.topic,
        source_partition: record.partition,
        source_offset: record.offset,
        source_timestamp_ms: record.timestamp_ms,
        traceparent: Some(trace),
    };
    Outgoing {
        topic: topic.clone(),
        partition: Some(record.partition),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: headers::dead_letter(&record.headers, &failure),
        timestamp_ms: Some(record.timestamp_ms),
    }
}
