//! From a configuration to running services: what each is handed, in one process or in four.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use catalog_io::{Catalog, Catalogs, Reload};
use chassis::{Frame, Metrics, Process, frame::Work};
use kafka_io::embedded::Broker;
use registry_io::Registry;
use wire::topics::Names;

use crate::{
    leftovers::{self, Asking, Place},
    settings::Config,
    told::{self, Ear},
};

/// How long to wait before the cluster is asked again what is left of removed destinations.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The condition that a catalog without a destination is allowed.
const CATALOG: &str = "catalog";

/// A service of Millrace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ingest,
    Transform,
    Deliver,
    DlqReplayer,
}

/// What the services of one process share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) kafka: kafka_io::Config,
    pub(crate) registry: Registry,
    pub(crate) catalogs: Catalogs,
    pub(crate) names: Names,
    /// The embedded broker, where the cluster is one.
    pub(crate) broker: Option<Arc<Broker>>,
    /// Who hears of every event; nobody in production.
    pub(crate) ear: Option<Ear>,
}

impl Service {
    pub(crate) const ALL: [Self; 4] =
        [Self::Ingest, Self::Transform, Self::Deliver, Self::DlqReplayer];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "millrace-ingest",
            Self::Transform => "millrace-transform",
            Self::Deliver => "millrace-deliver",
            Self::DlqReplayer => "millrace-dlq-replayer",
        }
    }

    /// Says whether it writes or reads the destinations' lanes, and so minds a removed one.
    pub(crate) fn needs_lanes(self) -> bool {
        match self {
            Self::Transform | Self::Deliver => true,
            Self::Ingest | Self::DlqReplayer => false,
        }
    }
}

/// Returns the work of one service.
pub(crate) fn work(service: Service, config: &Config, world: &World, process: Process) -> Work {
    let World { kafka, registry, catalogs, names, broker, ear } = world.clone();
    let name = service.name();
    let metrics = kafka_metrics(&process.metrics);
    match service {
        Service::Ingest => {
            let world = ingest::World { kafka, metrics, registry, catalogs, names, listener: None };
            let run = ingest::run(config.ingest.clone(), world, process);
            Work { service: name, run: Box::pin(async { run.await.map_err(|e| e.to_string()) }) }
        }
        Service::Transform => {
            let listener = ear.map(told::of_transform);
            let world = transform::World { kafka, metrics, registry, catalogs, names, listener };
            let run = transform::run(config.transform.clone(), world, process);
            Work { service: name, run: Box::pin(async { run.await.map_err(|e| e.to_string()) }) }
        }
        Service::Deliver => {
            let listener = ear.map(told::of_deliver);
            let world =
                deliver::World { kafka, metrics, registry, catalogs, names, broker, listener };
            let run = deliver::run(config.deliver.clone(), world, process);
            Work { service: name, run: Box::pin(async { run.await.map_err(|e| e.to_string()) }) }
        }
        Service::DlqReplayer => {
            let world = dlq_replayer::World { kafka, registry, names };
            let run = dlq_replayer::run(config.dlq_replayer.clone(), world, process);
            Work { service: name, run: Box::pin(async { run.await.map_err(|e| e.to_string()) }) }
        }
    }
}

/// The families of Kafka clients are the process's, shared by all its services.
fn kafka_metrics(metrics: &chassis::Metrics) -> kafka_io::Metrics {
    kafka_io::Metrics::new(&kafka_io::Families {
        counters: &|name, help, labels| metrics.counter_vec(name, help, labels),
        gauges: &|name, help, labels| metrics.gauge_vec(name, help, labels),
        ratios: &|name, help, labels| metrics.float_gauge_vec(name, help, labels),
        histograms: &|name, help, labels, bounds| metrics.histogram_vec(name, help, labels, bounds),
    })
}

/// Puts work behind the question whether a removed destination has anything left.
///
/// While the cluster can't be asked the service is unready; where something is left on which
/// nobody has decided it ends, with the counts.
pub(crate) fn gated(
    work: Work,
    config: Config,
    names: Names,
    catalogs: Catalogs,
    process: Process,
) -> Work {
    let service = work.service;
    let run = Box::pin(async move {
        loop {
            // Anew each time: the catalog may have changed while the cluster was away.
            let place = Place::new(&config, &names, &catalogs.current());
            let Some(looked) = process.stop.run_until_cancelled(place.look()).await else {
                return Ok(());
            };
            match looked {
                Ok(looked) => {
                    leftovers::refuse(&looked.left, &config.catalog.folder)
                        .map_err(|refused| refused.to_string())?;
                    process.ready.set(CATALOG, Ok(()));
                    return work.run.await;
                }
                Err(failure) => process.ready.set(CATALOG, Err(failure.to_string())),
            }
            let wait = tokio::time::sleep(LOOK_AGAIN);
            if process.stop.run_until_cancelled(wait).await.is_none() {
                return Ok(());
            }
        }
    });
    Work { service, run }
}

/// Keeps the catalog fresh while the process runs; `asking` is asked whether destinations may go,
/// and `tell` hears of each new catalog.
pub(crate) fn watch(
    config: &Config,
    catalog: Catalog,
    frame: &Frame,
    metrics: &Metrics,
    asking: Option<Asking>,
    tell: impl Fn(&str) + Send + 'static,
) -> (Catalogs, Work) {
    let told = told_of_reloads(metrics, catalog.version.clone(), tell);
    let ask = move |removed| {
        let asking = asking.clone();
        async move {
            match asking {
                Some(asking) => asking.may_go(removed).await,
                None => Ok(()),
            }
        }
    };
    let folder = config.catalog.folder.clone();
    let (catalogs, keep) = catalog_io::watch_asking(catalog, folder, frame.stop(), ask, told);
    let run = Box::pin(async {
        keep.await;
        Ok(())
    });
    (catalogs, Work { service: "catalog", run })
}

/// Shows and logs what becomes of the catalog, of which `in_force` is the first version.
fn told_of_reloads(
    metrics: &Metrics,
    mut in_force: String,
    tell: impl Fn(&str) + Send + 'static,
) -> impl FnMut(Reload) + Send + 'static {
    let good = metrics.gauge(
        "millrace_config_last_reload_successful",
        "Whether what was last read of the catalog's folder is in force.",
    );
    let at = metrics.gauge(
        "millrace_config_last_reload_timestamp_seconds",
        "When the catalog in force was taken.",
    );
    good.set(1);
    at.set(unix_seconds());
    move |reload: Reload| match reload {
        Reload::Taken { version } if version == in_force => {
            good.set(1);
            tracing::info!(catalog.version = version, "catalog right again; nothing is new in it");
        }
        Reload::Taken { version } => {
            good.set(1);
            at.set(unix_seconds());
            tracing::info!(catalog.version = version, "catalog taken");
            tell(&version);
            in_force = version;
        }
        Reload::Refused(problems) => {
            good.set(0);
            let (count, first) = (problems.0.len(), problems.0.first());
            let first = first.map(ToString::to_string).unwrap_or_default();
            tracing::error!(mistakes = count, first, "catalog refused; the old one goes on");
        }
    }
}

fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
