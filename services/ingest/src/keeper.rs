//! Keeps the table of sources true: follows the catalog, looks for topics, registers schemas.
//!
//! What is not there is looked for again until it is. What was seen once stays known while Kafka or
//! the registry is down, so that events go on where they can. It makes no topic.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use catalog_io::{Catalog, Catalogs};
use chassis::Readiness;
use kafka_io::topics::Admin;
use registry_io::Registry;
use wire::{Kind, topics::Names};

use crate::{
    health::Health,
    series::Families,
    sources::{Known, Sources, Wanted},
};

/// Every source's topic is there.
const TOPICS: &str = "topics";
/// Every source's schema is registered.
const REGISTRY: &str = "registry";
/// How long until what was not there is looked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long until all is looked at again though nothing seems wrong.
const ANYWAY: Duration = Duration::from_secs(30);

/// What the table is made with.
pub(crate) struct Keeper {
    pub(crate) admin: Admin,
    pub(crate) registry: Registry,
    pub(crate) names: Names,
    pub(crate) catalogs: Catalogs,
    pub(crate) families: Families,
    pub(crate) ready: Readiness,
    pub(crate) health: Arc<Health>,
    pub(crate) sources: Arc<ArcSwap<Sources>>,
    pub(crate) known: Known,
}

impl Keeper {
    /// Keeps the table; never returns.
    ///
    /// # Cancellation
    /// Safe: the table stays as it was last made.
    pub(crate) async fn keep(mut self) {
        self.ready.set(TOPICS, Err("starting".into()));
        self.ready.set(REGISTRY, Err("starting".into()));
        loop {
            let catalog = self.catalogs.current();
            // A changed secret or limit holds at once, also while Kafka is down.
            self.publish(&catalog);
            let wanted = self.wanted(&catalog);
            let topics = self.look(&wanted).await;
            let schemas = self.register(&wanted).await;
            self.publish(&catalog);
            let all_well = topics.is_ok() && schemas.is_ok() && self.health.is_well();
            self.tell(topics, schemas);
            let until = if all_well { ANYWAY } else { AGAIN };
            tokio::select! {
                () = self.catalogs.changed() => {}
                () = self.health.doubted(), if all_well => {}
                () = tokio::time::sleep(until) => {}
            }
        }
    }

    fn publish(&self, catalog: &Catalog) {
        let sources = Sources::of(catalog, &self.names, &self.known, &self.families);
        self.sources.store(Arc::new(sources));
    }

    fn wanted(&self, catalog: &Catalog) -> Vec<Wanted> {
        let each = catalog.sources.values().map(|source| Wanted {
            topic: self.names.raw(source.name.as_str()),
            partitions: source.partitions,
        });
        each.collect()
    }

    /// Asks the cluster which topics are there.
    async fn look(&mut self, wanted: &[Wanted]) -> Result<(), String> {
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.topic.as_str()).collect();
        match self.admin.describe(&names).await {
            Ok(existing) => {
                self.known.topics = Some(existing.into_keys().collect());
                self.health.answered();
            }
            Err(error) => self.health.failed(&error.to_string()),
        }
        match self.known.topics {
            Some(_) => self.known.missing(wanted),
            None => Err("kafka has not said yet which topics there are".into()),
        }
    }

    /// Registers the schemas that are not registered yet; the first failure speaks for all.
    async fn register(&mut self, wanted: &[Wanted]) -> Result<(), String> {
        for Wanted { topic, .. } in wanted {
            if self.known.schemas.contains_key(topic) {
                continue;
            }
            let subject = wire::subject(topic);
            let id = self.registry.register(&subject, Kind::Envelope).await;
            let id = id.map_err(|error| error.to_string())?;
            self.known.schemas.insert(topic.clone(), id);
        }
        Ok(())
    }

    fn tell(&self, topics: Result<(), String>, schemas: Result<(), String>) {
        for (condition, state) in [(TOPICS, topics), (REGISTRY, schemas)] {
            if let Err(why) = &state {
                tracing::warn!(
                    condition,
                    error.message = why,
                    "not every source can be written to"
                );
            }
            self.ready.set(condition, state);
        }
    }
}
