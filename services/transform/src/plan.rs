//! The catalog as transform needs it: routes by source, and the schema id of each topic it writes.
//!
//! A plan is made before it is used: every topic's schema is registered, so that no record waits
//! for the registry.

use std::{collections::HashMap, sync::Arc};

use catalog_io::{Catalog, Route};
use registry_io::Registry;
use wire::{Kind, topics::Names};

/// What the processor works by; swapped whole when the catalog changes.
pub(crate) struct Plan {
    pub(crate) catalog_version: String,
    /// Routes in the catalog's order, by the source's name.
    routes: HashMap<String, Vec<Arc<Route>>>,
    /// Where each destination's deliveries are written, and with which schema.
    lanes: HashMap<String, Lane>,
}

/// Where a destination's deliveries are written.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) topic: Arc<str>,
    pub(crate) schema_id: u32,
}

impl Plan {
    /// Registers the schemas of every topic that the catalog's routes write, and makes the plan.
    ///
    /// # Errors
    /// The registry's, naming the subject; nothing is used in part.
    pub(crate) async fn make(
        catalog: &Catalog,
        names: &Names,
        registry: &Registry,
    ) -> Result<Self, registry_io::Error> {
        let mut lanes = HashMap::new();
        for name in catalog.destinations.keys() {
            let topic = names.out(name.as_str());
            let schema_id = registry.register(&wire::subject(&topic), Kind::Delivery).await?;
            lanes.insert(name.as_str().to_owned(), Lane { topic: topic.into(), schema_id });
        }
        Ok(Self { catalog_version: catalog.version.clone(), routes: by_source(catalog), lanes })
    }

    /// Returns the routes of a source, none for one that the catalog no longer has.
    pub(crate) fn routes(&self, source: &str) -> &[Arc<Route>] {
        self.routes.get(source).map_or(&[], Vec::as_slice)
    }

    /// Returns the lane of a destination of this plan's catalog.
    pub(crate) fn lane(&self, destination: &str) -> Option<&Lane> {
        self.lanes.get(destination)
    }
}

fn by_source(catalog: &Catalog) -> HashMap<String, Vec<Arc<Route>>> {
    let mut routes: HashMap<String, Vec<Arc<Route>>> = HashMap::new();
    for route in &catalog.routes {
        for source in &route.rule.from {
            routes.entry(source.as_str().to_owned()).or_default().push(route.clone());
        }
    }
    routes
}
