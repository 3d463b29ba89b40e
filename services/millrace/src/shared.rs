//! What the commands build alike: the catalog, the names of topics, clients.

use std::path::Path;

use catalog_io::{Catalog, Environment};
use kafka_io::topics::{Admin, AdminOptions};
use wire::topics::Names;

use crate::{
    failure::{Failure, USAGE},
    settings::Config,
};

/// Reads the catalog of a folder; all of it is right, or nothing is taken.
pub(crate) fn catalog(folder: &Path) -> Result<Catalog, Failure> {
    catalog_io::load(folder, &Environment::of_process()).map_err(|problems| {
        let what = format!("read the catalog in {}", folder.display());
        let why = crate::check::counted(problems.0.len(), "mistake");
        let first = problems.0.first().map(ToString::to_string).unwrap_or_default();
        let remedy = format!("run `millrace check {}` for all of them", folder.display());
        Failure::new(what, format!("{why}; the first: {first}"), remedy).code(USAGE)
    })
}

pub(crate) fn names(config: &Config) -> Names {
    Names::new(config.topics.prefix.as_str())
}

pub(crate) fn admin(kafka: &kafka_io::Config, options: AdminOptions) -> Result<Admin, Failure> {
    Admin::open(kafka, options).map_err(|e| Failure::new("look at the topics", e, ""))
}

/// Runs what blocks on a thread that may; a panic there is a failure like any other.
pub(crate) async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(doing, error, "report this as a defect")),
    }
}
