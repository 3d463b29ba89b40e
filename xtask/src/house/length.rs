//! How long files and functions may be, and the ratchet: a list of those that are longer, with
//! their length, which may only shrink. Lengths are read off the indentation rustfmt gives.

use std::{collections::BTreeMap, fmt};

use super::{
    finding::{Finding, Rule},
    source::Source,
};

const FILE_LINES_MAX: usize = 500; // without inline tests
const FUNCTION_LINES_MAX: usize = 50; // from its first line to its brace
// How many exceptions there are. To be lowered with the list, and never raised.
const EXCEPTIONS_MAX: usize = 0;

const HEAD: &str = "\
# What is longer than the house allows, and how long it is: `PATH LINES` or `PATH fn NAME LINES`.
# The list only shrinks: `cargo xtask house --tighten` lowers it, nothing raises it.
";

/// The exceptions: a file or a function of a file, and its length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ratchet(BTreeMap<String, usize>);

/// A file or function that is too long.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Long {
    rule: Rule,
    /// As in the ratchet.
    name: String,
    at: String,
    lines: usize,
}

impl Ratchet {
    /// # Errors
    /// The first line that is no entry.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let entry = |line: &str| {
            let (name, lines) = line.rsplit_once(' ')?;
            Some((name.to_owned(), lines.parse().ok()?))
        };
        lines
            .map(|line| entry(line).ok_or_else(|| format!("no entry: {line}")))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The same list with lower figures where there are, without those no longer too long.
    pub(crate) fn tightened(&self, sources: &[Source]) -> Self {
        let long = all(sources);
        let kept = self.0.iter().filter_map(|(name, lines)| {
            let now = long.iter().filter(|long| long.name == *name).map(|long| long.lines).max()?;
            Some((name.clone(), now.min(*lines)))
        });
        Self(kept.collect())
    }
}

impl fmt::Display for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        self.0.iter().try_for_each(|(name, lines)| writeln!(f, "{name} {lines}"))
    }
}

pub(crate) fn check(sources: &[Source], ratchet: &Ratchet) -> Vec<Finding> {
    let grown = all(sources)
        .into_iter()
        .filter(|long| ratchet.0.get(&long.name).is_none_or(|allowed| long.lines > *allowed));
    let mut findings: Vec<Finding> = grown.map(finding).collect();
    let tight = ratchet.tightened(sources);
    for (name, lines) in ratchet.0.iter().filter(|(name, lines)| tight.0.get(*name) != Some(lines))
    {
        let now = tight.0.get(name).map_or("short enough".to_owned(), |now| format!("{now}"));
        findings.push(Finding::new(
            Rule::Ratchet,
            name,
            format!("listed with {lines} lines, now {now}"),
        ));
    }
    if ratchet.0.len() > EXCEPTIONS_MAX {
        let what = format!("{} exceptions, at most {EXCEPTIONS_MAX}", ratchet.0.len());
        findings.push(Finding::new(Rule::Ratchet, "xtask/ratchet.txt", what));
    }
    findings
}

fn finding(long: Long) -> Finding {
    let most = if long.rule == Rule::FileLength { FILE_LINES_MAX } else { FUNCTION_LINES_MAX };
    Finding::new(long.rule, long.at, format!("{} lines, at most {most}", long.lines))
}

/// Everything too long, listed or not. Test files may be long tables.
fn all(sources: &[Source]) -> Vec<Long> {
    let code = sources.iter().filter(|source| source.is_rust() && !source.is_test());
    code.flat_map(|source| long_file(source).into_iter().chain(long_functions(source))).collect()
}

fn long_file(source: &Source) -> Option<Long> {
    let (lines, at) = (source.code().count(), source.path.clone());
    (lines > FILE_LINES_MAX).then(|| Long { rule: Rule::FileLength, name: at.clone(), at, lines })
}

