//! What a record tells of an event, in words and as JSON.

use std::collections::BTreeSet;

use kafka_io::Record;
use registry_io::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use wire::{
    Breaker, Delivery, Envelope, Latency, Receipt, Recorded, headers,
    topics::{Names, TopicKind},
};

use super::{
    BYTES_MAX, ENTRIES_MAX, Story,
    matching::{Ids, Says},
};
use crate::{LetterId, decode, letter::Letter};

/// What happened to the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// Taken in, and in the log.
    Accepted,
    /// Put through the mappings again.
    ReplayedToTransform,
    /// A route made a delivery of it.
    Mapped,
    /// Put to its destination again.
    ReplayedToDeliver,
    /// A delivery was tried.
    Attempted,
    /// Given up on by its destination, and put to its route's fallback.
    HandedOver,
    /// Given up on.
    DeadLettered,
    /// Set aside for having been replayed too often.
    Quarantined,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Entry {
    /// In milliseconds since 1970.
    pub at_ms: i64,
    pub happened: Happened,
    /// In a sentence's part, for a person: `to crm by shop-to-crm`, `attempt 2: retryable, 503`.
    pub told: String,
    /// The record that tells it.
    pub record: LetterId,
    pub event_id: String,
    pub correlation_id: String,
    pub delivery_id: String,
    pub route: String,
    pub destination: String,
    pub trace_id: Option<String>,
    /// The record decoded; `None` where its schema is not at hand or it is none of ours.
    pub details: Option<Value>,
}

/// Entries as they are found; only records that belong to the story are kept and counted.
pub(super) struct Entries {
    entries: Vec<Entry>,
    /// Of their records' values.
    bytes: usize,
    pub(super) complete: bool,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), bytes: 0, complete: true }
    }

    pub(super) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Takes a record if it belongs to the story and not only looked so; false where it has no room.
    pub(super) fn take(
        &mut self,
        record: &Record,
        says: Says,
        ids: &mut Ids,
        decoder: &Decoder<'_>,
    ) -> bool {
        let value = record.value.as_deref().unwrap_or_default();
        let decoded = decoder.decoded(record, value);
        // One that can't be read is left out only where nothing but its bytes spoke for it.
        if says != Says::Ours && !decoded.is_ours(ids) {
            self.complete &= !matches!(decoded, Decoded::Unread);
            return true;
        }
        let has_room = self.has_room(value.len());
        if has_room {
            self.bytes += value.len();
            self.entries.push(entry(record, &decoded, decoder.names));
        }
        self.complete &= has_room;
        has_room
    }

    /// The first has room however large it is.
    fn has_room(&self, bytes: usize) -> bool {
        let fits = self.entries.is_empty() || self.bytes.saturating_add(bytes) <= BYTES_MAX;
        fits && self.entries.len() < ENTRIES_MAX
    }

    pub(super) fn story(mut self) -> Story {
        self.entries.sort_by(|a, b| {
            (a.at_ms, a.happened, &a.record).cmp(&(b.at_ms, b.happened, &b.record))
        });
        let traces: BTreeSet<&String> =
            self.entries.iter().filter_map(|e| e.trace_id.as_ref()).collect();
        let trace_ids = traces.into_iter().cloned().collect();
        Story { trace_ids, entries: self.entries, complete: self.complete }
    }
}

/// Decodes records on a thread that may block.
pub(super) struct Decoder<'a> {
    pub(super) names: &'a Names,
    pub(super) registry: &'a Registry,
    pub(super) runtime: &'a Handle,
}

impl Decoder<'_> {
    fn decoded(&self, record: &Record, value: &[u8]) -> Decoded {
        let boxed = match holds(self.names, record) {
            Holds::Event => self.value(value).map(|event| Decoded::Event(Box::new(event))),
            Holds::Delivery => self.value(value).map(|given| Decoded::Delivery(Box::new(given))),
            Holds::Receipt => self.value(value).map(|receipt| Decoded::Receipt(Box::new(receipt))),
            Holds::Unknown => None,
        };
        boxed.unwrap_or(Decoded::Unread)
    }

    fn value<T: Recorded>(&self, value: &[u8]) -> Option<T> {
        decode::decoded_blocking(self.registry, self.runtime, value)
    }
}

