//! Destinations that misbehave: what is sent again, and what the receipts say of it.

use std::time::Duration;

use catalog_io::Catalogs;
use testkit::{
    Receiver,
    receiver::{Answer, Rule},
};
use wire::{Outcome, Receipt};

use crate::world::{World, catalog, delivery, destination};

/// Delivers one record to a receiver that first does `answer`; returns the receipts.
async fn receipts_after(answer: Answer) -> Vec<Receipt> {
    let (world, receiver) = (World::of(&["crm"]).await, Receiver::start().await);
    receiver.on(Rule::any().fails_first(1, answer));
    let mut destination = destination("crm", &receiver.url("/"));
    destination.spec.timeout = Duration::from_millis(500);
    let running = world.start(Catalogs::fixed(catalog(vec![destination])));
    world.send(&delivery("crm", "a", 0)).await;
    world.await_over(1).await;
    world.await_committed("crm", 0, 1).await;
    world.process.stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(receiver.taken_per_id().len(), 1);
    world.receipts().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_done_is_sent_again_under_the_same_key() {
    for answer in [Answer::Reset, Answer::Hang, Answer::Half] {
        let receipts = receipts_after(answer.clone()).await;
        let told: Vec<_> = receipts.iter().map(|r| (r.outcome, r.settled)).collect();
        assert_eq!(told, [(Outcome::Unknown, false), (Outcome::Delivered, true)], "{answer:?}");
        assert_eq!((receipts[0].attempt_number, receipts[1].attempt_number), (1, 2));
        assert_eq!(receipts[0].idempotency_key, receipts[1].idempotency_key);
        assert!(receipts[0].error.is_some() && receipts[0].next_attempt_ms.is_some());
        assert!(receipts.iter().all(|receipt| receipt.latency.total_ms.is_some()), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_counts_by_its_status_and_is_kept_in_part() {
    let receipts = receipts_after(Answer::Endless).await;
    assert_eq!(receipts.len(), 1);
    assert_eq!(receipts[0].response_body.as_ref().map(Vec::len), Some(16 * 1024));
    assert!(receipts[0].response_truncated && receipts[0].settled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_destination_is_tried_again_and_its_answer_is_recorded_without_secrets() {
    let headers = vec![("set-cookie", "sid=1".to_owned()), ("x-request-id", "req-9".to_owned())];
    let body = r#"{"access_token":"abc"}"#.into();
    let receipts = receipts_after(Answer::Full { status: 503, headers, body }).await;
    assert_eq!((receipts[0].outcome, receipts[0].status), (Outcome::Retryable, Some(503)));
    assert_eq!(receipts[0].provider_request_id.as_deref(), Some("req-9"));
    assert_eq!(
        receipts[0].response_body.as_deref(),
        Some(&br#"{"access_token":"[redacted]"}"#[..])
    );
    let cookie = receipts[0].response_headers.iter().find(|h| h.name == "set-cookie").unwrap();
    assert_eq!(cookie.value, "[redacted]");
}
