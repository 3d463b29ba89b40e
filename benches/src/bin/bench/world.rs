//! What the benches stand on: a real Kafka, a real registry, a receiver; and sites, each a Millrace
//! of its own on them, with topics and groups that nobody has used before.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use kafka_io::{Metrics, Outgoing, Producer, ProducerOptions};
use testkit::{
    Apicurio, Kafka, Ports, Receiver, Scratch, Spawned, process::Program, receiver::Options,
    request,
};
use wire::{Kind, topics::Names};

use crate::records;

const READY: Duration = Duration::from_secs(60);
/// Records on their way to the broker while a topic is filled: less than the producer's window.
const FILLING: usize = 4_000;
pub(crate) const PARTITIONS: i32 = 3;
/// What a broker of the bench bears in its heap: a site of 200 destinations, and nothing beside it.
const PARTITIONS_MAX: u64 = 1_820;

pub(crate) struct World {
    pub(crate) kafka: Kafka,
    pub(crate) receiver: Receiver,
    registry: Apicurio,
    ports: Ports,
    folder: Scratch,
    producer: Producer,
}

/// One world after the other: a new one before the broker has more topics than it bears.
pub(crate) struct Worlds {
    brokers: u16,
    world: Option<World>,
    partitions: u64,
}

/// A destination of a site's catalog.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) name: String,
    pub(crate) url: String,
    /// How many requests at a time, at most.
    pub(crate) concurrency: u64,
    /// How many of them however long an answer takes: 1 where an operator says nothing.
    pub(crate) concurrency_min: u64,
    pub(crate) partitions: i32,
}

/// One Millrace: a source, a route, its destinations, their topics, a configuration.
pub(crate) struct Site<'w> {
    pub(crate) world: &'w World,
    pub(crate) names: Names,
    config: PathBuf,
}

impl Worlds {
    pub(crate) fn new(brokers: u16) -> Self {
        Self { brokers, world: None, partitions: 0 }
    }

    /// A world with room for a site of so many destinations.
    pub(crate) async fn with_room(&mut self, destinations: u64) -> &World {
        // Each has deliveries, replays and dead letters; the source and receipts are as much as two.
        let more = (destinations + 2) * 3 * u64::from(PARTITIONS.unsigned_abs());
        if self.world.is_none() || self.partitions + more > PARTITIONS_MAX {
            drop(self.world.take());
            self.world = Some(World::start(self.brokers).await);
            self.partitions = 0;
        }
        self.partitions += more;
        self.world.as_ref().unwrap()
    }
}

impl World {
    /// Starts everything.
    pub(crate) async fn start(brokers: u16) -> Self {
        let kafka = Kafka::start(brokers).await;
        let registry = Apicurio::start().await;
        let options = Options { keep_content: false, id_header: "x-event", ..Options::default() };
        let receiver = Receiver::with(options).await;
        let producer = producer(&kafka, Duration::from_millis(5));
        let (ports, folder) = (Ports::reserve(), Scratch::new("bench"));
        Self { kafka, receiver, registry, ports, folder, producer }
    }

