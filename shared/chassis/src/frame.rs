//! The life of a process: bind, start, run the services, drain, flush, end.
//!
//! A service's task is owned here; what it does is its own. The first service that ends by itself
//! ends the process, so that nothing half alive stays behind.

use std::{collections::HashMap, future::Future, net::SocketAddr, pin::Pin, time::Duration};

use serde::Deserialize;
use tokio::{
    net::TcpListener,
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Hook, Metrics, Process, Readiness, Tracer, admin,
    config::Finding,
    hook, log,
    signals::Signals,
    tracer::{self, Exporter, Exporting},
};

/// The embedded defaults of `instance`, `[admin]`, `[log]`, `[telemetry]` and `[shutdown]`; headers
/// included.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// How long the last spans may take.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The frame's own configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub instance: String,
    pub admin: admin::Config,
    pub log: log::Config,
    pub telemetry: Telemetry,
    pub shutdown: Shutdown,
}

/// The section `[telemetry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub otlp_endpoint: String,
    pub sample_ratio: f64,
    pub environment: String,
    /// Where a trace is looked at, `{trace_id}` standing for its id; may be empty.
    pub trace_url: String,
}

/// The section `[shutdown]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    pub drain_seconds: u16,
    pub timeout_seconds: u16,
}

/// Which build runs.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    pub version: &'static str,
    pub revision: &'static str,
}

/// The process can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("admin.listen {address} can't be bound: {why}; name a free address of this machine")]
    Bind { address: SocketAddr, why: std::io::Error },
    #[error("signals can't be received: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Hook(#[from] hook::Invalid),
    #[error(transparent)]
    Tracer(#[from] tracer::Invalid),
    #[error("the client for telemetry can't be made: {0}")]
    Client(reqwest::Error),
}

/// How a process ended that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("{service} ended: {why}")]
    Failed { service: &'static str, why: String },
    #[error(
        "{} did not drain within {within:?}; what was in flight is tried again by the next start",
        services.join(", ")
    )]
    TooSlow { services: Vec<&'static str>, within: Duration },
}

impl Ended {
    /// The process's exit code: 1 for a failure, 3 for what did not drain in time.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed { .. } => 1,
            Self::TooSlow { .. } => 3,
        }
    }
}

/// One service's work; the error is text for the operator.
pub struct Work {
    pub service: &'static str,
    pub run: Pin<Box<dyn Future<Output = Result<(), String>> + Send>>,
}

/// A started process: its admin port is bound and its signals are heard.
pub struct Frame {
    config: Config,
    build: Build,
    stop: CancellationToken,
    board: admin::Board,
    address: SocketAddr,
    signals: Signals,
    hook: Hook,
    exporting: Option<(Exporting, reqwest::Client)>,
    exporters: Vec<Exporter>,
    admin: JoinSet<()>,
    admin_stop: CancellationToken,
}

impl Config {
    /// Finds what types can't say.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Err(why) = self.log.filter() {
            found.push(("log.level".to_owned(), why.to_string()));
        }
        if !(0.0..=1.0).contains(&self.telemetry.sample_ratio) {
            found.push(("telemetry.sample_ratio".to_owned(), "must be from 0 to 1".to_owned()));
        }
        found
    }
}

