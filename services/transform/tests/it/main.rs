//! Transform on the embedded broker, and what needs a real Kafka.
#![allow(clippy::unwrap_used)]

mod events;
mod limit;
mod topics;
mod world;
