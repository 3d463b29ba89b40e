//! Checks one route: that its ends exist and its programs compile.

use std::{collections::BTreeSet, str::FromStr};

use domain::{catalog as rules, fallback};

use super::{Context, Entry};
use crate::{
    Fallback, Route,
    file::{self, OneOrMany},
    schema::nearest,
};

/// The names that a route may refer to, those of broken entries included.
pub(super) struct Known {
    pub(super) sources: BTreeSet<String>,
    pub(super) destinations: BTreeSet<String>,
}

pub(super) fn check(entry: &Entry<'_>, known: &Known, context: &mut Context<'_>) -> Option<Route> {
    let route: file::Route = context.typed(entry)?;
    let from = ends(entry, "/from", "source", &route.from, &known.sources, context);
    let to = ends(entry, "/to", "destination", &route.to, &known.destinations, context);
    let when = route.when.as_deref().and_then(|text| {
        let name = format!("routes.{}.when", entry.name);
        context.program(entry, "/when", text, &name, mapping::Use::Condition)
    });
    let map = route.map.as_deref().and_then(|path| mapping_file(entry, "/map", path, context));
    let fallback = match &route.fallback {
        Some(declared) => Some(fallback_of(entry, declared, &route.to, known, context)?),
        None => None,
    };
    // A program that did not compile is a mistake that refuses the catalog; it is never left out.
    let rule = rules::Route { name: entry.name.parse().ok()?, from, to, order: route.order };
    Some(Route { rule, when, map, fallback })
}

/// Checks a route's fallback. It needs no look for circles: a delivery that came by a fallback has none.
fn fallback_of(
    entry: &Entry<'_>,
    declared: &file::Fallback,
    own: &OneOrMany,
    known: &Known,
    context: &mut Context<'_>,
) -> Option<Fallback> {
    let map = declared.map.as_deref();
    let map = map.and_then(|path| mapping_file(entry, "/fallback/map", path, context));
    let name = declared.to.as_str();
    if own.each().iter().any(|(_, to)| *to == name) {
        let what =
            format!("the fallback of route {:?} is its own destination {name:?}", entry.name);
        let why = "a delivery would go again to where it was given up on";
        let fix = "name another destination; one with the same url may have another name";
        context.mistake(entry, "/fallback/to", what, why, fix);
        return None;
    }
    let to = OneOrMany::One(name.to_owned());
    let mut to = ends(entry, "/fallback/to", "destination", &to, &known.destinations, context);
    let on = declared.on.clone().unwrap_or_else(|| fallback::Fate::ALL.to_vec());
    Some(Fallback { rule: fallback::Fallback { to: to.pop()?, on }, map })
}

fn ends<N: FromStr>(
    entry: &Entry<'_>,
    below: &str,
    kind: &str,
    named: &OneOrMany,
    known: &BTreeSet<String>,
    context: &mut Context<'_>,
) -> Vec<N> {
    let listed = named.each();
    if listed.is_empty() {
        let why = "a route has to begin and to end somewhere";
        context.mistake(entry, below, format!("no {kind} is named"), why, "name at least one");
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for (at, name) in listed {
        let below = format!("{below}{at}");
        if !known.contains(name) {
            let all: Vec<String> = known.iter().cloned().collect();
            let fix = match nearest(name, &all) {
                Some(meant) => format!("write {meant:?}, or declare {name:?}"),
                None => format!("declare {name:?}, or use one of: {}", all.join(", ")),
            };
            let what = format!("route {:?} names the unknown {kind} {name:?}", entry.name);
            context.mistake(entry, &below, what, format!("no {kind} has that name"), fix);
        } else if !seen.insert(name.to_owned()) {
            let what = format!("{name:?} is listed twice");
            let why = "each would get every event twice";
            context.mistake(entry, &below, what, why, "remove one");
        } else if let Ok(name) = name.parse() {
            names.push(name);
        }
    }
    names
}

fn mapping_file(
    entry: &Entry<'_>,
    below: &str,
    path: &str,
    context: &mut Context<'_>,
) -> Option<mapping::Program> {
    let full = context.folder.join(path);
    let inside = std::path::Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    if !inside {
        let why = "a mapping lies in the catalog's folder, so that the catalog moves as a whole";
        let what = format!("the path {path:?} leads out of the catalog");
        context.mistake(entry, below, what, why, "move the file into the catalog's folder");
        return None;
    }
    match std::fs::read_to_string(&full) {
        Ok(text) => context.program(entry, below, &text, path, mapping::Use::Mapping),
        Err(error) => {
            let what = format!("mapping {path:?} can't be read");
            let fix = "create the file, or correct the path (relative to the catalog's folder)";
            context.mistake(entry, below, what, error.to_string(), fix);
            None
        }
    }
}
