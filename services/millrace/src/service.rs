//! One service as a process: `millrace ingest | transform | deliver | dlq-replayer`.

use std::{path::Path, process::ExitCode};

use chassis::{
    Ended, Frame,
    frame::{Build, StartError},
};
use registry_io::Registry;

use crate::{
    cli::REVISION,
    compose::{self, Service, World},
    failure::{Failure, USAGE},
    leftovers::Asking,
    settings::{self, Config},
    shared,
};

/// The build that runs.
pub(crate) const BUILD: Build = Build { version: env!("CARGO_PKG_VERSION"), revision: REVISION };

pub(crate) async fn one(file: Option<&Path>, service: Service) -> Result<ExitCode, Failure> {
    let config = settings::load(file)?.config;
    if config.kafka.embedded {
        let why = "kafka.embedded says that the broker is the one inside a `millrace dev`";
        let remedy =
            "name real brokers in kafka.bootstrap_servers; `millrace dev` runs all services";
        return Err(Failure::new(format!("run {}", service.name()), why, remedy).code(USAGE));
    }
    start_log(&config.log, service.name())?;
    let catalog = shared::catalog(&config.catalog.folder)?;
    let names = shared::names(&config);
    let mut frame = Frame::start(config.frame(), BUILD).await.map_err(not_started)?;
    let process = frame.process(service.name()).map_err(not_started)?;
    let registry = registry(&config, &process.metrics)?;
    let leftovers = service.needs_lanes().then(|| (config.clone(), names.clone()));
    let asking = service.needs_lanes().then(|| Asking::new(&config, &names));
    let (catalogs, watch) =
        compose::watch(&config, catalog, &frame, &process.metrics, asking, |_| {});
    let kafka = config.kafka.clone();
    let world = World { kafka, registry, catalogs, names, broker: None, ear: None };
    let mut work = compose::work(service, &config, &world, process.clone());
    if let Some((config, names)) = leftovers {
        work = compose::gated(work, config, names, world.catalogs.clone(), process);
    }
    tracing::info!(version = BUILD.version, admin = %frame.admin_address(), "started");
    ended(frame.run(vec![work, watch]).await)
}

/// Starts the log, of which a process has one.
pub(crate) fn start_log(
    config: &chassis::log::Config,
    service: &'static str,
) -> Result<(), Failure> {
    chassis::log::start(config, service, BUILD.version)
        .map_err(|e| Failure::new("start the log", e, "correct log.level").code(USAGE))
}

/// Makes the registry's client and shows its counters.
pub(crate) fn registry(config: &Config, metrics: &chassis::Metrics) -> Result<Registry, Failure> {
    let registry = client_of_registry(config)?;
    if let Err(error) = registry.export(metrics.registry()) {
        tracing::error!(error.message = %error, "metrics of the registry are not exported");
    }
    Ok(registry)
}

/// Makes the registry's client for a command.
pub(crate) fn client_of_registry(config: &Config) -> Result<Registry, Failure> {
    Registry::new(&config.registry).map_err(|e| {
        Failure::new("make a client for the schema registry", e, "correct the section [registry]")
            .code(USAGE)
    })
}

pub(crate) fn not_started(error: StartError) -> Failure {
    Failure::new("start the process", error, "").code(USAGE)
}

/// Gives the exit code of a process that has run.
pub(crate) fn ended(result: Result<(), Ended>) -> Result<ExitCode, Failure> {
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(ended) => {
            tracing::error!(error.message = %ended, "ended");
            let code = ended.code();
            Err(Failure::new("go on running", ended, "").code(code))
        }
    }
}
