//! The layered values, each leaf with its origin.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use toml::{Table, Value};

use super::problem::{self, Problem};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A value of one layer, by its path.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path with dots, for example `kafka.client_id`.
    pub key: String,
    /// As TOML; a secret's value is hidden.
    pub value: String,
    pub origin: Origin,
}

/// Every value in force, by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective(pub Vec<Entry>);

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> =
            self.0.iter().map(|entry| format!("{} = {}", entry.key, entry.value)).collect();
        let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).min(60);
        for (text, entry) in texts.iter().zip(&self.0) {
            writeln!(f, "{text:width$}  # {}", entry.origin)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    table: Table,
    origins: BTreeMap<Vec<String>, Origin>,
}

impl Tree {
    /// Adds embedded defaults; they are a part of the program.
    pub(super) fn add_defaults(&mut self, section: &str, text: &str) {
        let values: Table = text.parse().expect("embedded defaults are valid TOML");
        let above: Vec<String> =
            section.split('.').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        if !above.is_empty() && self.get(&above).is_none() {
            self.set(&above, Value::Table(Table::new()));
        }
        for (path, value) in leaves(&values, &above) {
            self.put(Leaf { path, value, origin: Origin::Default });
        }
    }

    /// Lays values over those that are there.
    pub(super) fn add(&mut self, layer: Vec<Leaf>) {
        for leaf in layer {
            self.put(leaf);
        }
    }

    pub(super) fn value(&self) -> Value {
        Value::Table(self.table.clone())
    }

    pub(super) fn get(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.table.get(first)?, |value, name| value.as_table()?.get(name))
    }

    /// Returns the problem of a key that is written with dots.
    pub(super) fn problem(&self, key: &str, why: String) -> Problem {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        self.problem_at(&path, &why)
    }

    /// Returns the problem of the value at `path`, or of what is below it.
    pub(super) fn problem_at(&self, path: &[String], why: &str) -> Problem {
        let leaf = self.get(path).filter(|value| !value.is_table());
        Problem::new(path, leaf, self.origin(path), why)
    }

    /// Puts the default back at `path`; says whether that changed anything.
    pub(super) fn restore(&mut self, path: &[String], defaults: &Self) -> bool {
        let changed =
            !path.is_empty() && self.get(path).is_some() && self.get(path) != defaults.get(path);
        if !changed {
            return false;
        }
        self.origins.retain(|known, _| !known.starts_with(path));
        match defaults.get(path).cloned() {
            Some(value) => self.set(path, value),
            None => self.remove(path),
        }
        true
    }

    pub(super) fn effective(&self) -> Effective {
        let entries = leaves(&self.table, &[]).into_iter().map(|(path, value)| Entry {
            origin: self.origin(&path),
            key: path.join("."),
            value: problem::shown(&path, &value),
        });
        Effective(entries.collect())
    }

    /// Finds who set `path`: itself, what is below it, or what is above it.
    fn origin(&self, path: &[String]) -> Origin {
        let below =
            || self.origins.iter().filter(|(known, _)| known.starts_with(path)).map(|(_, o)| o);
        let above =
            || self.origins.iter().filter(|(known, _)| path.starts_with(known)).map(|(_, o)| o);
        let found = self.origins.get(path).or_else(|| below().max()).or_else(|| above().max());
        found.cloned().unwrap_or(Origin::Default)
    }

    fn put(&mut self, leaf: Leaf) {
        self.origins.retain(|known, _| !known.starts_with(&leaf.path));
        self.set(&leaf.path, leaf.value);
        self.origins.insert(leaf.path, leaf.origin);
    }

    fn set(&mut self, path: &[String], value: Value) {
        let Some((last, above)) = path.split_last() else { return };
        let mut table = &mut self.table;
        for name in above {
            let below = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
            // A plain value in the way gives place: its own layer was the lower one.
            if !below.is_table() {
                *below = Value::Table(Table::new());
            }
            let Value::Table(next) = below else { return };
            table = next;
        }
        table.insert(last.clone(), value);
    }

    fn remove(&mut self, path: &[String]) {
        let Some((last, above)) = path.split_last() else { return };
        let mut table = &mut self.table;
        for name in above {
            let Some(Value::Table(next)) = table.get_mut(name) else { return };
            table = next;
        }
        table.remove(last);
    }
}

/// Returns the plain values below `table`; an empty table is a value.
pub(super) fn leaves(table: &Table, above: &[String]) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    for (name, value) in table {
        let path: Vec<String> = above.iter().chain([name]).cloned().collect();
        match value {
            Value::Table(below) if !below.is_empty() => found.extend(leaves(below, &path)),
            plain => found.push((path, plain.clone())),
        }
    }
    found
}
