//! YAML to JSON values that remember where each of them stood.

use std::collections::HashMap;

use marked_yaml::{LoadError, LoaderOptions, Node, Span, parse_yaml_with_options};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// A line and a column, each from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// One file's content and where each value of it stands, by JSON pointer.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) file: String,
    pub(crate) value: Value,
    places: HashMap<String, Place>,
}

impl Document {
    /// Parses `text`; a file that is no YAML gives one problem with the parser's position.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let mut places = HashMap::new();
        // Without these a key given twice would be taken once, and a quoted "5" as a number.
        let options = LoaderOptions::default().error_on_duplicate_keys(true).prevent_coercion(true);
        let value = match parse_yaml_with_options(0, text, options) {
            Ok(node) => convert(&node, String::new(), &mut places),
            Err(error) => return Err(unreadable(file, &error)),
        };
        Ok(Self { file: file.to_owned(), value, places })
    }

    /// Returns where the value at `pointer` stands, or its nearest parent that has a place.
    pub(crate) fn place(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                return *place;
            }
            match pointer.rfind('/') {
                Some(cut) => pointer = &pointer[..cut],
                None => return Place::default(),
            }
        }
    }

    /// Makes a problem of the value at `pointer`.
    pub(crate) fn problem(
        &self,
        pointer: &str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        let Place { line, column } = self.place(pointer);
        let file = self.file.clone();
        Problem { file, line, column, what: what.into(), why: why.into(), fix: fix.into() }
    }
}

/// Adds a step to a JSON pointer, escaped by RFC 6901.
pub(crate) fn step(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn convert(node: &Node, pointer: String, places: &mut HashMap<String, Place>) -> Value {
    places.entry(pointer.clone()).or_insert_with(|| place(node.span()));
    match node {
        Node::Scalar(scalar) => convert_scalar(scalar),
        Node::Sequence(items) => {
            let each = items.iter().enumerate();
            Value::Array(each.map(|(i, n)| convert(n, format!("{pointer}/{i}"), places)).collect())
        }
        Node::Mapping(entries) => {
            let mut object = Map::new();
            for (key, value) in entries.iter() {
                let at = step(&pointer, key.as_str());
                // A key's own place serves better than that of its value, which may be lines below.
                places.insert(at.clone(), place(key.span()));
                object.insert(key.as_str().to_owned(), convert(value, at, places));
            }
            Value::Object(object)
        }
    }
}

fn convert_scalar(scalar: &marked_yaml::types::MarkedScalarNode) -> Value {
    let text = scalar.as_str();
    if !scalar.may_coerce() {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    text.parse::<i64>().map(Value::from).ok().or_else(|| text.parse::<f64>().map(Value::from).ok())
}

fn place(span: &Span) -> Place {
    span.start().map(|m| Place { line: m.line(), column: m.column() }).unwrap_or_default()
}

fn unreadable(file: &str, error: &LoadError) -> Problem {
    let (line, column, what) = match error {
        LoadError::DuplicateKey(inner) => {
            let at = place(inner.key.span());
            (at.line, at.column, format!("key {:?} is there twice", inner.key.as_str()))
        }
        LoadError::TopLevelMustBeMapping(mark) => {
            (mark.line(), mark.column(), "the file is not a mapping".to_owned())
        }
        LoadError::UnexpectedAnchor(mark) => {
            (mark.line(), mark.column(), "anchors and aliases are not read".to_owned())
        }
        LoadError::UnexpectedTag(mark) => {
            (mark.line(), mark.column(), "tags are not read".to_owned())
        }
        LoadError::ScanError(mark, error) => {
            (mark.line(), mark.column(), format!("this is no YAML: {error}"))
        }
        other => (0, 0, format!("this is no catalog file: {other}")),
    };
    Problem {
        file: file.to_owned(),
        line,
        column,
        what,
        why: "a catalog file is plain YAML: a mapping of sources, routes and destinations".into(),
        fix: "mend the YAML at this place; an editor with the catalog's JSON Schema shows it"
            .into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_value_knows_its_line_and_column() {
        let doc = Document::parse("a.yaml", "sources:\n  github:\n    kind: webhook\n").unwrap();
        assert_eq!(doc.place("/sources/github/kind"), Place { line: 3, column: 5 });
        assert_eq!(doc.place("/sources/github/nothing/below"), Place { line: 2, column: 3 });
    }

    #[test]
    fn a_key_given_twice_is_a_mistake_with_its_place() {
        let problem = Document::parse("a.yaml", "sources: {}\nsources: {}\n").unwrap_err();
        assert_eq!((problem.line, problem.what.as_str()), (2, "key \"sources\" is there twice"));
    }

    #[test]
    fn quoted_numbers_stay_texts_and_bare_ones_are_numbers() {
        let doc =
            Document::parse("a.yaml", "a: 5\nb: \"5\"\nc: 5 MiB\nd: -1.5\ne: true\n").unwrap();
        let expected = serde_json::json!({"a": 5, "b": "5", "c": "5 MiB", "d": -1.5, "e": true});
        assert_eq!(doc.value, expected);
    }
}
