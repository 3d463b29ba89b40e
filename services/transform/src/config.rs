//! How events are transformed, as an operator sets it; what becomes of which event is the catalog's.

use std::time::Duration;

use serde::Deserialize;

/// The commented defaults of the section `transform`.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// The section `transform`; its keys are explained in `default.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub slots: usize,
    pub interval_min_ms: u64,
    pub interval_max_ms: u64,
    pub batch_records: usize,
    pub batch_bytes: usize,
    pub queue_bytes: usize,
    pub drain_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots: 4,
            interval_min_ms: 5,
            interval_max_ms: 200,
            batch_records: 5_000,
            batch_bytes: 8 * 1024 * 1024,
            queue_bytes: 64 * 1024 * 1024,
            drain_seconds: 10,
        }
    }
}

impl Config {
    /// Finds what types can't say: a key below `transform` and what is wrong with it.
    pub fn findings(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut say = |key: &str, what: String| found.push((format!("transform.{key}"), what));
        if !(1..=16).contains(&self.slots) {
            say("slots", "must be between 1 and 16".into());
        }
        if self.interval_min_ms < 1 {
            say("interval_min_ms", "must be at least 1".into());
        }
        if self.interval_max_ms < self.interval_min_ms {
            say("interval_max_ms", "must not be below interval_min_ms".into());
        }
        for (key, value) in [
            ("batch_records", self.batch_records),
            ("batch_bytes", self.batch_bytes),
            ("queue_bytes", self.queue_bytes),
        ] {
            if value < 1 {
                say(key, "must be at least 1".into());
            }
        }
        found
    }

    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
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
        let config = Config { slots: 0, interval_max_ms: 1, batch_records: 0, ..Config::default() };
        let keys: Vec<_> = config.findings().into_iter().map(|(key, _)| key).collect();
        let expected = ["transform.slots", "transform.interval_max_ms", "transform.batch_records"];
        assert_eq!(keys, expected);
    }
}
