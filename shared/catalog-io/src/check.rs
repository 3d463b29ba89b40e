//! What the structure can't tell: names, references, programs, secrets, bounds.
//!
//! Every entry is looked at, also beside broken ones; an entry that the structure check refused is
//! not looked at a second time, but its name still counts for references.

mod destination;
mod rates;
mod route;
mod source;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use domain::ids::{DestinationName, SourceName, is_name};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    Destination, Route, Source,
    file::{SecretRef, Text},
    problem::Problem,
    secret::{self, Environment},
    yaml::{Document, step},
};

/// What the check found: the parts that hold, and every mistake.
pub(crate) struct Checked {
    pub(crate) sources: BTreeMap<SourceName, Arc<Source>>,
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) destinations: BTreeMap<DestinationName, Arc<Destination>>,
    pub(crate) problems: Vec<Problem>,
}

/// One entry of a document: where it stands and what it is called.
pub(crate) struct Entry<'a> {
    pub(crate) document: &'a Document,
    pub(crate) pointer: String,
    pub(crate) name: &'a str,
    pub(crate) value: &'a Value,
}

/// What the checks of one folder share.
pub(crate) struct Context<'a> {
    pub(crate) folder: &'a Path,
    environment: &'a Environment,
    hash: &'a mut Sha256,
    pub(crate) problems: Vec<Problem>,
}

/// Checks all documents together; `broken` are the places that the structure check refused.
pub(crate) fn check(
    folder: &Path,
    environment: &Environment,
    documents: &[Document],
    broken: &[(usize, String)],
    hash: &mut Sha256,
) -> Checked {
    let mut context = Context { folder, environment, hash, problems: Vec::new() };
    let whole = |entry: &Entry<'_>| {
        let stands = |d: &Document| std::ptr::eq(d, entry.document);
        !broken.iter().any(|(i, at)| stands(&documents[*i]) && at.starts_with(&entry.pointer))
    };
    let source_entries = named(documents, "sources", &mut context);
    let destination_entries = named(documents, "destinations", &mut context);
    let known = route::Known {
        sources: source_entries.iter().map(|e| e.name.to_owned()).collect(),
        destinations: destination_entries.iter().map(|e| e.name.to_owned()).collect(),
    };
    let mut checked = Checked {
        sources: BTreeMap::new(),
        routes: Vec::new(),
        destinations: BTreeMap::new(),
        problems: Vec::new(),
    };
    for entry in source_entries.iter().filter(|e| whole(e)) {
        if let Some(source) = source::check(entry, &mut context) {
            checked.sources.insert(source.name.clone(), Arc::new(source));
        }
    }
    let rate_entries = named(documents, "rates", &mut context);
    let rates = rates::check(&rate_entries, &whole, &mut context);
    rates::check_use(&rate_entries, &destination_entries, &mut context);
    for entry in destination_entries.iter().filter(|e| whole(e)) {
        if let Some(destination) = destination::check(entry, &rates, &mut context) {
            checked.destinations.insert(destination.spec.name.clone(), Arc::new(destination));
        }
    }
    let route_entries = routes(documents, &mut context);
    for entry in route_entries.iter().filter(|e| whole(e)) {
        if let Some(route) = route::check(entry, &known, &mut context) {
            checked.routes.push(Arc::new(route));
        }
    }
    checked.problems = context.problems;
    checked
}

