//! Takes deliveries from `out.<destination>` to third parties, and records what came of each.
//!
//! At least once: a delivery's offset is committed only after its receipt, and its dead letter
//! where it was given up on, is acknowledged by all in-sync replicas. The same idempotency key goes
//! with every attempt. Per key in order where the route says `order: strict`, also through retries.
//! A destination that is stuck holds its own lanes and nobody else's. Nothing is sent to one that an
//! operator has paused, or that has answered 410 and was not enabled since.
//!
//! A destination is asked no faster than its rate, and no more at a time than it bears; one that fails
//! is left alone until a probe succeeds, and one that asks to wait is waited for. Each member of the
//! group keeps to its share of the partitions.
//!
//! A delivery that is given up on becomes a dead letter, or its event goes to its route's fallback: then
//! the record in that lane is acknowledged before anything else of the key is tried.
//!
//! It has no parking: a delivery waits for its next attempt in its lane's memory, its key's followers
//! behind it. The retry budget counts from the first attempt, and stands still with the destination:
//! how far a record has come is committed with the partition's position.

mod attempt;
mod clock;
mod config;
mod control;
mod desk;
mod fallback;
mod flow;
mod gate;
mod held;
mod keys;
mod lane;
mod letters;
mod outbox;
mod probe;
mod receipts;
mod request;
mod series;
mod service;
mod shared;
mod story;
mod told;
mod topics;
mod verdict;

#[cfg(test)]
mod simulate;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use chassis::Process;
use wire::topics::Names;

pub use crate::{
    config::{Config, DEFAULTS},
    control::log::LogError,
    desk::{Desk, DeskError},
    probe::{Finding, ProbeError, Probed, probe},
    service::group,
    told::{Listener, Told, What},
};

/// What the service stands in.
pub struct World {
    pub kafka: kafka_io::Config,
    /// Of every Kafka client of the process.
    pub metrics: kafka_io::Metrics,
    pub registry: registry_io::Registry,
    pub catalogs: catalog_io::Catalogs,
    pub names: Names,
    /// The embedded broker, where the cluster is one.
    pub broker: Option<Arc<kafka_io::embedded::Broker>>,
    /// Hears of every attempt and dead letter, if anyone does.
    pub listener: Option<Listener>,
}

/// Why the service ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not prepare the HTTP client: {0}")]
    Client(#[from] http_io::Unusable),
    #[error("could not prepare the producer of receipts: {0}; correct the kafka section")]
    Producer(#[from] kafka_io::OpenError),
    #[error("could not look at topics: {0}")]
    Topics(#[from] kafka_io::topics::AdminError),
    #[error("could not read deliveries: {0}")]
    Group(#[from] kafka_io::GroupError),
    #[error("a lane ended by a defect: {0}; the process restarts without loss")]
    Lane(String),
    #[error("the consumer ended by itself; the process restarts without loss")]
    Consumer,
    #[error("the schema of receipts can't be registered: {0}")]
    Schema(registry_io::Error),
}

/// Delivers until `process.stop` is cancelled and what was in flight is done or cut off.
///
/// # Errors
/// What can't be mended by waiting. Kafka, the registry or topics that are not there are waited for,
/// unready with the reason.
pub async fn run(config: Config, world: World, process: Process) -> Result<(), Error> {
    service::run(config, world, process).await
}
