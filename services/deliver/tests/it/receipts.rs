//! What the receipts of a failed and of a delivered event tell, and what they never hold.

use std::time::Duration;

use catalog_io::{Auth, Catalogs};
use domain::breaker;
use secrecy::SecretString;
use testkit::{
    Receiver,
    receiver::{Answer, Rule},
};
use wire::{Breaker, Outcome, Receipt};

use crate::world::{World, catalog, delivery, destination};

/// Planted where a careless third party gives back what it was sent.
const PLANTED: &str = "planted-bearer-token-7f3a";
const KEY: &str = "whsec_cGxhbnRlZC1zaWduaW5nLWtleS0wMTIzNDU2Nzg5";

#[tokio::test(flavor = "multi_thread")]
async fn connecting_is_told_by_the_receipt_that_waited_for_it_and_by_no_other() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    let url = format!("http://localhost:{}/", receiver.address().port());
    world.start(Catalogs::fixed(catalog(vec![destination("crm", &url)])));
    for number in 0..2 {
        world.send(&delivery("crm", "a", number)).await;
    }
    world.await_committed("crm", 0, 2).await;
    let mut receipts = world.receipts().await;
    receipts.sort_by(|a, b| a.delivery_id.cmp(&b.delivery_id));
    let latencies: Vec<_> = receipts.into_iter().map(|receipt| receipt.latency).collect();
    let [first, second] = latencies.as_slice() else { panic!("{latencies:?}") };
    assert!(first.dns_ms.is_some() && first.connect_ms.is_some(), "{first:?}");
    assert!(first.tls_ms.is_none(), "{first:?}");
    let connecting = first.dns_ms.unwrap() + first.connect_ms.unwrap();
    assert!(first.first_byte_ms.unwrap() >= connecting && first.total_ms >= first.first_byte_ms);
    let steps = (second.dns_ms, second.connect_ms, second.tls_ms);
    assert_eq!(steps, (None, None, None));
    assert!(second.first_byte_ms.is_some() && second.total_ms >= second.first_byte_ms);
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_destination_leaves_a_receipt_of_each_attempt_with_what_the_breaker_did() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    let busy = Answer::Full {
        status: 503,
        headers: vec![("cf-ray", "edge-1".to_owned()), ("request-id", "req-1".to_owned())],
        body: "busy".into(),
    };
    receiver.on(Rule::any().id("a-0").fails_first(4, busy));
    receiver.on(Rule::any().id("a-1").statuses([422]));
    let mut crm = destination("crm", &receiver.url("/"));
    let open = Duration::from_millis(50);
    let usual = breaker::Policy::default();
    crm.spec.breaker = breaker::Policy { attempts_min: 3, open, open_max: open, ..usual };
    world.start(Catalogs::fixed(catalog(vec![crm])));
    for number in 0..3 {
        world.send(&delivery("crm", "a", number)).await;
    }
    world.await_committed("crm", 0, 3).await;
    let receipts = world.receipts().await;
    let told = |id: &str| -> Vec<_> {
        let of_it = receipts.iter().filter(|receipt| receipt.delivery_id == id);
        of_it.map(|r| (r.attempt_number, r.outcome, r.breaker, r.settled)).collect()
    };
    let (failed, done) = (Outcome::Retryable, Outcome::Delivered);
    let expected = [
        (1, failed, Breaker::Closed, false),
        (2, failed, Breaker::Closed, false),
        (3, failed, Breaker::Closed, false),
        (4, failed, Breaker::HalfOpen, false),
        (5, done, Breaker::HalfOpen, true),
    ];
    assert_eq!(told("a-0"), expected);
    assert_eq!(told("a-1"), [(1, Outcome::Permanent, Breaker::Closed, true)]);
    assert_eq!(told("a-2"), [(1, done, Breaker::Closed, true)]);
    let answered_busy = |receipt: &&Receipt| receipt.status == Some(503);
    let busy: Vec<_> = receipts.iter().filter(answered_busy).collect();
    assert_eq!(busy.len(), 4);
    assert!(busy.iter().all(|r| r.provider_request_id.as_deref() == Some("req-1")), "{busy:?}");
    assert!(receipts.iter().all(|receipt| receipt.idempotency_key == receipt.delivery_id));
    world.process.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_third_party_gives_back_of_our_secrets_is_in_no_byte_of_a_receipt() {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    let echo = Answer::Full {
        status: 422,
        headers: vec![
            ("x-request-id", format!("for {PLANTED}")),
            ("x-echo", format!("Bearer {PLANTED}; {KEY}")),
            ("set-cookie", "sid=planted-cookie".to_owned()),
        ],
        body: format!(r#"{{"you":"Bearer {PLANTED}","key":"{KEY}","password":"planted-word"}}"#)
            .into(),
    };
    receiver.on(Rule::any().answers([echo]));
    let mut crm = destination("crm", &receiver.url("/"));
    crm.auth = Auth::Bearer(SecretString::from(PLANTED));
    crm.signing = vec![SecretString::from(KEY)];
    world.start(Catalogs::fixed(catalog(vec![crm])));
    world.send(&delivery("crm", "a", 0)).await;
    world.await_committed("crm", 0, 1).await;
    let sent = receiver.arrivals();
    assert!(sent[0].header("authorization").unwrap().ends_with(PLANTED), "it was never sent");
    let records = world.read(&world.names.receipts(), 0).await;
    assert_eq!(records.len(), 1);
    let mut bytes = records[0].value.clone().unwrap().to_vec();
    for (name, value) in &records[0].headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value);
    }
    let text = String::from_utf8_lossy(&bytes);
    let bare_key = KEY.trim_start_matches("whsec_");
    for secret in [PLANTED, bare_key, "planted-cookie", "planted-word"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("for [redacted]") && text.contains("Bearer [redacted]"), "{text}");
    world.process.stop.cancel();
}
