//! The admin port: `/livez`, `/readyz`, `/startupz` and `/metrics`.
//!
//! Alive means that the event loop turns, whatever is down outside; ready means that every
//! condition the services told is met and the process is not draining.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use prometheus::{Encoder as _, TextEncoder};
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{Metrics, Readiness};

const JSON: &str = "application/json";
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// How long a spawned task may wait for its turn until the loop counts as stuck.
const TURNS_WITHIN: Duration = Duration::from_secs(2);
/// More connections than probes and scrapers need; what is over waits in the system's queue.
const CONNECTIONS_MAX: usize = 64;

/// The section `[admin]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
}

/// What the port tells.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    pub(crate) metrics: Metrics,
    pub(crate) ready: Readiness,
    /// Cancelled once the services run.
    pub(crate) started: CancellationToken,
    /// Cancelled once the process is about to stop.
    pub(crate) draining: CancellationToken,
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, board: Board, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let room = connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept(), if room => {
                let Ok((stream, _)) = accepted else { continue };
                let board = board.clone();
                connections.spawn(async move {
                    let answer = hyper::service::service_fn(move |request| {
                        let board = board.clone();
                        async move { Ok::<_, Infallible>(board.answer(&request).await) }
                    });
                    let mut server = Builder::new(TokioExecutor::new());
                    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
                    // A connection that breaks is the caller's to notice.
                    let _ended = server.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

impl Board {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is answered\n");
        }
        match request.uri().path() {
            "/livez" => self.live().await,
            "/readyz" => self.readiness(),
            "/startupz" => self.startup(),
            "/metrics" => self.scrape(),
            _ => text(
                StatusCode::NOT_FOUND,
                "text/plain",
                "here are /livez, /readyz, /startupz and /metrics\n",
            ),
        }
    }

    async fn live(&self) -> Response<Full<Bytes>> {
        let turned = timeout(TURNS_WITHIN, tokio::spawn(std::future::ready(()))).await;
        let (status, live) = match turned {
            Ok(Ok(())) => (StatusCode::OK, true),
            Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, false),
        };
        text(status, JSON, json!({ "live": live }).to_string())
    }

    fn readiness(&self) -> Response<Full<Bytes>> {
        let told = self.ready.unmet().into_iter().map(|unmet| {
            json!({ "service": unmet.service, "condition": unmet.condition, "reason": unmet.reason })
        });
        let mut unmet: Vec<serde_json::Value> = told.collect();
        if !self.started.is_cancelled() {
            unmet.push(json!({ "condition": "started", "reason": "the process is starting" }));
        }
        if self.draining.is_cancelled() {
            unmet
                .push(json!({ "condition": "draining", "reason": "the process is about to stop" }));
        }
        let ready = unmet.is_empty();
        text(status(ready), JSON, json!({ "ready": ready, "unmet": unmet }).to_string())
    }

    fn startup(&self) -> Response<Full<Bytes>> {
        let started = self.started.is_cancelled();
        text(status(started), JSON, json!({ "started": started }).to_string())
    }

    fn scrape(&self) -> Response<Full<Bytes>> {
        self.of_tokio();
        let encoder = TextEncoder::new();
        let mut body = Vec::new();
        match encoder.encode(&self.metrics.registry().gather(), &mut body) {
            Ok(()) => text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body),
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n"))
            }
        }
    }

    fn of_tokio(&self) {
        let runtime = tokio::runtime::Handle::current();
        let runtime = runtime.metrics();
        let set = |name, help, value: usize| {
            self.metrics.gauge(name, help).set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        set("millrace_tokio_workers", "Threads of the event loop.", runtime.num_workers());
        set("millrace_tokio_alive_tasks", "Tasks that have not ended.", runtime.num_alive_tasks());
        set(
            "millrace_tokio_queued_tasks",
            "Tasks that wait for a thread in the common queue.",
            runtime.global_queue_depth(),
        );
    }
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
