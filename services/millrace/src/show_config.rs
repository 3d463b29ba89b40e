//! `millrace config`: the configuration in force, each value with its origin, no secret.

use std::{path::Path, process::ExitCode};

use serde_json::json;

use crate::{cli, failure::Failure, output::say, settings};

pub(crate) fn run(file: Option<&Path>, options: &cli::Config) -> Result<ExitCode, Failure> {
    let loaded = settings::load(file)?;
    if options.json {
        let entries = loaded.effective.0.iter().map(|entry| {
            json!({ "key": entry.key, "value": entry.value, "origin": entry.origin.to_string() })
        });
        let entries: Vec<serde_json::Value> = entries.collect();
        say!("{}", serde_json::Value::Array(entries));
    } else {
        say!("{}", loaded.effective.to_string().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
