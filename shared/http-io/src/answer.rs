//! What a request came to: an answer, or how far it went before it failed.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// How long each step took; a step that did not happen, or not for this request, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    pub dns: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    /// From the start of the attempt to the answer's head.
    pub first_byte: Option<Duration>,
    pub total: Option<Duration>,
}

impl Latency {
    /// Returns how long the destination took for its answer's head, over a connection that was there.
    pub fn of_answer(&self) -> Duration {
        let steps = [self.dns, self.connect, self.tls];
        let connecting = steps.into_iter().flatten().sum();
        self.first_byte.or(self.total).unwrap_or_default().saturating_sub(connecting)
    }
}

/// An answer whose head was understood.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body's beginning, as much as is kept.
    pub body: Bytes,
    /// Whether the body was longer than what is kept.
    pub truncated: bool,
    pub latency: Latency,
}

/// The step at which a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The egress rules forbid each of the addresses.
    Egress,
    /// The name's addresses could not be found.
    Dns,
    /// No connection came about, or it ended before the request was on its way.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The request was sent, or may have been, and no answer came.
    NoAnswer,
    /// What came back is no answer, or an answer that broke off.
    AnswerBroken,
}

impl Phase {
    /// Returns the word used in metrics (`error_type`) and spans.
    pub fn label(self) -> &'static str {
        match self {
            Self::Egress => "egress_refused",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::NoAnswer => "no_answer",
            Self::AnswerBroken => "answer_broken",
        }
    }
}

/// A request without a whole answer.
#[derive(Debug, Clone)]
pub struct Failure {
    phase: Phase,
    timed_out: bool,
    host: String,
    why: String,
    status: Option<StatusCode>,
    latency: Latency,
}

impl Failure {
    /// Makes a failure at `phase` of a request to `host`, for those who judge failures.
    pub fn at(phase: Phase, host: &str, why: impl Into<String>) -> Self {
        let (host, why) = (host.to_owned(), why.into());
        Self { phase, timed_out: false, host, why, status: None, latency: Latency::default() }
    }

    /// Adds that it failed because its time was over.
    #[must_use]
    pub fn timed_out(mut self) -> Self {
        self.timed_out = true;
        self
    }

    /// Adds the status that was understood before the answer broke off.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    pub(crate) fn with_latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Says whether it failed because its time, or that of a step, was over.
    pub fn is_timeout(&self) -> bool {
        self.timed_out
    }

    /// Says at which step it failed.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Says whether the egress rules forbade it; trying again does not help.
    pub fn is_refused(&self) -> bool {
        self.phase == Phase::Egress
    }

    /// Says whether the request, or a part of it, may have reached the server.
    pub fn sent(&self) -> bool {
        match self.phase {
            Phase::NoAnswer | Phase::AnswerBroken => true,
            Phase::Egress | Phase::Dns | Phase::Connect | Phase::Tls => false,
        }
    }

    /// Returns the status if the answer's head was understood before it broke off.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Returns how long the steps took as far as it went.
    pub fn latency(&self) -> Latency {
        self.latency
    }

    /// Returns the word used in metrics and spans: the phase, or `timeout`.
    pub fn error_type(&self) -> &'static str {
        if self.timed_out && self.sent() { "timeout" } else { self.phase.label() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, why, .. } = self;
        match self.phase {
            Phase::Egress => write!(
                f,
                "{host} is refused by egress rule: {why}; allow the range in egress_allow, or change the destination's address"
            ),
            Phase::Dns => write!(f, "could not find the address of {host}: {why}"),
            Phase::Connect => write!(f, "could not connect to {host}: {why}"),
            Phase::Tls => write!(f, "could not agree on TLS with {host}: {why}"),
            Phase::NoAnswer => write!(f, "sent to {host}, but no answer: {why}"),
            Phase::AnswerBroken => write!(f, "the answer of {host} is broken: {why}"),
        }
    }
}

impl std::error::Error for Failure {}
