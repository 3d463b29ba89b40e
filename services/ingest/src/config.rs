//! How events are taken, as an operator sets it; which are taken is the catalog's.

use std::{net::SocketAddr, time::Duration};

use domain::time::duration;
use serde::Deserialize;

/// The commented defaults of the section `ingest`.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// The section `ingest`; its keys are explained in `default.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    #[serde(deserialize_with = "duration")]
    pub acknowledge_within: Duration,
    #[serde(deserialize_with = "duration")]
    pub linger: Duration,
    pub requests_max: usize,
    pub body_bytes_max: usize,
    pub connections_max: usize,
    #[serde(deserialize_with = "duration")]
    pub head_within: Duration,
    #[serde(deserialize_with = "duration")]
    pub body_within: Duration,
    pub trust_traceparent: bool,
    #[serde(deserialize_with = "duration")]
    pub drain_within: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            acknowledge_within: Duration::from_secs(4),
            linger: Duration::from_millis(1),
            requests_max: 4096,
            body_bytes_max: 64 << 20,
            connections_max: 4096,
            head_within: Duration::from_secs(75),
            body_within: Duration::from_secs(30),
            trust_traceparent: false,
            drain_within: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// Finds what types can't say: a key below `ingest` and what is wrong with it.
    pub fn findings(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut say = |key: &str, what: &str| found.push((format!("ingest.{key}"), what.into()));
        if !(Duration::from_millis(500)..=Duration::from_secs(300))
            .contains(&self.acknowledge_within)
        {
            say("acknowledge_within", "must be from 500ms to 5m");
        }
        if self.linger * 2 > self.acknowledge_within {
            say("linger", "must be at most half of acknowledge_within");
        }
        for (key, value) in [
            ("requests_max", self.requests_max),
            ("body_bytes_max", self.body_bytes_max),
            ("connections_max", self.connections_max),
        ] {
            if value < 1 {
                say(key, "must be at least 1");
            }
        }
        for (key, value) in [("head_within", self.head_within), ("body_within", self.body_within)] {
            if value < Duration::from_millis(100) {
                say(key, "must be at least 100ms");
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_defaults_are_those_of_the_code() {
        let file: Config = toml::from_str(DEFAULTS).expect("it is a whole configuration");
        assert_eq!(file, Config::default());
        assert!(file.findings().is_empty());
    }

    #[test]
    fn what_can_not_work_is_found_by_key() {
        let config = Config {
            acknowledge_within: Duration::ZERO,
            requests_max: 0,
            body_within: Duration::ZERO,
            ..Config::default()
        };
        let keys: Vec<_> = config.findings().into_iter().map(|(key, _)| key).collect();
        let expected = [
            "ingest.acknowledge_within",
            "ingest.linger",
            "ingest.requests_max",
            "ingest.body_within",
        ];
        assert_eq!(keys, expected);
    }
}
