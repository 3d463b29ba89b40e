//! What went wrong, as an RFC 9457 problem document.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Error;

const MEDIA_TYPE: &str = "application/problem+json";
const RETRY_AFTER_SECONDS: u32 = 5;

/// A refusal or failure, told as a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// A name of the kind of problem, `urn:millrace:problem:…`.
    r#type: String,
    title: &'static str,
    status: u16,
    /// What was wrong with this request and what to do.
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, slug: &str, title: &'static str, detail: impl Into<String>) -> Self {
        let r#type = format!("urn:millrace:problem:{slug}");
        Self { r#type, title, status: status.as_u16(), detail: detail.into() }
    }

    pub(crate) fn asked(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "the request makes no sense", detail)
    }

    pub(super) fn no_token() -> Self {
        let detail = "send the header `authorization: Bearer TOKEN` with the token of dlq_replayer.token_file";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "a token is needed", detail)
    }

    pub(super) fn foreign_host() -> Self {
        let detail = "without a token the API answers to localhost and loopback addresses only";
        Self::new(StatusCode::FORBIDDEN, "foreign-host", "the host is not this machine", detail)
    }

    pub(super) fn no_path() -> Self {
        let detail = "`/v1/openapi.json` tells the paths there are";
        Self::new(StatusCode::NOT_FOUND, "unknown-path", "there is nothing at this path", detail)
    }

    pub(super) fn no_method() -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let detail = "`/v1/openapi.json` tells the methods of each path";
        Self::new(status, "method-not-allowed", "the path has no such method", detail)
    }

    pub(super) fn too_large() -> Self {
        let detail = "name at most 1000 letters, or send a filter";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "the body is too large", detail)
    }

    pub(super) fn no_json() -> Self {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let detail = "send JSON with `content-type: application/json`";
        Self::new(status, "content-type", "the body is not said to be JSON", detail)
    }

    pub(super) fn busy() -> Self {
        let detail = "others are reading the cluster; ask again in a few seconds";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many questions at a time", detail)
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let (status, slug, title) = match error {
            Error::Asked(_) => return Self::asked(detail),
            Error::NoSuchLetter(_) => {
                (StatusCode::NOT_FOUND, "no-such-letter", "there is no such dead letter")
            }
            Error::NoSuchJob(_) => (StatusCode::NOT_FOUND, "no-such-job", "there is no such job"),
            Error::PositionLost(_) => {
                (StatusCode::CONFLICT, "position-lost", "the job can't go on")
            }
            Error::TooSlow(_) => (StatusCode::GATEWAY_TIMEOUT, "too-slow", "it took too long"),
            Error::NoTopic(_) | Error::Read(_) | Error::Write(_) | Error::Topics(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "the cluster does not serve this now",
            ),
            Error::Start(_) | Error::CutOff(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request was not finished")
            }
        };
        if status.is_server_error() {
            tracing::warn!(error.message = %detail, problem = slug, "request not served");
        }
        Self::new(status, slug, title, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(&self).expect("a problem is made of texts and a number");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        response
    }
}

/// Keeps what is told out of caches and other sites' frames.
pub(super) async fn fenced(request: Request<Body>, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
