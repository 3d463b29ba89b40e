//! What deliver tells a listener of each attempt and each dead letter.
//!
//! The demo prints it and tests count by it; in production nobody listens and nothing is built.

use std::{sync::Arc, time::Duration};

use domain::{dead_letter::Reason, outcome::Outcome};
use wire::Delivery;

/// Something that happened to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub destination: String,
    pub delivery_id: String,
    pub event_id: String,
    pub source: String,
    pub route: String,
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An attempt is over.
    Attempted {
        /// From 1.
        number: u32,
        outcome: Outcome,
        status: Option<u16>,
        took: Duration,
        /// How long after ingest accepted the event.
        since_received: Duration,
        /// How long until the next attempt, where one follows.
        again_in: Option<Duration>,
    },
    /// It was given up on, and its event went to its route's fallback.
    HandedOver { fallback: String, reason: Reason, message: String },
    /// It was given up on; its dead letter is acknowledged.
    DeadLettered { reason: Reason, message: String },
}

impl Told {
    pub(crate) fn of(delivery: &Delivery, what: What) -> Self {
        Self {
            destination: delivery.destination.clone(),
            delivery_id: delivery.delivery_id.clone(),
            event_id: delivery.event_id.clone(),
            source: delivery.source.clone(),
            route: delivery.route.clone(),
            what,
        }
    }
}

/// Hears of every attempt and every dead letter; must not block.
pub type Listener = Arc<dyn Fn(Told) + Send + Sync>;
