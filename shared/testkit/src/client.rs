//! The smallest HTTP client: one request on one connection. Not for load; see `load`.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// Sends a GET on a connection of its own.
pub async fn get(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<Reply> {
    let request = Request::get(path).body(Full::default()).map_err(io::Error::other)?;
    self::request(address, request, timeout).await
}

/// Sends `request`, whose URI is a path, on a connection of its own.
pub async fn request(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    timeout: Duration,
) -> io::Result<Reply> {
    let exchange = async {
        let mut sender = connect(address).await?;
        exchange(&mut sender, address, request).await
    };
    tokio::time::timeout(timeout, exchange).await.map_err(io::Error::from)?
}

/// Opens a connection, whose driving task ends with it.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

pub(crate) async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    address: SocketAddr,
    mut request: Request<Full<Bytes>>,
) -> io::Result<Reply> {
    let host = http::HeaderValue::from_str(&address.to_string()).map_err(io::Error::other)?;
    request.headers_mut().entry(http::header::HOST).or_insert(host);
    let (parts, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Reply { status: parts.status, headers: parts.headers, body })
}