/// A record's value.
enum Decoded {
    Event(Box<Envelope>),
    Delivery(Box<Delivery>),
    Receipt(Box<Receipt>),
    Unread,
}

impl Decoded {
    fn is_ours(&self, ids: &mut Ids) -> bool {
        match self {
            Self::Event(event) => ids.is_event(event),
            Self::Delivery(delivery) => ids.is_delivery(delivery),
            Self::Receipt(receipt) => ids.is_receipt(receipt),
            Self::Unread => false,
        }
    }

    fn details(&self) -> Option<Value> {
        match self {
            Self::Event(event) => decode::envelope(event),
            Self::Delivery(delivery) => decode::delivery(delivery),
            Self::Receipt(receipt) => decode::receipt(receipt),
            Self::Unread => None,
        }
    }
}

enum Holds {
    Event,
    Delivery,
    Receipt,
    Unknown,
}

fn holds(names: &Names, record: &Record) -> Holds {
    let of_service = |service: &str| match service {
        "transform" => Holds::Event,
        "deliver" => Holds::Delivery,
        _ => Holds::Unknown,
    };
    match names.parse(&record.topic) {
        Some(TopicKind::Raw { .. } | TopicKind::RawReplay { .. }) => Holds::Event,
        Some(TopicKind::Out { .. } | TopicKind::OutReplay { .. }) => Holds::Delivery,
        Some(TopicKind::Receipts) => Holds::Receipt,
        Some(TopicKind::DeadLetters { service, .. }) => of_service(service),
        Some(TopicKind::Quarantine) => {
            let home = headers::text(&record.headers, headers::DLQ_SOURCE_TOPIC);
            match names.parse(home.unwrap_or_default()) {
                Some(TopicKind::DeadLetters { service, .. }) => of_service(service),
                _ => Holds::Unknown,
            }
        }
        Some(TopicKind::Audit | TopicKind::State) | None => Holds::Unknown,
    }
}

fn entry(record: &Record, decoded: &Decoded, names: &Names) -> Entry {
    let letter = Letter::of_record(record, names);
    let happened = happened(names, record);
    let at_ms = match (decoded, happened) {
        (Decoded::Receipt(receipt), _) => receipt.at_ms,
        (_, Happened::DeadLettered | Happened::Quarantined) => letter.at_ms,
        (Decoded::Event(event), Happened::Accepted) => event.received_ms,
        (Decoded::Delivery(delivery), Happened::Mapped | Happened::HandedOver) => {
            delivery.created_ms
        }
        _ => record.timestamp_ms,
    };
    let context = headers::context(&record.headers, headers::TRACEPARENT);
    let context = context.or_else(|| headers::context(&record.headers, headers::CE_TRACEPARENT));
    Entry {
        at_ms,
        happened,
        told: told(happened, decoded, &letter, record),
        record: letter.id(),
        event_id: letter.event_id.to_owned(),
        correlation_id: letter.correlation_id.to_owned(),
        delivery_id: letter.delivery_id.to_owned(),
        route: letter.route.to_owned(),
        destination: letter.destination.to_owned(),
        trace_id: context.map(|context| context.trace_id_text()),
        details: decoded.details(),
    }
}

fn happened(names: &Names, record: &Record) -> Happened {
    match names.parse(&record.topic) {
        Some(TopicKind::RawReplay { .. }) => Happened::ReplayedToTransform,
        Some(TopicKind::Out { .. }) if headers::fallen(&record.headers).is_some() => {
            Happened::HandedOver
        }
        Some(TopicKind::Out { .. }) => Happened::Mapped,
        Some(TopicKind::OutReplay { .. }) => Happened::ReplayedToDeliver,
        Some(TopicKind::Receipts) => Happened::Attempted,
        Some(TopicKind::DeadLetters { .. }) => Happened::DeadLettered,
        Some(TopicKind::Quarantine) => Happened::Quarantined,
        Some(TopicKind::Raw { .. } | TopicKind::Audit | TopicKind::State) | None => {
            Happened::Accepted
        }
    }
}

