//! What follows an attempt: for its delivery, and for the destination.
//!
//! A delivery is delivered, tried again at a time, a dead letter with its reason, or left where it is,
//! because the destination is gone. Of the destination an attempt tells how healthy and how loaded it
//! is, and how long it wants to be left alone.
//!
//! Pure: it is given the answer or the failure, the destination's rules, the jitter and `now`.

use std::time::Duration;

use domain::{
    breaker::Ended as Health,
    catalog::Destination,
    dead_letter::Reason,
    delay::Asked,
    limit::Ended as Load,
    offset_map::Head,
    outcome::Outcome,
    retry::{Decision, Exhausted},
    time::UnixMillis,
};
use http::StatusCode;
use http_io::{Answer, Failure, Phase};

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Settled,
    Again {
        at: UnixMillis,
    },
    DeadLetter(Reason),
    /// The destination is disabled, and this is tried again once somebody has enabled it.
    Gone,
}

/// What one attempt came to, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) next: Next,
}

/// What an attempt's end tells of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signals {
    pub(crate) health: Health,
    pub(crate) load: Load,
    /// How long nothing more is to be sent.
    pub(crate) asked: Option<Duration>,
}

impl Signals {
    /// Nothing: the attempt was not made, or was cut off by us.
    pub(crate) const NONE: Self = Self { health: Health::Untold, load: Load::Failed, asked: None };
}

/// Judges one attempt, which `made` counts; `jitter` is uniform in `[0, 1)`.
pub(crate) fn judge(
    result: &Result<Answer, Failure>,
    rules: &Destination,
    made: Head,
    jitter: f64,
    now: UnixMillis,
) -> Verdict {
    let outcome = outcome(result, rules);
    let next = match outcome {
        Outcome::Delivered => Next::Settled,
        Outcome::Permanent if is_gone(result, rules) => Next::Gone,
        Outcome::Permanent => Next::DeadLetter(permanent(result)),
        Outcome::Retryable | Outcome::Unknown => {
            let after = result.as_ref().ok().and_then(|answer| Wish::of(answer, now).this);
            match rules.retry.decide(made, after, jitter, now) {
                Decision::Again { at } => Next::Again { at },
                Decision::GiveUp(Exhausted::Budget) => Next::DeadLetter(Reason::BudgetSpent),
                Decision::GiveUp(Exhausted::Attempts) => Next::DeadLetter(Reason::AttemptsSpent),
            }
        }
    };
    Verdict { outcome, next }
}

/// Says what an attempt's end tells of its destination.
pub(crate) fn signals(
    result: &Result<Answer, Failure>,
    rules: &Destination,
    now: UnixMillis,
) -> Signals {
    let (health, load) = match Sign::of(result, rules) {
        Sign::Served(latency) => (Health::Healthy, Load::Answered(latency)),
        Sign::TooMany => (Health::Healthy, Load::Overloaded),
        Sign::Busy | Sign::Late => (Health::Failed, Load::Overloaded),
        Sign::Faulty => (Health::Failed, Load::Failed),
        Sign::NotAsked => (Health::Untold, Load::Failed),
    };
    let asked = result.as_ref().ok().and_then(|answer| Wish::of(answer, now).all);
    Signals { health, load, asked: asked.map(|wait| wait.min(rules.retry.retry_after_max)) }
}

/// The ways in which an attempt ends, as far as its destination goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// An answer, after so long; one that refuses this request is one too.
    Served(Duration),
    /// 429.
    TooMany,
    /// 503 that says when to come again.
    Busy,
    /// Another 5xx, or none: refused, reset, broken, no address.
    Faulty,
    /// No answer in time.
    Late,
    /// The egress rules forbade it.
    NotAsked,
}

impl Sign {
    fn of(result: &Result<Answer, Failure>, rules: &Destination) -> Self {
        match result {
            Ok(answer) => Self::of_answer(answer, rules),
            Err(failure) => match failure.phase() {
                Phase::Egress => Self::NotAsked,
                Phase::Dns => Self::Faulty,
                Phase::Connect | Phase::Tls | Phase::NoAnswer | Phase::AnswerBroken => {
                    if failure.is_timeout() { Self::Late } else { Self::Faulty }
                }
            },
        }
    }

    fn of_answer(answer: &Answer, rules: &Destination) -> Self {
        let status = answer.status;
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Self::TooMany;
        }
        // Where the catalog says what a 5xx means for its request, it is no fault of the destination's.
        let is_meant =
            rules.outcomes.0.get(&status.as_u16()).is_some_and(|outcome| match outcome {
                Outcome::Delivered | Outcome::Permanent => true,
                Outcome::Retryable | Outcome::Unknown => false,
            });
        if !status.is_server_error() || is_meant {
            return Self::Served(answer.latency.of_answer());
        }
        let is_busy = status == StatusCode::SERVICE_UNAVAILABLE
            && answer.headers.contains_key(http::header::RETRY_AFTER);
        if is_busy { Self::Busy } else { Self::Faulty }
    }
}

/// How long an answer asks to wait.
struct Wish {
    /// Before its own delivery is tried again.
    this: Option<Duration>,
    /// Before anything else is sent to the destination.
    all: Option<Duration>,
}

impl Wish {
    fn of(answer: &Answer, now: UnixMillis) -> Self {
        let was_refused = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE]
            .contains(&answer.status);
        let (headers, at) = (&answer.headers, http_io::date(&answer.headers).unwrap_or(now));
        let texts =
            headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let limits = Asked::read(texts, at).wait(was_refused);
        let after = http_io::retry_after(headers, at);
        Self { this: after.max(limits), all: after.filter(|_| was_refused).max(limits) }
    }
}

fn outcome(result: &Result<Answer, Failure>, rules: &Destination) -> Outcome {
    let failure = match result {
        Ok(answer) => return rules.outcomes.outcome(answer.status.as_u16()),
        Err(failure) => failure,
    };
    match failure.status().map(|status| rules.outcomes.outcome(status.as_u16())) {
        // It said yes and broke off: whether it was done, nobody knows.
        Some(Outcome::Delivered) => Outcome::Unknown,
        Some(outcome) => outcome,
        None if failure.is_refused() => Outcome::Permanent,
        None if failure.sent() => Outcome::Unknown,
        None => Outcome::Retryable,
    }
}

/// Says whether the answer speaks of the destination and not of the delivery: 410, unless the catalog
/// says what that means here.
fn is_gone(result: &Result<Answer, Failure>, rules: &Destination) -> bool {
    let status = match result {
        Ok(answer) => Some(answer.status),
        Err(failure) => failure.status(),
    };
    let gone = StatusCode::GONE;
    status == Some(gone) && !rules.outcomes.0.contains_key(&gone.as_u16())
}

fn permanent(result: &Result<Answer, Failure>) -> Reason {
    match result {
        Err(failure) if failure.is_refused() => Reason::EgressRefused,
        Ok(_) | Err(_) => Reason::Permanent,
    }
}

/// Says what the attempt came to, without any of the answer's content.
pub(crate) fn describe(result: &Result<Answer, Failure>) -> String {
    match result {
        Ok(answer) => format!("the destination answered {}", answer.status),
        Err(failure) => failure.to_string(),
    }
}

#[cfg(test)]
mod tests;
