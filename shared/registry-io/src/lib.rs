//! The schema registry: which id a schema has, which schema an id has.
//!
//! The only crate that names `schema_registry_converter`. Ids once seen are kept, so that a
//! registry that is down stops nothing that has run before. Encoding and decoding are `wire`'s.

mod client;
mod config;
pub mod embedded;
mod error;
mod registry;

pub use config::{Config, DEFAULTS};
pub use error::{DecodeError, Error};
pub use registry::Registry;

/// What an API of ours is asked of every subject of ours.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";
/// The media type of the API.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
