//! How deliveries are made, as an operator sets it; what is tried where is the catalog's.

use std::time::Duration;

use http_io::egress;
use kafka_io::GroupOptions;
use serde::Deserialize;

/// The commented defaults of the section `deliver`.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// The section `deliver`; its keys are explained in `default.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub egress_allow: egress::Rules,
    pub lane_records: usize,
    pub lane_bytes: usize,
    pub drain_seconds: u64,
    pub revoke_drain_seconds: u64,
    pub acknowledge_seconds: u64,
    pub http: http_io::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            egress_allow: egress::Rules::default(),
            lane_records: 1000,
            lane_bytes: 8 * 1024 * 1024,
            drain_seconds: 10,
            revoke_drain_seconds: 5,
            acknowledge_seconds: 30,
            http: http_io::Config::default(),
        }
    }
}

impl Config {
    /// Finds what types can't say: a key below `deliver` and what is wrong with it.
    pub fn findings(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut least = |key: &str, value: u64, least: u64| {
            if value < least {
                found.push((format!("deliver.{key}"), format!("must be at least {least}")));
            }
        };
        least("lane_records", self.lane_records as u64, 1);
        least("lane_bytes", self.lane_bytes as u64, 1);
        least("revoke_drain_seconds", self.revoke_drain_seconds, 1);
        least("acknowledge_seconds", self.acknowledge_seconds, 1);
        least("http.connect_timeout_ms", self.http.connect_timeout_ms, 1);
        least("http.response_bytes_kept", self.http.response_bytes_kept as u64, 1);
        let mut most = |key: &str, value: u64, most: u64, why: &str| {
            if value > most {
                found.push((format!("deliver.{key}"), format!("must be at most {most}: {why}")));
            }
        };
        let records_max = kafka_io::LANE_RECORDS_MAX as u64;
        let why = "of more, a commit could not say which are settled";
        most("lane_records", self.lane_records as u64, records_max, why);
        let drain_max = GroupOptions::new("", Vec::new()).drain_budget().as_secs();
        let why = "the group waits no longer before a partition moves";
        most("revoke_drain_seconds", self.revoke_drain_seconds, drain_max, why);
        found
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    pub(crate) fn revoke_drain(&self) -> Duration {
        Duration::from_secs(self.revoke_drain_seconds)
    }

    pub(crate) fn acknowledge(&self) -> Duration {
        Duration::from_secs(self.acknowledge_seconds)
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
    fn a_lane_without_room_is_refused() {
        let config = Config { lane_records: 0, lane_bytes: 0, ..Config::default() };
        let keys: Vec<_> = config.findings().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["deliver.lane_records", "deliver.lane_bytes"]);
    }

    #[test]
    fn a_value_that_would_have_no_effect_is_refused() {
        let config = Config { lane_records: 3_001, revoke_drain_seconds: 11, ..Config::default() };
        let keys: Vec<_> = config.findings().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["deliver.lane_records", "deliver.revoke_drain_seconds"]);
        let config = Config { lane_records: 3_000, revoke_drain_seconds: 10, ..config };
        assert!(config.findings().is_empty());
    }
}
