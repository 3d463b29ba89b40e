//! Reads the configuration file, with the line of each key.

use std::path::Path;

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    problem::Problem,
    tree::{Leaf, Origin, leaves},
};

/// The largest file that is read, in bytes.
const BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn read(path: &Path) -> Result<Vec<Leaf>, Problem> {
    let whole = |line: usize, why: String| {
        let origin = Origin::File { path: path.to_owned(), line };
        Problem { key: String::new(), value: None, origin, why }
    };
    let size = std::fs::metadata(path).map(|m| m.len());
    let text = match size {
        Ok(size) if size > BYTES_MAX => {
            return Err(whole(
                0,
                format!("has {size} bytes; a configuration has at most {BYTES_MAX}"),
            ));
        }
        _ => std::fs::read_to_string(path),
    };
    let text = text.map_err(|e| whole(0, format!("can't be read: {e}")))?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map_or(0, |span| line_of(&text, span.start));
        whole(line, format!("is no TOML: {}", e.message()))
    })?;
    let spans =
        DeTable::parse(&text).map_err(|e| whole(0, format!("is no TOML: {}", e.message())))?;
    let found = leaves(&table, &[]).into_iter().map(|(keys, value)| {
        let line = start_of(spans.get_ref(), &keys).map_or(0, |start| line_of(&text, start));
        leaf(path, line, keys, value)
    });
    Ok(found.collect())
}

fn leaf(file: &Path, line: usize, path: Vec<String>, value: Value) -> Leaf {
    Leaf { path, value, origin: Origin::File { path: file.to_owned(), line } }
}

/// Finds the byte at which a key is written.
fn start_of(table: &DeTable<'_>, path: &[String]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    match value.get_ref() {
        DeValue::Table(below) if !rest.is_empty() => start_of(below, rest),
        _ => Some(key.span().start),
    }
}

fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|b| *b == b'\n').count() + 1
}
