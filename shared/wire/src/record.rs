//! The records themselves, field for field as in `schemas/*.avsc` and in the same order.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Kind;

/// A record with a schema of its own.
pub trait Recorded: Serialize + DeserializeOwned {
    /// Which schema it is written with.
    const KIND: Kind;

    /// Returns about how many bytes it takes, so that the buffer need not grow.
    fn size_hint(&self) -> usize;
}

/// A name and a value: of an HTTP header or of a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// One event as a source told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub event_id: String,
    pub source: String,
    pub event_type: String,
    pub subject: Option<String>,
    /// When it happened, by the source.
    pub time_ms: i64,
    /// When it was accepted.
    pub received_ms: i64,
    pub correlation_id: String,
    /// The event it was made from.
    pub causation_id: Option<String>,
    pub content_type: String,
    pub http_headers: Vec<Header>,
    #[serde(with = "apache_avro::serde::bytes")]
    pub body: Vec<u8>,
}

/// Whether the deliveries of one key keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// One of a key in flight at a time; also what an order of a later version is read as.
    #[default]
    Strict,
    /// Any number of a key in flight.
    None,
}

/// The HTTP request a delivery becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Empty: the destination's.
    pub method: String,
    /// Below the destination's address.
    pub path: String,
    pub query: Vec<Header>,
    pub headers: Vec<Header>,
    pub content_type: String,
    #[serde(with = "apache_avro::serde::bytes")]
    pub body: Vec<u8>,
}

/// What a route's fallback sends in the place of its delivery, where it has a mapping of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// The destination that it was made for.
    pub to: String,
    pub mapping_version: String,
    /// What its delivery is ordered by; without one, as the delivery that it stands in for.
    pub key: Option<String>,
    /// Why there is no request.
    pub error: Option<String>,
    pub request: Option<Request>,
}

/// One event for one destination by one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub delivery_id: String,
    pub event_id: String,
    pub source: String,
    pub event_type: String,
    pub route: String,
    pub destination: String,
    pub correlation_id: String,
    pub event_time_ms: i64,
    pub received_ms: i64,
    pub created_ms: i64,
    pub mapping_version: String,
    pub split_index: u32,
    pub order: Order,
    pub fallback: Option<Fallback>,
    pub request: Request,
}

/// What one attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An outcome that only a later version knows.
    #[default]
    Unspecified,
    Delivered,
    Retryable,
    Permanent,
    /// Sent, and no answer came: it may have been done.
    Unknown,
}

impl Outcome {
    /// Returns the word used in lists and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Delivered => "delivered",
            Self::Retryable => "retryable",
            Self::Permanent => "permanent",
            Self::Unknown => "unknown",
        }
    }
}

impl From<domain::outcome::Outcome> for Outcome {
    fn from(outcome: domain::outcome::Outcome) -> Self {
        match outcome {
            domain::outcome::Outcome::Delivered => Self::Delivered,
            domain::outcome::Outcome::Retryable => Self::Retryable,
            domain::outcome::Outcome::Permanent => Self::Permanent,
            domain::outcome::Outcome::Unknown => Self::Unknown,
        }
    }
}

/// What a destination's breaker did, in the process that made the attempt, when the attempt began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Nothing was sent, or an earlier version wrote it, or the state is one of a later version's.
    #[default]
    Unspecified,
    Closed,
    /// The attempt was the breaker's probe.
    HalfOpen,
    Open,
}

impl Breaker {
    /// Returns the word used in lists and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

impl From<domain::breaker::State> for Breaker {
    fn from(state: domain::breaker::State) -> Self {
        match state {
            domain::breaker::State::Closed => Self::Closed,
            domain::breaker::State::HalfOpen => Self::HalfOpen,
            domain::breaker::State::Open { .. } => Self::Open,
        }
    }
}

/// How long the steps of an attempt took, in milliseconds; a step that was not taken has none. On a
/// connection that was there already, finding the address, connecting and TLS have none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    pub dns_ms: Option<f64>,
    pub connect_ms: Option<f64>,
    pub tls_ms: Option<f64>,
    pub first_byte_ms: Option<f64>,
    pub total_ms: Option<f64>,
}

/// The delivery that was made instead of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    pub destination: String,
    pub delivery_id: String,
    /// Why the other was given up on, in the word of a dead letter.
    pub reason: String,
}

/// The recorded outcome of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub delivery_id: String,
    pub event_id: String,
    pub source: String,
    pub event_type: String,
    pub route: String,
    pub destination: String,
    pub correlation_id: String,
    pub at_ms: i64,
    /// From 1.
    pub attempt_number: i32,
    pub outcome: Outcome,
    /// No attempt follows: the delivery is done or given up on.
    pub settled: bool,
    pub status: Option<i32>,
    pub error: Option<String>,
    pub latency: Latency,
    /// Redacted.
    pub response_headers: Vec<Header>,
    /// The first 16 KiB, redacted.
    #[serde(with = "apache_avro::serde::bytes_opt")]
    pub response_body: Option<Vec<u8>>,
    pub response_truncated: bool,
    pub provider_request_id: Option<String>,
    pub idempotency_key: String,
    pub next_attempt_ms: Option<i64>,
    pub dead_letter_reason: Option<String>,
    /// The event went on to its route's fallback.
    pub handed_over: Option<HandedOver>,
    pub trace_id: Option<String>,
    pub breaker: Breaker,
}

impl Recorded for Envelope {
    const KIND: Kind = Kind::Envelope;

    fn size_hint(&self) -> usize {
        256 + self.body.len() + of(&self.http_headers)
    }
}

impl Recorded for Delivery {
    const KIND: Kind = Kind::Delivery;

    fn size_hint(&self) -> usize {
        let fallback = self.fallback.as_ref().and_then(|fallback| fallback.request.as_ref());
        512 + of_request(&self.request) + fallback.map_or(0, of_request)
    }
}

impl Recorded for Receipt {
    const KIND: Kind = Kind::Receipt;

    fn size_hint(&self) -> usize {
        let body = self.response_body.as_ref().map_or(0, Vec::len);
        512 + body + of(&self.response_headers)
    }
}

fn of_request(request: &Request) -> usize {
    request.body.len() + request.path.len() + of(&request.query) + of(&request.headers)
}

fn of(pairs: &[Header]) -> usize {
    pairs.iter().map(|pair| 4 + pair.name.len() + pair.value.len()).sum()
}
