//! The client against servers that behave, misbehave and lie.
#![allow(clippy::unwrap_used)]

mod answers;
mod failures;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use domain::catalog::Protocol;
use http::Request;
use http_io::{Answer, Client, Config, Failure, egress::Rules};

/// More than any step here takes; what is judged is which step fails, not how fast.
const AMPLE: Duration = Duration::from_secs(20);

fn local() -> Config {
    Config { dns_timeout_ms: 500, tls_timeout_ms: 300, ..Config::default() }
}

fn loopback() -> Rules {
    Rules { allow: vec!["127.0.0.0/8".parse().unwrap()] }
}

fn client() -> Client {
    Client::new(&local(), loopback()).unwrap()
}

async fn post(client: &Client, url: &str) -> Result<Answer, Failure> {
    post_within(client, url, Protocol::Auto, AMPLE).await
}

async fn post_within(
    client: &Client,
    url: &str,
    protocol: Protocol,
    timeout: Duration,
) -> Result<Answer, Failure> {
    let request = Request::post(url).body(Bytes::from_static(b"{}")).unwrap();
    client.send(request, protocol, timeout).await
}
