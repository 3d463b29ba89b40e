//! `millrace config`: the configuration in force, each value with its origin, no secret.

use std::{path::Path, process::ExitCode};

use serde_json::json;

use crate::{cli, failure::Failure, settings};

pub(crate) fn run(file: Option<&Path>, options: &cli::Config) -> Result<ExitCode, Failure> {
    let loaded = settings::load(file)?;
    if options.json {
        let entries = loaded.effective.0.iter().map(|entry| {
            json!({ "key": entry.key, "value": entry.value, "origin": entry.origin.to_string() })
        });
        let entries: Vec<serde_json::Value> = entries.collect();
        println!("{}", serde_json::Value::Array(entries));
    } else {
        print!("{}", loaded.effective);
    }
    Ok(ExitCode::SUCCESS)
}
