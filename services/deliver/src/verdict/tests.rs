//! What follows each answer and each failure, as a table.

use std::time::Duration;

use bytes::Bytes;
use domain::retry::Policy;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_io::{Latency, Phase};

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn rules() -> Destination {
    let mut rules = crate::testing::destination("https://crm.example").spec;
    rules.retry = Policy { base: SECOND, cap: 60 * SECOND, ..Policy::default() };
    rules
}

fn answered(status: u16, retry_after: Option<&'static str>) -> Result<Answer, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(text) = retry_after {
        headers.insert("retry-after", HeaderValue::from_static(text));
    }
    let status = StatusCode::from_u16(status).expect("it is a status");
    let (body, latency) = (Bytes::new(), Latency::default());
    Ok(Answer { status, headers, body, truncated: false, latency })
}

fn failed(phase: Phase) -> Result<Answer, Failure> {
    Err(Failure::at(phase, "crm.example:443", "as the test wants it"))
}

fn first(result: &Result<Answer, Failure>) -> Verdict {
    let progress = Progress { first_attempt_at: NOW, attempts_made: 1 };
    judge(result, &rules(), progress, 0.5, NOW)
}

#[test]
fn every_way_an_attempt_ends_has_its_verdict() {
    let again = |after| Next::Again { at: NOW.plus(after) };
    let half = SECOND / 2;
    let rows = [
        (answered(200, None), Outcome::Delivered, Next::Settled),
        (answered(204, Some("9")), Outcome::Delivered, Next::Settled),
        (answered(301, None), Outcome::Permanent, Next::DeadLetter(Reason::Permanent)),
        (answered(404, None), Outcome::Permanent, Next::DeadLetter(Reason::Permanent)),
        (answered(410, Some("9")), Outcome::Permanent, Next::DeadLetter(Reason::Permanent)),
        (answered(429, Some("7")), Outcome::Retryable, again(7 * SECOND)),
        (answered(503, None), Outcome::Retryable, again(half)),
        (answered(504, None), Outcome::Unknown, again(half)),
        (failed(Phase::Egress), Outcome::Permanent, Next::DeadLetter(Reason::EgressRefused)),
        (failed(Phase::Dns), Outcome::Retryable, again(half)),
        (failed(Phase::Connect), Outcome::Retryable, again(half)),
        (failed(Phase::Tls), Outcome::Retryable, again(half)),
        (failed(Phase::NoAnswer), Outcome::Unknown, again(half)),
        (failed(Phase::AnswerBroken), Outcome::Unknown, again(half)),
    ];
    for (result, outcome, next) in rows {
        assert_eq!(first(&result), Verdict { outcome, next }, "{}", describe(&result));
    }
}

#[test]
fn an_answer_that_broke_off_counts_by_its_status_unless_it_said_yes() {
    let rows = [(200, Outcome::Unknown), (404, Outcome::Permanent), (503, Outcome::Retryable)];
    for (status, outcome) in rows {
        let status = StatusCode::from_u16(status).expect("it is a status");
        let failure = Failure::at(Phase::AnswerBroken, "crm", "half").with_status(status);
        assert_eq!(first(&Err(failure)).outcome, outcome, "{status}");
    }
}

#[test]
fn a_destination_says_what_its_own_statuses_mean() {
    let mut rules = rules();
    rules.outcomes.0.insert(409, Outcome::Delivered);
    let progress = Progress { first_attempt_at: NOW, attempts_made: 1 };
    let verdict = judge(&answered(409, None), &rules, progress, 0.5, NOW);
    assert_eq!(verdict, Verdict { outcome: Outcome::Delivered, next: Next::Settled });
}

#[test]
fn the_budget_counts_from_the_first_attempt_and_its_end_is_a_dead_letter() {
    let progress = Progress { first_attempt_at: NOW, attempts_made: 9 };
    let late = NOW.plus(rules().retry.budget);
    let verdict = judge(&answered(503, None), &rules(), progress, 0.5, late);
    assert_eq!(verdict.next, Next::DeadLetter(Reason::BudgetSpent));
}

#[test]
fn a_wait_longer_than_the_budget_is_not_begun() {
    let mut rules = rules();
    rules.retry.budget = 5 * SECOND;
    let progress = Progress { first_attempt_at: NOW, attempts_made: 1 };
    let verdict = judge(&answered(429, Some("60")), &rules, progress, 0.5, NOW);
    assert_eq!(verdict.next, Next::DeadLetter(Reason::BudgetSpent));
}

#[test]
fn the_last_attempt_allowed_is_a_dead_letter() {
    let mut rules = rules();
    rules.retry.attempts_max = 2;
    let progress = Progress { first_attempt_at: NOW, attempts_made: 2 };
    let verdict = judge(&answered(503, None), &rules, progress, 0.5, NOW);
    assert_eq!(verdict.next, Next::DeadLetter(Reason::AttemptsSpent));
}
