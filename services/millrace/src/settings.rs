//! The process configuration: the sections of every crate, in one file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use chassis::config::{self, Defaults, Finding, Layers, Loaded};
use domain::time::duration;
use serde::Deserialize;

use crate::failure::{Failure, USAGE};

/// Every section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) instance: String,
    pub(crate) admin: chassis::admin::Config,
    pub(crate) log: chassis::log::Config,
    pub(crate) telemetry: chassis::frame::Telemetry,
    pub(crate) shutdown: chassis::frame::Shutdown,
    pub(crate) kafka: kafka_io::Config,
    pub(crate) registry: registry_io::Config,
    pub(crate) topics: Topics,
    pub(crate) catalog: Catalog,
    pub(crate) ingest: ingest::Config,
    pub(crate) transform: transform::Config,
    pub(crate) deliver: deliver::Config,
    pub(crate) dlq_replayer: dlq_replayer::Config,
}

/// The section `[catalog]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Catalog {
    pub(crate) folder: PathBuf,
}

/// The section `[topics]`: what the catalog does not say of topics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Topics {
    pub(crate) prefix: String,
    pub(crate) replication: i32,
    pub(crate) receipts_partitions: i32,
    pub(crate) retention: Retention,
}

/// How long records are kept.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    #[serde(deserialize_with = "duration")]
    pub(crate) events: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) deliveries: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) dead_letters: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) quarantine: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) receipts: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) audit: Duration,
}

impl Config {
    /// Returns what the process's frame needs.
    pub(crate) fn frame(&self) -> chassis::frame::Config {
        chassis::frame::Config {
            instance: self.instance.clone(),
            admin: self.admin.clone(),
            log: self.log.clone(),
            telemetry: self.telemetry.clone(),
            shutdown: self.shutdown,
        }
    }
}

const DEFAULTS: [Defaults; 8] = [
    Defaults { section: "", text: chassis::frame::DEFAULTS },
    Defaults { section: "", text: include_str!("../default.toml") },
    Defaults { section: "kafka", text: kafka_io::DEFAULTS },
    Defaults { section: "registry", text: registry_io::DEFAULTS },
    Defaults { section: "ingest", text: ingest::DEFAULTS },
    Defaults { section: "transform", text: transform::DEFAULTS },
    Defaults { section: "deliver", text: deliver::DEFAULTS },
    Defaults { section: "dlq_replayer", text: dlq_replayer::DEFAULTS },
];

/// Loads the configuration of this process.
pub(crate) fn load(file: Option<&Path>) -> Result<Loaded<Config>, Failure> {
    // A variable that is no UTF-8 can't be a value of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_from(file, environment.collect()).map_err(|problems| {
        let remedy = "correct the values; `millrace config` prints what is in force";
        Failure::new("load the configuration", problems, remedy).code(USAGE)
    })
}

fn load_from(
    file: Option<&Path>,
    environment: Vec<(String, String)>,
) -> Result<Loaded<Config>, config::Problems> {
    config::load(&Layers { defaults: &DEFAULTS, file, environment }, findings)
}

fn findings(config: &Config) -> Vec<Finding> {
    let mut found = config.frame().findings();
    if let Err(error) = config.kafka.check() {
        found.extend(error.0.into_iter().map(|problem| {
            (format!("kafka.{}", problem.key), format!("{}; {}", problem.what, problem.remedy))
        }));
    }
    found.extend(config.ingest.findings());
    found.extend(config.transform.findings());
    found.extend(config.deliver.findings());
    let of_replayer = config.dlq_replayer.findings().into_iter();
    found.extend(of_replayer.map(|(key, why)| (format!("dlq_replayer.{key}"), why)));
    if !(1..=9).contains(&config.topics.replication) {
        found.push(("topics.replication".into(), "must be from 1 to 9".into()));
    }
    if !(1..=1000).contains(&config.topics.receipts_partitions) {
        found.push(("topics.receipts_partitions".into(), "must be from 1 to 1000".into()));
    }
    if !config.topics.prefix.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        let why = "may hold letters, digits, dots, hyphens and underscores";
        found.push(("topics.prefix".into(), why.into()));
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_embedded_defaults_are_a_whole_configuration() {
        let loaded = load_from(None, vec![]).map_err(|e| e.to_string()).unwrap();
        assert_eq!(loaded.config.topics.retention.events, Duration::from_secs(7 * 24 * 3600));
        assert!(loaded.effective.0.iter().any(|e| e.key == "ingest.listen"));
    }

    #[test]
    fn mistakes_of_different_crates_are_told_at_once() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "[kafka]\nproperties.\"enable.idempotence\" = \"false\"\n[topics]\nreplication = 0\n[ingest]\nlissten = \"x\"\n";
        file.write_all(text.as_bytes()).unwrap();
        let environment = vec![("MILLRACE_LOG__LEVEL".to_owned(), "l=o=ud".to_owned())];
        let problems = load_from(Some(file.path()), environment).unwrap_err();
        let keys: Vec<&str> = problems.0.iter().map(|p| p.key.as_str()).collect();
        for key in [
            "kafka.properties.enable.idempotence",
            "topics.replication",
            "ingest.lissten",
            "log.level",
        ] {
            assert!(keys.contains(&key), "{key} is not in {keys:?}");
        }
    }
}
