//! Why a request was not accepted, as an RFC 9457 problem document.
//!
//! A sender learns which rule refused it, never which part of its signature was wrong.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownPath,
    UnknownSource,
    MethodNotAllowed,
    /// The body is longer than the source takes.
    TooLarge { bytes_max: usize },
    /// The signature is missing, wrong or stale; the sender does not learn which.
    Unverified,
    /// A header of the scheme is malformed.
    Malformed { detail: &'static str },
    /// The source takes JSON only and this is none.
    NotJson { detail: String },
    /// A compressed body: signatures are over what was sent, and it is not unpacked.
    Encoding,
    /// The sender stopped sending before the body was whole.
    Incomplete,
    /// As many requests are in hand as this process takes.
    Overloaded { retry_after: Duration },
    /// The log did not acknowledge in time.
    Unavailable { detail: &'static str, retry_after: Duration },
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
}

impl Refusal {
    /// Returns the status, as the table of receiver rules gives it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::UnknownSource => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unverified => StatusCode::UNAUTHORIZED,
            Self::Malformed { .. } | Self::NotJson { .. } | Self::Incomplete => {
                StatusCode::BAD_REQUEST
            }
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the label `reason` of `millrace_ingest_events_total`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::UnknownPath | Self::UnknownSource => "unknown_source",
            Self::MethodNotAllowed => "method",
            Self::TooLarge { .. } => "size",
            Self::Unverified => "auth",
            Self::Malformed { .. } | Self::NotJson { .. } | Self::Incomplete => "malformed",
            Self::Encoding => "encoding",
            Self::Overloaded { .. } => "backpressure",
            Self::Unavailable { .. } => "broker",
        }
    }

    fn slug(&self) -> &'static str {
        match self {
            Self::UnknownPath => "unknown-path",
            Self::UnknownSource => "unknown-source",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::TooLarge { .. } => "body-too-large",
            Self::Unverified => "not-verified",
            Self::Malformed { .. } => "malformed-header",
            Self::NotJson { .. } => "not-json",
            Self::Encoding => "content-encoding",
            Self::Incomplete => "incomplete-body",
            Self::Overloaded { .. } => "overloaded",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::UnknownPath => "there is nothing at this path",
            Self::UnknownSource => "no such source",
            Self::MethodNotAllowed => "events are sent with POST",
            Self::TooLarge { .. } => "the body is too large",
            Self::Unverified => "the request could not be verified",
            Self::Malformed { .. } => "a header is malformed",
            Self::NotJson { .. } => "the body is not JSON",
            Self::Encoding => "compressed bodies are not taken",
            Self::Incomplete => "the body is incomplete",
            Self::Overloaded { .. } => "too many requests at a time",
            Self::Unavailable { .. } => "the event could not be logged",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::UnknownPath => "send events to POST /v1/events/{source}".into(),
            Self::UnknownSource => "check the address that the provider calls".into(),
            Self::MethodNotAllowed => "use POST".into(),
            Self::TooLarge { bytes_max } => {
                format!("this source takes at most {bytes_max} bytes; raise its body_max to take more")
            }
            Self::Unverified => {
                "the signature is missing, does not match, or is too old; the operator can find \
                 out which with `millrace signature verify`"
                    .into()
            }
            Self::Malformed { detail } => (*detail).into(),
            Self::NotJson { detail } => format!("this source takes JSON only: {detail}"),
            Self::Encoding => "send the body without Content-Encoding".into(),
            Self::Incomplete => "the connection ended or stalled before the body was whole".into(),
            Self::Overloaded { .. } => "send it again after the time in Retry-After".into(),
            Self::Unavailable { detail, .. } => {
                format!("{detail}; nothing was accepted, send it again after the time in Retry-After")
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after } | Self::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }

    /// Returns the answer: the problem document with its status and headers.
    pub(crate) fn answer(&self) -> Response<Bytes> {
        let problem = Problem {
            r#type: format!("urn:millrace:problem:{}", self.slug()),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail(),
        };
        let body = serde_json::to_vec(&problem).expect("a problem of plain texts is JSON");
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(after) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        match self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Unverified => {
                let scheme = HeaderValue::from_static("Signature");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            // The rest of the body is not read, so the connection can't be used again.
            Self::TooLarge { .. } | Self::Incomplete => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        answer
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn all() -> Vec<(Refusal, u16)> {
        let retry_after = Duration::from_millis(1500);
        vec![
            (Refusal::UnknownPath, 404),
            (Refusal::UnknownSource, 404),
            (Refusal::MethodNotAllowed, 405),
            (Refusal::TooLarge { bytes_max: 10 }, 413),
            (Refusal::Unverified, 401),
            (Refusal::Malformed { detail: "x" }, 400),
            (Refusal::NotJson { detail: "x".into() }, 400),
            (Refusal::Encoding, 415),
            (Refusal::Incomplete, 400),
            (Refusal::Overloaded { retry_after }, 429),
            (Refusal::Unavailable { detail: "x", retry_after }, 503),
        ]
    }

    #[test]
    fn every_refusal_is_a_problem_document_with_its_status() {
        for (refusal, status) in all() {
            let answer = refusal.answer();
            assert_eq!(answer.status().as_u16(), status);
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(body["status"], status);
            for field in ["type", "title", "detail"] {
                assert!(body[field].as_str().is_some_and(|t| !t.is_empty()), "{refusal:?} {field}");
            }
        }
    }

    #[test]
    fn what_may_be_sent_again_says_when() {
        for (refusal, status) in all() {
            let after = refusal.answer().headers().get("retry-after").cloned();
            assert_eq!(after.is_some(), matches!(status, 429 | 503), "{refusal:?}");
        }
    }
}
