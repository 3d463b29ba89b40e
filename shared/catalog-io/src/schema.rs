//! The catalog's JSON Schema, and the check of a file's structure against it.
//!
//! The schema is made from the types of the file format, so editors and the program agree.

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;

use crate::{file::CatalogFile, problem::Problem, yaml::Document};

/// Returns the JSON Schema of a catalog file, for editors.
pub fn json_schema() -> Value {
    schemars::schema_for!(CatalogFile).to_value()
}

/// Reports every place where `document` does not have the structure of a catalog file.
///
/// Returns the JSON pointers of the mistakes beside them, so that a broken entry is not looked at
/// a second time.
pub(crate) fn check(document: &Document) -> Vec<(String, Problem)> {
    let schema = json_schema();
    let validator =
        Validator::new(&schema).expect("the schema made from our own types is a valid schema");
    let mut found = Vec::new();
    for error in validator.iter_errors(&document.value) {
        tell(document, &schema, &error, &mut found);
    }
    found
}

fn tell(
    document: &Document,
    schema: &Value,
    error: &ValidationError<'_>,
    found: &mut Vec<(String, Problem)>,
) {
    let at = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for key in unexpected {
                let pointer = crate::yaml::step(&at, key);
                let known = known_keys(schema, &error.schema_path().to_string());
                found.push((pointer.clone(), unknown_key(document, &pointer, key, &known)));
            }
        }
        kind => {
            let (what, why, fix) = words(&at, kind, error);
            found.push((at.clone(), document.problem(&at, what, why, fix)));
        }
    }
}

fn unknown_key(document: &Document, pointer: &str, key: &str, known: &[String]) -> Problem {
    let fix = match nearest(key, known) {
        Some(meant) => format!("write {meant:?}"),
        None if known.is_empty() => "remove it".into(),
        None => format!("remove it, or use one of {}", known.join(", ")),
    };
    let why = "a key that nothing reads is a setting that silently does not hold";
    document.problem(pointer, format!("unknown key {key:?}"), why, fix)
}

fn words(
    at: &str,
    kind: &ValidationErrorKind,
    error: &ValidationError<'_>,
) -> (String, String, String) {
    let name = if at.is_empty() { "the file".to_owned() } else { at[1..].replace('/', ".") };
    match kind {
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or("?").to_owned();
            (
                format!("{name} lacks {property:?}"),
                format!("{property} is required here"),
                format!("add {property}: …"),
            )
        }
        ValidationErrorKind::Enum { options } => (
            format!("{name} is {}", error.instance()),
            format!("it has to be one of {options}"),
            "use one of these words".into(),
        ),
        ValidationErrorKind::Type { .. } => (
            format!("{name} has the wrong type"),
            error.to_string(),
            "write a value of that type; quote a text that looks like a number".into(),
        ),
        ValidationErrorKind::AnyOf { .. }
        | ValidationErrorKind::OneOfNotValid { .. }
        | ValidationErrorKind::OneOfMultipleValid { .. } => (
            format!("{name} has a form that is not known here: {}", short(error.instance())),
            "none of the forms it may have fits".into(),
            "compare it with the catalog guide's example of this key".into(),
        ),
        _ => (
            format!("{name} does not fit: {error}"),
            "the value breaks a bound of this key".into(),
            "use a value within the bound".into(),
        ),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 {
        text
    } else {
        text.chars().take(77).chain("...".chars()).collect()
    }
}

/// The keys known where the schema refused one, found beside its `additionalProperties`.
fn known_keys(schema: &Value, schema_path: &str) -> Vec<String> {
    let parent = schema_path.strip_suffix("/additionalProperties").unwrap_or(schema_path);
    let object = resolve(schema, parent);
    let properties = object.and_then(|o| o.get("properties")).and_then(Value::as_object);
    properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

/// Walks a schema path as the validator gives it, which passes through `$ref`.
fn resolve<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = schema;
    for part in path.split('/').skip(1) {
        if let Some(target) = at.get("$ref").and_then(Value::as_str) {
            at = schema.pointer(target.trim_start_matches('#'))?;
        }
        if part == "$ref" {
            continue;
        }
        let key = part.replace("~1", "/").replace("~0", "~");
        at = match at {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?)?,
            _ => at.get(&key)?,
        };
    }
    match at.get("$ref").and_then(Value::as_str) {
        Some(target) => schema.pointer(target.trim_start_matches('#')),
        None => Some(at),
    }
}

/// Returns the known word nearest to `word`, if one is near enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|k| (distance(word, k), k.as_str()))
        .filter(|(d, k)| *d <= 1 + k.len() / 4)
        .min()
        .map(|(_, k)| k)
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let known = ["verify".to_owned(), "format".to_owned(), "key".to_owned()];
        assert_eq!(nearest("verfy", &known), Some("verify"));
        assert_eq!(nearest("completely", &known), None);
    }

    #[test]
    fn the_schema_describes_every_key_of_a_route() {
        let schema = json_schema();
        let route = schema.pointer("/$defs/Route/properties").expect("a route has properties");
        for key in ["name", "from", "when", "map", "to", "order", "fallback"] {
            assert!(route[key]["description"].is_string(), "{key}");
        }
        let fallback = schema.pointer("/$defs/Fallback/properties").expect("so has a fallback");
        for key in ["to", "map", "on"] {
            assert!(fallback[key]["description"].is_string(), "{key}");
        }
    }
}
