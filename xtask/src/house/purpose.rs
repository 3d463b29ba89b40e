//! Whether every Rust file begins by saying what it is for. What it says, a person judges.

use super::{
    finding::{Finding, Rule},
    source::Source,
};

pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let rust = sources.iter().filter(|source| source.is_rust());
    rust.filter_map(|source| missing(&source.text).map(|what| (source, what)))
        .map(|(source, what)| Finding::new(Rule::Purpose, &source.path, what))
        .collect()
}

fn missing(text: &str) -> Option<&'static str> {
    match text.lines().next().and_then(|line| line.strip_prefix("//!")) {
        None => Some("does not begin with its purpose"),
        Some(said) if said.split_whitespace().count() < 3 => {
            Some("says its purpose in no sentence")
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{paths_of, source::source};

    #[test]
    fn a_file_without_purpose_is_found() {
        let found = check(&[
            source("a.rs", "//! Keeps the offsets of one partition.\nfn a() {}\n"),
            source("b.rs", "use std::fmt;\n"),
            source("c.rs", "//! tests\n"),
            source("d.rs", ""),
            source("e.md", "no Rust\n"),
        ]);
        assert_eq!(paths_of(&found), ["b.rs", "c.rs", "d.rs"]);
    }
}
