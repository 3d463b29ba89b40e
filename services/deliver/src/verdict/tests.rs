//! What follows each answer and each failure, as a table.

use std::time::Duration;

use bytes::Bytes;
use domain::retry::{Delays, Policy};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_io::{Latency, Phase};

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn rules() -> Destination {
    let mut rules = crate::testing::destination("https://crm.example").spec;
    let delays = Delays::Doubling { base: SECOND, cap: 60 * SECOND };
    rules.retry = Policy { delays, ..Policy::default() };
    rules
}

fn made(attempts_made: u32) -> Head {
    Head { first_attempt_at: NOW, attempts_made, stood_still: Duration::ZERO }
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
    judge(result, &rules(), made(1), 0.5, NOW)
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
        (answered(410, Some("9")), Outcome::Permanent, Next::Gone),
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
    let verdict = judge(&answered(409, None), &rules, made(1), 0.5, NOW);
    assert_eq!(verdict, Verdict { outcome: Outcome::Delivered, next: Next::Settled });
}

#[test]
fn a_410_disables_the_destination_unless_the_catalog_says_what_it_means() {
    let rows = [
        (Outcome::Permanent, Next::DeadLetter(Reason::Permanent)),
        (Outcome::Delivered, Next::Settled),
        (Outcome::Retryable, Next::Again { at: NOW.plus(SECOND / 2) }),
    ];
    for (means, next) in rows {
        let mut rules = rules();
        rules.outcomes.0.insert(410, means);
        let verdict = judge(&answered(410, None), &rules, made(1), 0.5, NOW);
        assert_eq!(verdict, Verdict { outcome: means, next });
    }
    // A spent budget makes no dead letter of it.
    let late = NOW.plus(rules().retry.budget * 2);
    let verdict = judge(&answered(410, None), &rules(), made(1), 0.5, late);
    assert_eq!(verdict.next, Next::Gone);
    let broken = Failure::at(Phase::AnswerBroken, "crm", "half").with_status(StatusCode::GONE);
    assert_eq!(first(&Err(broken)).next, Next::Gone);
}

#[test]
fn the_budget_counts_from_the_first_attempt_and_its_end_is_a_dead_letter() {
    let late = NOW.plus(rules().retry.budget);
    let verdict = judge(&answered(503, None), &rules(), made(9), 0.5, late);
    assert_eq!(verdict.next, Next::DeadLetter(Reason::BudgetSpent));
    let stood_still = Head { stood_still: SECOND, ..made(9) };
    let verdict = judge(&answered(503, None), &rules(), stood_still, 0.5, late);
    assert_eq!(verdict.next, Next::Again { at: late.plus(SECOND) });
}

#[test]
fn a_wait_longer_than_the_budget_is_not_begun() {
    let mut rules = rules();
    rules.retry.budget = 5 * SECOND;
    let verdict = judge(&answered(429, Some("60")), &rules, made(1), 0.5, NOW);
    assert_eq!(verdict.next, Next::DeadLetter(Reason::BudgetSpent));
}

#[test]
fn the_last_attempt_allowed_is_a_dead_letter() {
    let mut rules = rules();
    rules.retry.attempts_max = 2;
    let verdict = judge(&answered(503, None), &rules, made(2), 0.5, NOW);
    assert_eq!(verdict.next, Next::DeadLetter(Reason::AttemptsSpent));
}

/// An answer that took this long, over a connection that took half of it.
fn took(status: u16, took: Duration) -> Result<Answer, Failure> {
    answered(status, None).map(|answer| Answer {
        latency: Latency { connect: Some(took / 2), first_byte: Some(took), ..answer.latency },
        ..answer
    })
}

fn with_headers(status: u16, headers: &[(&'static str, &'static str)]) -> Result<Answer, Failure> {
    answered(status, None).map(|mut answer| {
        for (name, value) in headers {
            answer.headers.insert(*name, HeaderValue::from_static(value));
        }
        answer
    })
}

fn late(phase: Phase) -> Result<Answer, Failure> {
    failed(phase).map_err(Failure::timed_out)
}

