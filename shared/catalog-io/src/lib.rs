//! Reads a folder of YAML into a checked catalog: sources, routes and destinations.
//!
//! A catalog is taken whole or refused whole; every mistake is reported at once with file, line,
//! what, why and what to do. It does not run anything and does not talk to Kafka.

mod adopt;
mod check;
mod file;
mod folder;
mod problem;
mod schema;
mod secret;
mod watch;
mod yaml;

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    catalog as rules,
    ids::{DestinationName, SourceName},
};
use secrecy::SecretString;

pub use crate::{
    folder::load,
    problem::{Problem, Problems},
    schema::json_schema,
    secret::Environment,
    watch::{Catalogs, Reload, watch, watch_asking},
};

/// What an operator has declared, compiled and with its secrets read.
#[derive(Debug)]
pub struct Catalog {
    /// Changes with any byte of the folder's files or of a secret's value: 12 hex digits.
    pub version: String,
    pub sources: BTreeMap<SourceName, Arc<Source>>,
    pub routes: Vec<Arc<Route>>,
    pub destinations: BTreeMap<DestinationName, Arc<Destination>>,
}

/// Where events come from: a webhook that is verified before anything is believed.
#[derive(Debug)]
pub struct Source {
    pub name: SourceName,
    pub scheme: signing::Scheme,
    pub secrets: Vec<signing::Secret>,
    /// Gives the ordering key from the body; the event's id serves where it gives nothing.
    pub key: Option<mapping::Program>,
    pub format: rules::Format,
    pub body_bytes_max: usize,
    /// The address as the provider knows it, for the schemes that sign it.
    pub public_url: Option<String>,
    pub partitions: i32,
}

/// Which events go where, with its compiled programs.
#[derive(Debug)]
pub struct Route {
    pub rule: rules::Route,
    pub when: Option<mapping::Program>,
    /// Without one the body goes on as it is.
    pub map: Option<mapping::Program>,
    /// Where its deliveries go that are given up on.
    pub fallback: Option<Fallback>,
}

/// Where a route's deliveries go that are given up on.
#[derive(Debug)]
pub struct Fallback {
    pub rule: domain::fallback::Fallback,
    /// Makes another request of the event; without one the same goes on.
    pub map: Option<mapping::Program>,
}

impl Route {
    /// Returns the version of the mapping, or `none` where the body goes on as it is.
    pub fn mapping_version(&self) -> &str {
        self.map.as_ref().map_or("none", |program| program.version())
    }
}

/// Where deliveries go, with its credentials.
#[derive(Debug)]
pub struct Destination {
    pub spec: rules::Destination,
    /// Standard Webhooks keys; with two, both sign (rotation).
    pub signing: Vec<SecretString>,
    pub auth: Auth,
    /// Beside its own rate, one that it shares with others.
    pub shared_rate: Option<rules::SharedRate>,
    pub partitions: i32,
}

/// How a destination knows us.
#[derive(Debug, Default)]
pub enum Auth {
    #[default]
    None,
    Bearer(SecretString),
    Basic {
        user: String,
        password: SecretString,
    },
    Header {
        name: String,
        value: SecretString,
    },
}
