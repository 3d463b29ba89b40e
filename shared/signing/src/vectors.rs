//! Runs a file of signature cases and says where we disagree: for tests, and for a user who wants
//! to know why signatures do not match.

use std::{collections::BTreeMap, fmt};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::{GenericHmac, Github, Request, Scheme, Secret, StandardWebhooks, Stripe, Tolerance};

/// One case of a file.
#[derive(Debug, Clone, Deserialize)]
pub struct Vector {
    pub id: String,
    pub provider: String,
    #[serde(default)]
    pub kind: String,
    pub secret: String,
    #[serde(default)]
    pub additional_secrets: Option<Vec<String>>,
    pub headers: BTreeMap<String, OneOrMany>,
    pub body: String,
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub method: Option<String>,
    pub now_unix: i64,
    /// `valid` or `invalid`.
    pub expected: String,
    #[serde(default)]
    pub config: Option<Config>,
}

/// A header's value, or its values where it comes more than once.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// The options of a generic verifier, as the files write them.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    pub tolerance_s: Option<u32>,
    #[serde(flatten)]
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// A case on which we and the file disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    pub id: String,
    pub expected: String,
    /// What we say, with the reason.
    pub found: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.id, self.expected, self.found)
    }
}

/// The counts of one provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub agreed: usize,
    pub disagreed: usize,
    /// Cases of a scheme that Millrace does not have.
    pub skipped: usize,
}

/// What a file came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub providers: BTreeMap<String, Count>,
    pub disagreements: Vec<Disagreement>,
}

/// Reads a file of cases: a JSON array.
///
/// # Errors
/// The parser's message with line and column.
pub fn read(text: &str) -> Result<Vec<Vector>, serde_json::Error> {
    serde_json::from_str(text)
}

/// Verifies every case and compares.
pub fn run(vectors: &[Vector]) -> Report {
    let mut report = Report::default();
    for vector in vectors {
        let count = report.providers.entry(vector.provider.clone()).or_default();
        let Some(scheme) = scheme(vector) else {
            count.skipped += 1;
            continue;
        };
        let found = scheme.and_then(|scheme| judge(&scheme, vector));
        // A third word is no expectation, and nothing agrees with it.
        let agrees = match vector.expected.as_str() {
            "valid" => found.is_ok(),
            "invalid" => found.is_err(),
            _ => false,
        };
        if agrees {
            count.agreed += 1;
        } else {
            count.disagreed += 1;
            report.disagreements.push(Disagreement {
                id: vector.id.clone(),
                expected: vector.expected.clone(),
                found: found.map_or_else(|why| format!("invalid: {why}"), |()| "valid".into()),
            });
        }
    }
    report
}

/// Returns the scheme of a case: `None` for one we do not have, an error for options we refuse.
fn scheme(vector: &Vector) -> Option<Result<Scheme, String>> {
    Some(match vector.provider.as_str() {
        "github" => Ok(Scheme::Github(Github::default())),
        "stripe" => Ok(Scheme::Stripe(Stripe::default())),
        "standard-webhooks" => Ok(Scheme::StandardWebhooks(StandardWebhooks::default())),
        "generic-hmac" => generic(vector.config.as_ref()),
        _ => return None,
    })
}

fn generic(config: Option<&Config>) -> Result<Scheme, String> {
    let Some(config) = config else { return Err("the case has no config".into()) };
    let mut options = config.options.clone();
    options.retain(|_, value| !value.is_null());
    let mut rules: GenericHmac =
        serde_json::from_value(options.into()).map_err(|e| e.to_string())?;
    if let Some(seconds) = config.tolerance_s {
        let tolerance = Tolerance::from_seconds(seconds);
        (rules.tolerance_past, rules.tolerance_future) = (tolerance, tolerance);
    }
    Ok(Scheme::GenericHmac(Box::new(rules)))
}

fn judge(scheme: &Scheme, vector: &Vector) -> Result<(), String> {
    let headers = headers(&vector.headers)?;
    let more = vector.additional_secrets.iter().flatten();
    let secrets: Vec<Secret> = std::iter::once(&vector.secret)
        .chain(more)
        .map(|text| Secret::new(text.as_str()))
        .collect();
    crate::check(scheme, &secrets).map_err(|e| e.to_string())?;
    let request = Request {
        method: vector.method.as_deref().unwrap_or("POST"),
        url: vector.url.as_deref(),
        headers: &headers,
        body: vector.body.as_bytes(),
    };
    crate::verify(scheme, &secrets, &request, vector.now_unix)
        .map(|_| ())
        .map_err(|e| e.to_string())
}

fn headers(given: &BTreeMap<String, OneOrMany>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in given {
        let values = match values {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values.as_slice(),
        };
        for value in values {
            let wrong = |e: &dyn fmt::Display| format!("header {name:?}: {e}");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| wrong(&e))?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|e| wrong(&e))?;
            headers.append(name, value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OPEN: &str = include_str!("../testdata/signatures.json");

    #[test]
    fn every_open_vector_agrees() {
        let vectors = read(OPEN).unwrap();
        let report = run(&vectors);
        assert_eq!(report.disagreements, []);
        let agreed: usize = report.providers.values().map(|count| count.agreed).sum();
        assert_eq!((agreed, report.providers.len()), (vectors.len(), 4));
    }

    #[test]
    fn a_wrong_expectation_is_a_disagreement_and_an_unknown_scheme_is_skipped() {
        let mut vectors = read(OPEN).unwrap();
        vectors.retain(|vector| vector.kind == "positive" || vector.kind == "wrong-secret");
        vectors[0].expected = "invalid".into();
        vectors[1].provider = "nobody".into();
        let refused = vectors.iter_mut().find(|vector| vector.kind == "wrong-secret").unwrap();
        refused.expected = "vaild".into();
        let report = run(&vectors);
        assert_eq!(report.disagreements.len(), 2, "{:?}", report.disagreements);
        assert_eq!(report.providers["nobody"], Count { skipped: 1, ..Count::default() });
    }
}
