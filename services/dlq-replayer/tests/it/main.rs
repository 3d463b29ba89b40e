//! The replayer on the embedded broker, and what needs a real Kafka.
#![allow(clippy::unwrap_used)]

mod api;
mod million;
mod real;
mod replay;
mod show;
mod stopping;
mod story;
mod times;
mod world;
