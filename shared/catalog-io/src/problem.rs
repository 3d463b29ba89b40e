//! One mistake in a catalog, told so that it can be mended without a search.

use std::fmt;

/// A mistake: where, what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    pub file: String,
    /// From 1; 0 where the mistake is of the whole file.
    pub line: usize,
    /// From 1; 0 where the mistake is of the whole file.
    pub column: usize,
    pub what: String,
    pub why: String,
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let below = |text: &str| text.trim_end().replace('\n', "\n       ");
        let (why, fix) = (below(&self.why), below(&self.fix));
        write!(f, ": {}\n  why  {why}\n  do   {fix}", self.what)
    }
}

/// Every mistake of a folder, in the order of files and lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let count = self.0.len();
        write!(f, "{count} mistake{} in the catalog", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Problems {}
