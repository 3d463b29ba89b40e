//! Prints what happens to each event, with the time since it was sent.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::samples::Sample;
use crate::{
    output::say,
    told::{Told, What},
};

const ID_CHARS: usize = 13;

/// The demo's clock and what it knows of each event.
#[derive(Debug)]
pub(super) struct Timeline {
    began: Instant,
    events: HashMap<String, Event>,
}

#[derive(Debug)]
struct Event {
    source: &'static str,
    kind: &'static str,
    sent: Instant,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), events: HashMap::new() }
    }

    /// Begins a part of the demo.
    pub(super) fn part(&self, title: &str) {
        say!("\n{title}");
    }

    /// Remembers when an event was sent.
    pub(super) fn sent(&mut self, sample: &Sample) {
        let event = Event { source: sample.source, kind: sample.event, sent: Instant::now() };
        self.events.insert(sample.id.clone(), event);
    }

    /// Tells that an event was accepted.
    pub(super) fn accepted(&self, sample: &Sample) {
        self.line(&sample.id, "accepted");
    }

    /// Tells what a service did with an event.
    pub(super) fn told(&self, told: &Told) {
        let text = match &told.what {
            What::Mapped { route, destination } => {
                format!("mapped       by {route} for {destination}")
            }
            What::Filtered { route } => format!("filtered     by {route}: the mapping ended it"),
            What::Unrouted => "unrouted     no route wants it".to_owned(),
            What::Delivered { destination, status: Some(status) } => {
                format!("delivered    to {destination}, which answered {status}")
            }
            What::Delivered { destination, status: None } => {
                format!("delivered    to {destination}")
            }
            What::DeadLettered { stream, reason } => format!("dead letter  of {stream}: {reason}"),
        };
        self.line(&told.event_id, &text);
    }

    fn line(&self, id: &str, text: &str) {
        let (source, kind, age) = match self.events.get(id) {
            Some(event) => (event.source, event.kind, event.sent.elapsed()),
            None => ("?", "?", Duration::ZERO),
        };
        let at = self.began.elapsed().as_secs_f64();
        let age = age.as_secs_f64() * 1000.0;
        say!("{at:7.3} s  {source:<8} {kind:<22} {:<ID_CHARS$}  +{age:7.1} ms  {text}", short(id));
    }
}

/// The end of an id, where ids of one sender differ.
fn short(id: &str) -> String {
    let chars = id.chars().count();
    let end: String = id.chars().skip(chars.saturating_sub(ID_CHARS - 1)).collect();
    if chars < ID_CHARS { id.to_owned() } else { format!("…{end}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_id_is_told_by_its_end() {
        assert_eq!(short("order-1"), "order-1");
        assert_eq!(short("evt_00000000000000010000000a").chars().count(), ID_CHARS);
        assert!(short("evt_00000000000000010000000a").ends_with("0000000a"));
    }
}
