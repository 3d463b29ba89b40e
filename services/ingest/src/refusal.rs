//! Why a request was not accepted, as an RFC 9457 problem document.
//!
//! A sender learns which rule refused it, never which part of its signature was wrong.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// Seconds after which a sender may come again when there was too much at a time.
const AFTER_OVERLOAD: u64 = 1;
/// Seconds after which a sender may come again when the event could not be logged.
const AFTER_OUTAGE: u64 = 5;

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownPath,
    UnknownSource,
    MethodNotAllowed,
    /// The body is longer than the source takes.
    TooLarge {
        bytes_max: usize,
    },
    /// The signature is missing, wrong or stale; the sender does not learn which.
    Unverified {
        why: String,
    },
    /// A header of the scheme is malformed.
    Malformed {
        place: String,
        detail: &'static str,
    },
    /// The source takes JSON only and this is none.
    NotJson {
        line: usize,
        column: usize,
    },
    /// The source takes JSON only and the body is declared to be something else.
    NotDeclaredJson,
    /// The sender stopped sending before the body was whole.
    Incomplete,
    /// As many requests, or bytes, are in hand as this process takes.
    Overloaded,
    /// The source can't be written to yet, for want of a schema.
    NoSchema,
    /// The source can't be written to yet, for want of a topic.
    NoTopic,
    /// The log did not take the event, or did not say so in time.
    NotLogged {
        why: String,
    },
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
            Self::Unverified { .. } => StatusCode::UNAUTHORIZED,
            Self::Malformed { .. } | Self::NotJson { .. } | Self::Incomplete => {
                StatusCode::BAD_REQUEST
            }
            Self::NotDeclaredJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSchema | Self::NoTopic | Self::NotLogged { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Returns the label `reason` of `millrace_ingest_events_total`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::UnknownPath | Self::UnknownSource | Self::MethodNotAllowed => "_OTHER",
            Self::TooLarge { .. } => "size",
            Self::Unverified { .. } => "auth",
            Self::Malformed { .. }
            | Self::NotJson { .. }
            | Self::NotDeclaredJson
            | Self::Incomplete => "malformed",
            Self::Overloaded => "backpressure",
            Self::NoSchema => "schema",
            Self::NoTopic | Self::NotLogged { .. } => "broker",
        }
    }

    fn slug_and_title(&self) -> (&'static str, &'static str) {
        match self {
            Self::UnknownPath => ("unknown-path", "there is nothing at this path"),
            Self::UnknownSource => ("unknown-source", "no such source"),
            Self::MethodNotAllowed => ("method-not-allowed", "events are sent with POST"),
            Self::TooLarge { .. } => ("body-too-large", "the body is too large"),
            Self::Unverified { .. } => ("not-verified", "the request could not be verified"),
            Self::Malformed { .. } => ("malformed-header", "a header is malformed"),
            Self::NotJson { .. } => ("not-json", "the body is not JSON"),
            Self::NotDeclaredJson => ("not-declared-json", "the body is not declared to be JSON"),
            Self::Incomplete => ("incomplete-body", "the body is incomplete"),
            Self::Overloaded => ("overloaded", "too much at a time"),
            Self::NoSchema | Self::NoTopic => ("not-ready", "the source is not ready"),
            Self::NotLogged { .. } => ("not-logged", "the event could not be logged"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::UnknownPath => "send events to POST /v1/events/{source}".into(),
            Self::UnknownSource => "check the address that the provider calls".into(),
            Self::MethodNotAllowed => "use POST".into(),
            Self::TooLarge { bytes_max } => format!(
                "this source takes at most {bytes_max} bytes; its body_max in the catalog says so"
            ),
            Self::Unverified { .. } => "the signature is missing, does not match, or is too old; \
                the operator can find out which with `millrace signature verify`"
                .into(),
            Self::Malformed { place, detail } => format!("{place}: {detail}"),
            Self::NotJson { line, column } => {
                format!("this source takes JSON only; it ends to be JSON at {line}:{column}")
            }
            Self::NotDeclaredJson => "this source takes JSON only; send it as application/json, \
                without Content-Encoding"
                .into(),
            Self::Incomplete => {
                "the body ended or stalled before it was whole; send it again".into()
            }
            Self::Overloaded => "send it again after the time in Retry-After".into(),
            Self::NoSchema | Self::NoTopic => {
                "nothing was accepted; send it again after the time in Retry-After".into()
            }
            Self::NotLogged { .. } => {
                "the event was not acknowledged; send it again after the time in Retry-After".into()
            }
        }
    }

    /// Returns what an operator is told and a sender is not.
    pub(crate) fn told_to_operator(&self) -> String {
        match self {
            Self::Unverified { why } | Self::NotLogged { why } => why.clone(),
            Self::NoSchema => "its schema is not registered; /readyz says why".into(),
            Self::NoTopic => "its topic is not there; /readyz says why".into(),
            Self::UnknownPath
            | Self::UnknownSource
            | Self::MethodNotAllowed
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::NotJson { .. }
            | Self::NotDeclaredJson
            | Self::Incomplete
            | Self::Overloaded => self.detail(),
        }
    }

    fn header(&self) -> Option<(header::HeaderName, HeaderValue)> {
        match self {
            Self::MethodNotAllowed => Some((header::ALLOW, HeaderValue::from_static("POST"))),
            Self::Unverified { .. } => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Signature")))
            }
            Self::Overloaded => Some((header::RETRY_AFTER, AFTER_OVERLOAD.into())),
            Self::NoSchema | Self::NoTopic | Self::NotLogged { .. } => {
                Some((header::RETRY_AFTER, AFTER_OUTAGE.into()))
            }
            Self::UnknownPath
            | Self::UnknownSource
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::NotJson { .. }
            | Self::NotDeclaredJson
            | Self::Incomplete => None,
        }
    }

    /// Returns the answer: the problem document with its status and headers.
    pub(crate) fn answer(&self) -> Response<Bytes> {
        let (slug, title) = self.slug_and_title();
        let problem = Problem {
            r#type: format!("urn:millrace:problem:{slug}"),
            title,
            status: self.status().as_u16(),
            detail: self.detail(),
        };
        let body = serde_json::to_vec(&problem).expect("a problem of plain texts is JSON");
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = self.status();
        let kind = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        if let Some((name, value)) = self.header() {
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &str = "signed 301 s ago";

    fn all() -> Vec<(Refusal, u16)> {
        vec![
            (Refusal::UnknownPath, 404),
            (Refusal::UnknownSource, 404),
            (Refusal::MethodNotAllowed, 405),
            (Refusal::TooLarge { bytes_max: 10 }, 413),
            (Refusal::Unverified { why: SECRET.into() }, 401),
            (Refusal::Malformed { place: "x-signature".into(), detail: "it comes twice" }, 400),
            (Refusal::NotJson { line: 1, column: 2 }, 400),
            (Refusal::NotDeclaredJson, 415),
            (Refusal::Incomplete, 400),
            (Refusal::Overloaded, 429),
            (Refusal::NoSchema, 503),
            (Refusal::NoTopic, 503),
            (Refusal::NotLogged { why: SECRET.into() }, 503),
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
        assert_eq!(Refusal::MethodNotAllowed.answer().headers()["allow"], "POST");
    }

    #[test]
    fn which_check_failed_is_for_the_operator_only() {
        for (refusal, _) in all() {
            let body = String::from_utf8(refusal.answer().body().to_vec()).unwrap();
            assert!(!body.contains(SECRET), "{body}");
            assert!(!refusal.told_to_operator().is_empty());
        }
    }
}
