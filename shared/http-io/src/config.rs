//! The limits of outgoing requests, as an operator sets them.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

/// How requests go out; times in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The most that finding a name's addresses may take.
    pub dns_timeout_ms: u64,
    /// The most that connecting may take, all addresses of a name together.
    pub connect_timeout_ms: u64,
    /// The most that a TLS handshake may take.
    pub tls_timeout_ms: u64,
    /// How long an unused connection is kept; servers often close theirs after 60 s.
    pub pool_idle_timeout_ms: u64,
    /// The most unused connections that are kept to one host.
    pub pool_idle_per_host: usize,
    /// How much of an answer's body is kept.
    pub response_bytes_kept: usize,
    /// How much of a body is read beyond that, so that the connection can be used again.
    pub response_bytes_drained: usize,
    /// The most that this further reading may take.
    pub response_drain_ms: u64,
    /// Certificates in PEM that are trusted besides the system's; an empty path is none.
    #[serde(deserialize_with = "path_or_none")]
    pub extra_ca_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dns_timeout_ms: 3_000,
            connect_timeout_ms: 3_000,
            tls_timeout_ms: 5_000,
            pool_idle_timeout_ms: 30_000,
            pool_idle_per_host: 256,
            response_bytes_kept: 16 * 1024,
            response_bytes_drained: 256 * 1024,
            response_drain_ms: 1_000,
            extra_ca_file: None,
        }
    }
}

impl Config {
    pub(crate) fn dns_timeout(&self) -> Duration {
        Duration::from_millis(self.dns_timeout_ms)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn tls_timeout(&self) -> Duration {
        Duration::from_millis(self.tls_timeout_ms)
    }
}

/// An empty path is none, so that the commented defaults can show the key.
fn path_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(from)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}
