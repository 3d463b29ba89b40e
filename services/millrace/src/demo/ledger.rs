//! What the demo has heard so far, and whether that is enough: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use catalog_io::Catalog;
use domain::ids::IdempotencyKey;

use super::{
    samples::{Expected, Sample},
    tally::{Due, Observed},
};
use crate::told::{Told, What};

/// Every event of the demo and what was told of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    accepted: BTreeSet<String>,
    expected: BTreeMap<String, Expected>,
    /// Which delivery an idempotency key names.
    keys: HashMap<String, Due>,
    filtered: BTreeSet<String>,
    unrouted: BTreeSet<String>,
    delivered: BTreeSet<Due>,
    dead: BTreeMap<Due, String>,
    pub(super) replayed: usize,
}

impl Ledger {
    /// Takes an event that ingest has accepted.
    pub(super) fn accept(&mut self, sample: &Sample, catalog: &Catalog) {
        self.accepted.insert(sample.id.clone());
        self.expected.insert(sample.id.clone(), sample.expected);
        for route in &catalog.routes {
            for destination in &route.rule.to {
                let (route, to) = (route.rule.name.as_str(), destination.as_str());
                let key = IdempotencyKey::of(sample.source, &sample.id, route, to, 0);
                self.keys.insert(key.as_str().to_owned(), (sample.id.clone(), to.to_owned()));
            }
        }
    }

    /// Takes what a service told.
    pub(super) fn hear(&mut self, told: &Told) {
        let id = told.event_id.clone();
        match &told.what {
            What::Mapped { .. } | What::Refused { .. } | What::HandedOver { .. } => {}
            What::Filtered { .. } => drop(self.filtered.insert(id)),
            What::Unrouted => drop(self.unrouted.insert(id)),
            What::Delivered { destination, .. } => {
                self.delivered.insert((id, destination.clone()));
            }
            What::DeadLettered { stream, reason } => {
                self.dead.insert((id, stream.clone()), reason.clone());
            }
        }
    }

    /// Says whether every accepted event has come to its end, dead letters included.
    pub(super) fn is_settled(&self) -> bool {
        self.expected.iter().all(|(id, expected)| match expected {
            Expected::Filtered => self.filtered.contains(id),
            Expected::Unrouted => self.unrouted.contains(id),
            Expected::Delivered(destinations) => destinations.iter().all(|destination| {
                let due = (id.clone(), (*destination).to_owned());
                self.delivered.contains(&due) || self.dead.contains_key(&due)
            }),
        })
    }

    /// Says whether every dead letter was delivered after all.
    pub(super) fn is_healed(&self) -> bool {
        self.dead.keys().all(|due| self.delivered.contains(due))
    }

    /// Returns what is not settled, for the reason of a demo that came to no end.
    pub(super) fn open(&self) -> Vec<String> {
        let open = self.expected.iter().filter(|(id, expected)| match expected {
            Expected::Filtered => !self.filtered.contains(*id),
            Expected::Unrouted => !self.unrouted.contains(*id),
            Expected::Delivered(to) => {
                to.iter().any(|to| !self.delivered.contains(&((*id).clone(), (*to).to_owned())))
            }
        });
        open.map(|(id, expected)| format!("{id} was to be {expected:?}")).collect()
    }

    /// Compares everything with what the receiver took: destination and idempotency key of each.
    pub(super) fn observe(&self, taken: impl Iterator<Item = (String, String)>) -> Observed {
        let mut observed = Observed {
            accepted: self.accepted.clone(),
            filtered: self.filtered.clone(),
            unrouted: self.unrouted.clone(),
            dead_lettered: self.dead.keys().cloned().collect(),
            replayed: self.replayed,
            ..Observed::default()
        };
        for (id, expected) in &self.expected {
            let Expected::Delivered(destinations) = expected else { continue };
            observed.due.extend(destinations.iter().map(|to| (id.clone(), (*to).to_owned())));
        }
        for (destination, key) in taken {
            match self.keys.get(&key) {
                Some(due) if due.1 == destination => observed.received.push((due.clone(), key)),
                Some((id, to)) => {
                    let surprise = format!("{id} for {to} arrived at {destination}");
                    observed.surprises.push(surprise);
                }
                None => observed.surprises.push(format!("{destination} took an unknown {key:?}")),
            }
        }
        observed.surprises.extend(self.surprises(&observed));
        observed
    }

    fn surprises(&self, observed: &Observed) -> Vec<String> {
        let mut surprises = Vec::new();
        for (id, expected) in &self.expected {
            let to = observed.received.iter().filter(|(due, _)| due.0 == *id).count();
            let found = (self.filtered.contains(id), self.unrouted.contains(id), to > 0);
            let as_expected = match expected {
                Expected::Filtered => found == (true, false, false),
                Expected::Unrouted => found == (false, true, false),
                // What is missing is counted as lost.
                Expected::Delivered(_) => !found.0 && !found.1,
            };
            if !as_expected {
                surprises.push(format!("{id} was to be {expected:?}, and was not"));
            }
        }
        surprises
    }
}
