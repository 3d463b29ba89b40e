//! What transform tells a listener of each event, after the transaction stands.
//!
//! The demo prints it and tests count by it; in production nobody listens and nothing is built.

use std::sync::Arc;

use domain::dead_letter::Reason;

/// What one route, or none, made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub source: String,
    /// Empty where the record could not be read.
    pub event_id: String,
    /// Empty where no route wanted the event, or the record could not be read.
    pub route: String,
    pub became: Became,
}

/// What became of an event on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    Mapped {
        destination: String,
        delivery_id: String,
    },
    Filtered,
    Unrouted,
    /// It lies among the dead letters.
    Failed {
        reason: Reason,
        message: String,
    },
}

/// Hears of every event once its transaction stands; must not block.
pub type Listener = Arc<dyn Fn(Told) + Send + Sync>;
