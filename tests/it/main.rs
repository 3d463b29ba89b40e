//! Whole-system tests: the real `millrace` processes on a real Kafka of three brokers and a real
//! registry, seen from outside only: requests in, requests out, topics, metrics, spans and logs.
//! What one crate promises alone is tested there.
#![allow(clippy::unwrap_used)]

mod chaos;
mod events;
mod flow;
mod numbered;
mod outage;
mod partitions;
mod pausing;
mod records;
mod replay;
mod secrets;
mod stopping;
mod system;

use std::time::Duration;

/// The time within which what must happen has happened, on a machine under load.
const SOON: Duration = Duration::from_secs(60);
