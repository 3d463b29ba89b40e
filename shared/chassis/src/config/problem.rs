//! What is wrong with a configuration, and how a value is shown.

use std::fmt;

use toml::Value;

use super::tree::Origin;

const HIDDEN: &str = "(hidden)";

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The path with dots; empty for a mistake of a whole file.
    pub key: String,
    /// As TOML, none where there is no value to show; never a secret's.
    pub value: Option<String>,
    pub origin: Origin,
    pub why: String,
}

/// Every mistake, by where it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problem {
    pub(super) fn new(path: &[String], value: Option<&Value>, origin: Origin, why: &str) -> Self {
        let secret = is_secret(path);
        // A parser's message quotes what it was given.
        let why = if secret { "not a valid value" } else { why.trim() };
        Self {
            key: path.join("."),
            value: value.map(|value| shown(path, value)),
            origin,
            why: why.to_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        match (&*self.key, &self.value) {
            ("", _) => {}
            (key, None) => write!(f, "{key}: ")?,
            (key, Some(value)) => write!(f, "{key} = {value}: ")?,
        }
        f.write_str(&self.why)
    }
}

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (&a.origin, &a.key).cmp(&(&b.origin, &b.key)));
        problems.dedup();
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Writes a value as TOML, without what is nobody's business.
pub(super) fn shown(path: &[String], value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        _ if is_secret(path) => HIDDEN.to_owned(),
        Value::String(text) => Value::String(without_user(text)).to_string(),
        plain => plain.to_string(),
    }
}

/// Says whether a key holds a secret itself rather than the name of a file that does.
fn is_secret(path: &[String]) -> bool {
    let Some(name) = path.last() else { return false };
    let words = ["password", "secret", "token", "credential", "private_key", "sasl.jaas"];
    !name.ends_with("_file") && words.iter().any(|word| name.contains(word))
}

/// Hides `user:password@` of an address.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let host_ends = rest.find('/').unwrap_or(rest.len());
    match rest[..host_ends].rfind('@') {
        Some(at) => format!("{scheme}://{HIDDEN}{}", &rest[at..]),
        None => text.to_owned(),
    }
}
