//! What a check found, and how it is told: where and what, then once per rule why and what to do.

/// A rule of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Imports,
    Wrapper,
    Profile,
    Purpose,
    FileLength,
    FunctionLength,
    Ratchet,
    Words,
    Links,
}

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    /// `path` or `path:line`, from the root.
    pub(crate) at: String,
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(rule: Rule, at: impl ToString, what: impl Into<String>) -> Self {
        Self { rule, at: at.to_string(), what: what.into() }
    }
}

impl Rule {
    fn why(self) -> &'static str {
        match self {
            Self::Imports => {
                "a crate that knows its neighbours cannot be moved, tested or understood alone"
            }
            Self::Wrapper => {
                "one crate each knows the traps of a client library; a second one would fall into them"
            }
            Self::Profile => {
                "a crate that is not named is built slowly, and without its assertions"
            }
            Self::Purpose => "a stranger reads from the top, and asks what the file is for",
            Self::FileLength => "what is longer than a few screens has two purposes",
            Self::FunctionLength => "a function that does not fit on a screen is not seen whole",
            Self::Ratchet => "the list of exceptions may only shrink, and says what is true",
            Self::Words => {
                "these words hide a defect, a person's machine or a promise nobody keeps"
            }
            Self::Links => "a reader who follows a link into nothing trusts the rest no more",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Imports => {
                "hand the thing in as a value, or move what both need down: pure to its crate, \
                 the world to an -io crate (ARCHITECTURE.md)"
            }
            Self::Wrapper => "use the crate named, and add there what is missing",
            Self::Profile => "add it to the list, like the others",
            Self::Purpose => {
                "begin with `//! `: what the file is for, and what it deliberately does not do"
            }
            Self::FileLength => "find the second noun and give it a file beside this one",
            Self::FunctionLength => "let the parent decide and the children compute",
            Self::Ratchet => "run `cargo xtask house --tighten`; never raise a figure",
            Self::Words => "see what each says",
            Self::Links => "correct the path, which is relative to the text it stands in",
        }
    }
}

/// Prints the findings grouped by rule.
pub(crate) fn print(findings: &[Finding]) {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| (finding.rule, &finding.at));
    for group in sorted.chunk_by(|one, other| one.rule == other.rule) {
        for finding in group {
            println!("{}: {}", finding.at, finding.what);
        }
        println!("  why: {}", group[0].rule.why());
        println!("  do:  {}\n", group[0].rule.remedy());
    }
}
