//! Makes the plan of the newest catalog and of the topics that are there, again when either changes.
//!
//! Topics that are missing are looked for each second. What is there is looked at too, at a slower
//! pace, because an operator may change a topic's settings under a running process. Until a new
//! plan is made, the one before goes on.

use std::{collections::BTreeMap, time::Duration};

use catalog_io::{Catalog, Catalogs};
use chassis::Readiness;
use kafka_io::topics::{Admin, Existing};
use registry_io::Registry;
use wire::topics::Names;

use crate::{
    conditions::{REGISTRY, TOPICS},
    plan::{LOOK_EVERY, Plan},
    series::Families,
    topics::{Needs, Readable},
};

/// How long until what was not there is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// What plans are made with.
pub(crate) struct Planner {
    pub(crate) admin: Admin,
    pub(crate) registry: Registry,
    pub(crate) names: Names,
    pub(crate) catalogs: Catalogs,
    pub(crate) families: Families,
    pub(crate) ready: Readiness,
}

/// A plan and what it was made from.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) basis: Basis,
}

/// What a plan was made from: the same gives the same plan.
pub(crate) struct Basis {
    /// Topics to subscribe to.
    pub(crate) topics: Vec<String>,
    /// Whether nothing is missing.
    is_whole: bool,
    catalog_version: String,
    /// Those of the topics needed that are there.
    existing: BTreeMap<String, Existing>,
}

impl Planner {
    /// Makes the first plan by which something is read; that of a catalog without sources counts.
    ///
    /// # Cancellation
    /// Safe: schemas registered stay registered, and nothing else is changed.
    pub(crate) async fn first(&self) -> Planned {
        loop {
            let catalog = self.catalogs.current();
            let made = match self.look(&catalog).await {
                Ok(existing) => self.make(&catalog, existing).await,
                Err(why) => self.told_topics(why),
            };
            match made {
                Ok(planned) if planned.basis.is_enough() => return planned,
                Ok(_) => {}
                Err(why) => waits(&catalog, &why),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Makes the next plan, once the catalog or a topic it needs is other than it was.
    ///
    /// # Cancellation
    /// As [`Planner::first`].
    pub(crate) async fn next(&mut self, before: &Basis) -> Planned {
        let mut failed = false;
        loop {
            // A call that was cut off has seen the change that it did not get to the end of.
            let is_of_now = before.catalog_version == self.catalogs.current().version;
            let is_done = before.is_whole && is_of_now && !failed;
            let pause = if is_done { LOOK_EVERY } else { AGAIN };
            tokio::select! {
                () = self.catalogs.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
            let catalog = self.catalogs.current();
            let made = match self.look(&catalog).await {
                // After a failure all is told anew.
                Ok(existing) if !failed && before.is_of(&catalog.version, &existing) => continue,
                Ok(existing) => self.make(&catalog, existing).await,
                // What was there counts as there while the cluster does not answer.
                Err(why) if before.catalog_version == catalog.version => Err(why),
                Err(why) => self.told_topics(why),
            };
            match made {
                Ok(planned) => return planned,
                Err(why) => {
                    failed = true;
                    waits(&catalog, &why);
                }
            }
        }
    }

    /// Asks the cluster which of the topics that the catalog needs are there.
    async fn look(&self, catalog: &Catalog) -> Result<BTreeMap<String, Existing>, String> {
        let needs = Needs::of(catalog, &self.names);
        let names: Vec<&str> = needs.topics().into_iter().collect();
        self.admin.describe(&names).await.map_err(|e| e.to_string())
    }

    /// Makes the plan of what can be read, and tells what can't.
    async fn make(
        &self,
        catalog: &Catalog,
        existing: BTreeMap<String, Existing>,
    ) -> Result<Planned, String> {
        let needs = Needs::of(catalog, &self.names);
        let Readable { sources, topics, missing } = needs.decide(&existing);
        if let Some(missing) = &missing {
            tracing::warn!(error.message = %missing, catalog = catalog.version, "topics are missing");
        }
        let is_whole = missing.is_none();
        self.ready.set(TOPICS, missing.map_or(Ok(()), Err));
        let (names, registry) = (&self.names, &self.registry);
        let made = Plan::make(catalog, names, registry, &sources, &existing, &self.families).await;
        let made = made.map_err(|e| e.to_string());
        self.ready.set(REGISTRY, made.as_ref().map(|_| ()).map_err(Clone::clone));
        let catalog_version = catalog.version.clone();
        let basis = Basis { topics, is_whole, catalog_version, existing };
        made.map(|plan| Planned { plan, basis })
    }

    fn told_topics(&self, why: String) -> Result<Planned, String> {
        self.ready.set(TOPICS, Err(why.clone()));
        Err(why)
    }
}

impl Basis {
    fn is_enough(&self) -> bool {
        self.is_whole || !self.topics.is_empty()
    }

    fn is_of(&self, catalog_version: &str, existing: &BTreeMap<String, Existing>) -> bool {
        self.catalog_version == catalog_version && self.existing == *existing
    }
}

fn waits(catalog: &Catalog, why: &str) {
    tracing::warn!(
        error.message = why,
        catalog = catalog.version,
        "waiting for what the catalog needs"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis(is_whole: bool, topics: &[&str]) -> Basis {
        let topics = topics.iter().map(|name| (*name).to_owned()).collect();
        Basis { topics, is_whole, catalog_version: "1".into(), existing: out("5000") }
    }

    /// A topic that takes records of so many bytes.
    fn out(record_bytes_max: &str) -> BTreeMap<String, Existing> {
        let config = [("max.message.bytes".to_owned(), record_bytes_max.to_owned())];
        let topic = Existing { partitions: 3, replication: 1, config: config.into() };
        [("out.crm".to_owned(), topic)].into()
    }

    #[test]
    fn a_new_catalog_a_new_topic_or_a_changed_setting_asks_for_a_new_plan() {
        let before = basis(true, &["raw.shop"]);
        let mut more = out("5000");
        more.insert("out.mail".into(), Existing::default());
        assert!(before.is_of("1", &out("5000")));
        assert!(!before.is_of("2", &out("5000")), "another catalog");
        assert!(!before.is_of("1", &more), "a topic came");
        assert!(!before.is_of("1", &BTreeMap::new()), "a topic went");
        assert!(!before.is_of("1", &out("9000")), "a record may be larger");
    }

    #[test]
    fn reading_begins_with_the_first_source_that_is_whole_or_where_none_is_declared() {
        assert!(basis(false, &["raw.shop"]).is_enough(), "another source lacks a topic");
        assert!(basis(true, &[]).is_enough(), "the catalog has no source");
        assert!(!basis(false, &[]).is_enough(), "every source lacks a topic");
    }
}
