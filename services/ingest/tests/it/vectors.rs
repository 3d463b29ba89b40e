//! The open vectors, sent to ingest as their file has them: headers as they are spelt, the body byte for byte.
//!
//! Ingest reads the clock itself. So what stands for a vector's `now` is its source's tolerance, which is
//! longer by as much as that `now` is past.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use signing::vectors::{OneOrMany, Vector};

use crate::world::{Bench, Setup, load, now_unix, read_to_end};

const VECTORS: &str = include_str!("../../../../shared/signing/testdata/signatures.json");

const UNVERIFIED: (u16, &str) = (401, "urn:millrace:problem:not-verified");
const MALFORMED: (u16, &str) = (400, "urn:millrace:problem:malformed-header");
const ACCEPTED: (u16, &str) = (200, "");

/// What is refused, and as what. Everything else is accepted.
const REFUSED: [(&str, (u16, &str)); 19] = [
    ("generic-hmac-08", UNVERIFIED),
    ("generic-hmac-09", MALFORMED),
    ("generic-hmac-10", UNVERIFIED),
    ("github-10", MALFORMED),
    ("github-11", UNVERIFIED),
    ("github-13", UNVERIFIED),
    ("github-16", UNVERIFIED),
    ("standard-webhooks-05", UNVERIFIED),
    ("standard-webhooks-06", UNVERIFIED),
    ("standard-webhooks-09", UNVERIFIED),
    ("standard-webhooks-10", UNVERIFIED),
    ("standard-webhooks-12", MALFORMED),
    ("standard-webhooks-25", UNVERIFIED),
    ("stripe-04", UNVERIFIED),
    ("stripe-05", UNVERIFIED),
    ("stripe-06", MALFORMED),
    ("stripe-09", MALFORMED),
    ("stripe-15", MALFORMED),
    ("stripe-19", MALFORMED),
];

/// What can't be sent, and why; the whole file is verified in the crate of the schemes.
const LEFT_OUT: [(&str, &str); 1] =
    [("standard-webhooks-07", "signed after its now: no tolerance moves the past into the future")];

const TOLERANCE_SECONDS: i64 = 300;
/// For as long as a test may run on a busy machine.
const SLACK_SECONDS: i64 = 3600;

/// Whether its age alone is what refuses it. Such a one only grows older while the test runs.
fn is_stale(vector: &Vector) -> bool {
    vector.kind == "expired-timestamp"
}

fn is_left_out(vector: &Vector) -> bool {
    LEFT_OUT.iter().any(|(id, _)| *id == vector.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_open_vector_is_answered_as_it_says_and_only_what_verifies_is_logged() {
    let mut vectors = signing::vectors::read(VECTORS).unwrap();
    assert_eq!(vectors.len(), 39);
    vectors.retain(|vector| !is_left_out(vector));
    assert_eq!((vectors.len(), LEFT_OUT.len()), (38, 1));
    the_table_says_what_the_vectors_say(&vectors);
    let mut bench = Bench::ready_with(setup(&vectors)).await;
    let mut found = BTreeMap::new();
    for vector in &vectors {
        let reply = read_to_end(&mut bench.open(&request(vector)).await).await;
        found.insert(vector.id.as_str(), answer(&reply));
        let logged = bench.told.try_recv().ok().map(|told| told.source);
        let wanted = (vector.expected == "valid").then(|| vector.id.clone());
        assert_eq!(logged, wanted, "{reply}");
    }
    let refused = BTreeMap::from(REFUSED);
    let told = |vector: &Vector| *refused.get(vector.id.as_str()).unwrap_or(&ACCEPTED);
    let expected = vectors.iter().map(|vector| (vector.id.as_str(), told(vector)));
    let expected = expected.map(|(id, (status, problem))| (id, (status, problem.to_owned())));
    assert_eq!(found, expected.collect::<BTreeMap<_, _>>());
    bench.stop().await;
}

fn the_table_says_what_the_vectors_say(vectors: &[Vector]) {
    let invalid = vectors.iter().filter(|vector| vector.expected == "invalid");
    let invalid: BTreeSet<&str> = invalid.map(|vector| vector.id.as_str()).collect();
    assert_eq!(REFUSED.map(|(id, _)| id).into_iter().collect::<BTreeSet<_>>(), invalid);
    let valid = vectors.iter().filter(|vector| vector.expected == "valid").count();
    assert_eq!(valid + invalid.len(), vectors.len());
}

/// Each vector is a source of its own, declared as an operator declares it.
fn setup(vectors: &[Vector]) -> Setup {
    let now_unix = now_unix();
    let entries = vectors.iter().map(|vector| (vector.id.clone(), source(vector, now_unix)));
    let sources = serde_json::Map::from_iter(entries);
    let catalog = json!({ "apiVersion": "millrace/v1", "sources": sources }).to_string();
    let catalog = load(&catalog, &vectors.iter().flat_map(secrets).collect());
    let topics = vectors.iter().map(|vector| format!("raw.{}", vector.id)).collect();
    Setup { catalog, topics, ..Setup::default() }
}

/// The secrets of a vector, each by the name of its environment variable.
fn secrets(vector: &Vector) -> Vec<(String, String)> {
    let more = vector.additional_secrets.iter().flatten();
    let all = std::iter::once(&vector.secret).chain(more).enumerate();
    all.map(|(number, secret)| (format!("{}-{number}", vector.id), secret.clone())).collect()
}

fn source(vector: &Vector, now_unix: i64) -> Value {
    let mut verify =
        vector.config.as_ref().map(|config| config.options.clone()).unwrap_or_default();
    verify.retain(|_, value| !value.is_null());
    verify.insert("scheme".into(), vector.provider.as_str().into());
    let names = secrets(vector).into_iter().map(|(name, _)| json!({ "env": name }));
    verify.insert("secrets".into(), names.collect());
    // GitHub signs no time.
    if vector.provider != "github" {
        let slack = if is_stale(vector) { 0 } else { SLACK_SECONDS };
        let past = TOLERANCE_SECONDS + now_unix - vector.now_unix + slack;
        verify.insert("tolerance_past".into(), format!("{past}s").into());
    }
    json!({ "kind": "webhook", "verify": verify, "public_url": vector.url, "partitions": 1 })
}

fn request(vector: &Vector) -> Vec<u8> {
    let (method, length) = (vector.method.as_deref().unwrap_or("POST"), vector.body.len());
    let mut text = format!(
        "{method} /v1/events/{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n",
        vector.id
    );
    for (name, values) in &vector.headers {
        let values = match values {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values.as_slice(),
        };
        values.iter().for_each(|value| text += &format!("{name}: {value}\r\n"));
    }
    (text + "\r\n" + &vector.body).into_bytes()
}

/// The status of an answer, and which problem it tells.
fn answer(reply: &str) -> (u16, String) {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let problem = body["type"].as_str().unwrap_or_default();
    let is_problem = head.contains("content-type: application/problem+json");
    assert_eq!(is_problem, !problem.is_empty(), "{reply}");
    (status, problem.to_owned())
}
