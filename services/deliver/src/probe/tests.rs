//! What an answer or a failure is found to be, and how much of an answer is told.

use bytes::Bytes;
use catalog_io::Auth;
use http::{HeaderMap, StatusCode};
use http_io::Phase;

use super::*;
use crate::testing::{destination, prepared};

const TOKEN: &str = "planted-token-7";

fn answered(status: u16, body: &str) -> Result<Answer, Failure> {
    let status = StatusCode::from_u16(status).expect("it is a status");
    let (headers, body) = (HeaderMap::new(), Bytes::copy_from_slice(body.as_bytes()));
    Ok(Answer { status, headers, body, truncated: false, latency: http_io::Latency::default() })
}

/// What a destination is found to be of which the catalog says nothing about probes.
fn probed(result: &Result<Answer, Failure>) -> Probed {
    let mut destination = destination("https://h/");
    destination.auth = Auth::Bearer(TOKEN.into());
    found(&prepared(destination), "h".to_owned(), result, UnixMillis(1))
}

#[test]
fn only_a_whole_answer_that_refuses_the_method_is_no_failure() {
    let broken = Failure::at(Phase::AnswerBroken, "h:443", "as the test wants it");
    let rows = [
        (answered(204, ""), Finding::Answers),
        (answered(405, ""), Finding::TakesOtherMethods),
        (answered(501, ""), Finding::TakesOtherMethods),
        (answered(404, ""), Finding::Fails),
        (answered(500, ""), Finding::Fails),
        (Err(broken.with_status(StatusCode::METHOD_NOT_ALLOWED)), Finding::Fails),
    ];
    for (result, finding) in rows {
        let probed = probed(&result);
        assert_eq!(probed.finding, finding, "{result:?}");
        assert_eq!(probed.error.is_none(), finding == Finding::Answers, "{result:?}");
        let status = result.as_ref().map_or(Some(405), |answer| Some(answer.status.as_u16()));
        assert_eq!((probed.status, probed.would_disable), (status, false));
    }
}

#[test]
fn a_body_is_told_up_to_a_kibibyte_and_a_secret_across_that_not_in_part() {
    let filled = "x".repeat(1020);
    let rows = [
        (String::new(), None),
        ("no".to_owned(), Some("no".to_owned())),
        ("x".repeat(3000), Some("x".repeat(1024))),
        (format!("{filled}{TOKEN}"), Some(format!("{filled}[red"))),
    ];
    for (body, told) in rows {
        assert_eq!(probed(&answered(422, &body)).response_body, told);
    }
}
