//! What a service is handed by the process it runs in.
//!
//! It holds no configuration and no client: those are the service's own.

use tokio_util::sync::CancellationToken;

use crate::{Hook, Metrics, Readiness, Tracer};

/// A service's place in its process; clones are the same place.
#[derive(Debug, Clone)]
pub struct Process {
    /// The service's name, for example `millrace-ingest`.
    pub name: &'static str,
    /// Cancelled when the service has to stop: it finishes what is in flight and returns.
    pub stop: CancellationToken,
    pub metrics: Metrics,
    pub ready: Readiness,
    pub tracer: Tracer,
    pub hook: Hook,
    pub version: &'static str,
    /// A name that stays the same over restarts, where there is one, such as the pod's.
    pub instance: Option<String>,
}

impl Process {
    /// Returns a place of its own, that exports nothing: for tests and for commands.
    pub fn alone(name: &'static str) -> Self {
        Self {
            name,
            stop: CancellationToken::new(),
            metrics: Metrics::default(),
            ready: Readiness::default().of(name),
            tracer: Tracer::disabled(),
            hook: Hook::default(),
            version: env!("CARGO_PKG_VERSION"),
            instance: None,
        }
    }

    /// Returns the number at the end of the stable name: 2 for `millrace-transform-2`.
    pub fn ordinal(&self) -> Option<u32> {
        self.instance.as_deref().and_then(ordinal)
    }
}

fn ordinal(instance: &str) -> Option<u32> {
    instance.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinal_is_the_number_at_the_end_of_a_stable_name() {
        assert_eq!(ordinal("millrace-transform-2"), Some(2));
        assert_eq!(ordinal("millrace-transform"), None);
        assert_eq!(ordinal("a-"), None);
        assert_eq!(ordinal("7"), None);
    }
}
