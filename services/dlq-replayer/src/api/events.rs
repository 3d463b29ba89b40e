//! `/v1/events/{id}`: one event's story.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};

use super::{Problem, Shared, query};
use crate::{Story, StoryQuery, cluster::now_ms};

/// How far back a story is looked for where nothing is said.
const SINCE_MS: i64 = 24 * 3600 * 1000;

/// Everything that happened to an event.
pub(super) async fn story(
    State(api): Shared,
    Path(id): Path<String>,
    RawQuery(text): RawQuery,
) -> Result<Json<Story>, Problem> {
    let (mut since, mut until) = (None, None);
    for (name, value) in query::pairs(text.as_deref()) {
        match name.as_str() {
            "since" => since = Some(query::time(&name, &value)?),
            "until" => until = Some(query::time(&name, &value)?),
            other => return Err(query::unknown(other)),
        }
    }
    let since_ms = since.unwrap_or_else(|| until.unwrap_or_else(now_ms) - SINCE_MS);
    let _turn = api.turn().await?;
    let story = api.replayer.story(StoryQuery { id, since_ms, until_ms: until }, |_| {}).await?;
    Ok(Json(story))
}
