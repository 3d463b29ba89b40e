//! Checks the rates that destinations share: each is used, and by all who ask with one credential.

use std::collections::BTreeMap;

use domain::{catalog::SharedRate, rate::Rate};
use serde_json::Value;

use super::{Context, Entry, destination::flow};
use crate::{file::Text, schema::nearest};

/// The rates by name; those of broken entries count as unlimited, the catalog is refused anyway.
pub(super) struct Rates(BTreeMap<String, Rate>);

/// Reads every rate that a destination may name; `is_whole` are the entries of the right structure.
pub(super) fn check<'a>(
    entries: &[Entry<'a>],
    is_whole: &dyn Fn(&Entry<'a>) -> bool,
    context: &mut Context<'_>,
) -> Rates {
    let each = entries.iter().map(|entry| {
        let read = is_whole(entry).then(|| context.typed::<Text>(entry)).flatten();
        let rate = read.map_or(Rate::UNLIMITED, |text| flow::rate(entry, "", &text, context));
        (entry.name.to_owned(), rate)
    });
    Rates(each.collect())
}

impl Rates {
    /// Returns the rate of this name, which a destination shares.
    pub(super) fn of(
        &self,
        entry: &Entry<'_>,
        name: &str,
        context: &mut Context<'_>,
    ) -> Option<SharedRate> {
        if let Some(rate) = self.0.get(name) {
            return Some(SharedRate { name: name.to_owned(), rate: *rate });
        }
        let all: Vec<String> = self.0.keys().cloned().collect();
        let fix = match nearest(name, &all) {
            Some(meant) => format!("write {meant:?}, or declare {name:?} under rates"),
            None => format!("declare it: rates: {{ {name}: 100/s }}"),
        };
        let what = format!("{} shares the unknown rate {name:?}", entry.name);
        context.mistake(entry, "/shared_rate", what, "no rate has that name", fix);
        None
    }
}

/// Finds rates that nobody shares, and destinations that ask with the credential of one that does.
pub(super) fn check_use(
    rates: &[Entry<'_>],
    destinations: &[Entry<'_>],
    context: &mut Context<'_>,
) {
    for entry in rates {
        if !destinations.iter().any(|destination| named(destination) == Some(entry.name)) {
            let what = format!("no destination shares the rate {:?}", entry.name);
            let why = "a rate that nothing names is a limit that silently does not hold";
            let fix = format!("add shared_rate: {} to destinations, or remove it", entry.name);
            context.mistake(entry, "", what, why, fix);
        }
    }
    for entry in destinations.iter().filter(|entry| named(entry).is_none()) {
        let Some(auth) = entry.value.get("auth") else { continue };
        let alike = destinations.iter().filter(|other| other.value.get("auth") == Some(auth));
        let sharing = alike.filter_map(|other| Some((other.name, named(other)?))).next();
        if let Some((other, name)) = sharing {
            let what = format!("{} does not share the rate {name:?}", entry.name);
            let why = format!("it asks with the credential of {other}, which does");
            let fix = format!("add shared_rate: {name}, or use another credential");
            context.mistake(entry, "", what, why, fix);
        }
    }
}

fn named<'a>(entry: &Entry<'a>) -> Option<&'a str> {
    entry.value.get("shared_rate").and_then(Value::as_str)
}
