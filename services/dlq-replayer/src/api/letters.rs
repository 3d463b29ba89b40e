//! `/v1/dead-letters`: listed and shown.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};

use super::{Problem, Shared, query};
use crate::{LetterId, Page, Shown};

/// One page of dead letters.
pub(super) async fn list(
    State(api): Shared,
    RawQuery(text): RawQuery,
) -> Result<Json<Page>, Problem> {
    let query = query::page(text.as_deref())?;
    let _turn = api.turn().await?;
    Ok(Json(api.replayer.list(query).await?))
}

/// One dead letter with all it holds.
pub(super) async fn show(
    State(api): Shared,
    Path((topic, partition, offset)): Path<(String, String, String)>,
) -> Result<Json<Shown>, Problem> {
    let id: LetterId = format!("{topic}/{partition}/{offset}")
        .parse()
        .map_err(|error: crate::InvalidId| Problem::asked(error.to_string()))?;
    let _turn = api.turn().await?;
    Ok(Json(api.replayer.show(&id).await?))
}
