//! A destination that does what a test tells it: answers in sequence, is slow, hangs, resets,
//! stops half-way, drips, never ends; and writes down every request. It can also lie about what it
//! received, for the reconciler's own tests. It does not verify signatures: the log has all.

mod answer;
mod body;
mod log;
mod peak;
mod script;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::wait;

pub use answer::Answer;
pub use log::{Arrival, Fault};
pub use peak::{Peak, most_begun, most_open};
pub use script::{Counting, Rule};

use body::ReplyBody;
use log::Log;
use script::Script;

/// What a receiver is before it starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// The header with the id that must not come twice.
    pub id_header: &'static str,
    /// The header with the ordering key.
    pub key_header: &'static str,
    /// Whether bodies and headers are kept in the log; off for long loads.
    pub keep_content: bool,
    pub fault: Option<Fault>,
    /// The port, or 0 for any.
    pub port: u16,
}

impl Default for Options {
    fn default() -> Self {
        let (id_header, key_header) = ("webhook-id", "x-key");
        Self { id_header, key_header, keep_content: true, fault: None, port: 0 }
    }
}

/// A running receiver; dropping it closes all its connections.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    started: Instant,
    script: Mutex<Script>,
    log: Mutex<Log>,
    stop: CancellationToken,
}

impl Receiver {
    /// Starts one that answers 200 to everything.
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    /// Starts one on 127.0.0.1.
    ///
    /// # Panics
    /// When the port cannot be bound.
    pub async fn with(options: Options) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await;
        let listener = listener.expect("the receiver's port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            log: Mutex::new(Log::new(options.fault.clone())),
            script: Mutex::default(),
            started: Instant::now(),
            stop: stop.clone(),
            options,
        });
        tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, stop }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL with `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Adds a rule; of the rules that fit a request the newest decides.
    pub fn on(&self, rule: Rule) {
        self.shared.script.lock().add(rule);
    }

    /// From now on everything under `path` is answered with `answer`, until [`Receiver::heal`].
    pub fn fail(&self, path: &str, answer: Answer) {
        self.on(Rule::path(path).answers([answer]));
    }

    /// Forgets all rules: everything is answered 200 again.
    pub fn heal(&self) {
        *self.shared.script.lock() = Script::default();
    }

    /// All requests so far in the order of their arrival, as the fault (if any) shows them.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.log.lock().shown()
    }

    /// How many requests were taken, which is: read whole and answered 2xx.
    pub fn taken(&self) -> usize {
        self.shared.log.lock().taken()
    }

    /// The moment the log's times count from.
    pub fn started(&self) -> Instant {
        self.shared.started
    }

    /// A moment in milliseconds on the log's clock; one before its start is 0.
    pub fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started());
        since.as_millis().try_into().unwrap_or(u64::MAX)
    }

    /// Waits until `count` requests have been taken.
    ///
    /// # Panics
    /// When they are not within `deadline`.
    pub async fn await_taken(&self, count: usize, deadline: Duration) {
        let what = format!("{count} requests taken by the receiver");
        wait::until(&what, deadline, || self.taken() >= count).await;
    }

    /// How many requests were taken per id: more than one is a double.
    pub fn taken_per_id(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for id in self.arrivals().into_iter().filter(Arrival::is_taken).filter_map(|a| a.id) {
            *counts.entry(id).or_default() += 1;
        }
        counts
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let accepting = async {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        }
    };
    shared.stop.run_until_cancelled(accepting).await;
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let reset = CancellationToken::new();
    let service = service_fn(|request| {
        let (shared, reset) = (shared.clone(), reset.clone());
        async move { respond(request, &shared, &reset).await }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        () = shared.stop.cancelled() => {}
        () = reset.cancelled() => close_with_reset(&socket),
    }
}

/// With no time to linger, the close that follows is a reset instead of an orderly end.
fn close_with_reset(socket: &OwnedFd) {
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// A request that is being answered. Dropped with its connection, it writes down that nobody waits any
/// longer.
struct Open<'a> {
    shared: &'a Shared,
    number: usize,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.shared.log.lock().left(self.number, self.shared.started.elapsed());
    }
}

async fn respond(
    request: Request<Incoming>,
    shared: &Shared,
    reset: &CancellationToken,
) -> Result<Response<ReplyBody>, hyper::Error> {
    let begun = shared.started.elapsed();
    let (parts, body) = request.into_parts();
    let mut arrival = Arrival::new(&parts, &shared.options, begun);
    let body = body.collect().await?.to_bytes();
    let answer = shared.script.lock().next(&arrival);
    if shared.options.keep_content {
        arrival.headers = parts.headers;
        arrival.body = body;
    }
    let number = shared.log.lock().arrived(arrival);
    let _open = Open { shared, number };
    let response = perform(answer, reset).await;
    shared.log.lock().answered(number, response.status(), shared.started.elapsed());
    Ok(response)
}

/// Does what the answer says. An answer that never comes leaves the arrival without a status.
async fn perform(mut answer: Answer, reset: &CancellationToken) -> Response<ReplyBody> {
    while let Answer::Late(delay, then) = answer {
        tokio::time::sleep(delay).await;
        answer = *then;
    }
    match answer {
        Answer::Late(..) => unreachable!("the loop above ends with another one"),
        Answer::Status(status) => plain(status, &[], Bytes::new()),
        Answer::Full { status, headers, body } => plain(status, &headers, body),
        Answer::Hang => std::future::pending().await,
        Answer::Reset => {
            reset.cancel();
            std::future::pending().await
        }
        Answer::Half => response(StatusCode::OK, ReplyBody::half()),
        Answer::Endless => response(StatusCode::OK, ReplyBody::endless()),
        Answer::Drip => response(StatusCode::OK, ReplyBody::drip()),
    }
}

fn plain(status: u16, headers: &[(&'static str, String)], body: Bytes) -> Response<ReplyBody> {
    let status = StatusCode::from_u16(status).expect("a test's status is one of HTTP's");
    let mut response = response(status, ReplyBody::whole(body));
    for (name, value) in headers {
        let value = value.parse().expect("a test's header value is one of HTTP's");
        response.headers_mut().append(*name, value);
    }
    response
}

fn response(status: StatusCode, body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
