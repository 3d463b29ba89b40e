//! Sends finished spans to a collector: a bounded queue, batches, a deadline for each request.
//!
//! A full queue or a failed request drops spans and counts them; nothing waits for telemetry.

use std::{fmt, sync::Arc, time::Duration};

use opentelemetry::{Context, InstrumentationScope, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor},
};
use prometheus::IntCounter;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Tracer, resource};

/// The most spans that wait for export; what comes on top is dropped and counted.
const QUEUE_SPANS: usize = 8192;
const BATCH_SPANS: usize = 512;
const BATCH_EVERY: Duration = Duration::from_secs(1);
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// The exporter can't be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "telemetry.otlp_endpoint {endpoint:?} can't be used: {why}; give the address of an OTLP/HTTP collector, for example http://127.0.0.1:4318"
)]
pub struct Invalid {
    endpoint: String,
    why: String,
}

/// What is the same for every service of the process.
#[derive(Debug, Clone)]
pub(crate) struct Exporting {
    /// The collector's address without `/v1/traces`.
    pub(crate) endpoint: String,
    /// The share of traces that are recorded where nothing before decided, from 0 to 1.
    pub(crate) sample_ratio: f64,
    pub(crate) environment: String,
    pub(crate) version: &'static str,
    /// Counts the spans that never arrived.
    pub(crate) dropped: IntCounter,
}

/// The task behind a tracer; it ends when stopped, after a last batch.
#[derive(Debug)]
pub(crate) struct Exporter {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Sends what waits and ends; gives up after `within`.
    pub(crate) async fn finish(self, within: Duration) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if timeout(within, self.task).await.is_err() {
            abort.abort();
        }
    }
}

impl Exporting {
    /// Starts the exporter of one service.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn start(
        &self,
        service: &'static str,
        client: reqwest::Client,
    ) -> Result<(Tracer, Exporter), Invalid> {
        let invalid = |why: String| Invalid { endpoint: self.endpoint.clone(), why };
        let endpoint = format!("{}/v1/traces", self.endpoint.trim_end_matches('/'));
        let built = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(REQUEST_WITHIN)
            .build();
        let mut exporter = built.map_err(|e| invalid(e.to_string()))?;
        let resource = resource::of(service, self.version, &self.environment);
        exporter.set_resource(&resource);
        let (sender, spans) = mpsc::channel(QUEUE_SPANS);
        let queue = Queue { sender, dropped: self.dropped.clone() };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                self.sample_ratio,
            ))))
            .with_resource(resource)
            .build();
        let scope = InstrumentationScope::builder(service)
            .with_version(self.version)
            .with_schema_url(resource::SCHEMA_URL)
            .build();
        let tracer = Tracer(Some(Arc::new(provider.tracer_with_scope(scope))));
        let stop = CancellationToken::new();
        let sending = send(spans, exporter, self.dropped.clone(), stop.clone());
        Ok((tracer, Exporter { stop, task: tokio::spawn(sending) }))
    }
}

/// Makes the client that all exporters of the process share.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    // Another part of the process may have chosen the same provider before.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(REQUEST_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Takes finished spans from where they end, on any thread, without waiting.
struct Queue {
    sender: mpsc::Sender<SpanData>,
    dropped: IntCounter,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("free", &self.sender.capacity()).finish_non_exhaustive()
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _around: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.sender.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _within: Duration) -> OTelSdkResult {
        Ok(())
    }
}

async fn send(
    mut spans: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    dropped: IntCounter,
    stop: CancellationToken,
) {
    let mut failing = false;
    let mut batch = Vec::with_capacity(BATCH_SPANS);
    loop {
        let filled = stop.run_until_cancelled(fill(&mut spans, &mut batch)).await;
        if filled.is_none() {
            // What ended before the stop is still told.
            while let Ok(span) = spans.try_recv() {
                batch.push(span);
            }
        }
        let count = batch.len() as u64;
        let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_SPANS));
        let sent = match count {
            0 => Ok(()),
            _ => match timeout(REQUEST_WITHIN, exporter.export(full)).await {
                Ok(answer) => answer.map_err(|e| e.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            },
        };
        match sent {
            Ok(()) => failing &= count == 0,
            Err(why) => {
                dropped.inc_by(count);
                // Once for each outage: the counter tells the rest.
                if !failing {
                    tracing::warn!(error.message = why, spans = count, "spans are not exported");
                }
                failing = true;
            }
        }
        if filled.is_none() {
            return;
        }
    }
}

/// Waits for a full batch, or for a time with what has come.
async fn fill(spans: &mut mpsc::Receiver<SpanData>, batch: &mut Vec<SpanData>) {
    let whole = async {
        while batch.len() < BATCH_SPANS {
            match spans.recv().await {
                Some(span) => batch.push(span),
                None => std::future::pending().await,
            }
        }
    };
    let _time_is_up = timeout(BATCH_EVERY, whole).await;
}
