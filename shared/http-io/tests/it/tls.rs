//! Certificates: who is believed, and which version TLS agrees on.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::catalog::Protocol;
use http::{Request, Response};
use http_body_util::Full;
use http_io::{Client, Config, Phase};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use testkit::{Scratch, wait};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{AMPLE, local, loopback, post, post_within};

/// How long an answer under `/slow` takes, and the handshake of the second connection where it is slow.
const SLOW: Duration = Duration::from_millis(150);
const SLOW_HANDSHAKE: Duration = Duration::from_millis(600);

/// Lets so much time pass.
async fn pass(time: Duration) {
    let begun = Instant::now();
    wait::until("time to pass", AMPLE, || begun.elapsed() >= time).await;
}

/// Serves the version of each request as its answer; returns the address by name.
async fn serve(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    serve_counted(certificate, Arc::default(), Duration::ZERO).await
}

/// The same, with its handshakes counted, and the second of them after a while.
async fn serve_counted(
    certificate: &rcgen::CertifiedKey<rcgen::KeyPair>,
    shaken: Arc<AtomicUsize>,
    second_after: Duration,
) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key =
        PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        for number in 0_usize.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let (acceptor, shaken) = (acceptor.clone(), shaken.clone());
            tokio::spawn(async move {
                if number == 1 {
                    pass(second_after).await;
                }
                // A client that does not believe us breaks off: that is the test.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                shaken.fetch_add(1, Ordering::Relaxed);
                let service = service_fn(|request: Request<Incoming>| async move {
                    if request.uri().path() == "/slow" {
                        pass(SLOW).await;
                    }
                    let version = Bytes::from(format!("{:?}", request.version()));
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(version)))
                });
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    url
}

fn trusting(file: &Path) -> Result<Client, http_io::Unusable> {
    let extra_ca_file = Some(file.to_owned());
    Client::new(&Config { extra_ca_file, tls_timeout_ms: 5_000, ..local() }, loopback())
}

#[tokio::test]
async fn a_server_is_believed_by_the_extra_certificates_and_not_without() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let url = serve(&certificate).await;
    let untrusting = Client::new(&local(), loopback()).unwrap();
    let failure = post(&untrusting, &url).await.unwrap_err();
    assert_eq!((failure.phase(), failure.sent()), (Phase::Tls, false), "{failure}");
    let folder = Scratch::new("http-io-tls");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate.cert.pem()).unwrap();
    let client = trusting(&file).unwrap();
    let rows = [
        (Protocol::Auto, "HTTP/2.0"),
        (Protocol::Http1, "HTTP/1.1"),
        (Protocol::Http2, "HTTP/2.0"),
    ];
    for (protocol, version) in rows {
        let answer = post_within(&client, &url, protocol, AMPLE).await.unwrap();
        assert_eq!(&answer.body[..], version.as_bytes(), "{protocol:?}");
        let first = answer.latency;
        assert!(first.dns.is_some() && first.connect.is_some() && first.tls.is_some());
        assert!(first.dns.max(first.connect).max(first.tls) <= first.first_byte, "{first:?}");
        assert!(first.first_byte <= first.total, "{first:?}");
        let second = post_within(&client, &url, protocol, AMPLE).await.unwrap().latency;
        assert_eq!((second.dns, second.connect, second.tls), (None, None, None), "{protocol:?}");
        assert!(second.first_byte.is_some() && second.first_byte <= second.total, "{second:?}");
    }
}

#[tokio::test]
async fn a_request_is_not_told_what_a_connection_took_that_was_made_for_another() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let shaken = Arc::new(AtomicUsize::new(0));
    let url = serve_counted(&certificate, shaken.clone(), SLOW_HANDSHAKE).await;
    let slow = format!("{url}slow");
    let folder = Scratch::new("http-io-tls");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, certificate.cert.pem()).unwrap();
    let client = trusting(&file).unwrap();
    let ask = |url: String| {
        let client = &client;
        async move { post_within(client, &url, Protocol::Http1, AMPLE).await.unwrap().latency }
    };
    assert!(ask(url.clone()).await.tls.is_some());
    // What ends puts its connection back a moment later.
    pass(SLOW / 3).await;
    // The second of these begins a connection, and is done on the first one's before it is there.
    let (busy, overtaken) = tokio::join!(ask(slow.clone()), ask(url.clone()));
    assert_eq!((busy.tls, overtaken.tls, shaken.load(Ordering::Relaxed)), (None, None, 1));
    let both = || shaken.load(Ordering::Relaxed) == 2;
    wait::until("the second connection", AMPLE, both).await;
    pass(SLOW).await;
    let (one, other) = tokio::join!(ask(slow.clone()), ask(slow));
    assert_eq!(shaken.load(Ordering::Relaxed), 2, "the second connection was not used");
    assert_eq!((one.tls, one.connect, other.tls, other.connect), (None, None, None, None));
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_at_start() {
    let folder = Scratch::new("http-io-tls");
    let file = folder.path().join("ca.pem");
    for text in ["", "no pem"] {
        std::fs::write(&file, text).unwrap();
        let error = trusting(&file).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("extra_ca_file"), "{error}");
    }
    assert!(trusting(Path::new("/nowhere/ca.pem")).is_err());
}
