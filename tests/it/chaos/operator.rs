//! Somebody who wants every dead letter replayed, at once and again.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::{task::JoinHandle, time::interval};

const ASKS_EVERY: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Asks until dropped.
#[derive(Debug)]
pub(super) struct Operator(JoinHandle<()>);

impl Operator {
    /// Asks the API for a replay of all, whenever none is under way. While nobody answers, it asks
    /// on.
    pub(super) fn start(api: SocketAddr) -> Self {
        Self(tokio::spawn(async move {
            let mut turns = interval(ASKS_EVERY);
            loop {
                turns.tick().await;
                ask(api).await;
            }
        }))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(api: SocketAddr) -> Option<()> {
    let listed = testkit::get(api, "/v1/replays", ANSWER_WITHIN).await.ok()?;
    if !listed.status.is_success() {
        return None;
    }
    let listed = listed.json();
    if listed["jobs"].as_array()?.iter().any(|job| job["status"] == "unfinished") {
        return None;
    }
    let wanted = json!({ "filter": { "destinations": ["app"] }, "by": "chaos" });
    let request = Request::post("/v1/replays")
        .header("content-type", "application/json")
        .body(Full::from(Bytes::from(wanted.to_string())))
        .ok()?;
    testkit::request(api, request, ANSWER_WITHIN).await.ok().map(drop)
}
