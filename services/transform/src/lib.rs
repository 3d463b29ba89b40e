//! Events to deliveries: reads `raw.<source>`, applies the catalog's routes, writes `out.<destination>`.
//!
//! Exactly once: what is read, what is written and how far was read stand in one Kafka transaction.
//!
//! Of each event, every route of its source is asked. A route without a condition, or whose
//! condition holds, maps the event and gives one delivery for each of its destinations; a mapping
//! that ends with `abort` filters it. An event that no route wants is unrouted. A record that can't
//! be read, or whose routes fail, becomes one dead letter in the same transaction; it names the
//! routes that failed. The other routes' deliveries stand, and a replay of the dead letter runs only
//! the routes it names.
//!
//! It does not talk to third parties and does not know the time between events.

mod apply;
mod conditions;
mod config;
mod deliveries;
mod letter;
mod plan;
mod planner;
mod processor;
mod series;
mod spans;
mod story;
mod told;
mod topics;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use catalog_io::Catalogs;
use chassis::Process;
use domain::time::UnixMillis;
use kafka_io::{
    Engine, EngineError, GroupOptions, Loss, Metrics, TransactOptions, audit_losses,
    topics::{Admin, AdminError, AdminOptions},
    transact,
};
use registry_io::Registry;
use tokio::runtime::Handle;
use wire::{audit::RecordsLost, topics::Names};

pub use crate::{
    config::{Config, DEFAULTS},
    told::{Became, Listener, Told},
};
use crate::{
    planner::{Basis, Planned, Planner},
    processor::Transform,
    series::Families,
    spans::Spans,
};

/// The largest record that any topic of ours takes: the largest body and what is around it.
const RECORD_BYTES_MAX: usize = (25 * 1024 + 256) * 1024;
/// How long Kafka may take to describe its topics.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// What transform works with.
pub struct World {
    pub kafka: kafka_io::Config,
    /// Of every Kafka client of the process.
    pub metrics: kafka_io::Metrics,
    pub registry: Registry,
    pub catalogs: Catalogs,
    pub names: Names,
    /// Hears of every event, for the demo and tests.
    pub listener: Option<Listener>,
}

