//! What tests stand on: real brokers and a real registry, a scriptable destination, a span sink,
//! child processes that can be killed, a bounded sender, and the reconciler that judges a run.
//! It knows no crate of Millrace, so that every crate may use it, and only in tests.
//! Its functions panic with the reason when a part does not start: a test has nothing better to do.
#![allow(clippy::unwrap_used)]

pub mod brokers;
pub mod load;
pub mod process;
pub mod receiver;
pub mod reconcile;
pub mod registry;
pub mod scratch;
pub mod sink;
pub mod wait;

mod client;
mod ports;

pub use brokers::Kafka;
pub use client::{Reply, get, request};
pub use ports::Ports;
pub use process::Spawned;
pub use receiver::Receiver;
pub use registry::Apicurio;
pub use scratch::Scratch;
pub use sink::OtlpSink;
