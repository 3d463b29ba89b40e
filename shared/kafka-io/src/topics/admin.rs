//! Looks at topics and carries out a plan, step by step. Every question to the cluster has a time limit.
//!
//! It decides nothing: what to change is the plan's. It never makes a topic by asking for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions as NativeOptions, AlterConfig, ConfigEntry, ConfigResource,
    ConfigSource, NewPartitions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};

use super::{APPLY, Change, Existing, Problem, Spec, problems};
use crate::config::Config;
use crate::context::{ClientHooks, explain};
use crate::embedded::Broker;

/// What the client's own limit may be late by before we stop waiting for it.
const GRACE: Duration = Duration::from_secs(1);

/// Looking for the reason of a failure takes this long at most.
const WHY_WITHIN: Duration = Duration::from_secs(2);

/// How often it is looked whether what was made is known.
const LOOK: Duration = Duration::from_millis(50);

/// How an [`Admin`] asks.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// Limit of one question to the cluster.
    pub timeout: Duration,
    /// The embedded broker, where the cluster is one: it makes topics by a call only.
    pub broker: Option<Arc<Broker>>,
}

impl Default for AdminOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(15), broker: None }
    }
}

/// Looking at topics or changing one failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdminError {
    /// The client could not be made.
    #[error(
        "could not open a client for topics: {why}; check the kafka section of the configuration"
    )]
    Open { why: String },
    /// The cluster did not answer.
    #[error(
        "could not {doing}: {why}; check that kafka is reachable and that this user may describe topics and their configs"
    )]
    Ask { doing: &'static str, why: String },
    /// The cluster refused a step.
    #[error("topic {topic}: could not {wanted}: {why}; then run `{APPLY}` again")]
    Apply { topic: String, wanted: String, why: String },
    /// What was made is not known to all brokers in time.
    #[error(
        "made, and not yet known to every broker: {}; run `millrace topics verify` in a moment", .0.join(", ")
    )]
    Unknown(Vec<String>),
    /// Topics are not as they must be.
    #[error("{}", lines(.0))]
    Differ(Vec<Problem>),
}

/// A client that describes and changes topics.
#[derive(Clone)]
pub struct Admin {
    config: Config,
    client: Arc<AdminClient<ClientHooks>>,
    options: AdminOptions,
    embedded: bool,
}

impl Admin {
    /// Opens the client. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// [`AdminError::Open`] with the setting that is refused.
    pub fn open(config: &Config, options: AdminOptions) -> Result<Self, AdminError> {
        let client = config
            .client_config()
            .create_with_context(config.hooks())
            .map_err(|why: KafkaError| AdminError::Open { why: why.to_string() })?;
        let (config, embedded) = (config.clone(), config.embedded);
        Ok(Self { config, client: Arc::new(client), options, embedded })
    }

    /// Returns what those of `names` that exist are; one that does not exist is left out.
    pub async fn describe(&self, names: &[&str]) -> Result<BTreeMap<String, Existing>, AdminError> {
        let names: BTreeSet<&str> = names.iter().copied().collect();
        let mut found = self.shapes().await?;
        found.retain(|name, _| names.contains(name.as_str()));
        if !self.embedded && !found.is_empty() {
            for (topic, entries) in self.configs(found.keys().map(String::as_str)).await? {
                if let Some(existing) = found.get_mut(&topic) {
                    existing.config = in_force(&entries);
                }
            }
        }
        Ok(found)
    }

    /// Takes one step of a plan. A topic or partition that is there already counts as done.
    ///
    /// # Cancellation
    /// The step may happen all the same; steps may be repeated.
    pub async fn apply(&self, change: &Change) -> Result<(), AdminError> {
        let done = match change {
            Change::Create(spec) => self.create(spec).await,
            Change::AddPartitions { topic, to, .. } => self.add_partitions(topic, *to).await,
            Change::SetConfig { topic, key, to, .. } => self.set_config(topic, key, to).await,
        };
        done.map_err(|why| AdminError::Apply {
            topic: change.topic().to_owned(),
            wanted: change.to_string(),
            why,
        })
    }

