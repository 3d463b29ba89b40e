//! Certificates: who is believed, and which version TLS agrees on.

use std::{path::Path, sync::Arc};

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
use testkit::Scratch;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{AMPLE, local, loopback, post, post_within};

/// Serves the version of each request as its answer; returns the address by name.
async fn serve(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
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
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not believe us breaks off: that is the test.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request: Request<Incoming>| async move {
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
        assert!(answer.latency.tls.is_some());
    }
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
