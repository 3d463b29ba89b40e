//! One page of dead letters, newest or oldest first.
//!
//! Kafka reads forwards only: the newest are found by reading windows from the end backwards, each
//! larger than the last. Only headers are looked at, and only what is shown is copied. So that no
//! double is shown on a later page, what earlier pages passed is looked at again.

mod cursor;
mod newest;
mod oldest;

use std::time::Instant;

use kafka_io::reader::Reader;
use serde::Deserialize;

use crate::{Error, Filter, Summary, cluster::Cluster, scan::History};

use cursor::{Cursor, Part};

/// The most letters on a page.
pub const PAGE_MAX: usize = 200;

/// Where a list begins.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PageOrder {
    /// By the time of the failure, over all topics.
    #[default]
    Newest,
    /// By topic, partition and offset.
    Oldest,
}

/// Which page is wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub filter: Filter,
    pub order: PageOrder,
    /// At most [`PAGE_MAX`]; 0 is as many.
    pub limit: usize,
    /// The `next` of the page before; the filter and the order must be the same.
    pub cursor: Option<String>,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Page {
    pub letters: Vec<Summary>,
    /// Asks for the page that follows; `None` on the last.
    pub next: Option<String>,
}

/// What the search for a page works with.
struct Search<'a> {
    cluster: &'a Cluster,
    reader: &'a Reader,
    history: &'a History,
    filter: &'a Filter,
    limit: usize,
    deadline: Instant,
}

/// Finds a page.
pub(crate) fn page(
    cluster: &Cluster,
    reader: &Reader,
    history: &History,
    query: &Query,
) -> Result<Page, Error> {
    let search = Search {
        cluster,
        reader,
        history,
        filter: &query.filter,
        limit: if query.limit == 0 { PAGE_MAX } else { query.limit.min(PAGE_MAX) },
        deadline: crate::cluster::deadline(),
    };
    let ranges = cluster.ranges(reader, &query.filter)?;
    let mut parts = match &query.cursor {
        None => ranges.into_iter().map(|range| Part::first(range, query.order)).collect(),
        Some(text) => Cursor::read(text, query.order, ranges)?,
    };
    let letters = match query.order {
        PageOrder::Newest => newest::page(&search, &mut parts)?,
        PageOrder::Oldest => oldest::page(&search, &mut parts)?,
    };
    let more = parts.iter().any(|part| part.has_more(query.order));
    let next = more.then(|| Cursor::write(query.order, &parts));
    Ok(Page { letters, next })
}
