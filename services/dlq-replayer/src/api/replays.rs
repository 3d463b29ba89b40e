//! `/v1/replays`: asked for, listed and watched.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, Shared};
use crate::{Choice, Counts, Filter, Job, JobId, LetterId, Progress, Wanted};

/// The longest name of who asks.
const BY_BYTES_MAX: usize = 128;

/// What somebody wants replayed: letters by id, or those a filter means; an empty filter means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    ids: Option<Vec<LetterId>>,
    filter: Option<Filter>,
    /// Also what an earlier job has replayed.
    again: bool,
    /// Who asks, for the audit and the records' headers.
    by: Option<String>,
    /// Only count.
    dry_run: bool,
}

/// What a dry run counted.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Counted {
    counts: Counts,
}

/// The jobs there are, the oldest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed {
    jobs: Vec<Watched>,
}

/// A job and how far it is, where it runs in the process that answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Watched {
    #[serde(flatten)]
    job: Job,
    progress: Option<Told>,
}

/// How far a job is.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Told {
    /// Offsets passed, of `total`.
    passed: u64,
    total: u64,
    counts: Counts,
    elapsed_ms: u64,
    /// How long the rest takes at the pace so far.
    eta_ms: Option<u64>,
    /// What is waited for, while it does not go on.
    waiting: Option<String>,
}

/// Starts a job, or counts what it would do.
pub(super) async fn start(
    State(api): Shared,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|_| Problem::too_large())?;
    let asked = read(&headers, &body)?;
    let is_dry = asked.dry_run;
    let wanted = asked.wanted(api.replays_max)?;
    let _turn = api.turn().await?;
    if is_dry {
        let counts = api.replayer.dry_run(wanted, |_| {}).await?;
        return Ok(Json(Counted { counts }).into_response());
    }
    let job = api.replayer.start(wanted).await?;
    api.jobs.run(job.id.clone());
    let place = [(header::LOCATION, format!("/v1/replays/{}", job.id))];
    Ok((StatusCode::ACCEPTED, place, Json(Watched { job, progress: None })).into_response())
}

/// Lists the jobs.
pub(super) async fn list(State(api): Shared) -> Result<Json<Listed>, Problem> {
    let _turn = api.turn().await?;
    let jobs = api.replayer.jobs().await?;
    let watched = |job: Job| {
        let progress = api.jobs.progress(&job.id).map(Told::from);
        Watched { job, progress }
    };
    Ok(Json(Listed { jobs: jobs.into_iter().map(watched).collect() }))
}

/// Shows a job.
pub(super) async fn show(
    State(api): Shared,
    Path(id): Path<String>,
) -> Result<Json<Watched>, Problem> {
    let id: JobId =
        id.parse().map_err(|error: crate::InvalidJobId| Problem::asked(error.to_string()))?;
    let _turn = api.turn().await?;
    let job = api.replayer.job(&id).await?;
    Ok(Json(Watched { job, progress: api.jobs.progress(&id).map(Told::from) }))
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Asked, Problem> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = media.and_then(|media| media.split(';').next()).map(str::trim);
    // A web page can send anything else to this machine without asking the browser's leave.
    if !media.is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::no_json());
    }
    serde_json::from_slice(body).map_err(|error| Problem::asked(format!("the body: {error}")))
}

impl Asked {
    fn wanted(self, replays_max: u32) -> Result<Wanted, Problem> {
        let choice = match (self.ids, self.filter) {
            (Some(ids), None) => Choice::Ids(ids),
            (None, Some(filter)) => Choice::Filter(filter),
            (Some(_), Some(_)) | (None, None) => {
                let why =
                    "name either `ids` or a `filter`; `\"filter\": {}` means every dead letter";
                return Err(Problem::asked(why));
            }
        };
        let by = self.by.unwrap_or_else(|| "api".to_owned());
        if by.len() > BY_BYTES_MAX || by.chars().any(char::is_control) {
            let why = format!("by: at most {BY_BYTES_MAX} bytes on one line");
            return Err(Problem::asked(why));
        }
        Ok(Wanted { choice, again: self.again, by, replays_max })
    }
}

impl From<Progress> for Told {
    fn from(progress: Progress) -> Self {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis());
        Self {
            passed: progress.passed,
            total: progress.total,
            counts: progress.counts,
            elapsed_ms: ms(progress.elapsed).unwrap_or(u64::MAX),
            eta_ms: progress.eta.and_then(|eta| ms(eta).ok()),
            waiting: progress.waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_names_letters_or_a_filter_but_not_both_and_not_neither() {
        let rows = [
            (r#"{"ids":["dlq.deliver.crm/0/1"]}"#, true),
            (r#"{"filter":{}}"#, true),
            (r#"{"filter":{"destinations":["crm"]},"again":true,"by":"ann"}"#, true),
            (r#"{}"#, false),
            (r#"{"ids":[],"filter":{}}"#, false),
            (r#"{"filter":{},"by":"a\nb"}"#, false),
            (r#"{"filter":{"destination":"crm"}}"#, false),
            (r#"{"filter":{},"agian":true}"#, false),
        ];
        let json =
            [(header::CONTENT_TYPE, "application/json; charset=utf-8".parse().expect("value"))];
        let json: HeaderMap = json.into_iter().collect();
        for (body, wanted) in rows {
            let read = read(&json, body.as_bytes()).and_then(|asked| asked.wanted(5));
            assert_eq!(read.is_ok(), wanted, "{body}");
        }
        let unsaid =
            read(&HeaderMap::new(), b"{\"filter\":{}}").expect_err("it is not said to be JSON");
        assert_eq!(unsaid.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}
