//! The HTTP API: dead letters, replays, one event's story. Its document is `/v1/openapi.json`.
//!
//! It decides nothing about dead letters: it reads what is asked and writes what is answered.

mod access;
mod document;
mod events;
mod letters;
mod measure;
mod problem;
mod query;
mod replays;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Replayer, jobs::Jobs};

pub(crate) use access::Access;
pub(crate) use measure::Measure;
pub(crate) use problem::Problem;

/// The largest body taken: a thousand ids and some.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Questions that read the cluster at a time; each holds some megabytes.
const READS_MAX: usize = 4;
/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// What the handlers work with.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) replayer: Replayer,
    pub(crate) jobs: Jobs,
    pub(crate) replays_max: u32,
    reads: Semaphore,
}

impl Api {
    pub(crate) fn new(replayer: Replayer, jobs: Jobs, replays_max: u32) -> Self {
        Self { replayer, jobs, replays_max, reads: Semaphore::new(READS_MAX) }
    }

    /// Waits for the turn to read, so that many questions cost no more memory than a few.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match tokio::time::timeout(TURN, self.reads.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(Problem::busy()),
        }
    }
}

type Shared = State<Arc<Api>>;

/// Returns the paths with their handlers, behind the token.
pub(crate) fn router(api: Arc<Api>, access: Access, measure: Measure) -> Router {
    Router::new()
        .route("/v1/dead-letters", get(letters::list))
        .route("/v1/dead-letters/{topic}/{partition}/{offset}", get(letters::show))
        .route("/v1/replays", get(replays::list).post(replays::start))
        .route("/v1/replays/{id}", get(replays::show))
        .route("/v1/events/{id}", get(events::story))
        .route("/v1/openapi.json", get(async || Json(document::document())))
        .fallback(async || Problem::no_path())
        .method_not_allowed_fallback(async || Problem::no_method())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::new(access), access::allowed))
        .layer(from_fn_with_state(measure, measure::measured))
        .layer(from_fn(problem::fenced))
        .with_state(api)
}
