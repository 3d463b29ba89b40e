//! What all lanes of the service share.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use catalog_io::Catalog;
use chassis::{Hook, Tracer};
use domain::time::UnixMillis;

use crate::{
    config::Config, control::Control, fallback::Fallbacks, gate::Gates, held::Now, outbox::Outbox,
    told::Listener,
};

/// The service's clients and hands; lanes hold it and nothing of each other.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) registry: registry_io::Registry,
    pub(crate) client: http_io::Client,
    pub(crate) gates: Gates,
    pub(crate) fallbacks: Fallbacks,
    pub(crate) control: Control,
    pub(crate) outbox: Outbox,
    pub(crate) tracer: Tracer,
    /// As spans name who reads.
    pub(crate) group: String,
    pub(crate) client_id: String,
    pub(crate) hook: Hook,
    pub(crate) version: &'static str,
    pub(crate) listener: Option<Listener>,
}

impl Shared {
    /// Takes what a catalog says of destinations and fallbacks.
    pub(crate) fn adopt(&self, catalog: &Catalog) {
        self.gates.adopt(catalog);
        self.fallbacks.adopt(catalog);
    }

    /// Returns the wall clock's time.
    pub(crate) fn now(&self) -> UnixMillis {
        SystemTime::now().into()
    }

    /// Returns the time by both clocks.
    pub(crate) fn both(&self) -> Now {
        Now { wall: self.now(), steady: Instant::now() }
    }
}

/// A lane's view of the service and of its destination.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) shared: Arc<Shared>,
    pub(crate) gate: Arc<crate::gate::Gate>,
    /// Cancelled when the lane takes no more records and begins no more attempts.
    pub(crate) intake: tokio_util::sync::CancellationToken,
}
