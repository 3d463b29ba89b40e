//! Everything that happened to one event, found in the topics that keep it.
//!
//! A record is looked at by its headers; only one whose headers are silent and whose bytes hold the
//! id is decoded. Nothing is indexed: what is read is bounded by time.

mod entry;
mod matching;
mod scan;

use std::time::Duration;

use registry_io::Registry;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{Error, cluster::Cluster, replayer::blocking};

use entry::Entries;
pub use entry::{Entry, Happened};
use matching::Ids;
use scan::Search;

/// The most entries of a story; one that has more is told as not complete.
pub const ENTRIES_MAX: usize = 1000;
/// The most bytes of a story's records: they are held until it is told.
const BYTES_MAX: usize = 128 << 20;
/// The longest id searched for.
const ID_BYTES_MAX: usize = 512;

/// Whose story is asked for, and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoryQuery {
    /// An event's id, a correlation id, a delivery's, or one that a provider gave.
    pub id: String,
    /// Written at or after, in milliseconds since 1970; of a dead letter, given up on.
    pub since_ms: i64,
    /// Written before, or given up on; `None` is now.
    pub until_ms: Option<i64>,
}

/// How far the search is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoryProgress {
    /// Offsets passed, of `total`.
    pub passed: u64,
    pub total: u64,
    pub found: usize,
    pub elapsed: Duration,
    pub eta: Option<Duration>,
}

/// What happened, in the order of time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Story {
    pub entries: Vec<Entry>,
    /// Nothing was left out: not for time, not for number, and every value could be read.
    pub complete: bool,
    /// The traces it belongs to, to be looked up where traces are kept.
    pub trace_ids: Vec<String>,
}

/// Finds a story.
pub(crate) async fn find(
    cluster: Cluster,
    registry: &Registry,
    query: StoryQuery,
    told: impl Fn(&StoryProgress) + Send + Sync + 'static,
) -> Result<Story, Error> {
    check(&query)?;
    let told = std::sync::Arc::new(told);
    let ids = Ids::new(&query.id);
    let stop = CancellationToken::new();
    let _stopped_with_us = stop.clone().drop_guard();
    let (registry, runtime) = (registry.clone(), Handle::current());
    let search = Search { cluster, registry, runtime, query, stop };
    let (first, mut ids) = look(search.clone(), ids, told.clone()).await?;
    if !ids.has_grown() {
        return Ok(first.story());
    }
    // Found by a provider's id: the event's other records know the event's only.
    let (mut found, _) = look(search, ids, told).await?;
    // What the first look left out may have named another event.
    found.complete &= first.complete;
    Ok(found.story())
}

async fn look(
    search: Search,
    mut ids: Ids,
    told: std::sync::Arc<impl Fn(&StoryProgress) + Send + Sync + 'static>,
) -> Result<(Entries, Ids), Error> {
    blocking("the search", move || Ok((scan::scan(&search, &mut ids, &*told)?, ids))).await
}

fn check(query: &StoryQuery) -> Result<(), Error> {
    if query.id.is_empty() || query.id.len() > ID_BYTES_MAX {
        return Err(Error::Asked(format!("an id has 1 to {ID_BYTES_MAX} bytes")));
    }
    match query.until_ms {
        Some(until) if until <= query.since_ms => {
            Err(Error::Asked("the time range ends before it begins".to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}
