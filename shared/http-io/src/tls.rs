//! What TLS trusts: the system's certificates and those of an extra file.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::client::Unusable;

pub(crate) const HTTP_1: &[u8] = b"http/1.1";
pub(crate) const HTTP_2: &[u8] = b"h2";

/// Reads the certificates that servers are judged by.
pub(crate) fn roots(extra: Option<&Path>) -> Result<Arc<RootCertStore>, Unusable> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = extra {
        add(&mut roots, path).map_err(|why| Unusable::Authority { path: path.into(), why })?;
    }
    if roots.is_empty() {
        let errors: Vec<_> = native.errors.iter().map(ToString::to_string).collect();
        tracing::warn!(
            errors = errors.join(", "),
            "no certificates found: no https address can be reached"
        );
    }
    Ok(Arc::new(roots))
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| e.to_string())?;
    let mut added = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| e.to_string())?;
        roots.add(certificate).map_err(|e| e.to_string())?;
        added += 1;
    }
    if added == 0 { Err("it holds no certificate".into()) } else { Ok(()) }
}

/// Makes the client's side of TLS that offers these protocols.
pub(crate) fn offering(
    protocols: &[&[u8]],
    roots: Arc<RootCertStore>,
) -> Result<Arc<ClientConfig>, Unusable> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    Ok(Arc::new(config))
}
