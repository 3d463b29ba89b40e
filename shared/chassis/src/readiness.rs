//! What has to be true before a process is given work, as each service tells it.
//!
//! It decides nothing: a condition is met or not because its owner said so last.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

/// Said of a service that has not told a condition yet.
const SILENT: &str = "has not told what it needs yet";
const STARTED: &str = "started";

/// One condition that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    pub service: &'static str,
    pub condition: &'static str,
    pub reason: String,
}

/// A service's hand on the process's readiness; clones write on the same board.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    board: Arc<Mutex<Board>>,
    service: &'static str,
}

/// The reason of each condition, none where it is met.
type Board = BTreeMap<(&'static str, &'static str), Option<String>>;

impl Readiness {
    /// Returns the hand of another service on the same board; it is unmet until it first speaks.
    #[must_use]
    pub fn of(&self, service: &'static str) -> Self {
        self.board.lock().insert((service, STARTED), Some(SILENT.to_owned()));
        Self { board: self.board.clone(), service }
    }

    /// Says whether a condition is met; the reason is shown to the operator.
    pub fn set(&self, condition: &'static str, state: Result<(), String>) {
        let mut board = self.board.lock();
        board.remove(&(self.service, STARTED));
        board.insert((self.service, condition), state.err());
    }

    /// Takes a condition back, for example of a destination that is gone.
    pub fn forget(&self, condition: &'static str) {
        self.board.lock().remove(&(self.service, condition));
    }

    /// Returns what is not met, by service and condition.
    pub fn unmet(&self) -> Vec<Unmet> {
        let board = self.board.lock();
        let unmet = board.iter().filter_map(|((service, condition), reason)| {
            Some(Unmet { service, condition, reason: reason.clone()? })
        });
        unmet.collect()
    }

    /// Says whether everything is met.
    pub fn is_ready(&self) -> bool {
        self.board.lock().values().all(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_each_service_has_met_each_condition() {
        let ingest = Readiness::default().of("ingest");
        let deliver = ingest.of("deliver");
        ingest.set("broker", Ok(()));
        assert_eq!(deliver.unmet()[0].reason, SILENT);
        deliver.set("broker", Err("connection refused".into()));
        let unmet =
            Unmet { service: "deliver", condition: "broker", reason: "connection refused".into() };
        assert_eq!(ingest.unmet(), [unmet]);
        deliver.set("broker", Ok(()));
        assert!(ingest.is_ready());
        ingest.set("broker", Err("gone".into()));
        assert!(!deliver.is_ready());
        ingest.forget("broker");
        assert!(deliver.is_ready());
    }
}
