//! What transform tells a listener of each event, after the transaction stands.
//!
//! The demo prints it and tests count by it; in production nobody listens and nothing is built.

use std::sync::Arc;

/// What one route, or none, made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub source: String,
    pub event_id: String,
    /// Empty where no route wanted the event.
    pub route: String,
    pub result: Result,
}

/// What became of an event on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Result {
    Mapped { destination: String, delivery_id: String },
    Filtered,
    Unrouted,
    Failed { reason: String },
}

/// Hears of every event once its transaction stands; must not block.
pub type Listener = Arc<dyn Fn(Told) + Send + Sync>;
