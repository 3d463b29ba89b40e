//! All services in one process, on the embedded broker and registry or on configured ones.

use std::{net::SocketAddr, sync::Arc};

use catalog_io::Catalog;
use chassis::{Frame, Readiness, frame::Work};
use tokio_util::sync::CancellationToken;

use crate::{
    compose::{self, Service, World},
    embedded::Embedded,
    failure::Failure,
    leftovers::Asking,
    service,
    settings::Config,
    shared, specs,
    told::Ear,
};

/// A process about to run all services.
pub(crate) struct House {
    frame: Frame,
    work: Vec<Work>,
    world: World,
    pub(crate) config: Config,
    pub(crate) ready: Readiness,
    /// Lives as long as the services.
    embedded: Option<Arc<Embedded>>,
}

impl House {
    /// Binds, builds and connects; embedded or not is the caller's word.
    pub(crate) async fn build(
        mut config: Config,
        catalog: Catalog,
        embed: bool,
        ear: Option<Ear>,
    ) -> Result<Self, Failure> {
        let names = shared::names(&config);
        let embedded = match embed {
            true => Some(Arc::new(start(&mut config, &catalog).await?)),
            false => None,
        };
        let mut frame =
            Frame::start(config.frame(), service::BUILD).await.map_err(service::not_started)?;
        let mut processes = Vec::new();
        for service in Service::ALL {
            let process = frame.process(service.name()).map_err(service::not_started)?;
            processes.push((service, process));
        }
        let (metrics, ready) = (processes[0].1.metrics.clone(), processes[0].1.ready.clone());
        let registry = service::registry(&config, &metrics)?;
        let new_topics = topics_of_reloads(&config, embedded.clone());
        let asking = Some(Asking::new(&config, &names));
        let (catalogs, watch) =
            compose::watch(&config, catalog, &frame, &metrics, asking, new_topics);
        let kafka = config.kafka.clone();
        let broker = embedded.as_ref().map(|embedded| embedded.broker.clone());
        let world = World { kafka, registry, catalogs, names, broker, ear };
        let services = processes.into_iter();
        let mut work: Vec<Work> = services
            .map(|(service, process)| compose::work(service, &config, &world, process))
            .collect();
        work.push(watch);
        Ok(Self { frame, work, world, config, ready, embedded })
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.frame.admin_address()
    }

    pub(crate) fn stop(&self) -> CancellationToken {
        self.frame.stop()
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Runs the services, and `beside` as one of them, until a signal or the stop token.
    pub(crate) async fn run(mut self, beside: Vec<Work>) -> Result<(), chassis::Ended> {
        self.work.extend(beside);
        let ended = self.frame.run(self.work).await;
        // The services have let go of the broker by now.
        drop(self.embedded);
        ended
    }
}

/// Lets deliveries go to this machine, which a deployment refuses.
pub(crate) fn allow_loopback(config: &mut Config) {
    for range in ["127.0.0.0/8", "::1/128"] {
        config.deliver.egress_allow.allow.push(range.parse().expect("it is a range"));
    }
}

async fn start(config: &mut Config, catalog: &Catalog) -> Result<Embedded, Failure> {
    let specs = specs::specs(catalog, &shared::names(config), &config.topics);
    let embedded = Embedded::start(&specs).await?;
    config.kafka = embedded.kafka.clone();
    config.registry = embedded.registry.clone();
    Ok(embedded)
}

/// On the embedded broker, where nobody runs `topics apply`, a new catalog's topics are made here.
fn topics_of_reloads(
    config: &Config,
    embedded: Option<Arc<Embedded>>,
) -> impl Fn(&str) + Send + 'static {
    let config = config.clone();
    move |_version| {
        let Some(embedded) = &embedded else { return };
        if let Ok(catalog) = shared::catalog(&config.catalog.folder) {
            embedded.add(&specs::specs(&catalog, &shared::names(&config), &config.topics));
        }
    }
}
