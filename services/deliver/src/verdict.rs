//! What follows an attempt: delivered, again at a time, or a dead letter with its reason.
//!
//! Pure: it is given the answer or the failure, the destination's rules, the jitter and `now`.

use domain::{
    catalog::Destination,
    dead_letter::Reason,
    outcome::Outcome,
    retry::{Decision, Exhausted},
    time::UnixMillis,
};
use http_io::{Answer, Failure};

/// How far a delivery has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) first_attempt_at: UnixMillis,
    /// Finished attempts, this one included.
    pub(crate) attempts_made: u32,
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Settled,
    Again { at: UnixMillis },
    DeadLetter(Reason),
}

/// What one attempt came to, and what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) next: Next,
}

/// Judges one attempt; `jitter` is uniform in `[0, 1)`.
pub(crate) fn judge(
    result: &Result<Answer, Failure>,
    rules: &Destination,
    progress: Progress,
    jitter: f64,
    now: UnixMillis,
) -> Verdict {
    let outcome = outcome(result, rules);
    let next = match outcome {
        Outcome::Delivered => Next::Settled,
        Outcome::Permanent => Next::DeadLetter(permanent(result)),
        Outcome::Retryable | Outcome::Unknown => {
            let after = result.as_ref().ok().and_then(|a| http_io::retry_after(&a.headers, now));
            let Progress { first_attempt_at, attempts_made } = progress;
            match rules.retry.decide(first_attempt_at, attempts_made, after, jitter, now) {
                Decision::Again { at } => Next::Again { at },
                Decision::GiveUp(Exhausted::Budget) => Next::DeadLetter(Reason::BudgetSpent),
                Decision::GiveUp(Exhausted::Attempts) => Next::DeadLetter(Reason::AttemptsSpent),
            }
        }
    };
    Verdict { outcome, next }
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
