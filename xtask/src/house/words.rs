//! Words that have no place in the repository, each with its reason. What clippy refuses
//! (`dbg!`, `todo!`, `unimplemented!`) is left to it.

use super::{
    finding::{Finding, Rule},
    source::Source,
};

// The list itself names what it forbids.
const SELF: &str = "xtask/src/house/words.rs";

struct Word {
    is_in: fn(&Source) -> bool,
    is_there: fn(&str) -> bool,
    what: &'static str,
}

const WORDS: [Word; 4] = [
    Word {
        is_in: |source| source.is_rust(),
        is_there: |line| {
            let marks = ["TODO", "FIXME", "XXX", "HACK"];
            let comment = line.split_once("//").map_or("", |(_, comment)| comment);
            marks.iter().any(|mark| comment.contains(mark)) && !names_an_issue(comment)
        },
        what: "a promise without an issue's number: name it as #12, or do it",
    },
    Word {
        is_in: |source| source.is_rust() && source.is_test(),
        is_there: |line| line.contains("thread::sleep(") || line.contains("time::sleep("),
        what: "a test that sleeps is slow or wrong: testkit::wait waits for what it needs",
    },
    Word {
        is_in: |source| source.is_rust(),
        is_there: |line| line.trim() == "#[ignore]",
        what: "an ignored test says why: #[ignore = \"...\"]",
    },
    Word {
        is_in: |source| source.is_rust() && !source.is_test(),
        is_there: is_global,
        what: "a global: all services run in one process, so hand it down as a value",
    },
];

pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let others = sources.iter().filter(|source| source.path != SELF);
    others.flat_map(in_source).collect()
}

fn in_source(source: &Source) -> Vec<Finding> {
    let words: Vec<&Word> = WORDS.iter().filter(|word| (word.is_in)(source)).collect();
    let lines = source.text.lines().enumerate();
    let hits = lines.flat_map(|(place, line)| {
        words
            .iter()
            .filter(move |word| (word.is_there)(line))
            .map(move |word| (place + 1, word.what))
    });
    hits.map(|(line, what)| Finding::new(Rule::Words, format!("{}:{line}", source.path), what))
        .collect()
}

fn names_an_issue(comment: &str) -> bool {
    let after = comment.split('#').skip(1);
    after.into_iter().any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// A changeable static. Constants that are computed once are none, nor is a bare number, which
/// can hand out names but hold no state worth the word.
fn is_global(line: &str) -> bool {
    let declaration =
        line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
    let kinds = ["Mutex<", "RwLock<", "OnceLock<", "OnceCell<", "ArcSwap", "DashMap<"];
    declaration.starts_with("static ") && kinds.iter().any(|kind| declaration.contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{paths_of, source::source};

    #[test]
    fn each_word_is_found_where_it_counts() {
        let cases = [
            ("a.rs", "// TODO later", true),
            ("a.rs", "// TODO(#12) when the broker can", false),
            ("a.rs", "let name = \"TODO\";", false),
            ("a.md", "TODO", false),
            ("a.rs", "    std::thread::sleep(second);", false),
            ("shared/a/src/b/tests.rs", "    std::thread::sleep(second);", true),
            ("tests/it/a.rs", "tokio::time::sleep(second).await;", true),
            ("a.rs", "tokio::time::sleep(second).await;", false),
            ("a.rs", "    #[ignore]", true),
            ("a.rs", "    #[ignore = \"needs an hour\"]", false),
            ("a.rs", "pub static STOP: OnceLock<Token> = OnceLock::new();", true),
            ("a.rs", "static NAMES: LazyLock<Vec<String>> = LazyLock::new(names);", false),
            ("a.rs", "static NEXT: AtomicU32 = AtomicU32::new(0);", false),
        ];
        for (path, line, is_found) in cases {
            let found = check(&[source(path, line)]);
            assert_eq!(!paths_of(&found).is_empty(), is_found, "{path}: {line}");
        }
    }
}
