//! `millrace schema`: the JSON Schema of a catalog, for editors.

use std::process::ExitCode;

use crate::{
    cli::{self, SchemaOf},
    failure::Failure,
    output::say,
};

pub(crate) fn run(options: &cli::Schema) -> Result<ExitCode, Failure> {
    let schema = match options.of {
        SchemaOf::Catalog => catalog_io::json_schema(),
    };
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|e| Failure::new("print the schema", e, ""))?;
    say!("{text}");
    Ok(ExitCode::SUCCESS)
}