fn told(happened: Happened, decoded: &Decoded, letter: &Letter<'_>, record: &Record) -> String {
    let header = |name| headers::text(&record.headers, name).unwrap_or("unknown");
    match (happened, decoded) {
        (Happened::Attempted, Decoded::Receipt(receipt)) => attempt(receipt),
        (Happened::Attempted, _) => format!("to {}", letter.destination),
        (Happened::Accepted, _) => format!("{} from {}", letter.event_type, letter.source),
        (Happened::Mapped, _) => format!("to {} by {}", letter.destination, letter.route),
        (Happened::HandedOver, _) => {
            let why = headers::fallen(&record.headers).map(|fallen| fallen.to_string());
            format!("to {} by {}: {}", letter.destination, letter.route, why.unwrap_or_default())
        }
        (Happened::ReplayedToTransform | Happened::ReplayedToDeliver, _) => {
            format!("by {}, job {}", header(headers::REPLAY_BY), header(headers::REPLAY_JOB))
        }
        (Happened::DeadLettered | Happened::Quarantined, _) => {
            let reason = letter.reason.map_or("unknown", |reason| reason.label());
            format!("{reason}: {}", letter.message)
        }
    }
}

fn attempt(receipt: &Receipt) -> String {
    let status = receipt.status.map(|status| format!(", {status}")).unwrap_or_default();
    let error = receipt.error.as_deref().map(|error| format!(", {error}")).unwrap_or_default();
    let last = match (receipt.settled, receipt.outcome, &receipt.handed_over) {
        (true, wire::Outcome::Delivered, _) | (false, _, _) => String::new(),
        (true, _, None) => ", the last".to_owned(),
        (true, _, Some(to)) => format!(", the last: handed over to {}", to.destination),
    };
    let (destination, outcome) = (&receipt.destination, receipt.outcome.label());
    let number = receipt.attempt_number;
    let beside = beside(receipt);
    format!("to {destination}, attempt {number}: {outcome}{status}{error}{last}{beside}")
}

/// How long it took, the third party's id of it, and the breaker where it was not simply closed.
fn beside(receipt: &Receipt) -> String {
    let Latency { dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms } = receipt.latency;
    let steps = [("dns", dns_ms), ("connect", connect_ms), ("tls", tls_ms)];
    let steps = steps.into_iter().chain([("first byte", first_byte_ms)]);
    let steps: Vec<_> = steps.filter_map(|(name, ms)| Some(format!("{name} {:.1}", ms?))).collect();
    let took = total_ms.map(|total| match steps.as_slice() {
        [] => format!("{total:.1} ms"),
        steps => format!("{total:.1} ms ({})", steps.join(", ")),
    });
    let id = receipt.provider_request_id.as_ref().map(|id| format!("their id {id}"));
    let breaker = match receipt.breaker {
        Breaker::Unspecified | Breaker::Closed => None,
        Breaker::HalfOpen => Some("the breaker's probe".to_owned()),
        Breaker::Open => Some("breaker open".to_owned()),
    };
    let parts = [took, id, breaker].into_iter().flatten();
    parts.map(|part| format!("; {part}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_bounded_in_bytes_but_holds_its_first_record_whatever_its_size() {
        let mut entries = Entries::new();
        assert!(entries.has_room(BYTES_MAX + 1));
        let names = Names::new("");
        let record = Record {
            topic: "raw.git".into(),
            partition: 0,
            offset: 0,
            epoch: 0,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp_ms: 0,
        };
        entries.entries.push(entry(&record, &Decoded::Unread, &names));
        entries.bytes = BYTES_MAX - 10;
        assert!(entries.has_room(10) && !entries.has_room(11));
    }
}
