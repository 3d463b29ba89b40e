//! What the services tell of an event on its way, in one language for all of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::outcome::Outcome;
use tokio::sync::mpsc;

/// The most that waits to be heard; more than a demo ever says at once.
pub(crate) const WAITING_MAX: usize = 4096;

/// One thing that became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) event_id: String,
    pub(crate) at: Instant,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Mapped {
        route: String,
        destination: String,
    },
    Filtered {
        route: String,
    },
    Unrouted,
    Delivered {
        destination: String,
        status: Option<u16>,
    },
    /// An attempt failed and another one follows.
    Refused {
        destination: String,
        status: Option<u16>,
        /// From 1.
        attempt: u32,
        again_in: Duration,
    },
    HandedOver {
        destination: String,
        fallback: String,
        reason: String,
    },
    DeadLettered {
        stream: String,
        reason: String,
    },
}

/// Hears of every event; what does not fit is not waited for.
pub(crate) type Ear = mpsc::Sender<Told>;

/// Lets an ear hear transform.
pub(crate) fn of_transform(ear: Ear) -> transform::Listener {
    Arc::new(move |told: transform::Told| {
        let what = match told.became {
            transform::Became::Mapped { destination, .. } => {
                What::Mapped { route: told.route, destination }
            }
            transform::Became::Filtered => What::Filtered { route: told.route },
            transform::Became::Unrouted => What::Unrouted,
            transform::Became::Failed { reason, message } => {
                let reason = format!("{} ({message})", reason.label());
                What::DeadLettered { stream: told.source, reason }
            }
        };
        tell(&ear, told.event_id, what);
    })
}

/// Lets an ear hear deliver.
pub(crate) fn of_deliver(ear: Ear) -> deliver::Listener {
    Arc::new(move |told: deliver::Told| {
        let destination = told.destination;
        let what = match told.what {
            deliver::What::Attempted { outcome: Outcome::Delivered, status, .. } => {
                What::Delivered { destination, status }
            }
            deliver::What::Attempted { status, number, again_in: Some(again_in), .. } => {
                What::Refused { destination, status, attempt: number, again_in }
            }
            // The dead letter that follows is told.
            deliver::What::Attempted { again_in: None, .. } => return,
            deliver::What::HandedOver { fallback, reason, message } => {
                let reason = format!("{} ({message})", reason.label());
                What::HandedOver { destination, fallback, reason }
            }
            deliver::What::DeadLettered { reason, message } => {
                let reason = format!("{} ({message})", reason.label());
                What::DeadLettered { stream: destination, reason }
            }
        };
        tell(&ear, told.event_id, what);
    })
}

fn tell(ear: &Ear, event_id: String, what: What) {
    // Nothing waits for who listens.
    let _full = ear.try_send(Told { event_id, at: Instant::now(), what });
}
