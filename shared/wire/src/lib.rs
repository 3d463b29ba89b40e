//! Bytes that outlive the process: Avro records, record headers, topic names, operators' words.
//!
//! Pure: talking to the registry and to Kafka is `registry-io`'s and `kafka-io`'s. Every record
//! ever written decodes for ever; `golden/` holds one of each kind and version.

pub mod audit;
mod codec;
pub mod control;
pub mod headers;
mod kind;
mod record;
pub mod topics;

pub use codec::{DecodeError, Decoder, EncodeError, encode, schema_id};
pub use kind::Kind;
pub use record::{
    Breaker, Delivery, Envelope, Fallback, HandedOver, Header, Latency, Order, Outcome, Receipt,
    Recorded, Request,
};

/// Returns the registry's subject of a topic's values.
pub fn subject(topic: &str) -> String {
    format!("{topic}-value")
}

#[cfg(test)]
mod tests;
