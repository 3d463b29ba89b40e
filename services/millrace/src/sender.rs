//! A sender as a provider is one: signs an event by its source's scheme and posts it.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use catalog_io::Source;
use http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use signing::Sending;
use tokio::time::timeout;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// An event about to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) id: &'a str,
    /// The provider's word for what happened.
    pub(crate) kind: &'a str,
    pub(crate) body: &'a [u8],
}

/// What ingest answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

/// Sends to one ingest over kept connections.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    ingest: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Returns the headers with which the source's provider would send the event now.
pub(crate) fn headers(
    source: &Source,
    url: &str,
    event: Event<'_>,
    now_unix: i64,
) -> Result<HeaderMap, String> {
    let secret = source.secrets.first().ok_or("the source has no secret")?;
    let url = source.public_url.as_deref().unwrap_or(url);
    let Event { id, kind, body } = event;
    let sending = Sending { event_id: id, event_type: kind, method: "POST", url: Some(url), body };
    let signed = signing::sign(&source.scheme, secret, &sending, now_unix);
    let mut headers = signed.map_err(|e| e.to_string())?;
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(headers)
}

impl Sender {
    pub(crate) fn new(ingest: SocketAddr) -> Self {
        Self { ingest, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Returns where a source's events are posted.
    pub(crate) fn url(&self, source: &str) -> String {
        format!("http://{}/v1/events/{source}", self.ingest)
    }

    /// Signs and posts an event.
    ///
    /// # Errors
    /// Says why no answer came.
    pub(crate) async fn send(
        &self,
        source: &Source,
        event: Event<'_>,
        now_unix: i64,
    ) -> Result<Answer, String> {
        let url = self.url(source.name.as_str());
        let headers = headers(source, &url, event, now_unix)?;
        let body = Full::new(Bytes::copy_from_slice(event.body));
        let mut request = Request::post(url).body(body).map_err(|e| e.to_string())?;
        request.headers_mut().extend(headers);
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|e| e.to_string())?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| e.to_string())?.to_bytes();
            Ok(Answer { status: parts.status, body: String::from_utf8_lossy(&body).into_owned() })
        };
        timeout(ANSWER_WITHIN, exchange).await.unwrap_or(Err("no answer came in time".to_owned()))
    }
}
