//! What holds destinations, and that it holds them: an operator's pause, and a 410.
//!
//! What counts is `ctl.state`, which every replica reads to its end before it opens a lane and then
//! follows. What this replica has found itself counts from the moment it is found, until it is read
//! back. It decides no outcome and sends nothing.

mod follow;
pub(crate) mod log;
pub(crate) mod records;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chassis::Metrics;
use domain::time::UnixMillis;
use kafka_io::{Outgoing, Written};
use parking_lot::Mutex;
use tokio::sync::watch;
use wire::{
    control::{Act, Destinations, Said, Word},
    topics::Names,
};

use crate::{
    flow::Hold,
    gate::{Gate, Gates},
    series::Holds,
};

pub(crate) use follow::{Follower, keep};

/// Who disables a destination.
const SERVICE: &str = "millrace-deliver";

/// What holds the destinations of this process.
pub(crate) struct Control {
    names: Names,
    series: Holds,
    words: Mutex<Words>,
    /// Told when there is something to write.
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Words {
    /// As the log says it.
    said: Destinations,
    /// Destinations that answered 410 here, as long as the log as it was read does not say so.
    own: BTreeMap<String, Own>,
    /// What the audit has not been told yet.
    unaudited: VecDeque<(String, Word)>,
    /// When it was seen here that somebody had enabled a destination.
    enabled_at: BTreeMap<String, UnixMillis>,
}

enum Own {
    Unwritten(Word),
    /// It is acknowledged, and at this offset.
    Written(i64),
}

impl Control {
    pub(crate) fn new(names: Names, metrics: &Metrics) -> Self {
        let (words, news) = (Mutex::default(), watch::Sender::new(()));
        Self { names, series: Holds::new(metrics), words, news }
    }

    /// Takes what the log says up to and without the offset `next`, and holds destinations by it.
    fn obey(&self, gates: &Gates, said: Destinations, next: i64, now: UnixMillis) {
        let mut words = self.words.lock();
        let before = words.all_held();
        words.said = said;
        words.own.retain(|_, own| !matches!(own, Own::Written(offset) if *offset < next));
        let after = words.all_held();
        let concerned: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in concerned {
            let of = |all: &BTreeMap<String, Held>| all.get(name).copied().unwrap_or_default();
            let (was, is) = (of(&before), of(&after));
            if was.disabled && !is.disabled {
                words.enabled_at.insert(name.clone(), now);
            }
            gates.of(name).hold(is.hold());
            self.series.show(name, is.paused, is.disabled);
            tell(name, was, is, &words.said.of(name));
        }
    }

    /// Disables a destination that answered 410 to an attempt begun at `begun`: it is held at once,
    /// and will be for all replicas. One that is disabled already stays as it is.
    pub(crate) fn gone(&self, gate: &Gate, event_id: &str, begun: UnixMillis, now: UnixMillis) {
        let mut words = self.words.lock();
        // What was in flight when somebody enabled it says nothing of how it is now.
        let is_old = words.enabled_at.get(&gate.name).is_some_and(|at| begun < *at);
        if is_old || words.held(&gate.name).disabled {
            return;
        }
        let why = format!("it answered 410 Gone to event {event_id}");
        let event_id = Some(event_id.to_owned());
        let word = Word { by: SERVICE.to_owned(), at_ms: now.0, why, event_id };
        tell_disabled(&gate.name, &word);
        words.unaudited.push_back((gate.name.clone(), word.clone()));
        words.own.insert(gate.name.clone(), Own::Unwritten(word));
        let held = words.held(&gate.name);
        gate.hold(held.hold());
        self.series.show(&gate.name, held.paused, held.disabled);
        self.news.send_replace(());
    }

    /// Returns what `ctl.state` has to be told, if anything.
    fn unwritten(&self) -> Option<(String, Outgoing)> {
        let words = self.words.lock();
        words.own.iter().find_map(|(name, own)| match own {
            Own::Unwritten(word) => {
                Some((name.clone(), records::kept(&self.names, Act::Disable, name, word)))
            }
            Own::Written(_) => None,
        })
    }

    fn written(&self, name: &str, written: Written) {
        if let Some(own) = self.words.lock().own.get_mut(name) {
            *own = Own::Written(written.offset);
        }
    }

    /// Returns what `ctl.audit` has to be told, if anything.
    fn unaudited(&self) -> Option<Outgoing> {
        let words = self.words.lock();
        let (name, word) = words.unaudited.front()?;
        Some(records::audited(&self.names, Act::Disable, name, word))
    }

    fn audited(&self) {
        self.words.lock().unaudited.pop_front();
    }
}

/// Whether a destination is held, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    paused: bool,
    disabled: bool,
}

impl Held {
    fn hold(self) -> Option<Hold> {
        match (self.disabled, self.paused) {
            (true, _) => Some(Hold::Disabled),
            (false, true) => Some(Hold::Paused),
            (false, false) => None,
        }
    }
}

impl Words {
    fn held(&self, name: &str) -> Held {
        let said = self.said.of(name);
        let disabled = said.disabled.is_some() || self.own.contains_key(name);
        Held { paused: said.paused.is_some(), disabled }
    }

    fn all_held(&self) -> BTreeMap<String, Held> {
        let names =
            self.said.iter().map(|(name, _)| name).chain(self.own.keys().map(String::as_str));
        names.map(|name| (name.to_owned(), self.held(name))).collect()
    }
}

fn tell(destination: &str, was: Held, is: Held, said: &Said) {
    match (&said.paused, was.paused, is.paused) {
        (Some(Word { by, why, .. }), false, true) => {
            tracing::info!(destination, by, why, "destination paused: nothing is sent to it");
        }
        (_, true, false) => tracing::info!(destination, "destination resumed"),
        _ => {}
    }
    match (&said.disabled, was.disabled, is.disabled) {
        (Some(word), false, true) => tell_disabled(destination, word),
        (_, true, false) => tracing::info!(destination, "destination enabled"),
        _ => {}
    }
}

fn tell_disabled(destination: &str, word: &Word) {
    let Word { by, why, event_id, .. } = word;
    tracing::error!(
        destination,
        by,
        event_id,
        reason = why,
        "destination disabled: nothing is sent to it until `millrace destination enable`"
    );
}

#[cfg(test)]
mod tests;
