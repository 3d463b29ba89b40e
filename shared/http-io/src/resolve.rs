//! Finds the addresses of a name, within a time limit. It does not judge them.

use std::{net::IpAddr, time::Duration};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy};

/// The most names whose addresses are remembered, each as long as its zone says.
const NAMES_REMEMBERED: u64 = 1024;

/// The system's resolver configuration, asked without a thread for each name.
#[derive(Clone)]
pub(crate) struct Resolver {
    /// Or why there is none: addresses that are literal can be reached all the same.
    resolver: Result<TokioResolver, String>,
    timeout: Duration,
}

/// Why a name has no address.
#[derive(Debug)]
pub(crate) struct Unresolved {
    pub(crate) why: String,
    pub(crate) timed_out: bool,
}

impl Resolver {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { resolver: build(timeout), timeout }
    }

    /// Returns the addresses in the order in which to try them; never an empty list.
    pub(crate) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let unresolved = |why: String| Unresolved { why, timed_out: false };
        let resolver = self.resolver.as_ref().map_err(|why| unresolved(why.clone()))?;
        let found = tokio::time::timeout(self.timeout, resolver.lookup_ip(host)).await;
        let found = found
            .map_err(|_| Unresolved {
                why: format!("no name server answered within {:?}", self.timeout),
                timed_out: true,
            })?
            .map_err(|error| unresolved(error.to_string()))?;
        let addresses: Vec<_> = found.iter().collect();
        if addresses.is_empty() {
            return Err(unresolved("the name has no address".into()));
        }
        Ok(addresses)
    }
}

fn build(timeout: Duration) -> Result<TokioResolver, String> {
    let failed = |error| format!("the system's resolver configuration can't be used: {error}");
    let mut builder = TokioResolver::builder_tokio().map_err(failed)?;
    let options = builder.options_mut();
    // Within our limit, one name server that is silent leaves time for another.
    options.timeout = options.timeout.min(timeout / 2);
    options.cache_size = NAMES_REMEMBERED;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(failed)
}
