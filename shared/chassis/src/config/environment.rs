//! Reads the variables `MILLRACE_SECTION__KEY`; two underscores stand for a dot.

use toml::{Table, Value};

use super::{
    problem::Problem,
    tree::{Leaf, Origin, Tree},
};

const PREFIX: &str = "MILLRACE_";
/// Variables of ours that are no key.
const OTHERS: [&str; 3] = ["MILLRACE_CONFIG", "MILLRACE_FAILPOINTS", "MILLRACE_TOOLS"];

pub(super) fn read(
    variables: &[(String, String)],
    defaults: &Tree,
    problems: &mut Vec<Problem>,
) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        if OTHERS.contains(&name.as_str()) || is_service_link(rest) {
            continue;
        }
        let path: Vec<String> = rest.to_lowercase().split("__").map(str::to_owned).collect();
        let origin = Origin::Variable(name.clone());
        if path.len() == 1 && defaults.get(&path).is_none_or(Value::is_table) {
            let why = format!("is no variable of Millrace; a key is spelt {PREFIX}SECTION__KEY");
            problems.push(Problem { key: String::new(), value: None, origin, why });
            continue;
        }
        let value = value_of(text, defaults.get(&path));
        leaves.push(Leaf { path, value, origin });
    }
    leaves
}

/// Reads the text as what the default is; where there is none, as TOML or else as text.
fn value_of(text: &str, default: Option<&Value>) -> Value {
    let plain = || Value::String(text.to_owned());
    match default {
        Some(Value::String(_)) => plain(),
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        Some(Value::Float(_)) => text.trim().parse().map_or_else(|_| plain(), Value::Float),
        Some(_) | None => as_toml(text).unwrap_or_else(plain),
    }
}

fn as_toml(text: &str) -> Option<Value> {
    let mut table: Table = format!("value = {text}").parse().ok()?;
    table.remove("value").filter(|_| table.is_empty())
}

/// Kubernetes tells of a service called `millrace-…` by variables such as `MILLRACE_INGEST_PORT`.
fn is_service_link(rest: &str) -> bool {
    let rest = rest.split_once("_PORT_").map_or(rest, |(_, tail)| {
        if tail.starts_with(|c: char| c.is_ascii_digit()) { "_PORT" } else { rest }
    });
    !rest.contains("__")
        && ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"].iter().any(|end| rest.ends_with(end))
        || rest.contains("_SERVICE_PORT_")
}
