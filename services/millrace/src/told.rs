//! What the services tell of an event on its way, in one language for all of them.

use tokio::sync::mpsc;

/// The most that waits to be heard; more than a demo ever says at once.
pub(crate) const WAITING_MAX: usize = 4096;

/// One thing that became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) event_id: String,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Mapped { route: String, destination: String },
    Filtered { route: String },
    Unrouted,
    Delivered { destination: String, status: Option<u16> },
    DeadLettered { stream: String, reason: String },
}

/// Hears of every event; what does not fit is not waited for.
pub(crate) type Ear = mpsc::Sender<Told>;
