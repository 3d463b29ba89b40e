//! Where spans go in a test: an OTLP/HTTP receiver (protobuf) that keeps what it got.
//! It takes traces only and forgets nothing.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1,
};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::wait;

/// A span as a test looks at it; ids are lower-case hex, an absent parent is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    pub parent_id: String,
    pub name: String,
    pub kind: v1::span::SpanKind,
    pub start_ns: u64,
    pub end_ns: u64,
    pub failed: bool,
    pub status_message: String,
    /// Values as text.
    pub attributes: BTreeMap<String, String>,
    /// The resource's attributes, `service.name` among them.
    pub resource: BTreeMap<String, String>,
    /// Trace id and span id of each link.
    pub links: Vec<(String, String)>,
    pub schema_url: String,
}

/// A running sink; dropping it closes its connections.
#[derive(Debug)]
pub struct OtlpSink {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    stop: CancellationToken,
}

impl OtlpSink {
    /// Starts one on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (spans, stop) = (Arc::default(), CancellationToken::new());
        tokio::spawn(accept(listener, Arc::clone(&spans), stop.clone()));
        Self { address, spans, stop }
    }

    /// The base URL for `OTEL_EXPORTER_OTLP_ENDPOINT`; exporters add `/v1/traces`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far, in the order of their export.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().clone()
    }

    /// Waits until the spans satisfy `enough`, and gives all of them.
    ///
    /// # Panics
    /// When they do not within `deadline`.
    pub async fn await_spans(
        &self,
        what: &str,
        deadline: Duration,
        enough: impl Fn(&[Span]) -> bool,
    ) -> Vec<Span> {
        wait::until(what, deadline, || enough(&self.spans.lock())).await;
        self.spans()
    }
}

impl Drop for OtlpSink {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, spans: Arc<Mutex<Vec<Span>>>, stop: CancellationToken) {
    let accepting = async {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, spans.clone(), stop.clone()));
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}

async fn serve(stream: TcpStream, spans: Arc<Mutex<Vec<Span>>>, stop: CancellationToken) {
    let service = service_fn(|request| take(request, &spans));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = stop.run_until_cancelled(connection).await;
}

async fn take(
    request: Request<Incoming>,
    spans: &Mutex<Vec<Span>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let known = request.uri().path() == "/v1/traces";
    let body = request.into_body().collect().await?.to_bytes();
    let status = match ExportTraceServiceRequest::decode(body) {
        Ok(export) if known => {
            spans.lock().extend(flatten(export));
            StatusCode::OK
        }
        Ok(_) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::BAD_REQUEST,
    };
    let mut response = Response::new(Full::default()); // an empty message: everything was accepted
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("application/x-protobuf"));
    Ok(response)
}

fn flatten(export: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in export.resource_spans {
        let resource = attributes(of_resource.resource.map(|r| r.attributes).unwrap_or_default());
        for scope in of_resource.scope_spans {
            let schema_url = match scope.schema_url.is_empty() {
                true => &of_resource.schema_url,
                false => &scope.schema_url,
            };
            spans.extend(scope.spans.into_iter().map(|s| span(s, &resource, schema_url)));
        }
    }
    spans
}

fn span(span: v1::Span, resource: &BTreeMap<String, String>, schema_url: &str) -> Span {
    let kind = span.kind();
    let status = span.status.unwrap_or_default();
    Span {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        name: span.name,
        kind,
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano,
        failed: status.code() == v1::status::StatusCode::Error,
        status_message: status.message,
        attributes: attributes(span.attributes),
        resource: resource.clone(),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        schema_url: schema_url.to_owned(),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        None => String::new(),
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(it)) => it.to_string(),
        Some(Value::IntValue(it)) => it.to_string(),
        Some(Value::DoubleValue(it)) => it.to_string(),
        Some(Value::BytesValue(bytes)) => hex(&bytes),
        Some(Value::ArrayValue(array)) => {
            let items: Vec<String> = array.values.into_iter().map(text).collect();
            items.join(",")
        }
        Some(other) => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request;

    const SOON: Duration = Duration::from_secs(5);

    fn export() -> Vec<u8> {
        let span = v1::Span {
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            name: "send raw.shop".to_owned(),
            kind: v1::span::SpanKind::Producer.into(),
            ..v1::Span::default()
        };
        let scope = v1::ScopeSpans { spans: vec![span], ..v1::ScopeSpans::default() };
        let resource =
            v1::ResourceSpans { scope_spans: vec![scope], ..v1::ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec()
    }

    async fn post(sink: &OtlpSink, path: &str, body: Vec<u8>) -> u16 {
        let post = Request::post(path).body(Full::from(body)).unwrap();
        request(sink.address, post, SOON).await.unwrap().status.as_u16()
    }

    #[tokio::test]
    async fn an_exported_span_is_kept() {
        let sink = OtlpSink::start().await;
        assert_eq!(post(&sink, "/v1/traces", export()).await, 200);
        let spans = sink.await_spans("a span", SOON, |spans| !spans.is_empty()).await;
        assert_eq!(
            (spans[0].trace_id.as_str(), spans[0].parent_id.as_str()),
            (&*"ab".repeat(16), "")
        );
        assert_eq!(spans[0].kind, v1::span::SpanKind::Producer);
    }

    #[tokio::test]
    async fn what_is_no_export_is_refused() {
        let sink = OtlpSink::start().await;
        assert_eq!(post(&sink, "/v1/traces", vec![0xff; 9]).await, 400);
        assert_eq!(post(&sink, "/v1/metrics", export()).await, 404);
        assert!(sink.spans().is_empty());
    }
}
