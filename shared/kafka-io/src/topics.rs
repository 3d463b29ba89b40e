//! Which topics Millrace wants, how they differ from those that exist, and the steps in between.
//!
//! The plan is pure. Topics are never created behind anybody's back: only [`Admin::apply`] writes, and only
//! what a plan says. It shortens no retention and removes no topic and no partition.

mod admin;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use admin::{Admin, AdminError, AdminOptions};

/// The command that makes what a plan asks for.
const APPLY: &str = "millrace topics apply";
const RETENTION: &str = "retention.ms";
const CLEANUP: &str = "cleanup.policy";
/// Settings where more than wanted is as good.
const AT_LEAST: [&str; 2] = [RETENTION, "max.message.bytes"];

/// What a topic must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: String,
    pub partitions: i32,
    pub replication: i32,
    /// Topic settings by Kafka's names, for example `cleanup.policy`.
    pub config: BTreeMap<String, String>,
    /// Whether records are ordered by key here, so that adding partitions moves keys.
    pub keyed: bool,
    /// The longest a record may have to wait here before it is read.
    pub longest_wait: Option<Duration>,
}

impl Spec {
    /// Returns a specification with no settings of its own, keyed, without a waiting time.
    pub fn new(name: impl Into<String>, partitions: i32, replication: i32) -> Self {
        let name = name.into();
        Self {
            name,
            partitions,
            replication,
            config: BTreeMap::new(),
            keyed: true,
            longest_wait: None,
        }
    }

    /// Adds a topic setting.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.config.insert(key.to_owned(), value.into());
        self
    }
}

/// What a topic is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    pub partitions: i32,
    pub replication: i32,
    /// All settings in force; empty where the cluster does not tell (the embedded broker).
    pub config: BTreeMap<String, String>,
}

/// A step that brings a topic to what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Create(Spec),
    AddPartitions { topic: String, from: i32, to: i32, keyed: bool },
    SetConfig { topic: String, key: String, from: Option<String>, to: String },
}

/// What no command of ours mends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic {topic}: {what}; {remedy}")]
pub struct Problem {
    pub topic: String,
    /// What is wrong and what is wanted.
    pub what: String,
    /// What a person can do.
    pub remedy: String,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Change(Change),
    Problem(Problem),
}

impl Change {
    /// Name of the topic that changes.
    pub fn topic(&self) -> &str {
        match self {
            Self::Create(spec) => &spec.name,
            Self::AddPartitions { topic, .. } | Self::SetConfig { topic, .. } => topic,
        }
    }

    /// Says what the step does to records, where that is more than its name says.
    pub fn effect(&self) -> Option<&'static str> {
        match self {
            Self::AddPartitions { keyed: true, .. } => Some(
                "keys move to other partitions: for a key whose partition changes, records written before and after are no longer in order to each other until the old ones have been read",
            ),
            Self::SetConfig { key, to, .. } if key == CLEANUP && to.contains("compact") => {
                Some("only the last record of each key will be kept")
            }
            Self::SetConfig { key, .. } if key == CLEANUP => {
                Some("records older than the retention time will be removed")
            }
            Self::Create(_) | Self::AddPartitions { .. } | Self::SetConfig { .. } => None,
        }
    }

    /// Returns the error that a missing or different topic is to a service.
    pub fn as_problem(&self) -> Problem {
        let what = match self {
            Self::Create(_) => format!("missing; wanted: {self}"),
            Self::AddPartitions { .. } | Self::SetConfig { .. } => {
                format!("differs; wanted: {self}")
            }
        };
        Problem { topic: self.topic().to_owned(), what, remedy: format!("run `{APPLY}`") }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(Spec { name, partitions, replication, config, .. }) => {
                write!(f, "create {name} with {partitions} partitions, replication {replication}")?;
                config.iter().try_for_each(|(key, value)| write!(f, ", {key}={value}"))
            }
            Self::AddPartitions { topic, from, to, .. } => {
                write!(f, "add partitions to {topic}: {from} to {to}")
            }
            Self::SetConfig { topic, key, from, to } => {
                let from = from.as_deref().unwrap_or("unset");
                write!(f, "set {key} of {topic} from {from} to {to}")
            }
        }
    }
}

