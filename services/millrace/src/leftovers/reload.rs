//! Says whether destinations may go from the catalog of a running process.
//!
//! When it is asked, and what a refusal does, is `catalog-io`'s.

use std::{path::PathBuf, time::Duration};

use catalog_io::Problems;
use domain::ids::DestinationName;
use wire::topics::Names;

use super::{Which, look, refuse};
use crate::{failure::Failure, settings::Config};

/// How long the cluster may take to answer; the catalog's folder is not read meanwhile.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Whom to ask, and which folder the refusal is of.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    kafka: kafka_io::Config,
    names: Names,
    folder: PathBuf,
}

impl Asking {
    pub(crate) fn new(config: &Config, names: &Names) -> Self {
        let folder = config.catalog.folder.clone();
        Self { kafka: config.kafka.clone(), names: names.clone(), folder }
    }

    /// Refuses while one of `removed` has something left on which nobody has decided, and while
    /// the cluster can't be asked.
    pub(crate) async fn may_go(self, removed: Vec<DestinationName>) -> Result<(), Problems> {
        let which = Which::Removed(removed.into_iter().map(String::from).collect());
        let looking = look(&self.kafka, &self.names, which);
        let answer = match tokio::time::timeout(ANSWER_WITHIN, looking).await {
            Ok(looked) => looked.and_then(|looked| refuse(&looked.left, &self.folder)),
            Err(_) => Err(late()),
        };
        answer.map_err(|failure| Problems(vec![failure.as_problem(&self.folder)]))
    }
}

fn late() -> Failure {
    let why = format!("the cluster did not answer within {ANSWER_WITHIN:?}");
    let remedy = "check that the brokers are reachable; they are asked again by themselves";
    Failure::new("count what removed destinations have left", why, remedy)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_that_cannot_be_asked_lets_no_destination_go() {
        let mut config = crate::settings::load(None).unwrap().config;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        config.kafka = kafka_io::Config::plain(closed.to_string());
        let asking = Asking::new(&config, &Names::new(""));
        let refused = asking.may_go(vec!["crm".parse().unwrap()]).await.unwrap_err();
        let told = refused.to_string();
        for part in ["could not count what removed destinations have left", "why ", "do "] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }
}
