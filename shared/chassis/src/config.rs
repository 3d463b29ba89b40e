//! From defaults, a file and the environment to one checked configuration.
//!
//! Layers: each crate's embedded defaults < the file < variables `MILLRACE_SECTION__KEY`. Every
//! mistake is told at once, each with its key, its value (never a secret's) and its origin. It
//! knows no key: those are the crates'.

mod environment;
mod file;
mod problem;
mod tree;

use std::path::Path;

use serde::de::DeserializeOwned;

pub use problem::{Problem, Problems};
pub use tree::{Effective, Entry, Origin};

use tree::Tree;

/// The embedded defaults of one section: the text of its keys, without the section's header.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// Empty for the top level.
    pub section: &'static str,
    pub text: &'static str,
}

/// What is layered.
#[derive(Debug)]
pub struct Layers<'a> {
    pub defaults: &'a [Defaults],
    pub file: Option<&'a Path>,
    /// All variables of the process; those of others are passed over.
    pub environment: Vec<(String, String)>,
}

/// A checked configuration, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    pub config: T,
    pub effective: Effective,
}

/// A mistake that only whole values show: the key and what is wrong with it.
pub type Finding = (String, String);

/// Loads a configuration; `check` finds what types can't say.
///
/// # Errors
/// Every mistake of every layer.
pub fn load<T: DeserializeOwned>(
    layers: &Layers<'_>,
    check: impl Fn(&T) -> Vec<Finding>,
) -> Result<Loaded<T>, Problems> {
    let mut problems = Vec::new();
    let mut tree = Tree::default();
    for defaults in layers.defaults {
        tree.add_defaults(defaults.section, defaults.text);
    }
    let defaults = tree.clone();
    if let Some(path) = layers.file {
        match file::read(path) {
            Ok(values) => tree.add(values),
            Err(problem) => problems.push(problem),
        }
    }
    tree.add(environment::read(&layers.environment, &defaults, &mut problems));
    let config = settle(&mut tree, &defaults, &mut problems);
    if let Some(config) = &config {
        problems.extend(check(config).into_iter().map(|(key, why)| tree.problem(&key, why)));
    }
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, effective: tree.effective() }),
        Some(_) | None => Err(Problems::new(problems)),
    }
}

/// Reads the tree as a `T`; each mistake is noted and put back to its default, so that the next
/// one shows as well.
fn settle<T: DeserializeOwned>(
    tree: &mut Tree,
    defaults: &Tree,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    loop {
        let (path, why) = match serde_path_to_error::deserialize(tree.value()) {
            Ok(config) => return Some(config),
            Err(error) => (segments(error.path()), error.into_inner().to_string()),
        };
        problems.push(tree.problem_at(&path, &why));
        if !tree.restore(&path, defaults) {
            return None;
        }
    }
}

fn segments(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    let names = path.iter().map_while(|segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { .. } | Segment::Enum { .. } | Segment::Unknown => None,
    });
    names.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
