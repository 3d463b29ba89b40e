//! A small registry in memory that speaks the API, for the demo and for development.
//!
//! It keeps nothing over a restart and asks for no password: it is no registry for production.

mod schemas;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::MEDIA_TYPE;
use schemas::{Refusal, Schemas};

type Shared = State<Arc<Mutex<Schemas>>>;

/// Serves until `stop` is cancelled; the base address is the listener's, without a path.
///
/// # Errors
/// The listener's.
pub async fn serve(listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router()).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router() -> Router {
    Router::new()
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/{version}", get(version))
        .route("/schemas/ids/{id}", get(schema))
        .route("/config", get(default_level))
        .route("/config/{subject}", get(level).put(set_level))
        .route("/compatibility/subjects/{subject}/versions", post(check))
        .with_state(Arc::default())
}

#[derive(Deserialize)]
struct Posted {
    schema: String,
}

#[derive(Deserialize)]
struct Level {
    compatibility: String,
}

async fn subjects(State(schemas): Shared) -> Response {
    told(json!(schemas.lock().subjects()))
}

async fn versions(State(schemas): Shared, Path(subject): Path<String>) -> Response {
    answer(schemas.lock().versions(&subject).map(|versions| json!(versions)))
}

async fn register(State(schemas): Shared, Path(subject): Path<String>, body: Bytes) -> Response {
    let id = read::<Posted>(&body).and_then(|p| schemas.lock().register(&subject, &p.schema));
    answer(id.map(|id| json!({ "id": id })))
}

async fn version(
    State(schemas): Shared,
    Path((subject, version)): Path<(String, String)>,
) -> Response {
    let found = schemas.lock().version(&subject, &version);
    answer(found.map(|(version, id, schema)| {
        json!({ "subject": subject, "version": version, "id": id, "schema": schema })
    }))
}

async fn schema(State(schemas): Shared, Path(id): Path<u32>) -> Response {
    answer(schemas.lock().schema(id).map(|schema| json!({ "schema": schema })))
}

async fn default_level() -> Response {
    told(json!({ "compatibilityLevel": crate::COMPATIBILITY }))
}

async fn level(State(schemas): Shared, Path(subject): Path<String>) -> Response {
    answer(schemas.lock().level(&subject).map(|level| json!({ "compatibilityLevel": level })))
}

async fn set_level(State(schemas): Shared, Path(subject): Path<String>, body: Bytes) -> Response {
    let level =
        read::<Level>(&body).and_then(|l| schemas.lock().set_level(&subject, l.compatibility));
    answer(level.map(|level| json!({ "compatibility": level })))
}

async fn check(State(schemas): Shared, Path(subject): Path<String>, body: Bytes) -> Response {
    let verdict = read::<Posted>(&body).and_then(|p| schemas.lock().check(&subject, &p.schema));
    answer(verdict.map(|why| {
        json!({ "is_compatible": why.is_none(), "messages": why.into_iter().collect::<Vec<_>>() })
    }))
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Invalid(error.to_string()))
}

fn answer(answer: Result<serde_json::Value, Refusal>) -> Response {
    match answer {
        Ok(value) => told(value),
        Err(refusal) => {
            let (status, code) = refusal.codes();
            let body = json!({ "error_code": code, "message": refusal.to_string() });
            (status, told(body)).into_response()
        }
    }
}

fn told(value: serde_json::Value) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, MEDIA_TYPE)], Json(value).into_response().into_body())
        .into_response()
}
