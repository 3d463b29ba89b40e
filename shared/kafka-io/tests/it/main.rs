//! What the crate promises, on a real Kafka.
#![allow(clippy::unwrap_used)]

mod cluster;
mod lanes;
mod reader;
mod secured;
mod topics;
mod transact;
