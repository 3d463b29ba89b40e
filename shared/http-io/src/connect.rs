//! Connects: resolves, asks the egress rules about each address, dials, agrees on TLS.
//!
//! It takes the time of each step, and says at which one it failed. It does not speak HTTP.

mod stream;

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::Uri;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    answer::{Failure, Latency, Phase},
    egress::{self, Rules},
    resolve::Resolver,
};

pub(crate) use stream::Stream;

/// What all connections share.
pub(crate) struct Dialer {
    pub(crate) resolver: Resolver,
    pub(crate) rules: Rules,
    pub(crate) connect_timeout: Duration,
    pub(crate) tls_timeout: Duration,
}

/// Makes connections for one way of speaking HTTP.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) tls: Arc<ClientConfig>,
}

/// How long a connection took to make; told to the first request that uses it.
#[derive(Debug, Clone)]
pub(crate) struct Made(Arc<Making>);

#[derive(Debug)]
struct Making {
    begun: Instant,
    latency: Latency,
    is_told: AtomicBool,
}

impl Made {
    fn new(begun: Instant, latency: Latency) -> Self {
        Self(Arc::new(Making { begun, latency, is_told: AtomicBool::new(false) }))
    }

    /// Gives the times once, to a request asked for at `asked`: later ones on the connection did not
    /// wait for it, and neither did one that found it begun, by another that then took another.
    pub(crate) fn take(&self, asked: Instant) -> Latency {
        let is_told = self.0.is_told.swap(true, Ordering::Relaxed);
        if is_told || self.0.begun < asked { Latency::default() } else { self.0.latency }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = Box<Failure>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Box<Failure>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await.map_err(Box::new) })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<Stream, Failure> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let mut latency = Latency::default();
        let made = Instant::now();
        let tcp = self.dialer.reach(host, port, &mut latency).await;
        let tcp = tcp.map_err(|failure| failure.with_latency(latency))?;
        if !secure {
            return Ok(Stream::plain(tcp, Made::new(made, latency)));
        }
        let begun = Instant::now();
        let agreed = self.agree(host, tcp).await;
        latency.tls = Some(begun.elapsed());
        let tls = agreed.map_err(|failure| failure.with_latency(latency))?;
        Ok(Stream::tls(tls, Made::new(made, latency)))
    }

    async fn agree(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let failed = |why: String| Failure::at(Phase::Tls, host, why);
        let name = ServerName::try_from(host.to_owned()).map_err(|e| failed(e.to_string()))?;
        let limit = self.dialer.tls_timeout;
        let shake = TlsConnector::from(self.tls.clone()).connect(name, tcp);
        match tokio::time::timeout(limit, shake).await {
            Ok(agreed) => agreed.map_err(|error| failed(error.to_string())),
            Err(_) => Err(failed(format!("no handshake within {limit:?}")).timed_out()),
        }
    }
}

impl Dialer {
    /// Finds, checks and dials the host's addresses, one after the other.
    async fn reach(
        &self,
        host: &str,
        port: u16,
        latency: &mut Latency,
    ) -> Result<TcpStream, Failure> {
        let literal = host.parse::<IpAddr>().is_ok();
        let begun = Instant::now();
        let found = self.resolver.addresses(host).await;
        if !literal {
            latency.dns = Some(begun.elapsed());
        }
        let found = found.map_err(|unresolved| {
            let failure = Failure::at(Phase::Dns, host, unresolved.why);
            if unresolved.timed_out { failure.timed_out() } else { failure }
        })?;
        let allowed = self.allowed(host, &found)?;
        let begun = Instant::now();
        let dialed = self.dial(host, port, &allowed).await;
        latency.connect = Some(begun.elapsed());
        dialed
    }

    /// Keeps the addresses that may be reached; refuses where none may.
    fn allowed(&self, host: &str, found: &[IpAddr]) -> Result<Vec<IpAddr>, Failure> {
        let mut refused = None;
        let mut allowed = Vec::with_capacity(found.len());
        for address in found {
            match egress::decide(*address, &self.rules) {
                Ok(()) => allowed.push(*address),
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            Some(why) if allowed.is_empty() => {
                Err(Failure::at(Phase::Egress, host, why.to_string()))
            }
            _ => Ok(allowed),
        }
    }

    async fn dial(&self, host: &str, port: u16, to: &[IpAddr]) -> Result<TcpStream, Failure> {
        // Each address has its share, so that one that swallows packets leaves time for the next.
        let share = self.connect_timeout / u32::try_from(to.len().max(1)).unwrap_or(1);
        let mut last = Failure::at(Phase::Connect, host, "it has no address");
        for address in to {
            let address = SocketAddr::new(*address, port);
            last = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Without it small requests wait for acknowledgements of earlier ones.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "nodelay not set");
                    }
                    return Ok(stream);
                }
                Ok(Err(error)) => Failure::at(Phase::Connect, host, format!("{address}: {error}")),
                Err(_) => {
                    let why = format!("{address}: no connection within {share:?}");
                    Failure::at(Phase::Connect, host, why).timed_out()
                }
            };
        }
        Err(last)
    }
}
