//! How a command fails: what could not be done, why, and what to do; with an exit code.
//!
//! Exit codes: 0 done · 1 failed, or a check found mistakes · 2 the command line or the
//! configuration is wrong · 3 work in flight was cut off at the drain's deadline · 128 and the
//! signal's number after a second signal.

use std::{fmt, path::Path, process::ExitCode};

use catalog_io::Problem;

/// The command line or the configuration is wrong.
pub(crate) const USAGE: u8 = 2;

/// A failure as the operator reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What could not be done, beginning with a verb.
    what: String,
    /// Why; several lines where there are several reasons.
    why: String,
    /// What to do; empty where the reasons say it.
    remedy: String,
    code: u8,
}

impl Failure {
    pub(crate) fn new(
        what: impl Into<String>,
        why: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), why: why.to_string(), remedy: remedy.into(), code: 1 }
    }

    /// Sets another exit code than 1.
    #[must_use]
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Tells the failure as a mistake of the catalog in `folder`.
    pub(crate) fn as_problem(&self, folder: &Path) -> Problem {
        let fix = match self.remedy.as_str() {
            "" => "mend that; it is tried again by itself".to_owned(),
            remedy => remedy.to_owned(),
        };
        let (file, what) = (folder.display().to_string(), format!("could not {}", self.what));
        Problem { file, line: 0, column: 0, what, why: self.why.clone(), fix }
    }

    /// Prints the failure and gives its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("{self}");
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: could not {}", self.what)?;
        part(f, "why", &self.why)?;
        part(f, "do", &self.remedy)
    }
}

fn part(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    for (place, line) in text.lines().enumerate() {
        let name = if place == 0 { name } else { "" };
        write!(f, "\n  {name:<4} {line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::new("read the catalog", "no such file\nno such folder", "name it");
        let text = "error: could not read the catalog\n  why  no such file\n       no such folder\n  do   name it";
        assert_eq!(failure.to_string(), text);
    }
}
