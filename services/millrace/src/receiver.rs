//! A stand-in for third parties: a small HTTP server that takes every request.
//!
//! `millrace receiver` and `millrace dev` let it print what it takes; the demo lets it record and
//! fail. `FAULT=swallow` and `FAULT=double` make its record lie, so that it can be seen that the
//! demo would notice.

use std::{
    collections::BTreeSet, convert::Infallible, net::SocketAddr, process::ExitCode, sync::Arc,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cli,
    failure::{Failure, USAGE},
    output::say,
};

const BODY_BYTES_MAX: usize = 1024 * 1024;
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// `millrace receiver`: takes and prints until it is interrupted.
pub(crate) async fn run(options: &cli::Receiver) -> Result<ExitCode, Failure> {
    let mut interrupted = stopping(SignalKind::interrupt())?;
    // In a container it is the first process, which no signal ends that it does not handle.
    let mut terminated = stopping(SignalKind::terminate())?;
    let listener = Receiver::bind(options.listen).await?;
    let address = listener.local_addr().unwrap_or(options.listen);
    let stop = CancellationToken::new();
    let serving = Receiver::new(Fault::None, true).serve(listener, stop.clone());
    say!("taking every request at http://{address}");
    let ended = async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        stop.cancel();
    };
    tokio::join!(serving, ended);
    Ok(ExitCode::SUCCESS)
}

fn stopping(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::new("hear the signals that stop it", e, ""))
}

/// How the record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// One request is answered and not recorded.
    Swallow,
    /// One request is recorded twice.
    Double,
}

impl Fault {
    /// Reads the word of the environment variable `FAULT`.
    pub(crate) fn parse(word: Option<&str>) -> Result<Self, String> {
        match word {
            None | Some("") => Ok(Self::None),
            Some("swallow") => Ok(Self::Swallow),
            Some("double") => Ok(Self::Double),
            Some(other) => Err(format!("FAULT={other:?} is not known: use swallow or double")),
        }
    }
}

/// One request that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    /// The first step of the path: in the examples the destination's name.
    pub(crate) destination: String,
    /// The idempotency key.
    pub(crate) key: String,
}

#[derive(Debug, Default)]
struct Record {
    taken: Vec<Taken>,
    refused: usize,
    failing: BTreeSet<String>,
    lied: bool,
}

/// A handle on the running receiver.
#[derive(Clone)]
pub(crate) struct Receiver {
    record: Arc<Mutex<Record>>,
    fault: Fault,
    /// Whether every request is told on standard output, as `millrace dev` does.
    told: bool,
}

impl Receiver {
    /// Makes a receiver that has taken nothing yet.
    pub(crate) fn new(fault: Fault, told: bool) -> Self {
        Self { record: Arc::default(), fault, told }
    }

    /// Answers 503 at this destination from now on, or no longer.
    pub(crate) fn fail(&self, destination: &str, failing: bool) {
        let mut record = self.record.lock();
        if failing {
            record.failing.insert(destination.to_owned());
        } else {
            record.failing.remove(destination);
        }
    }

    /// Returns what was taken so far.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.record.lock().taken.clone()
    }

    /// Counts the requests answered with 503.
    pub(crate) fn refused(&self) -> usize {
        self.record.lock().refused
    }

    /// Binds to `address`; port 0 takes any free one.
    pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
        TcpListener::bind(address).await.map_err(|e| {
            let what = format!("let the stand-in for third parties listen on {address}");
            Failure::new(what, e, "end what listens there, or choose another address").code(USAGE)
        })
    }

    /// Serves until `stop`.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let receiver = self.clone();
                    connections.spawn(async move {
                        let answer = hyper::service::service_fn(move |request| {
                            let receiver = receiver.clone();
                            async move { Ok::<_, Infallible>(receiver.answer(request).await) }
                        });
                        let mut server = Builder::new(TokioExecutor::new());
                        server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
                        // A connection that breaks is the sender's to notice.
                        let _ended = server.serve_connection(TokioIo::new(stream), answer).await;
                    });
                }
                Some(_ended) = connections.join_next() => {}
            }
        }
        connections.shutdown().await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let destination = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
        let key = request.headers().get("webhook-id").and_then(|v| v.to_str().ok());
        let key = key.unwrap_or_default().to_owned();
        let line = format!("{} {}", request.method(), request.uri().path());
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
        let status = match body {
            Err(_) => StatusCode::BAD_REQUEST,
            Ok(body) => {
                if self.told {
                    tell(&line, &key, &body.to_bytes());
                }
                self.take(destination, key)
            }
        };
        let mut answer = Response::new(Full::new(Bytes::from_static(b"{\"taken\":true}")));
        if status != StatusCode::OK {
            *answer.body_mut() =
                Full::new(Bytes::from_static(b"{\"error\":\"down for maintenance\"}"));
        }
        *answer.status_mut() = status;
        answer
    }

    fn take(&self, destination: String, key: String) -> StatusCode {
        let mut record = self.record.lock();
        if record.failing.contains(&destination) {
            record.refused += 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let taken = Taken { destination, key };
        let lies = self.fault != Fault::None && !record.lied;
        record.lied |= lies;
        match self.fault {
            Fault::Swallow if lies => {}
            Fault::Double if lies => record.taken.extend([taken.clone(), taken]),
            Fault::None | Fault::Swallow | Fault::Double => record.taken.push(taken),
        }
        StatusCode::OK
    }
}

fn tell(line: &str, key: &str, body: &[u8]) {
    let body: String = String::from_utf8_lossy(body).chars().take(300).collect();
    say!("received  {line}  webhook-id={key}\n          {body}");
}
