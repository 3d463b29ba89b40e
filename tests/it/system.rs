//! A whole Millrace for one test: Kafka, registry, receiver, catalog, and the four services as
//! processes. What a test changes of it is in [`Setup`].

use std::{fs, net::SocketAddr, path::PathBuf};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use testkit::{
    Apicurio, Kafka, Ports, Receiver, Reply, Scratch, Spawned, process::Program, receiver, wait,
};

use crate::{
    SOON,
    events::{Source, sources},
    records::Topics,
};

/// Groups are named after their service.
pub(crate) const TRANSFORM_GROUP: &str = "millrace-transform";
pub(crate) const DELIVER_GROUP: &str = "millrace-deliver";

pub(crate) const PARTITIONS: i32 = 6;

/// The header the mappings put the event's id into, and the one with its ordering key.
pub(crate) const EVENT: &str = "x-event";
pub(crate) const KEY: &str = "x-key";

pub(crate) const DESTINATION_SECRET: &str =
    "whsec_cGxhbnRlZC1kZXN0aW5hdGlvbi1zZWNyZXQtbnVtYmVyLTU=";
pub(crate) const BEARER: &str = "planted-bearer-token-6";

/// Sends an event on to the application. What is asked for in its body decides what becomes of it.
const MAPPING: &str = r#"
what = string(.what) ?? "deliver"
if what == "filter" {
  abort
}
if what == "fail" {
  .number = to_int!(.text)
}
if what == "refuse" {
  %request.path = "/refused" # below the destination's own path
}
key = string(.key) ?? "none"
%request.headers = { "x-event": %id, "x-key": key }
%key = key
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    Ingest,
    Transform,
    Deliver,
    DlqReplayer,
}

pub(crate) const SERVICES: [Service; 4] =
    [Service::Ingest, Service::Transform, Service::Deliver, Service::DlqReplayer];

impl Service {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Transform => "transform",
            Self::Deliver => "deliver",
            Self::DlqReplayer => "dlq-replayer",
        }
    }
}

/// How a system differs from the usual one.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The destination's `retry`.
    pub(crate) retry: Value,
    /// The destination's `breaker`.
    pub(crate) breaker: Value,
    /// What the services log.
    pub(crate) log_level: &'static str,
    /// Where spans go.
    pub(crate) otlp: Option<String>,
    pub(crate) keep_content: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            retry: json!({ "budget": "60s", "base": "50ms" }),
            breaker: json!({}),
            log_level: "info",
            otlp: None,
            keep_content: true,
        }
    }
}

/// Everything around the services.
pub(crate) struct World {
    pub(crate) kafka: Kafka,
    pub(crate) registry: Apicurio,
    pub(crate) receiver: Receiver,
    pub(crate) topics: Topics,
    setup: Setup,
    ports: Ports,
    site: Scratch,
}

impl World {
    /// Starts the parts, writes catalog and configuration, and makes the topics.
    pub(crate) async fn start(setup: &Setup) -> Self {
        let options = receiver::Options {
            id_header: EVENT,
            key_header: KEY,
            keep_content: setup.keep_content,
            ..receiver::Options::default()
        };
        let (kafka, registry, receiver) =
            tokio::join!(Kafka::three(), Apicurio::start(), Receiver::with(options));
        let topics = Topics::of(kafka.bootstrap());
        let (ports, site) = (Ports::reserve(), Scratch::new("site"));
        let setup = setup.clone();
        let world = Self { kafka, registry, receiver, topics, setup, ports, site };
        world.write_catalog(PARTITIONS);
        world.write_config();
        let (status, told) = world.command(&["topics", "apply"]).await;
        assert!(status, "topics apply failed:\n{told}");
        world
    }

    /// Writes the catalog again with other numbers of partitions.
    pub(crate) fn repartition(&self, partitions: i32) {
        self.write_catalog(partitions);
    }

    fn write_catalog(&self, partitions: i32) {
        let entry = |source: Source| (source.name.to_owned(), source.entry(partitions));
        let entries = sources().map(entry);
        let names: Vec<&str> = sources().iter().map(|source| source.name).collect();
        let catalog = json!({
            "apiVersion": "millrace/v1",
            "sources": serde_json::Map::from_iter(entries),
            "routes": [{
                "name": "to-app",
                "from": names,
                "when": r#".what != "nothing""#,
                "map": "mappings/to_app.vrl",
                "to": "app",
                "order": "strict",
            }],
            "destinations": { "app": {
                "kind": "http",
                "url": self.receiver.url("/app"),
                "signing": { "secrets": [{ "file": "secrets/app" }] },
                "auth": { "bearer": { "file": "secrets/bearer" } },
                "retry": self.setup.retry,
                "breaker": self.setup.breaker,
                "partitions": partitions,
            }},
        });
        self.write("catalog/catalog.yaml", &catalog.to_string());
        self.write("catalog/mappings/to_app.vrl", MAPPING);
        self.write("catalog/secrets/app", DESTINATION_SECRET);
        self.write("catalog/secrets/bearer", BEARER);
        for source in sources() {
            self.write(&format!("catalog/secrets/{}", source.name), source.secret);
        }
    }

