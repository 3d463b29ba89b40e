//! Accepts webhooks: `POST /v1/events/{source}` becomes one event in `raw.<source>`.
//!
//! A 200 means: the event is in the log of all in-sync replicas. Whatever else is answered, the
//! sender is to come again or to mend its request; an event that was not acknowledged in time may
//! be in the log all the same. A repeat of a signed request gets its 200 and is an event of the
//! same id. The signature is verified over the raw bytes before anything is parsed, and the body
//! is logged byte for byte.
//!
//! It routes nothing, maps nothing and drops no repeats: that is transform's.

mod body;
mod config;
mod event;
mod health;
mod keeper;
mod limits;
mod refusal;
mod request;
mod series;
mod server;
mod sources;
mod spans;
mod told;
mod writer;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use catalog_io::Catalogs;
use chassis::Process;
use kafka_io::{
    Producer,
    topics::{Admin, AdminError, AdminOptions},
};
use registry_io::Registry;
use tokio::net::TcpListener;
use wire::topics::Names;

pub use crate::{
    config::{Config, DEFAULTS},
    told::{Listener, Told},
};
use crate::{
    health::Health,
    keeper::Keeper,
    limits::Limits,
    request::Desk,
    series::Families,
    server::Server,
    sources::{Known, Sources},
    spans::Spans,
    writer::Writer,
};

/// How long Kafka may take to describe its topics.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How long events may take to end that nobody waits for any more.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// What ingest works with.
pub struct World {
    pub kafka: kafka_io::Config,
    /// Of every Kafka client of the process.
    pub metrics: kafka_io::Metrics,
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
    Topics(#[from] AdminError),
}

/// Takes events until the process stops; then finishes what is in flight and returns.
///
/// It waits, unready and answering 503, for Kafka, its topics and the registry, and goes on by itself.
///
/// # Errors
/// What can't be mended by waiting.
pub async fn run(config: Config, world: World, process: Process) -> Result<(), Error> {
    let address = config.listen;
    let listening = TcpListener::bind(address).await;
    let listener = listening.map_err(|why| Error::Listen { address, why })?;
    let producer = Producer::open(&world.kafka, writer::options(&config), &world.metrics)?;
    let keeper = keeper(&world, &process)?;
    let desk = desk(&config, world, &process, producer.clone(), &keeper);
    let server = Server::new(&config, desk, process.stop.clone());
    tracing::info!(%address, "ingest listens");
    tokio::select! {
        () = server.serve(listener) => {}
        () = keeper.keep() => {}
    }
    if !producer.flush(FLUSH_WITHIN).await {
        tracing::warn!("events that no sender waits for were not acknowledged in time");
    }
    Ok(())
}

fn keeper(world: &World, process: &Process) -> Result<Keeper, AdminError> {
    let families = Families::new(&process.metrics);
    // From the first request on a source that is declared is known, ready or not.
    let known = Known::default();
    let sources = Sources::of(&world.catalogs.current(), &world.names, &known, &families);
    let options = AdminOptions { timeout: LOOK_WITHIN, broker: None };
    Ok(Keeper {
        admin: Admin::open(&world.kafka, options)?,
        registry: world.registry.clone(),
        names: world.names.clone(),
        catalogs: world.catalogs.clone(),
        families,
        ready: process.ready.clone(),
        health: Arc::new(Health::new(process.ready.clone())),
        sources: Arc::new(ArcSwap::from_pointee(sources)),
        known,
    })
}

fn desk(
    config: &Config,
    world: World,
    process: &Process,
    producer: Producer,
    keeper: &Keeper,
) -> Desk {
    let client_id = &world.kafka.client_id;
    Desk {
        sources: keeper.sources.clone(),
        limits: Limits::new(config.requests_max, config.body_bytes_max),
        body_within: config.body_within,
        writer: Writer {
            producer,
            health: keeper.health.clone(),
            within: config.acknowledge_within,
            possibly_written: possibly_written(&process.metrics),
        },
        server: keeper.families.of_server(),
        families: keeper.families.clone(),
        spans: Spans::new(process.tracer.clone(), client_id, config.trust_traceparent),
        hook: process.hook.clone(),
        listener: world.listener,
    }
}

/// The producer's own counter, by its name.
fn possibly_written(metrics: &chassis::Metrics) -> prometheus::IntCounter {
    metrics.counter(
        "millrace_producer_possibly_written_total",
        "Records refused at their time limit that may have been written all the same",
    )
}
