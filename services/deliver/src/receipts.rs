//! What is recorded of an attempt: pure, but for the `now` it is given.
//!
//! Nothing of the request is in a receipt; of the answer, what redaction leaves.

pub(crate) mod request_id;

use std::time::Duration;

use domain::{dead_letter::Reason, outcome::Outcome, time::UnixMillis};
use http_io::{
    Answer, Failure,
    redact::{self, Secrets},
};
use wire::{Breaker, Header, Latency, Receipt};

use crate::{
    held::{GivenUp, Held},
    verdict::{Next, Verdict, describe},
};

/// Records an attempt that was made; what the breaker did then is for who made it to add.
pub(crate) fn of_attempt(
    held: &Held,
    result: &Result<Answer, Failure>,
    verdict: Verdict,
    secrets: &Secrets,
    now: UnixMillis,
) -> Receipt {
    let mut receipt = blank(held, verdict.outcome, now);
    (receipt.settled, receipt.next_attempt_ms, receipt.dead_letter_reason) = match verdict.next {
        Next::Settled => (true, None, None),
        Next::Again { at } => (false, Some(at.0), None),
        Next::DeadLetter(reason) => (true, None, Some(reason.label().to_owned())),
        // When it is tried again is for who enables the destination to say.
        Next::Gone => (false, None, None),
    };
    if verdict.outcome != Outcome::Delivered {
        receipt.error = Some(wire::headers::scrub(&describe(result)));
    }
    match result {
        Ok(answer) => answered(&mut receipt, answer, secrets),
        Err(failure) => {
            receipt.status = failure.status().map(|status| i32::from(status.as_u16()));
            receipt.latency = latency(&failure.latency());
        }
    }
    receipt
}

/// Records that a delivery was given up on before anything was sent.
pub(crate) fn of_unsendable(held: &Held, why: &GivenUp, now: UnixMillis) -> Receipt {
    Receipt {
        settled: true,
        error: Some(wire::headers::scrub(&why.message)),
        dead_letter_reason: Some(why.reason.label().to_owned()),
        ..blank(held, Outcome::Permanent, now)
    }
}

/// The same receipt without what the destination answered, for a topic that refuses its size.
pub(crate) fn without_answer(receipt: &Receipt) -> Receipt {
    Receipt {
        response_headers: Vec::new(),
        response_body: None,
        response_truncated: true,
        ..receipt.clone()
    }
}

/// Says which given-up delivery this is, for its dead letter.
pub(crate) fn given_up(reason: Reason, result: &Result<Answer, Failure>) -> GivenUp {
    let error_type = match result {
        Ok(answer) => answer.status.as_str().to_owned(),
        Err(failure) => failure.error_type().to_owned(),
    };
    GivenUp { reason, error_type, message: describe(result) }
}

fn blank(held: &Held, outcome: Outcome, now: UnixMillis) -> Receipt {
    let delivery = &held.delivery;
    Receipt {
        delivery_id: delivery.delivery_id.clone(),
        event_id: delivery.event_id.clone(),
        source: delivery.source.clone(),
        event_type: delivery.event_type.clone(),
        route: delivery.route.clone(),
        destination: delivery.destination.clone(),
        correlation_id: delivery.correlation_id.clone(),
        at_ms: now.0,
        attempt_number: i32::try_from(held.attempts).unwrap_or(i32::MAX),
        outcome: outcome.into(),
        settled: false,
        status: None,
        error: None,
        latency: Latency::default(),
        response_headers: Vec::new(),
        response_body: None,
        response_truncated: false,
        provider_request_id: None,
        idempotency_key: delivery.delivery_id.clone(),
        next_attempt_ms: None,
        dead_letter_reason: None,
        handed_over: None,
        trace_id: Some(held.story.process.context().trace_id_text()),
        breaker: Breaker::Unspecified,
    }
}

fn answered(receipt: &mut Receipt, answer: &Answer, secrets: &Secrets) {
    receipt.status = Some(i32::from(answer.status.as_u16()));
    receipt.latency = latency(&answer.latency);
    let headers = redact::headers(&answer.headers, secrets);
    receipt.response_headers =
        headers.into_iter().map(|(name, value)| Header { name, value }).collect();
    if !answer.body.is_empty() {
        receipt.response_body = Some(redact::body(&answer.body, secrets, answer.truncated));
    }
    receipt.response_truncated = answer.truncated;
    receipt.provider_request_id = request_id::find(&receipt.response_headers);
}