/// Returns the steps from the topics that exist to those that are wanted, in the order of `wanted`.
pub fn plan(wanted: &[Spec], existing: &BTreeMap<String, Existing>) -> Vec<Step> {
    wanted.iter().flat_map(|spec| plan_one(spec, existing.get(&spec.name))).collect()
}

/// Returns what keeps a service from working with the topics as they are: every step of the plan as a problem.
pub fn problems(wanted: &[Spec], existing: &BTreeMap<String, Existing>) -> Vec<Problem> {
    let as_problem = |step| match step {
        Step::Change(change) => change.as_problem(),
        Step::Problem(problem) => problem,
    };
    plan(wanted, existing).into_iter().map(as_problem).collect()
}

fn plan_one(spec: &Spec, existing: Option<&Existing>) -> Vec<Step> {
    if let Some(problem) = too_short(spec, existing) {
        return vec![Step::Problem(problem)];
    }
    let Some(existing) = existing else {
        return vec![Step::Change(Change::Create(spec.clone()))];
    };
    let mut steps = Vec::new();
    steps.extend(replication_problem(spec, existing).map(Step::Problem));
    if existing.partitions < spec.partitions {
        steps.push(Step::Change(Change::AddPartitions {
            topic: spec.name.clone(),
            from: existing.partitions,
            to: spec.partitions,
            keyed: spec.keyed,
        }));
    }
    steps.extend(config_changes(spec, existing).map(Step::Change));
    steps
}

/// Refuses a retention shorter than the longest a record may wait, whether wanted or found.
fn too_short(spec: &Spec, existing: Option<&Existing>) -> Option<Problem> {
    let wait = spec.longest_wait?;
    let found = existing.and_then(|existing| existing.config.get(RETENTION));
    let retention = spec.config.get(RETENTION).or(found)?;
    if keeps_for(retention)? >= wait {
        return None;
    }
    Some(Problem {
        topic: spec.name.clone(),
        what: format!(
            "{RETENTION} of {retention} refused: a record may wait here for {} ms and would be gone before it is read",
            wait.as_millis()
        ),
        remedy: format!(
            "set {RETENTION} to at least {}, or shorten the time a record may wait",
            wait.as_millis()
        ),
    })
}

/// Reads a `retention.ms`; −1 keeps for ever.
fn keeps_for(retention: &str) -> Option<Duration> {
    match retention.trim().parse::<i64>() {
        Ok(ms) if ms < 0 => Some(Duration::MAX),
        Ok(ms) => Some(Duration::from_millis(ms.unsigned_abs())),
        Err(_) => None,
    }
}

fn replication_problem(spec: &Spec, existing: &Existing) -> Option<Problem> {
    (existing.replication < spec.replication).then(|| Problem {
        topic: spec.name.clone(),
        what: format!("replication {} found, {} wanted", existing.replication, spec.replication),
        remedy: "raise it with kafka-reassign-partitions, or lower the wanted replication"
            .to_owned(),
    })
}

fn config_changes<'a>(spec: &'a Spec, existing: &'a Existing) -> impl Iterator<Item = Change> + 'a {
    let told = !existing.config.is_empty();
    let differing = move |(key, value): &(&String, &String)| {
        told && !satisfied(key, value, existing.config.get(*key))
    };
    spec.config.iter().filter(differing).map(|(key, value)| Change::SetConfig {
        topic: spec.name.clone(),
        key: key.clone(),
        from: existing.config.get(key).cloned(),
        to: value.clone(),
    })
}

fn satisfied(key: &str, wanted: &str, found: Option<&String>) -> bool {
    let Some(found) = found else { return false };
    if key == CLEANUP {
        return words(found) == words(wanted);
    }
    match (AT_LEAST.contains(&key), found.parse::<i64>(), wanted.parse::<i64>()) {
        (true, Ok(found), Ok(_)) if found < 0 => true,
        (true, Ok(found), Ok(wanted)) => wanted >= 0 && found >= wanted,
        _ => found == wanted,
    }
}

fn words(list: &str) -> Vec<&str> {
    let mut words: Vec<&str> =
        list.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests;
