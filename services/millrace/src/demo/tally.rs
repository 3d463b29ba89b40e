//! Counts what became of the demo's events, from the ids that the receiver saw: pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A delivery as the demo knows it from outside: which event, to which destination.
pub(crate) type Due = (String, String);

/// What the demo sent and what it was told; ids of events throughout.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Answered with 200.
    pub(crate) accepted: BTreeSet<String>,
    /// What has to be delivered, by the samples' own expectation.
    pub(crate) due: BTreeSet<Due>,
    pub(crate) filtered: BTreeSet<String>,
    pub(crate) unrouted: BTreeSet<String>,
    /// Requests that the receiver took, each with the idempotency key it carried.
    pub(crate) received: Vec<(Due, String)>,
    /// Deliveries that became dead letters, and those of them that were replayed.
    pub(crate) dead_lettered: BTreeSet<Due>,
    pub(crate) replayed: usize,
    /// Samples that were filtered or unrouted although they had to be delivered, or the reverse.
    pub(crate) surprises: Vec<String>,
}

/// The demo's last line, and whether it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: usize,
    pub(crate) delivered: usize,
    pub(crate) filtered: usize,
    pub(crate) unrouted: usize,
    pub(crate) dead_lettered: usize,
    pub(crate) replayed: usize,
    pub(crate) lost: Vec<Due>,
    pub(crate) doubled: Vec<Due>,
}

impl Observed {
    /// Counts; a delivery is lost if it was due and the receiver never took it.
    pub(crate) fn tally(&self) -> Tally {
        let mut times: BTreeMap<&Due, usize> = BTreeMap::new();
        for (due, _key) in &self.received {
            *times.entry(due).or_default() += 1;
        }
        Tally {
            accepted: self.accepted.len(),
            delivered: times.len(),
            filtered: self.filtered.len(),
            unrouted: self.unrouted.len(),
            dead_lettered: self.dead_lettered.len(),
            replayed: self.replayed,
            lost: self.due.iter().filter(|d| !times.contains_key(d)).cloned().collect(),
            doubled: times.iter().filter(|(_, n)| **n > 1).map(|(d, _)| (*d).clone()).collect(),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "demo: {} accepted, {} delivered, {} filtered, {} unrouted, {} dead-lettered, {} replayed, {} lost, {} doubled",
            self.accepted,
            self.delivered,
            self.filtered,
            self.unrouted,
            self.dead_lettered,
            self.replayed,
            self.lost.len(),
            self.doubled.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(id: &str) -> Due {
        (id.to_owned(), "crm".to_owned())
    }

    fn observed(received: &[&str]) -> Observed {
        Observed {
            accepted: ["a", "b"].map(str::to_owned).into(),
            due: [due("a"), due("b")].into(),
            received: received.iter().map(|id| (due(id), format!("mr_{id}"))).collect(),
            ..Observed::default()
        }
    }

    #[test]
    fn a_run_in_which_each_arrived_once_is_clean() {
        let tally = observed(&["a", "b"]).tally();
        assert_eq!((tally.delivered, tally.lost.len(), tally.doubled.len()), (2, 0, 0));
        let line = tally.to_string();
        assert!(line.starts_with("demo: 2 accepted, 2 delivered, 0 filtered"), "{line}");
        assert!(line.ends_with("0 lost, 0 doubled"), "{line}");
    }

    #[test]
    fn a_receiver_that_swallows_or_doubles_is_noticed() {
        assert_eq!(observed(&["a"]).tally().lost, [due("b")]);
        assert_eq!(observed(&["a", "b", "b"]).tally().doubled, [due("b")]);
    }
}
