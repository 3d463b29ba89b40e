//! Prints what happens to each event, with the time since it was sent.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use dlq_replayer::Summary;

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
    /// How long after it was sent each event reached each step.
    accepted: Vec<Duration>,
    mapped: Vec<Duration>,
    delivered: Vec<Duration>,
}

#[derive(Debug)]
struct Event {
    source: &'static str,
    kind: &'static str,
    sent: Instant,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            events: HashMap::new(),
            accepted: Vec::new(),
            mapped: Vec::new(),
            delivered: Vec::new(),
        }
    }

    /// Tells what runs, and starts the clock.
    pub(super) fn begin(&mut self, events: usize) {
        let took = self.began.elapsed().as_secs_f64();
        say!(
            "Millrace in one process: ingest, transform, deliver and dlq-replayer, on a broker and a\n\
             registry in memory, ready after {took:.1} s. {events} events are on their way."
        );
        self.began = Instant::now();
    }

    /// Begins a part of the demo.
    pub(super) fn part(&self, title: &str) {
        say!("\n{title}\n");
        say!(
            "{:>9}  {:<8}  {:<22}  {:<ID_CHARS$}  {:>12}",
            "time",
            "source",
            "type",
            "event",
            "since sent"
        );
    }

    /// Remembers when an event was sent.
    pub(super) fn sent(&mut self, sample: &Sample) {
        let event = Event { source: sample.source, kind: sample.event, sent: Instant::now() };
        self.events.insert(sample.id.clone(), event);
    }

    /// Tells that an event was accepted.
    pub(super) fn accepted(&mut self, sample: &Sample) {
        let age = self.line(&sample.id, Instant::now(), "accepted     and in the log");
        self.accepted.push(age);
    }

    /// Tells what a service did with an event.
    pub(super) fn told(&mut self, told: &Told) {
        let text = match &told.what {
            What::Mapped { route, destination } => {
                format!("mapped       for {destination} by {route}")
            }
            What::Filtered { route } => format!("filtered     by {route}: its mapping ended it"),
            What::Unrouted => "unrouted     no route wants it".to_owned(),
            What::Delivered { destination, status } => {
                format!("delivered    to {destination}, which {}", answered(*status))
            }
            What::Refused { destination, status, attempt: 1, again_in } => {
                let again_in = again_in.as_millis();
                let answered = answered(*status);
                format!("retried      {destination} {answered}; again in {again_in} ms")
            }
            // One such line for an event tells enough.
            What::Refused { .. } => return,
            What::HandedOver { destination, fallback, reason } => {
                format!("fallback     {fallback} in the place of {destination}: {reason}")
            }
            What::DeadLettered { stream, reason } => format!("dead letter  for {stream}: {reason}"),
        };
        let age = self.line(&told.event_id, told.at, &text);
        match told.what {
            What::Mapped { .. } => self.mapped.push(age),
            What::Delivered { .. } => self.delivered.push(age),
            What::Filtered { .. }
            | What::Unrouted
            | What::Refused { .. }
            | What::HandedOver { .. }
            | What::DeadLettered { .. } => {}
        }
    }

    /// Tells how long it took so far from sending to each step.
    pub(super) fn latencies(&mut self) {
        let told = [
            ("accepted", &mut self.accepted),
            ("mapped", &mut self.mapped),
            ("delivered", &mut self.delivered),
        ];
        let told = told.map(|(step, ages)| {
            ages.sort_unstable();
            let at = |index: usize| ages.get(index).map_or(0.0, |age| millis(*age));
            format!("{step} {:.1} / {:.1} ms", at(ages.len() / 2), at(ages.len().saturating_sub(1)))
        });
        say!("\n{:>9}  since sent, median / slowest: {}", "", told.join(", "));
    }

    /// Tells of dead letters as they lie in the log.
    pub(super) fn dead_letters(&self, refused: usize, letters: &[Summary]) {
        let of = letters.first().map_or("", |letter| letter.destination.as_str());
        say!("\n{:>9}  {refused} attempts at {of} failed; its dead letters:", "");
        for letter in letters {
            let reason = letter.reason.map_or("unknown", |reason| reason.label());
            say!("{:>9}  {}  {reason}  {}", "", letter.id, letter.event_id);
        }
    }

    /// Tells what became of the dead letters.
    pub(super) fn replayed(&self, count: usize, destination: &str) {
        say!(
            "\n{:>9}  {count} dead letters of {destination} were put through again, once each",
            ""
        );
    }

    /// Prints a line of an event, and returns how long ago it was sent.
    fn line(&self, id: &str, at: Instant, text: &str) -> Duration {
        let (source, kind, age) = match self.events.get(id) {
            Some(event) => (event.source, event.kind, at.duration_since(event.sent)),
            None => ("?", "?", Duration::ZERO),
        };
        let time = at.duration_since(self.began).as_secs_f64();
        let (id, age_ms) = (short(id), millis(age));
        say!("{time:7.3} s  {source:<8}  {kind:<22}  {id:<ID_CHARS$}  {age_ms:>9.1} ms  {text}");
        age
    }
}

fn answered(status: Option<u16>) -> String {
    status.map_or_else(|| "gave no answer".to_owned(), |status| format!("answered {status}"))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
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
