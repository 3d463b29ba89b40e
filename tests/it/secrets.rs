//! Planted secrets: they are sent only to whom they belong, and are nowhere else, whoever repeats them.

use bytes::Bytes;
use testkit::{OtlpSink, get, receiver::Answer};

use crate::{
    SOON,
    events::sources,
    flow::metrics,
    system::{BEARER, DESTINATION_SECRET, SERVICES, System},
};

/// Sent by a careless sender; no part of an event.
pub(crate) const SENDERS_TOKEN: &str = "planted-sender-token-7";
pub(crate) const SENDERS_COOKIE: &str = "planted-cookie-8";
/// Set by the third party; no part of a receipt.
const THIRD_PARTYS_COOKIE: &str = "planted-cookie-9";

/// What a third party answers that repeats what it was sent.
pub(crate) fn repeated_by_the_third_party(status: u16) -> Answer {
    let headers = vec![
        ("set-cookie", format!("session={THIRD_PARTYS_COOKIE}")),
        ("x-request-id", format!("answer to {BEARER}")),
    ];
    let body = format!("you sent Authorization: Bearer {BEARER}, signed with {DESTINATION_SECRET}");
    Answer::Full { status, headers, body: Bytes::from(body) }
}

/// What the dlq-replayer answers about all dead letters, each of them, and one event.
pub(crate) async fn replayers_answers(system: &System, event: &str) -> String {
    let api = system.world.replayer();
    let ask = async |path: &str| {
        let reply = get(api, path, SOON).await.expect("the API answers");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply
    };
    let page = ask("/v1/dead-letters?limit=200").await;
    let mut answers = page.text();
    let letters = page.json()["letters"].as_array().cloned().unwrap_or_default();
    assert!(!letters.is_empty(), "{answers}");
    for letter in &letters {
        let id = letter["id"].as_str().expect("a letter has an id");
        answers += &ask(&format!("/v1/dead-letters/{id}")).await.text();
    }
    let story = ask(&format!("/v1/events/{event}")).await.text();
    assert!(story.contains(event), "{story}");
    answers + &story
}

/// Searches every topic, log, span, metric and answer for what must only ever be sent to whom it
/// belongs.
pub(crate) async fn are_nowhere(system: &System, sink: &OtlpSink, answers: &str, event: &str) {
    let mut places = vec![
        ("an answer".to_owned(), answers.as_bytes().to_vec()),
        ("a log".to_owned(), system.logs().into_bytes()),
        ("a span".to_owned(), format!("{:?}", sink.spans()).into_bytes()),
    ];
    for service in SERVICES {
        places.push(("a metric".to_owned(), metrics(system, service).await.into_bytes()));
    }
    for topic in system.world.topics.names("").await {
        let records = system.world.topics.all_and_aborted(&topic).await;
        let bytes = records.iter().flat_map(|record| {
            let headers = record.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value]);
            headers.chain(record.key.as_deref()).chain(record.value.as_deref()).collect::<Vec<_>>()
        });
        places.push((format!("topic {topic}"), bytes.collect::<Vec<_>>().concat()));
    }
    let ours = sources().map(|source| source.secret.to_owned());
    let planted = ours.iter().map(String::as_str);
    let planted = planted.chain([
        DESTINATION_SECRET,
        BEARER,
        SENDERS_TOKEN,
        SENDERS_COOKIE,
        THIRD_PARTYS_COOKIE,
    ]);
    for secret in planted {
        let secret = secret.trim_start_matches("whsec_");
        for (place, bytes) in &places {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{place} holds the secret {secret}");
        }
    }
    // What was searched was there to be found.
    let seen = |place: &str| {
        let found = places.iter().find(|(name, _)| name == place);
        found.is_some_and(|(_, b)| b.windows(event.len()).any(|window| window == event.as_bytes()))
    };
    assert!(seen("an answer") && seen("topic raw.orders") && seen("topic out.app"));
    let receipts = places.iter().find(|(name, _)| name == "topic receipts");
    let said = b"you sent Authorization";
    let kept = receipts.is_some_and(|(_, b)| b.windows(said.len()).any(|window| window == said));
    assert!(kept, "receipts keep what was answered");
}