fn long_functions(source: &Source) -> Vec<Long> {
    let lines: Vec<&str> = source.code().collect();
    let mut long = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let end = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        let Some(length) = lines[first..].iter().position(|line| *line == end) else { continue };
        // A body on the signature's own line, or none, would find the end of a later one.
        let is_whole = !line.ends_with(['}', ';']);
        if is_whole && length + 1 > FUNCTION_LINES_MAX {
            let (name, at) =
                (format!("{} fn {name}", source.path), format!("{}:{}", source.path, first + 1));
            long.push(Long { rule: Rule::FunctionLength, name, at, lines: length + 1 });
        }
    }
    long
}

/// The name, if a function begins on this line.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| {
        matches!(word, "pub" | "async" | "const" | "unsafe" | "extern" | "super)")
            || word.starts_with("pub(")
            || word == "\"C\""
    };
    let is_start = before.is_empty() || before.ends_with(' ');
    (is_start && before.split_whitespace().all(is_qualifier))
        .then(|| after.split(|c: char| !c.is_alphanumeric() && c != '_').next())?
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::source::source;

    fn body(lines: usize) -> String {
        format!(
            "//! A file for a test.\n    pub(crate) async fn long() {{\n{}    }}\n",
            "        x();\n".repeat(lines)
        )
    }

    fn says(sources: &[Source], ratchet: &str) -> Vec<String> {
        let findings = check(sources, &Ratchet::parse(ratchet).unwrap());
        findings.iter().map(|finding| format!("{}: {}", finding.at, finding.what)).collect()
    }

    #[test]
    fn a_function_may_fill_a_screen_and_no_more() {
        assert_eq!(says(&[source("a.rs", &body(48))], ""), [""; 0]);
        assert_eq!(says(&[source("a.rs", &body(49))], ""), ["a.rs:2: 51 lines, at most 50"]);
        assert_eq!(says(&[source("tests/a.rs", &body(49))], ""), [""; 0]);
    }

    #[test]
    fn a_declaration_has_no_length() {
        let text =
            format!("trait T {{\n    fn a();\n    fn b() {{}}\n{}    }}\n}}\n", "//\n".repeat(60));
        assert_eq!(says(&[source("a.rs", &text)], ""), [""; 0]);
    }

    #[test]
    fn a_file_may_have_five_hundred_lines_beside_its_tests() {
        let long = "//\n".repeat(500);
        let tests = "#[cfg(test)]\nmod tests {\n//\n}\n";
        assert_eq!(says(&[source("a.rs", &format!("{long}{tests}"))], ""), [""; 0]);
        assert_eq!(
            says(&[source("a.rs", &format!("//\n{long}"))], ""),
            ["a.rs: 501 lines, at most 500"]
        );
    }

    #[test]
    fn the_ratchet_turns_one_way() {
        let listed = |lines| says(&[source("a.rs", &body(60))], &format!("a.rs fn long {lines}\n"));
        let too_many = "xtask/ratchet.txt: 1 exceptions, at most 0";
        assert_eq!(listed(62), [too_many]);
        assert_eq!(listed(61), ["a.rs:2: 62 lines, at most 50", too_many]);
        assert_eq!(listed(70), ["a.rs fn long: listed with 70 lines, now 62", too_many]);
        assert_eq!(
            says(&[source("a.rs", &body(9))], "a.rs fn long 62"),
            ["a.rs fn long: listed with 62 lines, now short enough", too_many]
        );
    }

    #[test]
    fn tightening_lowers_and_drops_and_never_raises() {
        let ratchet =
            Ratchet::parse("# head\na.rs fn long 70\nb.rs fn long 55\ngone.rs 900\n").unwrap();
        let sources = [source("a.rs", &body(60)), source("b.rs", &body(60))];
        assert_eq!(
            ratchet.tightened(&sources).to_string(),
            format!("{HEAD}a.rs fn long 62\nb.rs fn long 55\n")
        );
        assert!(Ratchet::parse("what is this").is_err());
    }

    #[test]
    fn functions_are_known_by_their_first_line() {
        for (line, name) in [
            ("fn a() {", Some("a")),
            ("    pub(crate) const fn b<T>(", Some("b")),
            ("pub async unsafe fn c_d() {", Some("c_d")),
            ("// fn no()", None),
            ("let f: fn (u8) = g;", None),
            ("impl Fn for X {", None),
        ] {
            assert_eq!(function(line), name, "{line}");
        }
    }
}