    /// Waits until the brokers know these topics with all their partitions and leaders: one that the
    /// controller has made just now is still missing for who asks another broker.
    ///
    /// Any broker may answer a question, so that as many answers in a row have to be right as there are.
    ///
    /// # Errors
    /// [`AdminError::Unknown`] after the time limit of one question.
    pub async fn await_known(&self, wanted: &[Spec]) -> Result<(), AdminError> {
        let until = Instant::now() + self.options.timeout;
        let mut right = 0;
        loop {
            let metadata = self.metadata().await?;
            let led = metadata.topics().iter().filter(|topic| is_led(topic));
            let found: BTreeMap<&str, i32> =
                led.map(|topic| (topic.name(), shape(topic).partitions)).collect();
            let brokers = metadata.brokers().len();
            let known =
                |spec: &&Spec| found.get(&*spec.name).is_some_and(|n| *n >= spec.partitions);
            let unknown = wanted.iter().filter(|spec| !known(spec));
            let unknown: Vec<String> = unknown.map(|spec| spec.name.clone()).collect();
            right = if unknown.is_empty() { right + 1 } else { 0 };
            if right >= brokers {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(AdminError::Unknown(unknown));
            }
            if right == 0 {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Compares the topics with what is wanted.
    ///
    /// # Errors
    /// [`AdminError::Differ`] with every difference: the topic, what is wanted, and the command that makes it so.
    pub async fn verify(&self, wanted: &[Spec]) -> Result<(), AdminError> {
        let names: Vec<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
        let problems = problems(wanted, &self.describe(&names).await?);
        if problems.is_empty() { Ok(()) } else { Err(AdminError::Differ(problems)) }
    }

    /// Partition counts and replication of all topics. It asks for all of them: asking for one by name may create it.
    async fn shapes(&self) -> Result<BTreeMap<String, Existing>, AdminError> {
        let metadata = self.metadata().await?;
        let known = metadata.topics().iter().filter(|topic| topic.error().is_none());
        Ok(known.map(|topic| (topic.name().to_owned(), shape(topic))).collect())
    }

    async fn metadata(&self) -> Result<Metadata, AdminError> {
        let (config, client, timeout) =
            (self.config.clone(), self.client.clone(), self.options.timeout);
        let ask = tokio::task::spawn_blocking(move || {
            let asked = client.inner().fetch_metadata(None, timeout);
            asked.map_err(|why| reason(&config, timeout.min(WHY_WITHIN), &why))
        });
        let metadata = match tokio::time::timeout(timeout + WHY_WITHIN + GRACE, ask).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(broken)) => Err(broken.to_string()),
            Err(_) => Err(late(timeout)),
        };
        metadata.map_err(|why| AdminError::Ask { doing: "list the topics", why })
    }

    async fn configs(
        &self,
        names: impl Iterator<Item = &str>,
    ) -> Result<Vec<(String, Vec<ConfigEntry>)>, AdminError> {
        let resources: Vec<ResourceSpecifier<'_>> = names.map(ResourceSpecifier::Topic).collect();
        let ask = self.client.describe_configs(&resources, &self.native());
        let failed = |why| AdminError::Ask { doing: "read the settings of topics", why };
        let answers = self.within(ask).await.map_err(failed)?;
        let owned = |answer: Result<ConfigResource, RDKafkaErrorCode>| match answer {
            Ok(ConfigResource { specifier: OwnedResourceSpecifier::Topic(name), entries }) => {
                Ok((name, entries))
            }
            Ok(other) => Err(failed(format!("an answer about {:?} came", other.specifier))),
            Err(why) => Err(failed(why.to_string())),
        };
        answers.into_iter().map(owned).collect()
    }

    async fn create(&self, spec: &Spec) -> Result<(), String> {
        if let Some(broker) = &self.options.broker {
            return broker.create_topic(&spec.name, spec.partitions).map_err(|e| e.to_string());
        }
        let replication = TopicReplication::Fixed(spec.replication);
        let mut topic = NewTopic::new(&spec.name, spec.partitions, replication);
        for (key, value) in &spec.config {
            topic = topic.set(key, value);
        }
        let answers = self.within(self.client.create_topics([&topic], &self.native())).await?;
        done(answers, RDKafkaErrorCode::TopicAlreadyExists)
    }

    async fn add_partitions(&self, topic: &str, to: i32) -> Result<(), String> {
        let to = usize::try_from(to).map_err(|_| format!("{to} is no number of partitions"))?;
        let partitions = NewPartitions::new(topic, to);
        let ask = self.client.create_partitions([&partitions], &self.native());
        done(self.within(ask).await?, RDKafkaErrorCode::InvalidPartitions)
    }

    /// Sets one setting and leaves the topic's others as they are.
    ///
    /// The client offers only a call that replaces all settings of a topic, so those it has are given again.
    async fn set_config(&self, topic: &str, key: &str, to: &str) -> Result<(), String> {
        let found = self.configs(std::iter::once(topic)).await.map_err(|e| e.to_string())?;
        let own: HashMap<&str, &str> =
            found.iter().flat_map(|(_, entries)| entries).filter_map(own_setting).collect();
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        change.entries = own;
        change = change.set(key, to);
        let answers = self.within(self.client.alter_configs([&change], &self.native())).await?;
        answers
            .into_iter()
            .try_for_each(|answer| answer.map(drop).map_err(|(_, why)| why.to_string()))
    }

    fn native(&self) -> NativeOptions {
        let timeout = Some(self.options.timeout);
        NativeOptions::new().request_timeout(timeout).operation_timeout(timeout)
    }

    async fn within<T>(
        &self,
        ask: impl Future<Output = Result<T, KafkaError>>,
    ) -> Result<T, String> {
        match tokio::time::timeout(self.options.timeout + GRACE, ask).await {
            Ok(answer) => answer.map_err(|why| why.to_string()),
            Err(_) => Err(late(self.options.timeout)),
        }
    }
}

/// Finds out why the cluster did not answer: an admin client hears of no reason, another kind of client does.
fn reason(config: &Config, within: Duration, why: &KafkaError) -> String {
    let client: Result<BaseConsumer<ClientHooks>, KafkaError> =
        config.client_config().create_with_context(config.hooks());
    match client {
        Ok(client) if client.fetch_metadata(None, within).is_err() => explain(&client, why),
        Ok(_) | Err(_) => why.to_string(),
    }
}

fn is_led(topic: &MetadataTopic) -> bool {
    let led =
        |partition: &MetadataPartition| partition.error().is_none() && partition.leader() >= 0;
    topic.error().is_none() && topic.partitions().iter().all(led)
}

fn shape(topic: &MetadataTopic) -> Existing {
    let replicas = topic.partitions().iter().map(|partition| partition.replicas().len());
    Existing {
        partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
        replication: replicas.min().and_then(|least| i32::try_from(least).ok()).unwrap_or(0),
        config: BTreeMap::new(),
    }
}

fn in_force(entries: &[ConfigEntry]) -> BTreeMap<String, String> {
    let value = |entry: &ConfigEntry| Some((entry.name.clone(), entry.value.clone()?));
    entries.iter().filter_map(value).collect()
}

/// A setting of the topic itself, not one it has from its broker or by default.
fn own_setting(entry: &ConfigEntry) -> Option<(&str, &str)> {
    let own = entry.source == ConfigSource::DynamicTopic && !entry.is_read_only;
    own.then_some((entry.name.as_str(), entry.value.as_deref()?))
}

fn done(
    answers: Vec<Result<String, (String, RDKafkaErrorCode)>>,
    already: RDKafkaErrorCode,
) -> Result<(), String> {
    let failure = answers.into_iter().filter_map(Result::err).find(|(_, why)| *why != already);
    failure.map_or(Ok(()), |(_, why)| Err(why.to_string()))
}

fn late(timeout: Duration) -> String {
    format!("no answer within {} ms", timeout.as_millis())
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}
