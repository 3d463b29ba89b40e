//! A registry, a catalog and a running transform on a broker; it writes events and hears what became of them.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use catalog_io::{Catalogs, Environment, Reload};
use chassis::Process;
use kafka_io::{
    Outgoing, TransactionalOptions, TransactionalProducer,
    embedded::Broker,
    reader::{Range, Reader, ReaderOptions},
};
use registry_io::Registry;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use transform::{Became, Config, Told, World};
use wire::{Delivery, Envelope, headers, topics::Names};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const CATALOG: &str = r#"apiVersion: millrace/v1
sources:
  shop:
    kind: webhook
    verify: { scheme: github, secrets: [{ env: SHOP }] }
routes:
  - { name: to-crm, from: shop, when: .kind == "order", map: order.vrl, to: [crm, mail] }
  - { name: to-mail, from: shop, when: .kind == "order" || .kind == "note", map: note.vrl, to: mail }
destinations:
  crm: { kind: http, url: https://crm.example }
  mail: { kind: http, url: https://mail.example }
"#;
pub(crate) const ORDER: &str = "%request.path = \"/orders\"\n%key = .customer\n. = {\"id\": %id, \"total\": to_int!(.total)}\n";
const NOTE: &str = "if .silent == true { abort }\n. = {\"note\": .text}\n";

pub(crate) const TOPICS: [&str; 8] = [
    "raw.shop",
    "raw.shop.replay",
    "dlq.transform.shop",
    "out.crm",
    "out.mail",
    "raw.late",
    "raw.late.replay",
    "dlq.transform.late",
];

/// A registry and a running transform.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) process: Process,
    pub(crate) registry: Registry,
    kafka: kafka_io::Config,
    envelope_id: u32,
    told: mpsc::UnboundedReceiver<Told>,
    running: JoinSet<Result<(), transform::Error>>,
    around: JoinSet<()>,
}

fn load(folder: &Path) -> catalog_io::Catalog {
    catalog_io::load(folder, &environment()).unwrap_or_else(|e| panic!("{e}"))
}

fn environment() -> Environment {
    [("SHOP", "s")].into_iter().collect()
}

async fn registry(around: &mut JoinSet<()>) -> Registry {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    around.spawn(async move {
        registry_io::embedded::serve(listener, CancellationToken::new()).await.unwrap();
    });
    Registry::new(&registry_io::Config::at(format!("http://{address}"))).unwrap()
}

impl Bench {
    /// Starts it on an embedded broker with these topics.
    pub(crate) async fn embedded(catalog: &str, topics: &[&str]) -> (Self, Broker) {
        let topics: Vec<(String, i32)> = topics.iter().map(|t| ((*t).to_owned(), 1)).collect();
        let broker = Broker::start(&topics).unwrap();
        let kafka = kafka_io::Config::embedded(broker.bootstrap_servers());
        (Self::start(kafka, catalog).await, broker)
    }

    pub(crate) async fn start(kafka: kafka_io::Config, catalog: &str) -> Self {
        let mut around = JoinSet::new();
        let registry = registry(&mut around).await;
        let kind = wire::Kind::Envelope;
        let envelope_id = registry.register("raw.shop-value", kind).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("catalog.yaml", catalog), ("order.vrl", ORDER), ("note.vrl", NOTE)] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let (tell, told) = mpsc::unbounded_channel();
        let process = Process::alone("millrace-transform");
        let world = World {
            kafka: kafka.clone(),
            metrics: kafka_io::Metrics::default(),
            registry: registry.clone(),
            catalogs: watched(folder.path(), &process, &mut around),
            names: Names::new(""),
            listener: Some(Arc::new(move |told| drop(tell.send(told)))),
        };
        let mut running = JoinSet::new();
        running.spawn(transform::run(Config::default(), world, process.clone()));
        Self { folder, process, registry, kafka, envelope_id, told, running, around }
    }

    pub(crate) fn event(&self, id: &str, body: &str) -> Outgoing {
        let envelope = Envelope {
            event_id: id.into(),
            source: "shop".into(),
            event_type: "test".into(),
            subject: None,
            time_ms: 1,
            received_ms: 2,
            correlation_id: format!("c-{id}"),
            causation_id: None,
            content_type: "application/json".into(),
            http_headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        };
        let value = wire::encode(&envelope, self.envelope_id).unwrap();
        let headers = headers::cloud_event(&envelope, None);
        record("raw.shop", value, headers)
    }

    /// Writes records as one transaction.
    pub(crate) fn write(&self, records: &[Outgoing]) {
        let options = TransactionalOptions::new("feeder");
        let mut producer = TransactionalProducer::new(&self.kafka, &options).unwrap();
        producer.init(PATIENCE).unwrap();
        producer.begin().unwrap();
        for record in records {
            producer.send(record, PATIENCE).unwrap();
        }
        producer.flush_and_await(PATIENCE).unwrap();
        producer.commit(|| true).unwrap();
    }

    /// Returns the next `count` things told, sorted by event and route.
    pub(crate) async fn hear(&mut self, count: usize) -> Vec<(String, String, Became)> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
            let told =
                told.unwrap_or_else(|_| panic!("only {heard:?}; {:?}", self.process.ready.unmet()));
            let Told { event_id, route, became, .. } = told.unwrap();
            heard.push((event_id, route, became));
        }
        heard.sort_by_key(|(event, route, became)| {
            (event.clone(), route.clone(), format!("{became:?}"))
        });
        heard
    }

    pub(crate) fn read(&self, topic: &str) -> Vec<Outgoing> {
        let reader = Reader::open(&self.kafka, ReaderOptions::default()).unwrap();
        let range = Range { topic: topic.to_owned(), partition: 0, from: 0, to: i64::MAX };
        let mut found = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        reader
            .read(&[range], deadline, |record| {
                let record = record.to_record();
                found.push(Outgoing {
                    topic: record.topic,
                    partition: Some(record.partition),
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                    timestamp_ms: Some(record.timestamp_ms),
                });
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    pub(crate) fn deliveries(&self, topic: &str) -> Vec<Delivery> {
        let each = self.read(topic).into_iter();
        each.map(|r| self.registry.decode_cached(&r.value.unwrap()).unwrap()).collect()
    }

    /// Waits until the topics' condition says all of this.
    pub(crate) async fn await_missing(&self, parts: &[&str]) {
        let unmet = || {
            let unmet = self.process.ready.unmet();
            let mut of_topics = unmet.iter().filter(|u| u.condition == "topics");
            of_topics.any(|u| parts.iter().all(|part| u.reason.contains(part)))
        };
        testkit::wait::until(&format!("topics to be unmet: {parts:?}"), PATIENCE, unmet).await;
    }

    pub(crate) async fn await_ready(&self) {
        let ready = || self.process.ready.is_ready();
        testkit::wait::until("transform to be ready", PATIENCE, ready).await;
    }

    /// Replaces a part of the catalog's file.
    pub(crate) fn change(&self, from: &str, to: &str) {
        let file = self.folder.path().join("catalog.yaml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(file, text.replace(from, to)).unwrap();
    }

    pub(crate) async fn stop(mut self) {
        self.process.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running.join_next()).await;
        ended.unwrap().unwrap().unwrap().unwrap();
        self.around.abort_all();
    }
}

fn watched(folder: &Path, process: &Process, around: &mut JoinSet<()>) -> Catalogs {
    // The watch reads the process's environment, so its catalogs name files only.
    let text = fs::read_to_string(folder.join("catalog.yaml")).unwrap();
    fs::write(folder.join("catalog.yaml"), text.replace("env: SHOP", "file: secret")).unwrap();
    fs::write(folder.join("secret"), "s").unwrap();
    let told = |reload: Reload| match reload {
        Reload::Taken { .. } => {}
        Reload::Refused(problems) => panic!("{problems}"),
    };
    let first = load(folder);
    let (catalogs, keep) = catalog_io::watch(first, folder.into(), process.stop.clone(), told);
    around.spawn(keep);
    catalogs
}

pub(crate) fn record(topic: &str, value: Bytes, headers: headers::Headers) -> Outgoing {
    let (topic, key) = (topic.into(), Some("k".into()));
    Outgoing { topic, partition: None, key, value: Some(value), headers, timestamp_ms: None }
}

pub(crate) fn mapped(became: &Became) -> &str {
    match became {
        Became::Mapped { destination, .. } => destination,
        other => panic!("{other:?}"),
    }
}
