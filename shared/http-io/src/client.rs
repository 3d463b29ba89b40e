//! The client: one pool for each way of speaking HTTP, one time limit for each attempt.

use std::{
    error::Error as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::catalog::Protocol;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        self,
        connect::{CaptureConnection, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    answer::{Answer, Failure, Latency, Phase},
    body::{self, Bounds},
    config::Config,
    connect::{Connector, Dialer, Made},
    egress::Rules,
    resolve::Resolver,
    tls,
};

/// The most that an answer's head may take; a larger one is a broken answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How much of one answer may be on its way before it is read.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const HTTP_2_PING_EVERY: Duration = Duration::from_secs(20);

/// Why no client can be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("could not read certificates from {path:?}: {why}; correct extra_ca_file")]
    Authority { path: PathBuf, why: String },
    #[error("could not prepare TLS: {0}")]
    Tls(String),
}

/// Sends requests; clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Clients>);

type Pool = legacy::Client<Connector, Full<Bytes>>;

struct Clients {
    auto: Pool,
    http1: Pool,
    http2: Pool,
    bounds: Bounds,
}

impl Client {
    /// Prepares the client; connects nowhere yet. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// [`Unusable`] when the extra certificates can't be read.
    pub fn new(config: &Config, rules: Rules) -> Result<Self, Unusable> {
        let dialer = Arc::new(Dialer {
            resolver: Resolver::new(config.dns_timeout()),
            rules,
            connect_timeout: config.connect_timeout(),
            tls_timeout: config.tls_timeout(),
        });
        let roots = tls::roots(config.extra_ca_file.as_deref())?;
        let pool = |protocols: &[&[u8]], http2_only| {
            let tls = tls::offering(protocols, roots.clone())?;
            Ok::<_, Unusable>(pool(Connector { dialer: dialer.clone(), tls }, http2_only, config))
        };
        Ok(Self(Arc::new(Clients {
            auto: pool(&[tls::HTTP_2, tls::HTTP_1], false)?,
            http1: pool(&[tls::HTTP_1], false)?,
            http2: pool(&[tls::HTTP_2], true)?,
            bounds: Bounds {
                kept: config.response_bytes_kept,
                drained: config.response_bytes_drained,
                time: Duration::from_millis(config.response_drain_ms),
            },
        })))
    }

    /// Sends a request once and reads the answer, all within `timeout`.
    ///
    /// An answer is whatever has an understandable head, whatever its status; redirects too.
    ///
    /// # Errors
    /// [`Failure`] says at which step it failed, and so whether it may have been done.
    ///
    /// # Cancellation
    /// Safe: the connection is closed; the request may have been sent.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        protocol: Protocol,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let place = Place::of(request.uri());
        let connection = capture_connection(&mut request);
        let pool = match protocol {
            Protocol::Auto => &self.0.auto,
            Protocol::Http1 => &self.0.http1,
            Protocol::Http2 => &self.0.http2,
        };
        let end = tokio::time::Instant::from_std(begun + timeout);
        let head = pool.request(request.map(Full::new));
        let head = match tokio::time::timeout_at(end, head).await {
            Ok(Ok(head)) => head,
            Ok(Err(error)) => return Err(failed(error, &place, begun).in_total(begun)),
            Err(_) => return Err(late(&connection, &place, timeout, begun).in_total(begun)),
        };
        self.answer(head, begun, end, timeout, &place).await
    }

    async fn answer(
        &self,
        head: Response<Incoming>,
        begun: Instant,
        end: tokio::time::Instant,
        timeout: Duration,
        place: &Place,
    ) -> Result<Answer, Failure> {
        let (parts, body) = head.into_parts();
        let made = parts.extensions.get::<Made>();
        let made = made.map(|made| made.take(begun)).unwrap_or_default();
        let latency = Latency { first_byte: Some(begun.elapsed()), ..made };
        let broken = |why: String| {
            let failure = Failure::at(Phase::AnswerBroken, &place.text(), why);
            failure.with_status(parts.status).with_latency(latency)
        };
        let kept = match tokio::time::timeout_at(end, body::read(body, self.0.bounds)).await {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => {
                let why = format!("the body broke off: {}", reason(&error));
                return Err(broken(why).in_total(begun));
            }
            Err(_) => {
                let why = format!("the body did not end within {timeout:?}");
                return Err(broken(why).timed_out().in_total(begun));
            }
        };
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: kept.bytes,
            truncated: kept.truncated,
            latency: Latency { total: Some(begun.elapsed()), ..latency },
        })
    }
}

impl Failure {
    fn in_total(self, begun: Instant) -> Self {
        let latency = Latency { total: Some(begun.elapsed()), ..self.latency() };
        self.with_latency(latency)
    }
}

fn pool(connector: Connector, http2_only: bool, config: &Config) -> Pool {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_millis(config.pool_idle_timeout_ms))
        .pool_max_idle_per_host(config.pool_idle_per_host)
        .http1_max_buf_size(HEAD_BYTES_MAX)
        .http2_only(http2_only)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_max_header_list_size(HEAD_BYTES_MAX as u32)
        .http2_keep_alive_interval(HTTP_2_PING_EVERY);
    builder.build(connector)
}

/// The host and port of a request, for messages; never the path, which may hold a secret.
struct Place(Option<http::uri::Authority>);

impl Place {
    fn of(uri: &Uri) -> Self {
        Self(uri.authority().cloned())
    }

    fn text(&self) -> String {
        let Some(authority) = &self.0 else { return "an address without a host".into() };
        match authority.port_u16() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        }
    }
}

/// The attempt's time ran out before an answer's head came.
fn late(
    connection: &CaptureConnection,
    place: &Place,
    timeout: Duration,
    begun: Instant,
) -> Failure {
    let connected = connection.connection_metadata();
    let Some(connected) = connected.as_ref() else {
        let why = format!("no connection within {timeout:?}");
        return Failure::at(Phase::Connect, &place.text(), why).timed_out();
    };
    let why = format!("nothing within {timeout:?}");
    let failure = Failure::at(Phase::NoAnswer, &place.text(), why).timed_out();
    failure.with_latency(made(connected, begun))
}

/// How long the connection took that a request begun then used, as far as it waited for it.
fn made(connected: &legacy::connect::Connected, begun: Instant) -> Latency {
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    extras.get::<Made>().map(|made| made.take(begun)).unwrap_or_default()
}

/// Finds out how far a request went.
fn failed(error: legacy::Error, place: &Place, begun: Instant) -> Failure {
    let mut source = error.source();
    let mut phase = if error.is_connect() { Phase::Connect } else { Phase::NoAnswer };
    while let Some(cause) = source {
        if let Some(failure) = cause.downcast_ref::<Box<Failure>>() {
            return Failure::clone(failure);
        }
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.clone();
        }
        if let Some(cause) = cause.downcast_ref::<hyper::Error>() {
            if cause.is_canceled() || cause.is_user() {
                // Not begun: the connection ended while the request waited for its turn.
                phase = Phase::Connect;
            } else if cause.is_parse() {
                phase = Phase::AnswerBroken;
            }
        }
        source = cause.source();
    }
    let failure = Failure::at(phase, &place.text(), reason(&error));
    let latency = error.connect_info().map(|info| made(info, begun)).unwrap_or_default();
    failure.with_latency(latency)
}

/// The innermost cause says what happened; the outer ones say that something did.
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