    fn write_config(&self) {
        let otlp = self.setup.otlp.clone().unwrap_or_default();
        let text = format!(
            r#"
[kafka]
bootstrap_servers = "{}"
[registry]
url = "{}"
[topics]
replication = 3
[catalog]
folder = "{}"
[log]
level = "{}"
format = "json"
[telemetry]
otlp_endpoint = "{otlp}"
[ingest]
listen = "{}"
[deliver]
egress_allow = ["127.0.0.0/8"]
[dlq_replayer]
listen = "{}"
resume_after = "5s"
"#,
            self.kafka.bootstrap(),
            self.registry.url(),
            self.site.path().join("catalog").display(),
            self.setup.log_level,
            self.ingest(),
            self.replayer(),
        );
        self.write("millrace.toml", &text);
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.site.path().join(name);
        let folder = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("the scratch folder is writable");
        fs::write(path, text).expect("the scratch folder is writable");
    }

    /// Where events are accepted.
    pub(crate) fn ingest(&self) -> SocketAddr {
        self.ports.address(0)
    }

    /// Where dead letters are asked for.
    pub(crate) fn replayer(&self) -> SocketAddr {
        self.ports.address(1)
    }

    /// The admin port of an instance of a service.
    pub(crate) fn admin(&self, service: Service, instance: u16) -> SocketAddr {
        self.ports.address(2 + service as u16 + 4 * instance)
    }

    /// The program that is an instance of a service.
    pub(crate) fn program(&self, service: Service, instance: u16) -> Program {
        let admin = self.admin(service, instance);
        self.millrace()
            .arg(service.name())
            .env("MILLRACE_ADMIN__LISTEN", admin)
            .env("MILLRACE_INSTANCE", format!("{}-{instance}", service.name()))
            .admin(admin)
    }

    /// Starts an instance without waiting for it.
    pub(crate) fn spawn(&self, service: Service, instance: u16) -> Spawned {
        self.program(service, instance).spawn()
    }

    /// Runs a command of the operator's, and gives whether it succeeded and what it printed.
    pub(crate) async fn command(&self, arguments: &[&str]) -> (bool, String) {
        let program = arguments.iter().fold(self.millrace(), |program, it| program.arg(it));
        let mut command = program.spawn();
        let status = command.wait_exit(SOON).await;
        (status.success(), command.log())
    }

    fn millrace(&self) -> Program {
        Program::millrace().arg("--config").arg(self.path("millrace.toml").display())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }

    /// The sum of a metric's values at the first instance, if it answers.
    pub(crate) async fn metric(&self, service: Service, name: &str) -> Option<f64> {
        let text = testkit::get(self.admin(service, 0), "/metrics", SOON).await.ok()?.text();
        let lines = text.lines().filter(|line| line.starts_with(name));
        Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Sends one event and gives the answer.
    pub(crate) async fn send(&self, source: &Source, id: &str, body: &Value) -> Reply {
        let request = source.request(id, "order.placed", body);
        self.post(request).await
    }

    pub(crate) async fn post(&self, request: Request<Full<Bytes>>) -> Reply {
        testkit::request(self.ingest(), request, SOON).await.expect("ingest answers")
    }

    /// Waits until a group has committed every record of a topic.
    pub(crate) async fn await_committed(&self, group: &str, topic: &str) {
        let what = format!("{group} to have committed all of {topic}");
        wait::until_some(&what, SOON, || async {
            self.topics.uncommitted_by(group, topic).await.is_empty().then_some(())
        })
        .await;
    }
}

/// A world with all four services running and ready.
pub(crate) struct System {
    pub(crate) world: World,
    services: Vec<(Service, Spawned)>,
}

impl System {
    pub(crate) async fn start(setup: &Setup) -> Self {
        let world = World::start(setup).await;
        let services = SERVICES.map(|service| (service, world.spawn(service, 0)));
        let mut system = Self { world, services: services.into() };
        for service in SERVICES {
            system.of(service).wait_ready(SOON).await;
        }
        system
    }

    pub(crate) fn of(&mut self, service: Service) -> &mut Spawned {
        let found = self.services.iter_mut().find(|(known, _)| *known == service);
        &mut found.expect("all four services are there").1
    }

    /// Everything all services have logged.
    pub(crate) fn logs(&self) -> String {
        self.services.iter().map(|(_, process)| process.log()).collect()
    }
}
