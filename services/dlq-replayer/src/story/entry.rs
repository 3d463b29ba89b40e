//! What a record tells of an event, in words and as JSON.

use std::collections::BTreeSet;

use kafka_io::Record;
use registry_io::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use wire::{
    Delivery, Envelope, Receipt, headers,
    topics::{Names, TopicKind},
};

use super::{Story, matching::Ids, scan::Found};
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

/// Entries as they are found.
pub(super) struct Entries {
    entries: Vec<Entry>,
    complete: bool,
}

impl Entries {
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

/// Decodes what was found and leaves out what only looked as if it belonged.
pub(super) async fn of(found: Found, ids: &mut Ids, registry: &Registry) -> Entries {
    let mut entries = Entries { entries: Vec::new(), complete: found.complete };
    for (record, is_ours) in found.records {
        let value = record.value.as_deref().unwrap_or_default();
        let decoded = Decoded::of(&record, &found.names, registry, value).await;
        // One that can't be read is left out only where nothing but its bytes spoke for it.
        if is_ours || decoded.is_ours(ids) {
            entries.entries.push(entry(&record, &decoded, &found.names));
        } else if matches!(decoded, Decoded::Unread) {
            entries.complete = false;
        }
    }
    entries
}

/// A record's value.
enum Decoded {
    Event(Box<Envelope>),
    Delivery(Box<Delivery>),
    Receipt(Box<Receipt>),
    Unread,
}

impl Decoded {
    async fn of(record: &Record, names: &Names, registry: &Registry, value: &[u8]) -> Self {
        let boxed = match holds(names, record) {
            Holds::Event => {
                decode::decoded(registry, value).await.map(|e| Self::Event(Box::new(e)))
            }
            Holds::Delivery => {
                decode::decoded(registry, value).await.map(|d| Self::Delivery(Box::new(d)))
            }
            Holds::Receipt => {
                decode::decoded(registry, value).await.map(|r| Self::Receipt(Box::new(r)))
            }
            Holds::Unknown => None,
        };
        boxed.unwrap_or(Self::Unread)
    }

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
    let happened = happened(names, &record.topic);
    let at_ms = match (decoded, happened) {
        (Decoded::Receipt(receipt), _) => receipt.at_ms,
        (_, Happened::DeadLettered | Happened::Quarantined) => letter.at_ms,
        (Decoded::Event(event), Happened::Accepted) => event.received_ms,
        (Decoded::Delivery(delivery), Happened::Mapped) => delivery.created_ms,
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

fn happened(names: &Names, topic: &str) -> Happened {
    match names.parse(topic) {
        Some(TopicKind::RawReplay { .. }) => Happened::ReplayedToTransform,
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
    let last = match (receipt.settled, receipt.outcome) {
        (true, wire::Outcome::Delivered) | (false, _) => "",
        (true, _) => ", the last",
    };
    let (destination, outcome) = (&receipt.destination, receipt.outcome.label());
    let number = receipt.attempt_number;
    format!("to {destination}, attempt {number}: {outcome}{status}{error}{last}")
}
