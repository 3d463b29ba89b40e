//! The broker and the registry inside the process, for `millrace dev` and `millrace demo`.
//!
//! Both keep everything in memory: what they hold ends with the process.

use std::{net::Ipv4Addr, sync::Arc};

use kafka_io::{embedded::Broker, topics::Spec};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// A partition costs the embedded broker about 5 MB; order by key needs no second one.
const PARTITIONS: i32 = 1;

/// The embedded broker lets a consumer wait this long even when a record comes in the meantime.
const FETCH_WAIT_MS: &str = "5";

/// A running broker and registry; both end when this is dropped.
pub(crate) struct Embedded {
    pub(crate) broker: Arc<Broker>,
    pub(crate) kafka: kafka_io::Config,
    pub(crate) registry: registry_io::Config,
    /// Ends the registry's task with this.
    _registry: JoinSet<()>,
}

impl Embedded {
    /// Starts both, with these topics.
    pub(crate) async fn start(topics: &[Spec]) -> Result<Self, Failure> {
        let failed = |why: String| {
            Failure::new(
                "start the embedded broker and registry",
                why,
                "end what holds the ports of 127.0.0.1, or raise the limit of open files",
            )
        };
        let topics: Vec<(String, i32)> =
            topics.iter().map(|spec| (spec.name.clone(), PARTITIONS)).collect();
        let broker = Broker::start(&topics).map_err(|e| failed(e.to_string()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(|e| failed(e.to_string()))?;
        let address = listener.local_addr().map_err(|e| failed(e.to_string()))?;
        let mut registry = JoinSet::new();
        registry.spawn(async move {
            if let Err(error) =
                registry_io::embedded::serve(listener, CancellationToken::new()).await
            {
                tracing::error!(error.message = %error, "the embedded registry ended");
            }
        });
        let mut kafka = kafka_io::Config::embedded(broker.bootstrap_servers());
        kafka.properties.insert("fetch.wait.max.ms".to_owned(), FETCH_WAIT_MS.to_owned());
        Ok(Self {
            kafka,
            registry: registry_io::Config::at(format!("http://{address}")),
            broker: Arc::new(broker),
            _registry: registry,
        })
    }

    /// Makes the topics that a new catalog needs; one that is there already stays.
    pub(crate) fn add(&self, topics: &[Spec]) {
        for spec in topics {
            if let Err(error) = self.broker.create_topic(&spec.name, PARTITIONS) {
                tracing::debug!(topic = spec.name, error.message = %error, "topic not made");
            }
        }
    }
}