impl Frame {
    /// Binds the admin port and starts what every process has. The log runs already.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(config: Config, build: Build) -> Result<Self, StartError> {
        let address = config.admin.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|why| StartError::Bind { address, why })?;
        let address = listener.local_addr().unwrap_or(address);
        let signals = Signals::new().map_err(StartError::Signals)?;
        let hook = Hook::parse(&std::env::var(hook::VARIABLE).unwrap_or_default())?;
        let metrics = Metrics::default();
        describe(&metrics, build);
        let exporting = exporting(&config.telemetry, build, &metrics)?;
        let board = admin::Board {
            metrics,
            ready: Readiness::default(),
            started: CancellationToken::new(),
            draining: CancellationToken::new(),
        };
        let admin_stop = CancellationToken::new();
        let mut admin = JoinSet::new();
        admin.spawn(admin::serve(listener, board.clone(), admin_stop.clone()));
        Ok(Self {
            config,
            build,
            stop: CancellationToken::new(),
            board,
            address,
            signals,
            hook,
            exporting,
            exporters: Vec::new(),
            admin,
            admin_stop,
        })
    }

    /// Returns where the admin port is bound.
    pub fn admin_address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the token that stops the process; cancelling it is as good as a signal.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Returns the place of one service in this process.
    pub fn process(&mut self, name: &'static str) -> Result<Process, StartError> {
        let tracer = match &self.exporting {
            None => Tracer::disabled(),
            Some((exporting, client)) => {
                let (tracer, exporter) = exporting.start(name, client.clone())?;
                self.exporters.push(exporter);
                tracer
            }
        };
        let instance = &self.config.instance;
        Ok(Process {
            name,
            stop: self.stop.clone(),
            metrics: self.board.metrics.clone(),
            ready: self.board.ready.of(name),
            tracer,
            hook: self.hook.clone(),
            version: self.build.version,
            instance: (!instance.is_empty()).then(|| instance.clone()),
        })
    }

    /// Runs the services until a signal or the stop token, then drains them; ends with what the
    /// process comes to. A second signal exits at once with 128 and its number.
    pub async fn run(mut self, work: Vec<Work>) -> Result<(), Ended> {
        let mut services = Services::spawn(work);
        self.board.started.cancel();
        let failed = self.until_stop(&mut services).await;
        self.board.draining.cancel();
        self.stop.cancel();
        let drained = self.drain(&mut services).await;
        for exporter in self.exporters {
            exporter.finish(FLUSH_WITHIN).await;
        }
        self.admin_stop.cancel();
        while self.admin.join_next().await.is_some() {}
        match failed {
            Some(failed) => Err(failed),
            None => drained,
        }
    }

    /// Waits for a reason to stop; a service that ends by itself is one, and is returned.
    async fn until_stop(&mut self, services: &mut Services) -> Option<Ended> {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => return None,
            ended = services.next() => match ended {
                Some((_, result)) => return result.err().or(None),
                None => return None,
            },
            (name, _) = self.signals.next() => tracing::info!(signal = name, "stopping"),
        }
        // Balancers notice that the process is unready while it still serves.
        self.board.draining.cancel();
        let wait = Duration::from_secs(self.config.shutdown.drain_seconds.into());
        tokio::select! {
            () = tokio::time::sleep(wait) => None,
            () = stop.cancelled() => None,
            ended = services.next() => ended.and_then(|(_, result)| result.err()),
            (name, number) = self.signals.next() => at_once(name, number),
        }
    }

    async fn drain(&mut self, services: &mut Services) -> Result<(), Ended> {
        let within = Duration::from_secs(self.config.shutdown.timeout_seconds.into());
        let deadline = Instant::now() + within;
        let mut first_failure = Ok(());
        loop {
            tokio::select! {
                ended = services.next() => match ended {
                    Some((_, result)) => first_failure = first_failure.and(result),
                    None => return first_failure,
                },
                () = tokio::time::sleep_until(deadline) => {
                    return Err(Ended::TooSlow { services: services.abort().await, within });
                }
                (name, number) = self.signals.next() => at_once(name, number),
            }
        }
    }
}

/// The second signal: nothing more is waited for, not even what would be dropped in order.
#[allow(clippy::disallowed_methods)]
fn at_once(name: &str, number: i32) -> ! {
    tracing::warn!(signal = name, "stopped at once by a second signal");
    std::process::exit(128 + number)
}

/// The services' tasks, by name.
struct Services {
    tasks: JoinSet<Result<(), String>>,
    names: HashMap<Id, &'static str>,
}

impl Services {
    fn spawn(work: Vec<Work>) -> Self {
        let mut tasks = JoinSet::new();
        let names = work.into_iter().map(|work| (tasks.spawn(work.run).id(), work.service));
        let names = names.collect();
        Self { tasks, names }
    }

    /// Waits for the next service that ends; a panic is a failure like any other.
    async fn next(&mut self) -> Option<(&'static str, Result<(), Ended>)> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(error.to_string())),
        };
        let service = self.names.remove(&id).unwrap_or("a service");
        Some((service, result.map_err(|why| Ended::Failed { service, why })))
    }

    async fn abort(&mut self) -> Vec<&'static str> {
        let mut left: Vec<&'static str> = self.names.values().copied().collect();
        left.sort_unstable();
        self.tasks.shutdown().await;
        left
    }
}

fn describe(metrics: &Metrics, build: Build) {
    let help = "The build that runs; always 1.";
    let labels = ["version", "revision"];
    let info = metrics.gauge_vec("millrace_build_info", help, &labels);
    info.with_label_values(&[build.version, build.revision]).set(1);
    let own = prometheus::process_collector::ProcessCollector::for_self();
    if let Err(error) = metrics.registry().register(Box::new(own)) {
        tracing::error!(%error, "metrics of the process are not exported");
    }
}

fn exporting(
    telemetry: &Telemetry,
    build: Build,
    metrics: &Metrics,
) -> Result<Option<(Exporting, reqwest::Client)>, StartError> {
    let help = "Telemetry that never arrived.";
    let dropped = metrics.counter_vec("millrace_telemetry_dropped_total", help, &["signal"]);
    let said = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").unwrap_or_default();
    let endpoint =
        if telemetry.otlp_endpoint.is_empty() { &said } else { &telemetry.otlp_endpoint };
    let exporting = Exporting {
        endpoint: endpoint.clone(),
        sample_ratio: telemetry.sample_ratio,
        environment: telemetry.environment.clone(),
        version: build.version,
        dropped: dropped.with_label_values(&["traces"]),
    };
    if endpoint.is_empty() {
        return Ok(None);
    }
    let client = tracer::client().map_err(StartError::Client)?;
    Ok(Some((exporting, client)))
}