    /// Makes a site with one destination, the receiver, that bears everything, and its topics.
    pub(crate) async fn site(&self, name: &str) -> Site<'_> {
        let bench = Destination {
            name: "bench".to_owned(),
            url: self.receiver.url("/"),
            concurrency: records::IN_FLIGHT,
            concurrency_min: records::IN_FLIGHT,
            partitions: PARTITIONS,
        };
        self.site_of(name, &[bench]).await
    }

    /// Makes a site with these destinations, and its topics.
    pub(crate) async fn site_of(&self, name: &str, destinations: &[Destination]) -> Site<'_> {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(folder.join("catalog")).unwrap();
        fs::write(folder.join("catalog/map.vrl"), records::MAPPING).unwrap();
        fs::write(folder.join("catalog/secret"), records::SECRET).unwrap();
        fs::write(folder.join("catalog/catalog.yaml"), catalog(destinations)).unwrap();
        let prefix = format!("{name}.");
        let config = folder.join("millrace.toml");
        fs::write(&config, self.configuration(&folder, &prefix)).unwrap();
        let site = Site { world: self, names: Names::new(prefix), config };
        let mut apply = site.millrace().arg("topics").arg("apply").spawn();
        assert!(apply.wait_exit(READY).await.success(), "{}", apply.log());
        site
    }

    fn configuration(&self, folder: &Path, prefix: &str) -> String {
        format!(
            "[kafka]\nbootstrap_servers = \"{}\"\n[registry]\nurl = \"{}\"\n\
             [topics]\nprefix = \"{prefix}\"\nreplication = {}\n[catalog]\nfolder = \"{}\"\n\
             [ingest]\nlisten = \"{}\"\n[dlq_replayer]\nlisten = \"{}\"\n\
             [deliver]\negress_allow = [\"127.0.0.0/8\"]\n[log]\nlevel = \"warn\"\n",
            self.kafka.bootstrap(),
            self.registry.url(),
            self.kafka.nodes(),
            folder.join("catalog").display(),
            self.ingest(),
            self.ports.address(1),
        )
    }

    /// Where ingest listens; its floor too, in its turn.
    pub(crate) fn ingest(&self) -> SocketAddr {
        self.ports.address(0)
    }

    /// Where nobody listens but who is told to.
    pub(crate) fn spare(&self) -> SocketAddr {
        self.ports.address(6)
    }

    /// A producer whose records do not wait for others.
    pub(crate) fn prompt(&self) -> Producer {
        producer(&self.kafka, Duration::ZERO)
    }

    /// A program of this build.
    pub(crate) fn program(&self, name: &str) -> Program {
        let own = std::env::current_exe().unwrap();
        Program::at(own.parent().unwrap().join(name))
    }

    /// Writes records; returns when all are acknowledged.
    pub(crate) async fn fill(&self, records: impl Iterator<Item = Outgoing>) {
        let mut waiting = VecDeque::with_capacity(FILLING);
        for record in records {
            if waiting.len() >= FILLING {
                let oldest: kafka_io::Acknowledgement = waiting.pop_front().unwrap();
                oldest.await.unwrap();
            }
            waiting.push_back(self.producer.try_send(record).unwrap());
        }
        for acknowledgement in waiting {
            acknowledgement.await.unwrap();
        }
    }
}

impl Site<'_> {
    fn millrace(&self) -> Program {
        self.world.program("millrace").env("MILLRACE_CONFIG", self.config.display())
    }

    /// Starts a service.
    pub(crate) fn spawn(&self, name: &str) -> Spawned {
        let offset = match name {
            "ingest" => 2,
            "transform" => 3,
            "deliver" => 4,
            _ => 5,
        };
        let admin = self.world.ports.address(offset);
        let program = self.millrace().arg(name).env("MILLRACE_ADMIN__LISTEN", admin);
        program.env("MILLRACE_INSTANCE", format!("{name}-0")).admin(admin).spawn()
    }

    /// Starts a service and waits until it is ready.
    pub(crate) async fn service(&self, name: &str) -> Spawned {
        let mut service = self.spawn(name);
        service.wait_ready(READY).await;
        service
    }

    /// Returns the id under which a topic's schema is registered.
    pub(crate) async fn schema_id(&self, topic: &str, kind: Kind) -> u32 {
        let url = self.world.registry.url();
        let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
        let body = serde_json::json!({ "schema": kind.schema() }).to_string();
        let post = Request::post(format!("/{path}/subjects/{}/versions", wire::subject(topic)))
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .body(Full::<Bytes>::from(body))
            .unwrap();
        let reply = request(address.parse().unwrap(), post, READY).await.unwrap().json();
        reply["id"].as_u64().unwrap().try_into().unwrap()
    }
}

fn producer(kafka: &Kafka, linger: Duration) -> Producer {
    let config = kafka_io::Config::plain(kafka.bootstrap());
    let options = ProducerOptions { linger, ..ProducerOptions::default() };
    Producer::open(&config, options, &Metrics::default()).unwrap()
}

fn catalog(destinations: &[Destination]) -> String {
    let listed: Vec<String> = destinations
        .iter()
        .map(|destination| {
            let Destination { name, url, concurrency, concurrency_min, partitions } = destination;
            format!(
                "  {name}: {{ kind: http, url: \"{url}\", concurrency: {concurrency}, \
                 concurrency_min: {concurrency_min}, partitions: {partitions} }}\n"
            )
        })
        .collect();
    format!(
        "apiVersion: millrace/v1\n\
         sources:\n  bench:\n    kind: webhook\n    key: .repository.full_name\n    partitions: {PARTITIONS}\n    \
         verify: {{ scheme: github, secrets: [{{ file: secret }}] }}\n\
         routes:\n  - {{ name: bench, from: bench, map: map.vrl, to: {} }}\n\
         destinations:\n{}",
        destinations[0].name,
        listed.concat(),
    )
}
