//! What ingest tells a listener of each event that it has accepted.
//!
//! The demo prints it and tests count by it; in production nobody listens and nothing is built.

use std::sync::Arc;

/// An event that is in the log of all in-sync replicas; its sender is about to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub source: String,
    pub event_id: String,
    pub correlation_id: String,
    pub partition: i32,
    pub offset: i64,
}

/// Hears of every accepted event; must not block.
pub type Listener = Arc<dyn Fn(Told) + Send + Sync>;
