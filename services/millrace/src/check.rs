//! `millrace check`: everything that is wrong with a catalog, without running it.

use std::process::ExitCode;

use catalog_io::Environment;

use crate::{cli, failure::Failure, output::say};

pub(crate) fn run(options: &cli::Check) -> Result<ExitCode, Failure> {
    let loaded = catalog_io::load(&options.folder, &Environment::of_process());
    let problems = loaded.as_ref().err().map(|problems| problems.0.as_slice()).unwrap_or_default();
    if options.json {
        let text = serde_json::to_string_pretty(problems)
            .map_err(|e| Failure::new("print the mistakes", e, ""))?;
        say!("{text}");
        return Ok(ExitCode::from(u8::from(!problems.is_empty())));
    }
    for problem in problems {
        say!("{problem}\n");
    }
    match loaded {
        Ok(catalog) => {
            say!(
                "{}: {}, {} and {}, nothing wrong (version {})",
                options.folder.display(),
                counted(catalog.sources.len(), "source"),
                counted(catalog.routes.len(), "route"),
                counted(catalog.destinations.len(), "destination"),
                catalog.version,
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(_) => {
            say!("{} in {}", counted(problems.len(), "mistake"), options.folder.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

pub(crate) fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}
