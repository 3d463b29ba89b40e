//! What the benches stand on: a real Kafka, a real registry, a receiver, topics, one configuration.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use millrace_floor::{Reports, headers, producer};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use testkit::{
    Apicurio, Kafka, Ports, Receiver, Scratch, Spawned, process::Program, receiver::Options, request,
};
use tokio::sync::oneshot;

use crate::records;

const READY: Duration = Duration::from_secs(60);
const MAPPING: &str = r#"kind = string(.type) ?? ""
customer = string(.customer) ?? ""
%request.headers = { "x-event": %id }
. = { "id": .id, "kind": kind, "customer": customer, "payload": .data }
"#;

pub struct World {
    pub kafka: Kafka,
    pub receiver: Receiver,
    pub registry: Apicurio,
    ports: Ports,
    folder: Scratch,
    producer: ThreadedProducer<Reports>,
}

impl World {
    /// Starts everything and makes the topics of `pairs` sources and destinations.
    pub async fn start(brokers: u16, pairs: usize) -> Self {
        let kafka = Kafka::start(brokers).await;
        let registry = Apicurio::start().await;
        let options = Options { keep_content: false, id_header: "x-event", ..Options::default() };
        let receiver = Receiver::with(options).await;
        let producer = producer(&kafka.bootstrap(), "5");
        let (ports, folder) = (Ports::reserve(), Scratch::new("bench"));
        let world = Self { kafka, receiver, registry, ports, folder, producer };
        world.write_files(pairs);
        let mut apply = world.program("millrace").arg("topics").arg("apply").spawn();
        assert!(apply.wait_exit(READY).await.success(), "{}", apply.log());
        world
    }

    fn write_files(&self, pairs: usize) {
        let folder = self.folder.path();
        fs::create_dir_all(folder.join("catalog")).unwrap();
        fs::write(folder.join("catalog/map.vrl"), MAPPING).unwrap();
        fs::write(folder.join("catalog/secret"), records::SECRET).unwrap();
        fs::write(folder.join("catalog/catalog.yaml"), self.catalog(pairs)).unwrap();
        let config = format!(
            "[kafka]\nbootstrap_servers = \"{}\"\n[registry]\nurl = \"{}\"\n[topics]\nreplication = {}\n\
             [catalog]\nfolder = \"{}\"\n[ingest]\nlisten = \"{}\"\n[dlq_replayer]\nlisten = \"{}\"\n\
             [deliver]\negress_allow = [\"127.0.0.0/8\"]\n[log]\nlevel = \"warn\"\n",
            self.kafka.bootstrap(),
            self.registry.url(),
            self.kafka.nodes(),
            folder.join("catalog").display(),
            self.ingest(),
            self.ports.address(1),
        );
        fs::write(folder.join("millrace.toml"), config).unwrap();
    }

    fn catalog(&self, pairs: usize) -> String {
        let mut text = "apiVersion: millrace/v1\nsources:\n".to_owned();
        let each = 0..pairs;
        for n in each.clone() {
            text += &format!(
                "  s{n}:\n    kind: webhook\n    verify: {{ scheme: github, secrets: [{{ file: secret }}] }}\n    key: .repository.full_name\n    partitions: 3\n"
            );
        }
        text += "routes:\n";
        for n in each.clone() {
            text += &format!("  - {{ name: r{n}, from: s{n}, map: map.vrl, to: d{n} }}\n");
        }
        text += "destinations:\n";
        for n in each {
            let url = self.receiver.url("/");
            text += &format!(
                "  d{n}: {{ kind: http, url: \"{url}\", concurrency: 256, partitions: 3 }}\n"
            );
        }
        text
    }

    /// Where ingest listens; its floor too, in its turn.
    pub fn ingest(&self) -> SocketAddr {
        self.ports.address(0)
    }

    /// A program of this build.
    pub fn program(&self, name: &str) -> Program {
        let program = Program::at(self.executable(name));
        program.env("MILLRACE_CONFIG", self.folder.path().join("millrace.toml").display())
    }

    fn executable(&self, name: &str) -> PathBuf {
        let own = std::env::current_exe().unwrap();
        own.parent().map(Path::to_owned).unwrap().join(name)
    }

    /// Starts a service and waits until it is ready.
    pub async fn service(&self, name: &str) -> Spawned {
        let offset = match name {
            "ingest" => 2,
            "transform" => 3,
            "deliver" => 4,
            _ => 5,
        };
        let admin = self.ports.address(offset);
        let program = self.program("millrace").arg(name).env("MILLRACE_ADMIN__LISTEN", admin);
        let mut service = program.env("MILLRACE_INSTANCE", format!("{name}-0")).admin(admin).spawn();
        service.wait_ready(READY).await;
        service
    }

    /// Returns the id under which a topic's schema is registered.
    pub async fn schema_id(&self, topic: &str, kind: wire::Kind) -> u32 {
        let url = self.registry.url();
        let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
        let body = serde_json::json!({ "schema": kind.schema() }).to_string();
        let post = Request::post(format!("/{path}/subjects/{}/versions", wire::subject(topic)))
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .body(Full::<Bytes>::from(body))
            .unwrap();
        let reply = request(address.parse().unwrap(), post, READY).await.unwrap().json();
        reply["id"].as_u64().unwrap().try_into().unwrap()
    }

    /// Writes records to a topic; returns when all are acknowledged.
    pub async fn fill(&self, topic: &str, records: impl Iterator<Item = (String, Bytes)>) {
        let mut last = None;
        for (key, value) in records {
            let (sender, report) = oneshot::channel();
            let mut waiting = BaseRecord::with_opaque_to(topic, Box::new(sender))
                .key(&key)
                .payload(&value[..])
                .headers(headers(&key));
            while let Err((_full, back)) = self.producer.send(waiting) {
                waiting = back;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            last = Some(report);
        }
        self.producer.flush(READY).unwrap();
        assert!(last.unwrap().await.unwrap(), "the topic took the records");
    }
}