/// Returns how long the steps took as records have it.
pub(crate) fn latency(of: &http_io::Latency) -> Latency {
    let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1_000.0);
    Latency {
        dns_ms: ms(of.dns),
        connect_ms: ms(of.connect),
        tls_ms: ms(of.tls),
        first_byte_ms: ms(of.first_byte),
        total_ms: ms(of.total),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chassis::Tracer;
    use domain::dead_letter::Reason;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use secrecy::SecretString;

    use super::*;
    use crate::{
        story::Story,
        testing::{both, delivery, record},
    };

    const NOW: UnixMillis = UnixMillis(9);

    fn held() -> Held {
        let process = Tracer::disabled().span("", chassis::Kind::Consumer, None);
        let story = Story { process, starting: None };
        let mut held = Held::new(record("x"), delivery(), story, None, (both(), Duration::ZERO));
        held.attempts = 2;
        held
    }

    fn answer() -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("set-cookie", HeaderValue::from_static("sid=1"));
        headers.insert("x-request-id", HeaderValue::from_static("req-7"));
        Answer {
            status: StatusCode::from_u16(422).expect("it is one"),
            headers,
            body: Bytes::from_static(br#"{"token":"t","echo":"our-secret"}"#),
            truncated: true,
            latency: http_io::Latency {
                total: Some(Duration::from_micros(1_500)),
                ..Default::default()
            },
        }
    }

    #[test]
    fn a_receipt_tells_all_of_an_attempt_and_no_secret() {
        let verdict =
            Verdict { outcome: Outcome::Permanent, next: Next::DeadLetter(Reason::Permanent) };
        let secrets = Secrets::new(&[SecretString::from("our-secret")]);
        let receipt = of_attempt(&held(), &Ok(answer()), verdict, &secrets, NOW);
        assert_eq!((receipt.attempt_number, receipt.settled), (2, true));
        assert_eq!(receipt.status, Some(422));
        assert_eq!(receipt.dead_letter_reason.as_deref(), Some("permanent"));
        assert_eq!(receipt.provider_request_id.as_deref(), Some("req-7"));
        assert_eq!(receipt.latency.total_ms, Some(1.5));
        assert!(receipt.response_truncated);
        let told = format!("{receipt:?}")
            + &String::from_utf8_lossy(&receipt.response_body.clone().unwrap_or_default());
        for secret in ["sid=1", "our-secret", "\"t\""] {
            assert!(!told.contains(secret), "{told}");
        }
    }

    #[test]
    fn a_request_id_that_gives_our_secret_back_is_written_without_it() {
        let verdict = Verdict { outcome: Outcome::Delivered, next: Next::Settled };
        let mut answer = answer();
        answer.headers.insert("x-request-id", HeaderValue::from_static("for our-secret"));
        let secrets = Secrets::new(&[SecretString::from("our-secret")]);
        let receipt = of_attempt(&held(), &Ok(answer), verdict, &secrets, NOW);
        assert_eq!(receipt.provider_request_id.as_deref(), Some("for [redacted]"));
    }

    #[test]
    fn a_failed_attempt_says_when_the_next_one_is_due_and_is_not_the_end() {
        let verdict =
            Verdict { outcome: Outcome::Unknown, next: Next::Again { at: UnixMillis(77) } };
        let failure = Failure::at(http_io::Phase::NoAnswer, "h:1", "nothing within 1s");
        let receipt = of_attempt(&held(), &Err(failure), verdict, &Secrets::default(), NOW);
        assert_eq!((receipt.settled, receipt.next_attempt_ms), (false, Some(77)));
        assert!(receipt.error.is_some_and(|error| error.contains("nothing within 1s")));
        assert_eq!((receipt.status, receipt.response_body), (None, None));
    }

    const DELIVERED: Verdict = Verdict { outcome: Outcome::Delivered, next: Next::Settled };

    fn told(verdict: Verdict, result: &Result<Answer, Failure>) -> Receipt {
        of_attempt(&held(), result, verdict, &Secrets::default(), NOW)
    }

    #[test]
    fn only_what_is_done_or_given_up_on_is_settled_and_only_what_failed_has_an_error() {
        let again = Next::Again { at: UnixMillis(77) };
        let spent = Next::DeadLetter(Reason::BudgetSpent);
        for (outcome, next, settled, next_ms, reason) in [
            (Outcome::Delivered, Next::Settled, true, None, None),
            (Outcome::Retryable, again, false, Some(77), None),
            (Outcome::Retryable, spent, true, None, Some("budget_spent")),
            (Outcome::Permanent, Next::Gone, false, None, None),
        ] {
            let (held, verdict) = (held(), Verdict { outcome, next });
            let receipt = of_attempt(&held, &Ok(answer()), verdict, &Secrets::default(), NOW);
            let end = (receipt.settled, receipt.next_attempt_ms);
            assert_eq!((end, receipt.dead_letter_reason.as_deref()), ((settled, next_ms), reason));
            assert_eq!((receipt.outcome, receipt.at_ms), (wire::Outcome::from(outcome), 9));
            assert_eq!(receipt.error.is_none(), outcome == Outcome::Delivered, "{next:?}");
            let ids = [&receipt.delivery_id, &receipt.idempotency_key, &receipt.event_id];
            assert_eq!(ids, ["mr_1", "mr_1", "evt_1"]);
            assert_eq!(receipt.trace_id, Some(held.story.process.context().trace_id_text()));
        }
    }

    #[test]
    fn an_error_is_told_without_what_may_be_a_credential() {
        let broken = Failure::at(http_io::Phase::AnswerBroken, "h:1", "after\nBearer planted");
        let broken = broken.with_status(StatusCode::BAD_GATEWAY);
        let attempted = told(Verdict { outcome: Outcome::Unknown, ..DELIVERED }, &Err(broken));
        assert_eq!(attempted.status, Some(502));
        let (reason, error_type) = (Reason::InvalidResult, String::new());
        let why = GivenUp { reason, error_type, message: "after\nBearer planted".to_owned() };
        let unsendable = of_unsendable(&held(), &why, NOW);
        let end = (unsendable.settled, unsendable.dead_letter_reason.as_deref());
        assert_eq!(end, (true, Some("invalid_result")));
        assert_eq!((unsendable.outcome, unsendable.status), (wire::Outcome::Permanent, None));
        for error in [attempted.error, unsendable.error] {
            assert!(error.is_some_and(|error| error.contains("after Bearer ***")));
        }
    }

    #[test]
    fn an_empty_answer_has_no_body_and_a_secret_cut_off_at_the_end_is_not_told_in_part() {
        let empty = Answer { body: Bytes::new(), truncated: false, ..answer() };
        let receipt = told(DELIVERED, &Ok(empty));
        assert_eq!((receipt.response_body, receipt.response_truncated), (None, false));
        let cut = Answer { body: Bytes::from_static(b"you said our-sec"), ..answer() };
        let secrets = Secrets::new(&[SecretString::from("our-secret")]);
        let receipt = of_attempt(&held(), &Ok(cut), DELIVERED, &secrets, NOW);
        assert_eq!(receipt.response_body.as_deref(), Some(&b"you said [redacted]"[..]));
    }

    #[test]
    fn a_receipt_too_large_for_its_topic_goes_without_the_answer_and_says_so() {
        let whole = told(DELIVERED, &Ok(Answer { truncated: false, ..answer() }));
        let smaller = without_answer(&whole);
        let answer = (smaller.response_headers.len(), &smaller.response_body);
        assert_eq!((answer, smaller.response_truncated), ((0, &None), true));
        let Receipt { response_headers, response_body, .. } = whole.clone();
        let response_truncated = false;
        let again = Receipt { response_headers, response_body, response_truncated, ..smaller };
        assert_eq!(again, whole);
    }

    #[test]
    fn a_delivery_given_up_on_has_the_class_of_its_last_error() {
        let failed = |phase| Failure::at(phase, "h:1", "as the test wants it");
        for (result, class) in [
            (Ok(answer()), "422"),
            (Err(failed(http_io::Phase::NoAnswer).timed_out()), "timeout"),
            (Err(failed(http_io::Phase::Egress)), "egress_refused"),
        ] {
            let GivenUp { reason, error_type, message } = given_up(Reason::BudgetSpent, &result);
            assert_eq!((reason, error_type.as_str()), (Reason::BudgetSpent, class));
            assert_eq!(message, describe(&result));
        }
    }

    #[test]
    fn each_step_of_an_attempt_has_its_own_time() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let [dns, connect, tls, first_byte, total] = [1, 2, 3, 4, 5].map(ms);
        let told = latency(&http_io::Latency { dns, connect, tls, first_byte, total });
        let Latency { dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms } = told;
        let steps = [dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms];
        assert_eq!(steps, [1.0, 2.0, 3.0, 4.0, 5.0].map(Some));
        assert_eq!(latency(&http_io::Latency::default()), Latency::default());
    }
}