#[test]
fn every_way_an_attempt_ends_tells_of_the_destination() {
    use Health::{Failed, Healthy, Untold};
    let served = Load::Answered(SECOND);
    let rows = [
        (took(200, 2 * SECOND), Healthy, served),
        (took(301, 2 * SECOND), Healthy, served),
        (took(404, 2 * SECOND), Healthy, served),
        (took(408, 2 * SECOND), Healthy, served),
        (took(410, 2 * SECOND), Healthy, served),
        (took(429, 2 * SECOND), Healthy, Load::Overloaded),
        (answered(503, Some("1")), Failed, Load::Overloaded),
        (answered(503, None), Failed, Load::Failed),
        (answered(500, Some("1")), Failed, Load::Failed),
        (took(501, 2 * SECOND), Failed, Load::Failed),
        (took(504, 2 * SECOND), Failed, Load::Failed),
        (failed(Phase::Egress), Untold, Load::Failed),
        (failed(Phase::Dns), Failed, Load::Failed),
        (late(Phase::Dns), Failed, Load::Failed),
        (failed(Phase::Connect), Failed, Load::Failed),
        (late(Phase::Connect), Failed, Load::Overloaded),
        (failed(Phase::Tls), Failed, Load::Failed),
        (late(Phase::Tls), Failed, Load::Overloaded),
        (failed(Phase::NoAnswer), Failed, Load::Failed),
        (late(Phase::NoAnswer), Failed, Load::Overloaded),
        (failed(Phase::AnswerBroken), Failed, Load::Failed),
        (late(Phase::AnswerBroken), Failed, Load::Overloaded),
    ];
    for (result, health, load) in rows {
        let told = signals(&result, &rules(), NOW);
        assert_eq!((told.health, told.load), (health, load), "{}", describe(&result));
    }
}

#[test]
fn a_fault_that_the_catalog_explains_is_none_of_the_destinations() {
    let mut rules = rules();
    rules.outcomes.0.insert(500, Outcome::Permanent);
    rules.outcomes.0.insert(502, Outcome::Unknown);
    let health = |status| signals(&answered(status, None), &rules, NOW).health;
    assert_eq!([health(500), health(502)], [Health::Healthy, Health::Failed]);
}

#[test]
fn what_an_answer_asks_for_holds_its_destination_and_is_not_believed_for_ever() {
    const SPENT: [(&str, &str); 2] = [("ratelimit-remaining", "0"), ("ratelimit-reset", "9")];
    let at = [("date", "Tue, 14 Nov 2023 22:13:20 GMT")];
    let dates = [
        ("date", "Tue, 14 Nov 2023 20:00:00 GMT"),
        ("retry-after", "Tue, 14 Nov 2023 20:00:04 GMT"),
    ];
    let reset = [at[0], ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000030")];
    let untold = [("x-ratelimit-reset", "7")];
    let rows = [
        (answered(200, None), None),
        (answered(200, Some("9")), None),
        (answered(500, Some("9")), None),
        (answered(429, Some("7")), Some(7)),
        (answered(503, Some("7")), Some(7)),
        (answered(429, Some("99999")), Some(300)),
        (with_headers(429, &dates), Some(4)),
        (with_headers(200, &SPENT), Some(9)),
        (with_headers(429, &SPENT), Some(9)),
        (with_headers(201, &reset), Some(30)),
        (with_headers(200, &untold), None),
        (with_headers(429, &untold), Some(7)),
        (failed(Phase::NoAnswer), None),
    ];
    for (result, seconds) in rows {
        let told = signals(&result, &rules(), NOW);
        assert_eq!(told.asked, seconds.map(Duration::from_secs), "{result:?}");
    }
}

#[test]
fn the_longer_of_what_an_answer_asks_for_delays_its_delivery() {
    let both =
        with_headers(429, &[("retry-after", "3"), ("ratelimit", "limit=9, remaining=0, reset=8")]);
    assert_eq!(first(&both).next, Next::Again { at: NOW.plus(8 * SECOND) });
    assert_eq!(first(&answered(500, Some("7"))).next, Next::Again { at: NOW.plus(7 * SECOND) });
}

mod guide;
