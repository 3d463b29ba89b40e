//! One request to a destination at an operator's word, without an event of the log: what it answers,
//! how long each step took, and what a delivery that is answered so would become.
//!
//! It goes the way of an attempt: resolver, egress guard, connection, TLS, the destination's headers and
//! credentials, its time limit. It carries no body, is sent once, writes nothing, and asks neither the
//! rate nor the breaker, which are the replicas'.

use std::{sync::Arc, time::Duration};

use catalog_io::Destination;
use domain::{catalog as rules, offset_map::Head, outcome::Outcome, time::UnixMillis};
use http_io::{
    Answer, Client, Failure, Unusable,
    redact::{self, Secrets},
};
use serde::Serialize;
use wire::{Header, Latency};

use crate::{
    Config,
    gate::Prepared,
    receipts::{self, request_id},
    request::{self, Invalid},
    verdict::{self, Next},
};

/// How much of an answer's body is told.
const BODY_BYTES_MAX: usize = 1024;
/// Statuses that speak of the request's method alone: deliveries have another one.
const NO_SUCH_METHOD: [u16; 2] = [405, 501];

/// What a probe found; it holds no secret of ours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probed {
    pub destination: String,
    pub method: &'static str,
    /// Host and port; the path may hold what is nobody's business.
    pub host: String,
    pub finding: Finding,
    pub status: Option<u16>,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// What a delivery would be that is answered so, or fails so.
    pub outcome: Outcome,
    /// Whether such an answer to a delivery disables the destination.
    pub would_disable: bool,
    pub latency: Latency,
    pub provider_request_id: Option<String>,
    /// Its beginning, redacted.
    pub response_body: Option<String>,
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It answered as one that takes deliveries does.
    Answers,
    /// It answered that it does not take the method that is asked where the catalog says nothing: it is
    /// reached, and no more is known.
    TakesOtherMethods,
    Fails,
}

impl Finding {
    /// Says whether nothing is wrong as far as it was seen.
    pub fn is_well(self) -> bool {
        match self {
            Self::Answers | Self::TakesOtherMethods => true,
            Self::Fails => false,
        }
    }
}

/// Why nothing could be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("could not prepare the HTTP client: {0}")]
    Client(#[from] Unusable),
    #[error("the request can't be made of what the catalog says: {0}")]
    Request(String),
}

impl From<Invalid> for ProbeError {
    fn from(invalid: Invalid) -> Self {
        Self::Request(invalid.to_string())
    }
}

/// Asks a destination once, at `now`, within its time limit.
///
/// # Errors
/// Where nothing could be asked; a destination that fails is a finding.
///
/// # Cancellation
/// Safe: the connection is closed; the request may have been sent.
pub async fn probe(
    config: &Config,
    destination: Arc<Destination>,
    now: UnixMillis,
) -> Result<Probed, ProbeError> {
    let client = Client::new(&config.http, config.egress_allow.clone())?;
    let prepared = Prepared::new(destination);
    let request = request::probe(&prepared, &format!("probe-{}", now.0), now)?;
    let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let spec = &prepared.destination.spec;
    let result = client.send(request, spec.protocol, spec.timeout).await;
    Ok(found(&prepared, host, &result, now))
}

fn found(
    prepared: &Prepared,
    host: String,
    result: &Result<Answer, Failure>,
    now: UnixMillis,
) -> Probed {
    let spec = &prepared.destination.spec;
    let first = Head { first_attempt_at: now, attempts_made: 1, stood_still: Duration::ZERO };
    let verdict = verdict::judge(result, spec, first, 0.0, now);
    let status = match result {
        Ok(answer) => Some(answer.status.as_u16()),
        Err(failure) => failure.status().map(|status| status.as_u16()),
    };
    let is_unsaid = spec.probe == rules::Probe::default();
    let is_of_method = result.is_ok() && status.is_some_and(|s| NO_SUCH_METHOD.contains(&s));
    let finding = match verdict.outcome {
        Outcome::Delivered => Finding::Answers,
        Outcome::Retryable | Outcome::Permanent | Outcome::Unknown if is_unsaid && is_of_method => {
            Finding::TakesOtherMethods
        }
        Outcome::Retryable | Outcome::Permanent | Outcome::Unknown => Finding::Fails,
    };
    let error = (finding != Finding::Answers).then(|| verdict::describe(result));
    let latency = match result {
        Ok(answer) => answer.latency,
        Err(failure) => failure.latency(),
    };
    let (provider_request_id, response_body) = match result {
        Ok(answer) => told(answer, &prepared.secrets),
        Err(_) => (None, None),
    };
    Probed {
        destination: spec.name.as_str().to_owned(),
        method: spec.probe.method.as_str(),
        host,
        finding,
        status,
        error,
        outcome: verdict.outcome,
        would_disable: verdict.next == Next::Gone,
        latency: receipts::latency(&latency),
        provider_request_id,
        response_body,
    }
}

/// The third party's id of the request, and the body's beginning.
fn told(answer: &Answer, secrets: &Secrets) -> (Option<String>, Option<String>) {
    let headers = redact::headers(&answer.headers, secrets);
    let headers: Vec<_> = headers.into_iter().map(|(name, value)| Header { name, value }).collect();
    // Redacted before it is cut, so that no part of a secret is left at the end.
    let body = redact::body(&answer.body, secrets, answer.truncated);
    let body = &body[..body.len().min(BODY_BYTES_MAX)];
    let body = (!body.is_empty()).then(|| String::from_utf8_lossy(body).into_owned());
    (request_id::find(&headers), body)
}

#[cfg(test)]
mod tests;