/// Why transform ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("transform ended: {0}")]
    Engine(#[from] EngineError),
    #[error("could not prepare looking at topics: {0}")]
    Topics(#[from] AdminError),
}

/// Returns the consumer group of transform's replicas.
pub fn group(names: &Names) -> String {
    format!("{}millrace-transform", names.prefix())
}

/// Runs transform until the process stops; then ends the open transactions and returns.
///
/// It waits, unready, for Kafka, its topics and the registry, and goes on by itself; a source whose
/// topics are there does not wait for another's. Replicas need an instance name each: their
/// transactional ids come from it, and two with the same ids shut each other out.
///
/// # Errors
/// Where a setting is refused, or a defect ends the engine.
pub async fn run(config: Config, world: World, process: Process) -> Result<(), Error> {
    let group = group(&world.names);
    let families = Families::new(&process.metrics, &group);
    for condition in [conditions::TOPICS, conditions::REGISTRY, conditions::KAFKA] {
        process.ready.set(condition, Err("starting".into()));
    }
    let mut planner = planner(&world, &process, &families)?;
    let Some(first) = process.stop.run_until_cancelled(planner.first()).await else {
        return Ok(());
    };
    let Planned { plan, basis } = first;
    tracing::info!(catalog = plan.catalog_version, topics = basis.topics.len(), "transform starts");
    let plans = Arc::new(ArcSwap::from_pointee(plan));
    let transform = Transform {
        plans: plans.clone(),
        registry: world.registry,
        runtime: Handle::current(),
        ready: process.ready.clone(),
        spans: Spans::new(process.tracer.clone(), &group, &world.kafka.client_id),
        families,
        version: process.version,
        listener: world.listener,
        registry_is_down: false,
    };
    let (kafka, metrics) = (&world.kafka, &world.metrics);
    let topics = basis.topics.clone();
    let engine = start(&config, (kafka, metrics), &process, &group, topics, transform)?;
    let audit = world.names.audit();
    let lost = |loss: &Loss| audited(loss, &group, process.name);
    tokio::select! {
        () = process.stop.cancelled() => {}
        ended = engine.ended() => return Ok(ended?),
        () = keep_planned(&mut planner, basis, &plans, &engine) => {}
        () = keep_told(&engine, &process) => {}
        never = audit_losses(kafka, metrics, engine.status(), &audit, lost) => match never {},
    }
    stop(&engine, config.drain()).await
}

fn audited(loss: &Loss, group: &str, service: &str) -> Vec<u8> {
    let Loss { topic, partition, from, to } = loss;
    let lost = RecordsLost { group, topic, partition: *partition, from: *from, to: *to };
    lost.json(service, UnixMillis::from(SystemTime::now()).0)
}

fn planner(world: &World, process: &Process, families: &Families) -> Result<Planner, AdminError> {
    let options = AdminOptions { timeout: LOOK_WITHIN, broker: None };
    Ok(Planner {
        admin: Admin::open(&world.kafka, options)?,
        registry: world.registry.clone(),
        names: world.names.clone(),
        catalogs: world.catalogs.clone(),
        families: families.clone(),
        ready: process.ready.clone(),
    })
}

/// Takes every new plan; never returns.
async fn keep_planned(
    planner: &mut Planner,
    mut basis: Basis,
    plans: &ArcSwap<plan::Plan>,
    engine: &Engine,
) {
    loop {
        let Planned { plan, basis: next } = planner.next(&basis).await;
        tracing::info!(catalog = plan.catalog_version, topics = next.topics.len(), "plan taken");
        plans.store(Arc::new(plan));
        if next.topics != basis.topics {
            engine.set_topics(next.topics.clone());
        }
        basis = next;
    }
}

/// Shows the group's state in the readiness; never returns.
async fn keep_told(engine: &Engine, process: &Process) {
    let mut status = engine.status();
    loop {
        let now = status.borrow_and_update().clone();
        process.ready.set(conditions::KAFKA, now.flows());
        process.ready.set(conditions::LOG, now.is_whole());
        if status.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn start(
    config: &Config,
    (kafka, metrics): (&kafka_io::Config, &Metrics),
    process: &Process,
    group: &str,
    topics: Vec<String>,
    transform: Transform,
) -> Result<Engine, EngineError> {
    let hook = process.hook.clone();
    let hook: kafka_io::Hook = Arc::new(move |point| hook.hit(point));
    let options = TransactOptions {
        slots: config.slots,
        interval_min: Duration::from_millis(config.interval_min_ms),
        interval_max: Duration::from_millis(config.interval_max_ms),
        batch_records: config.batch_records,
        batch_bytes: config.batch_bytes,
        record_bytes_max: RECORD_BYTES_MAX,
        hook: hook.clone(),
        ..TransactOptions::new(group, ordinal(process))
    };
    let mut group = GroupOptions::new(group, topics);
    group.instance_id = process.instance.clone();
    group.queue_bytes = config.queue_bytes;
    group.hook = hook;
    transact(kafka, &group, options, metrics, transform)
}

/// Ends the open transactions; what is not committed in time comes again after the start.
async fn stop(engine: &Engine, drain: Duration) -> Result<(), Error> {
    match engine.stop(drain).await {
        Err(EngineError::Deadline) => {
            tracing::warn!("open transactions did not end in time; their events come again");
            Ok(())
        }
        ended => Ok(ended?),
    }
}

/// A stable name without a number still gives a stable ordinal; without a name there is one replica.
fn ordinal(process: &Process) -> u32 {
    let of_name = |name: &str| {
        name.bytes()
            .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
    };
    process.ordinal().or_else(|| process.instance.as_deref().map(of_name)).unwrap_or(0)
}
