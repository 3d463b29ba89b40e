//! The events of the benches: bodies of a given size, requests signed as GitHub signs, and records
//! as the services would have written them.

use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::Request;
use http_body_util::Full;
use kafka_io::Outgoing;
use sha2::Sha256;
use wire::headers::Headers;

use domain::trace::TraceContext;

pub(crate) const SECRET: &str = "bench-secret";
/// How many keys the events are spread over.
pub(crate) const KEYS: u64 = 2_000;
/// Requests in flight: connections to ingest, and from deliver.
pub(crate) const IN_FLIGHT: u64 = 256;
/// A few fields become the request's; the event's id goes into a header for the receiver.
pub(crate) const MAPPING: &str = r#"kind = string(.type) ?? ""
customer = string(.customer) ?? ""
%request.headers = { "x-event": %id }
. = { "id": .id, "kind": kind, "customer": customer, "payload": .data }
"#;

const ID: &str = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
const TIME_MS: i64 = 1_767_607_200_000;

/// A JSON body of about `bytes` bytes with the fields that the mapping reads.
pub(crate) fn body(number: u64, bytes: usize) -> Vec<u8> {
    let filler: Vec<serde_json::Value> = (0..bytes.saturating_sub(250) / 75)
        .map(|n| serde_json::json!({ "sku": format!("article-{n:06}"), "quantity": n % 7, "price": 640, "gift": false }))
        .collect();
    let body = serde_json::json!({
        "id": format!("evt_{number:012}"),
        "type": "order.created",
        "customer": format!("customer-{:06}", number % KEYS),
        "repository": { "full_name": format!("bench/{}", number % KEYS) },
        "data": { "number": number, "lines": filler },
    });
    serde_json::to_vec(&body).unwrap()
}

/// A request as GitHub would send it.
pub(crate) fn github(number: u64, body: &Bytes) -> Request<Full<Bytes>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    Request::post("/v1/events/bench")
        .header("content-type", "application/json")
        .header("user-agent", "GitHub-Hookshot/bench")
        .header("x-github-event", "push")
        .header("x-github-delivery", id(number))
        .header("x-hub-signature-256", signature)
        .body(Full::new(body.clone()))
        .unwrap()
}

pub(crate) fn id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// The key of event `number`.
pub(crate) fn key(number: u64) -> String {
    format!("bench/{}", number % KEYS)
}

/// A record as it goes to a topic.
pub(crate) fn outgoing(topic: &Arc<str>, key: String, value: Bytes, headers: Headers) -> Outgoing {
    Outgoing {
        topic: topic.clone(),
        partition: None,
        key: Some(key.into()),
        value: Some(value),
        headers,
        timestamp_ms: None,
    }
}

/// A trace that nobody has asked to record.
pub(crate) fn trace() -> TraceContext {
    let (trace_id, span_id) = ([7; 16], [7; 8]);
    TraceContext { trace_id, span_id, sampled: false }
}

/// An event as ingest writes it.
pub(crate) fn envelope(number: u64, body: Vec<u8>) -> wire::Envelope {
    wire::Envelope {
        event_id: id(number),
        source: "bench".to_owned(),
        event_type: "push".to_owned(),
        subject: None,
        time_ms: TIME_MS,
        received_ms: TIME_MS,
        correlation_id: ID.to_owned(),
        causation_id: None,
        content_type: "application/json".to_owned(),
        http_headers: vec![wire::Header { name: "x-github-event".into(), value: "push".into() }],
        body,
    }
}

/// A delivery as transform writes it.
pub(crate) fn delivery(number: u64, body: Vec<u8>) -> wire::Delivery {
    wire::Delivery {
        delivery_id: format!("mr_{number:032x}"),
        event_id: id(number),
        source: "bench".to_owned(),
        event_type: "push".to_owned(),
        route: "bench".to_owned(),
        destination: "bench".to_owned(),
        correlation_id: ID.to_owned(),
        event_time_ms: TIME_MS,
        received_ms: TIME_MS,
        created_ms: TIME_MS,
        mapping_version: "none".to_owned(),
        split_index: 0,
        order: wire::Order::Strict,
        fallback: None,
        request: wire::Request {
            method: String::new(),
            path: String::new(),
            query: Vec::new(),
            headers: Vec::new(),
            content_type: "application/json".to_owned(),
            body,
        },
    }
}