impl Context<'_> {
    /// Notes a mistake of the value at `below` the entry.
    pub(crate) fn mistake(
        &mut self,
        entry: &Entry<'_>,
        below: &str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let pointer = format!("{}{below}", entry.pointer);
        self.problems.push(entry.document.problem(&pointer, what, why, fix));
    }

    /// Reads the entry as its type; the structure check has said already what does not fit.
    pub(crate) fn typed<T: DeserializeOwned>(&mut self, entry: &Entry<'_>) -> Option<T> {
        match serde_json::from_value(entry.value.clone()) {
            Ok(value) => Some(value),
            Err(error) => {
                let what = format!("{} can't be read: {error}", entry.name);
                self.mistake(entry, "", what, "it has not the form of its kind", "see the guide");
                None
            }
        }
    }

    /// Reads a secret; its value enters the catalog's version, so that a rotation is a change.
    pub(crate) fn secret(
        &mut self,
        entry: &Entry<'_>,
        below: &str,
        secret: &SecretRef,
    ) -> Option<SecretString> {
        match secret::read(secret, self.folder, self.environment) {
            Ok(value) => {
                self.hash.update(Sha256::digest(value.expose_secret().as_bytes()));
                Some(value)
            }
            Err(e) => {
                self.mistake(entry, below, e.what, e.why, e.fix);
                None
            }
        }
    }

    /// Compiles a program; a refusal carries the compiler's own message and position.
    pub(crate) fn program(
        &mut self,
        entry: &Entry<'_>,
        below: &str,
        text: &str,
        name: &str,
        purpose: mapping::Use,
    ) -> Option<mapping::Program> {
        self.hash.update(text.as_bytes());
        match mapping::Program::compile(text, name, purpose) {
            Ok(program) => Some(program),
            Err(error) => {
                let what = format!("{name} does not compile: {}", error.message);
                let why =
                    format!("line {}, column {}:\n{}", error.line, error.column, error.rendered);
                self.mistake(entry, below, what, why, "correct the program at that place");
                None
            }
        }
    }

    /// Reads a duration with its unit.
    pub(crate) fn duration(
        &mut self,
        entry: &Entry<'_>,
        below: &str,
        text: Option<&Text>,
        default: std::time::Duration,
    ) -> std::time::Duration {
        let read = |t: &str| humantime::parse_duration(t).ok().filter(|d| !d.is_zero());
        match text {
            None => default,
            Some(Text::Text(text)) => read(text).unwrap_or_else(|| {
                let what = format!("{text:?} is no duration above zero");
                self.mistake(
                    entry,
                    below,
                    what,
                    "a time has a number and a unit",
                    "write e.g. 30s",
                );
                default
            }),
            Some(Text::Number(number)) => {
                let what = format!("{number} has no unit");
                let fix = format!("write {number}s or {number}ms");
                self.mistake(
                    entry,
                    below,
                    what,
                    "seconds and milliseconds are easily mixed up",
                    fix,
                );
                default
            }
        }
    }
}

/// Collects the entries of a mapping over all files; a name taken twice or malformed is a mistake.
fn named<'a>(documents: &'a [Document], part: &str, context: &mut Context<'_>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for document in documents {
        let Some(object) = document.value.get(part).and_then(Value::as_object) else { continue };
        for (name, value) in object {
            let pointer = step(&format!("/{part}"), name);
            let entry = Entry { document, pointer, name, value };
            if !is_name(name) {
                bad_name(&entry, "", name, context);
            }
            match entries.iter().find(|e| e.name == name) {
                Some(first) => {
                    let what = format!("{name:?} is declared twice in {part}");
                    let why = format!("it stands in {} already", first.document.file);
                    context.mistake(&entry, "", what, why, "rename or remove one of them");
                }
                None => entries.push(entry),
            }
        }
    }
    entries
}

fn routes<'a>(documents: &'a [Document], context: &mut Context<'_>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for document in documents {
        let Some(list) = document.value.get("routes").and_then(Value::as_array) else { continue };
        for (index, value) in list.iter().enumerate() {
            let Some(name) = value.get("name").and_then(Value::as_str) else { continue };
            let entry = Entry { document, pointer: format!("/routes/{index}"), name, value };
            if !is_name(name) {
                bad_name(&entry, "/name", name, context);
            }
            if entries.iter().any(|e| e.name == name) {
                let what = format!("route {name:?} is declared twice");
                let why = "a route's name is part of its deliveries' idempotency keys";
                context.mistake(&entry, "/name", what, why, "rename or remove one of them");
            }
            entries.push(entry);
        }
    }
    entries
}

fn bad_name(entry: &Entry<'_>, below: &str, name: &str, context: &mut Context<'_>) {
    let why = "a name is part of topic names: lower-case letters, digits and hyphens, a letter \
               first, at most 63 characters";
    context.mistake(entry, below, format!("{name:?} is not a name"), why, "rename it");
}
