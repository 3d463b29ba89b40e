//! The section `[dlq_replayer]`.

use std::{net::SocketAddr, time::Duration};

use domain::time::duration;
use serde::Deserialize;

/// The commented defaults.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// How the service is reached and what it may do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// File with the API's bearer token; empty for none, on loopback only.
    pub token_file: String,
    /// A record replayed this often goes to quarantine.
    pub replays_max: u32,
    /// A job whose runner is silent for so long is taken over.
    #[serde(deserialize_with = "duration")]
    pub resume_after: Duration,
    /// How often the depth of each topic is looked at.
    #[serde(deserialize_with = "duration")]
    pub look_every: Duration,
}

impl Config {
    /// Returns what is wrong, as key and sentence.
    pub fn findings(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut tell = |key: &str, why: &str| found.push((key.to_owned(), why.to_owned()));
        if !self.listen.ip().is_loopback() && self.token_file.is_empty() {
            tell(
                "token_file",
                "the API listens beyond this machine and has no token: name a file that holds one, or listen on 127.0.0.1",
            );
        }
        if self.replays_max == 0 {
            tell("replays_max", "nothing could be replayed: set at least 1");
        }
        if self.look_every < Duration::from_secs(1) {
            tell("look_every", "it costs the brokers more than it tells: set at least 1s");
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order() {
        let config: Config = toml::from_str(DEFAULTS).expect("the defaults read");
        assert_eq!(config.findings(), []);
        assert!(config.listen.ip().is_loopback());
    }

    #[test]
    fn listening_beyond_loopback_asks_for_a_token() {
        let text = DEFAULTS.replace("127.0.0.1", "0.0.0.0");
        let open: Config = toml::from_str(&text).expect("it reads");
        assert_eq!(open.findings()[0].0, "token_file");
    }
}
