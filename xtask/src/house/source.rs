//! The workspace's text files, read once for all checks. It judges nothing.

use std::{fs, path::Path};

const KINDS: [&str; 9] = ["rs", "md", "toml", "sh", "yaml", "yml", "json", "vrl", "py"];
// `.github` and the like are looked into; these are not ours or not text.
const SKIPPED: [&str; 5] = [".git", ".cache", "target", "node_modules", "__pycache__"];

/// A text file; its path is relative to the root, with slashes.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Whether the whole file is test code: under a `tests` folder, or a module `tests`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// The lines above the inline tests, or all of them.
    pub(crate) fn code(&self) -> impl Iterator<Item = &str> {
        let mut lines = self.text.lines().peekable();
        std::iter::from_fn(move || {
            let line = lines.next()?;
            let opens = |next: &&str| next.starts_with("mod ") && next.ends_with('{');
            (line != "#[cfg(test)]" || !lines.peek().is_some_and(opens)).then_some(line)
        })
    }
}

/// Reads all text files below `root`, sorted by path.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    read_folder(root, "", &mut sources)?;
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn read_folder(root: &Path, folder: &str, sources: &mut Vec<Source>) -> Result<(), String> {
    let entries = fs::read_dir(root.join(folder)).map_err(|e| format!("{folder}: {e}"))?;
    for entry in entries {
        let entry = entry.map_err(|e| format!("{folder}: {e}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().map_err(|e| format!("{path}: {e}"))?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            read_folder(root, &path, sources)?;
        } else if kind.is_file() && is_text(&name) {
            let text = fs::read_to_string(root.join(&path)).map_err(|e| format!("{path}: {e}"))?;
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    let kind = name.rsplit_once('.').map(|(_, kind)| kind);
    name == "Makefile" || kind.is_some_and(|kind| KINDS.contains(&kind))
}

#[cfg(test)]
pub(crate) fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_tests_are_no_code() {
        let text =
            "fn a() {}\n#[cfg(test)]\nfn helper() {}\n#[cfg(test)]\nmod tests {\nfn b() {}\n}\n";
        let source = source("shared/x/src/lib.rs", text);
        assert_eq!(source.code().count(), 3);
    }

    #[test]
    fn test_files_are_known_by_their_place() {
        for (path, is_test) in [
            ("tests/it/main.rs", true),
            ("shared/x/tests/real.rs", true),
            ("shared/x/src/y/tests.rs", true),
            ("shared/testkit/src/lib.rs", false),
        ] {
            assert_eq!(source(path, "").is_test(), is_test, "{path}");
        }
    }
}
