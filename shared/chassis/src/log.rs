//! Logs: one JSON object per line on standard error, or readable lines on a terminal.
//!
//! Fields are the telemetry contract's; payloads are never logged by the services. A call site
//! that warns again and again is told at most [`BURST`] times in [`WINDOW`], with the count of
//! what was left out.

mod line;
mod rate;

use std::{io::IsTerminal as _, time::Duration};

use parking_lot::Mutex;
use serde::Deserialize;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use line::Json;
use rate::Rate;

/// The most warnings and errors of one call site that are told in a [`WINDOW`].
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// The section `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub level: String,
    pub format: Format,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Pretty on a terminal, else JSON.
    Auto,
    Json,
    Pretty,
}

/// The log can't be started.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    #[error(
        "log.level {0:?} says nothing: use error, warn, info, debug or trace, or for example \"info,deliver=debug\""
    )]
    Level(String),
    #[error("the log runs already")]
    Twice,
}

impl Config {
    /// Reads the level.
    pub(crate) fn filter(&self) -> Result<EnvFilter, Invalid> {
        EnvFilter::try_new(&self.level).map_err(|_| Invalid::Level(self.level.clone()))
    }
}

/// Starts the log of the process, once; `service` is named where a line's own crate names none.
pub fn start(config: &Config, service: &'static str, version: &'static str) -> Result<(), Invalid> {
    let filter = config.filter()?;
    let pretty = match config.format {
        Format::Pretty => true,
        Format::Json => false,
        Format::Auto => std::io::stderr().is_terminal(),
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let started = if pretty {
        tracing_subscriber::registry().with(filter).with(lines.compact()).try_init()
    } else {
        let rate = Mutex::new(Rate::new(BURST, WINDOW));
        let json = Json { service, version, rate };
        tracing_subscriber::registry().with(filter).with(lines.event_format(json)).try_init()
    };
    started.map_err(|_| Invalid::Twice)
}
