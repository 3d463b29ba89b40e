//! Makes the plan of the newest catalog, trying again until Kafka and the registry are there.
//!
//! Until a new plan is made, the one before goes on.

use std::time::Duration;

use catalog_io::{Catalog, Catalogs};
use chassis::Readiness;
use kafka_io::topics::{Admin, AdminOptions};
use registry_io::Registry;
use wire::topics::Names;

use crate::{
    conditions::{REGISTRY, TOPICS},
    plan::{self, Plan},
    series::Families,
};

/// How long until what was not there is looked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long Kafka may take to describe its topics.
const ANSWER: Duration = Duration::from_secs(5);

/// What plans are made with.
#[derive(Clone)]
pub(crate) struct Planner {
    pub(crate) kafka: kafka_io::Config,
    pub(crate) registry: Registry,
    pub(crate) names: Names,
    pub(crate) catalogs: Catalogs,
    pub(crate) families: Families,
    pub(crate) ready: Readiness,
}

/// A plan and the topics it reads.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) topics: Vec<String>,
}

impl Planner {
    /// Makes the plan of the catalog as it is then; tries until it succeeds.
    ///
    /// # Cancellation
    /// Safe: schemas registered stay registered, and nothing else is changed.
    pub(crate) async fn next(&self) -> Planned {
        loop {
            let catalog = self.catalogs.current();
            match self.attempt(&catalog).await {
                Ok(planned) => return planned,
                Err(why) => {
                    tracing::warn!(error.message = %why, catalog = catalog.version, "waiting for what the catalog needs");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn attempt(&self, catalog: &Catalog) -> Result<Planned, String> {
        let existing = self.told(TOPICS, self.existing(catalog).await)?;
        let made = Plan::make(catalog, &self.names, &self.registry, &existing, &self.families);
        let plan = self.told(REGISTRY, made.await.map_err(|e| e.to_string()))?;
        Ok(Planned { plan, topics: plan::read_topics(catalog, &self.names) })
    }

    async fn existing(
        &self,
        catalog: &Catalog,
    ) -> Result<std::collections::BTreeMap<String, kafka_io::topics::Existing>, String> {
        let mut wanted = plan::read_topics(catalog, &self.names);
        wanted.extend(plan::written_topics(catalog, &self.names));
        let options = AdminOptions { timeout: ANSWER, broker: None };
        let admin = Admin::open(&self.kafka, options).map_err(|e| e.to_string())?;
        let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let existing = admin.describe(&names).await.map_err(|e| e.to_string())?;
        plan::check_topics(&wanted, &existing).map_err(|e| e.to_string())?;
        Ok(existing)
    }

    fn told<T>(&self, condition: &'static str, result: Result<T, String>) -> Result<T, String> {
        self.ready.set(condition, result.as_ref().map(|_| ()).map_err(Clone::clone));
        result
    }
}
