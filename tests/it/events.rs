//! Senders: one source of each scheme, signing as its provider signs.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use kafka_io::Record;
use serde_json::{Value, json};
use signing::{Scheme, Secret, Sending};
use testkit::{Reply, load::Sent};

use crate::records::event_id;

/// One source of the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: &'static str,
    pub(crate) secret: &'static str,
    /// As under `verify` in the catalog.
    verify: Value,
    scheme: Scheme,
}

/// All four, in the order of the catalog.
pub(crate) fn sources() -> [Source; 4] {
    [
        source("github", "planted-github-secret-1", json!({ "scheme": "github" })),
        source("payments", "whsec_planted_stripe_secret_2", json!({ "scheme": "stripe" })),
        source(
            "hooks",
            "whsec_cGxhbnRlZC1zdGFuZGFyZC13ZWJob29rcy1zZWNyZXQ=",
            json!({ "scheme": "standard-webhooks" }),
        ),
        orders(),
    ]
}

/// The generic source, whose events the loads are made of.
pub(crate) fn orders() -> Source {
    let verify = json!({
        "scheme": "generic-hmac",
        "header": "X-Shop-Signature",
        "prefix": "sha256=",
        "algorithm": "sha256",
        "encoding": "hex",
        "template": "{timestamp}.{body}",
        "timestamp_header": "X-Shop-Timestamp",
        "id_header": "X-Shop-Event-Id",
        "type_header": "X-Shop-Event",
    });
    source("orders", "planted-shop-secret-4", verify)
}

fn source(name: &'static str, secret: &'static str, verify: Value) -> Source {
    let scheme = serde_json::from_value(verify.clone()).expect("a scheme as the catalog has it");
    Source { name, secret, verify, scheme }
}

impl Source {
    /// Its entry in the catalog; JSON is YAML.
    pub(crate) fn entry(&self, partitions: i32) -> Value {
        let mut verify = self.verify.clone();
        verify["secrets"] = json!([{ "file": format!("secrets/{}", self.name) }]);
        json!({ "kind": "webhook", "verify": verify, "key": ".key", "partitions": partitions })
    }

    /// The headers a provider sends with `body` now.
    pub(crate) fn sign(&self, id: &str, kind: &str, body: &[u8]) -> HeaderMap {
        let sending = Sending { event_id: id, event_type: kind, method: "POST", url: None, body };
        signing::sign(&self.scheme, &Secret::new(self.secret), &sending, now_unix())
            .expect("the secret is one of its scheme")
    }

    /// A signed request.
    pub(crate) fn request(&self, id: &str, kind: &str, body: &Value) -> Request<Full<Bytes>> {
        let body = body.to_string();
        let mut request = Request::post(format!("/v1/events/{}", self.name))
            .header("content-type", "application/json")
            .body(Full::from(body.clone()))
            .expect("a path of a known name");
        request.headers_mut().extend(self.sign(id, kind, body.as_bytes()));
        request
    }
}

/// Whether ingest says that it could not even try to write the event.
pub(crate) fn is_unwritten(reply: &Reply) -> bool {
    reply.text().contains("urn:millrace:problem:not-ready")
}

/// How many events may be in the log once more than they were accepted: sent again by their sender,
/// who was cut off or told that nobody knows.
pub(crate) fn repeats(sent: &[Sent]) -> u64 {
    sent.iter().map(tries_too_many).sum()
}

/// How often each event is in the log once more than it should be, without those that are there once.
///
/// # Panics
/// Where its sender's repeats do not explain it.
pub(crate) fn resent(
    log: &[Record],
    sent: &[Sent],
    id: impl Fn(u64) -> String,
) -> HashMap<String, u64> {
    let mut again: HashMap<String, u64> = HashMap::new();
    for event in log.iter().map(event_id) {
        again.entry(event).and_modify(|times| *times += 1).or_default();
    }
    again.retain(|_, times| *times > 0);
    let tries: HashMap<String, u64> =
        sent.iter().map(|sent| (id(sent.number), tries_too_many(sent))).collect();
    for (event, times) in &again {
        let most = tries.get(event).copied().unwrap_or(0);
        assert!(
            *times <= most,
            "{event} is in the log {times} times more, sent again {most} times"
        );
    }
    again
}

fn tries_too_many(sent: &Sent) -> u64 {
    u64::from(sent.unknown_tries + sent.failed_tries)
}

fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    since.as_secs().try_into().expect("and before the end of time")
}
