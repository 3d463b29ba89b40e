//! What the crate promises, on a real Kafka.
#![allow(clippy::unwrap_used)]

mod cluster;
mod copying;
mod embedded;
mod lanes;
mod maps;
mod reader;
mod secured;
mod topics;
mod transact;
mod unheard;
