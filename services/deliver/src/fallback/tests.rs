//! What goes to a fallback, as what, and what does not.

use std::time::Duration;

use chassis::Tracer;
use domain::fallback::Fate;
use wire::headers::Headers;

use super::*;
use crate::{
    story::Story,
    testing::{both, delivery, pair, record},
};

fn rule(on: &[Fate]) -> Rule {
    let to = "spare".parse().expect("it is a name");
    let fallback = Fallback { to, on: on.to_vec() };
    let turns = Arc::new(Semaphore::new(1));
    Rule { fallback, map_version: None, turns, topic: "out.spare".into() }
}

fn with_mapping() -> Rule {
    Rule { map_version: Some("v2".to_owned()), ..rule(&Fate::ALL) }
}

fn held() -> Held {
    let process = Tracer::disabled().span("", chassis::Kind::Consumer, None);
    let story = Story { process, starting: None };
    Held::new(record("x"), delivery(), story, None, (both(), Duration::ZERO))
}

fn why() -> GivenUp {
    let (error_type, message) = ("503".to_owned(), "the destination answered 503".to_owned());
    GivenUp { reason: Reason::BudgetSpent, error_type, message }
}

fn prepared() -> wire::Fallback {
    let request = Request {
        method: "PUT".to_owned(),
        path: "/notes".to_owned(),
        query: Vec::new(),
        headers: vec![pair("x-a", "b")],
        content_type: "text/plain".to_owned(),
        body: b"other".to_vec(),
    };
    let (mapping_version, key) = ("v2".to_owned(), Some("k2".to_owned()));
    let to = "spare".to_owned();
    wire::Fallback { to, mapping_version, key, error: None, request: Some(request) }
}

fn sent(held: &Held, successor: &Successor) -> Outgoing {
    successor.outgoing(held, &why(), &"out.spare".into(), 1, None).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn only_what_its_fates_name_goes_to_a_fallback_and_nothing_goes_twice() {
    let none = Headers::new();
    let came_by_one = sent(
        &held(),
        &rule(&Fate::ALL).successor(&held(), None, UnixMillis(1)).unwrap_or_else(|e| panic!("{e}")),
    )
    .headers;
    let (all, one) = (rule(&Fate::ALL), rule(&[Fate::Permanent]));
    let rows = [
        (&all, "crm", &none, Reason::BudgetSpent, true),
        (&all, "crm", &none, Reason::Permanent, true),
        (&one, "crm", &none, Reason::BudgetSpent, false),
        (&all, "crm", &none, Reason::InvalidResult, false),
        (&all, "spare", &none, Reason::BudgetSpent, false),
        // Also where the catalog has named another fallback since.
        (&all, "crm", &came_by_one, Reason::BudgetSpent, false),
    ];
    for (rule, destination, headers, reason, goes) in rows {
        assert_eq!(rule.takes(destination, headers, reason), goes, "{destination} {reason}");
    }
}

#[test]
fn without_a_mapping_the_same_request_goes_under_the_same_key_of_order() {
    let held = held();
    let successor = rule(&Fate::ALL).successor(&held, None, UnixMillis(77));
    let successor = successor.unwrap_or_else(|e| panic!("{e}"));
    let key = IdempotencyKey::of_fallback("mr_1", "spare");
    let wanted = Delivery {
        delivery_id: key.as_str().to_owned(),
        destination: "spare".to_owned(),
        created_ms: 77,
        ..delivery()
    };
    assert_eq!(successor.delivery, wanted);
    let outgoing = sent(&held, &successor);
    assert_eq!((outgoing.key, outgoing.partition), (held.record.key.clone(), None));
    assert_eq!(headers::text(&outgoing.headers, headers::CE_ID), Some("evt_1"));
    let fallen = headers::fallen(&outgoing.headers).map(|f| (f.from.to_owned(), f.reason));
    assert_eq!(fallen, Some(("crm".to_owned(), Reason::BudgetSpent)));
}

#[test]
fn with_a_mapping_the_request_that_it_made_goes_and_by_its_key() {
    let held = held();
    let made = |prepared| with_mapping().successor(&held, prepared, UnixMillis(1));
    let successor = made(Some(prepared())).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(Some(&successor.delivery.request), prepared().request.as_ref());
    assert_eq!(successor.delivery.mapping_version, "v2");
    assert_eq!(sent(&held, &successor).key.as_deref(), Some(&b"k2"[..]));
    let unkeyed = made(Some(wire::Fallback { key: None, ..prepared() }));
    let unkeyed = unkeyed.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(sent(&held, &unkeyed).key, held.record.key);
}

#[test]
fn what_was_made_for_another_fallback_by_another_mapping_goes_to_nobody() {
    let rows = [("spare", "v1", true), ("other", "v2", true), ("other", "v1", false)];
    for (to, version, goes) in rows {
        let (to, mapping_version) = (to.to_owned(), version.to_owned());
        let prepared = wire::Fallback { to, mapping_version, ..prepared() };
        let made = with_mapping().successor(&held(), Some(prepared), UnixMillis(1));
        assert_eq!(made.is_ok(), goes, "{made:?}");
    }
}

#[test]
fn a_mapping_that_gave_nothing_is_no_reason_to_send_something_else() {
    let failed = wire::Fallback { error: Some("7 is secret".into()), request: None, ..prepared() };
    for (prepared, part) in [(None, "before the route had"), (Some(failed), "fallback.error")] {
        let refused = with_mapping().successor(&held(), prepared, UnixMillis(1));
        let told = refused.err().unwrap_or_default();
        assert!(told.contains(part) && told.contains("spare"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn a_dead_letter_after_a_fallback_tells_both_reasons_the_last_first() {
    let (held, rule) = (held(), rule(&Fate::ALL));
    let successor = rule.successor(&held, None, UnixMillis(1)).unwrap_or_else(|e| panic!("{e}"));
    let headers = sent(&held, &successor).headers;
    let last = GivenUp { message: "the destination answered 404".to_owned(), ..why() };
    let told = told_whole(&last, &headers).message;
    let wanted = "the destination answered 404; before that crm gave up: budget_spent: the destination answered 503";
    assert_eq!(told, wanted);
    assert_eq!(told_whole(&last, &Headers::new()), last);
}
