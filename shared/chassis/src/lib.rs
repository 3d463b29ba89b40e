//! The frame every process of Millrace stands in: configuration, logs, metrics, traces, the admin
//! port, signals, drain and exit code.
//!
//! It knows nothing of events: a service is given a [`Process`] and returns when its `stop` is
//! cancelled and all is drained. There are no globals but the log's sink, so that several services
//! share one process.

pub mod admin;
pub mod config;
pub mod frame;
pub mod hook;
pub mod log;
pub mod metrics;
pub mod process;
pub mod readiness;
pub mod tracer;

mod signals;

pub use frame::{Ended, Frame};
pub use hook::Hook;
pub use metrics::Metrics;
pub use process::Process;
pub use readiness::Readiness;
pub use tracer::{EventOf, Kind, Span, Tracer};
