//! A broker, a registry, a catalog and a running ingest; it signs as providers do and reads what was logged.

use std::{
    net::SocketAddr,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use catalog_io::{Catalog, Catalogs, Environment, Source};
use chassis::Process;
use http::Request;
use http_body_util::Full;
use ingest::{Config, Told, World};
use kafka_io::{
    Record,
    embedded::Broker,
    reader::{Range, Reader, ReaderOptions},
};
use registry_io::Registry;
use testkit::{Ports, Reply, wait};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use wire::{Envelope, topics::Names};

pub(crate) const AMPLE: Duration = Duration::from_secs(30);

const CATALOG: &str = r#"apiVersion: millrace/v1
sources:
  code:
    kind: webhook
    verify: { scheme: github, secrets: [{ env: KEY }] }
    format: json
    key: .repository
  pay:
    kind: webhook
    verify: { scheme: stripe, secrets: [{ env: KEY }] }
  standard:
    kind: webhook
    verify: { scheme: standard-webhooks, secrets: [{ env: KEY_64 }] }
  shop:
    kind: webhook
    verify:
      scheme: generic-hmac
      header: X-Shop-Proof
      template: "{timestamp}.{body}"
      timestamp_header: X-Shop-Time
      id_header: X-Shop-Id
      type_header: X-Shop-Type
      secrets: [{ env: KEY }]
    body_max: 64 KiB
"#;

pub(crate) const SOURCES: [&str; 4] = ["code", "pay", "standard", "shop"];

/// How a bench differs from the usual one.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) catalog: Catalog,
    /// Instead of `catalog`, one that changes.
    pub(crate) catalogs: Option<Catalogs>,
    /// Sources whose topics are there from the start.
    pub(crate) topics: Vec<String>,
    pub(crate) process: Process,
    pub(crate) registry_is_up: bool,
}

/// A running ingest and what is around it.
pub(crate) struct Bench {
    pub(crate) address: SocketAddr,
    pub(crate) broker: Broker,
    pub(crate) process: Process,
    pub(crate) catalogs: Catalogs,
    pub(crate) told: mpsc::UnboundedReceiver<Told>,
    pub(crate) running: JoinSet<Result<(), ingest::Error>>,
    kafka: kafka_io::Config,
    registry: Registry,
    registry_address: SocketAddr,
    around: JoinSet<()>,
    _ports: Ports,
}

impl Default for Setup {
    fn default() -> Self {
        let key_64 = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let environment = [("KEY", "a secret of the tests"), ("KEY_64", key_64)].into_iter();
        Self {
            config: Config::default(),
            catalog: load(CATALOG, &environment.collect()),
            catalogs: None,
            topics: SOURCES.map(|source| format!("raw.{source}")).to_vec(),
            process: Process::alone("millrace-ingest"),
            registry_is_up: true,
        }
    }
}

impl Bench {
    /// Starts ingest and waits until it takes events.
    pub(crate) async fn ready() -> Self {
        Self::ready_with(Setup::default()).await
    }

    pub(crate) async fn ready_with(setup: Setup) -> Self {
        let bench = Self::start(setup).await;
        bench.await_ready().await;
        bench
    }

    /// Starts ingest and waits until it listens.
    pub(crate) async fn start(setup: Setup) -> Self {
        let topics: Vec<(String, i32)> = setup.topics.into_iter().map(|t| (t, 1)).collect();
        let broker = Broker::start(&topics).unwrap();
        let kafka = kafka_io::Config::embedded(broker.bootstrap_servers());
        let ports = Ports::reserve();
        let registry_address = ports.address(1);
        let url = format!("http://{registry_address}");
        let registry = Registry::new(&registry_io::Config::at(url)).unwrap();
        let catalogs = setup.catalogs.unwrap_or_else(|| Catalogs::fixed(setup.catalog));
        let (tell, told) = mpsc::unbounded_channel();
        let world = World {
            kafka: kafka.clone(),
            metrics: kafka_io::Metrics::register(setup.process.metrics.registry()),
            registry: registry.clone(),
            catalogs: catalogs.clone(),
            names: Names::new(""),
            listener: Some(Arc::new(move |told| drop(tell.send(told)))),
        };
        let address = ports.address(0);
        let config = Config { listen: address, ..setup.config };
        let process = setup.process;
        let mut running = JoinSet::new();
        let mut around = JoinSet::new();
        if setup.registry_is_up {
            serve_registry(&mut around, registry_address).await;
        }
        running.spawn(ingest::run(config, world, process.clone()));
        wait::until_some("ingest to listen", AMPLE, || async {
            TcpStream::connect(address).await.ok()
        })
        .await;
        let _ports = ports;
        Self {
            address,
            broker,
            process,
            catalogs,
            told,
            running,
            kafka,
            registry,
            registry_address,
            around,
            _ports,
        }
    }

    pub(crate) async fn start_registry(&mut self) {
        serve_registry(&mut self.around, self.registry_address).await;
    }

    pub(crate) async fn await_ready(&self) {
        wait::until("ingest to be ready", AMPLE, || self.process.ready.is_ready()).await;
    }

    pub(crate) async fn await_unmet(&self, condition: &str, why: &str) {
        let unmet = || {
            let unmet = self.process.ready.unmet();
            unmet.iter().any(|u| u.condition == condition && u.reason.contains(why))
        };
        wait::until(&format!("{condition} to be unmet: {why}"), AMPLE, unmet).await;
    }

    pub(crate) fn source(&self, name: &str) -> Arc<Source> {
        self.catalogs.current().sources[name].clone()
    }

    /// Makes a request as the source's provider would send it now.
    pub(crate) fn signed(&self, source: &str, id: &str, body: &[u8]) -> Request<Full<Bytes>> {
        self.signed_at(source, id, body, now_unix())
    }

    pub(crate) fn signed_at(
        &self,
        source: &str,
        id: &str,
        body: &[u8],
        now_unix: i64,
    ) -> Request<Full<Bytes>> {
        let path = format!("/v1/events/{source}");
        let source = self.source(source);
        let sending = signing::Sending {
            event_id: id,
            event_type: "order.placed",
            method: "POST",
            url: None,
            body,
        };
        let headers = signing::sign(&source.scheme, &source.secrets[0], &sending, now_unix);
        let mut request =
            Request::post(path).body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        request.headers_mut().extend(headers.unwrap());
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", json);
        request
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        testkit::request(self.address, request, AMPLE).await.unwrap()
    }

    /// Opens a connection of its own and writes `bytes` on it.
    pub(crate) async fn open(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Returns what lies in a source's topic.
    pub(crate) async fn logged(&self, source: &str) -> Vec<Record> {
        let (kafka, topic) = (self.kafka.clone(), format!("raw.{source}"));
        let read = tokio::task::spawn_blocking(move || {
            let reader = Reader::open(&kafka, ReaderOptions::default()).unwrap();
            let range = Range { topic, partition: 0, from: 0, to: i64::MAX };
            let mut found = Vec::new();
            let end = Instant::now() + AMPLE;
            let read = reader.read(&[range], end, |record| {
                found.push(record.to_record());
                ControlFlow::Continue(())
            });
            read.unwrap();
            found
        });
        read.await.unwrap()
    }

    pub(crate) fn envelope(&self, record: &Record) -> Envelope {
        self.registry.decode_cached(record.value.as_deref().unwrap()).unwrap()
    }

    /// Returns a counter or a count of the metrics, 0 where there is none.
    pub(crate) fn counted(&self, family: &str, labels: &[(&str, &str)]) -> u64 {
        let families = self.process.metrics.registry().gather();
        let found = families.iter().filter(|f| f.name() == family).flat_map(|f| f.get_metric());
        let wanted = found.filter(|metric| {
            labels.iter().all(|(name, value)| {
                metric.get_label().iter().any(|l| l.name() == *name && l.value() == *value)
            })
        });
        wanted
            .map(|m| m.get_counter().get_value() as u64 + m.get_histogram().get_sample_count())
            .sum()
    }

    /// Returns the sum of a family of gauges.
    pub(crate) fn gauge(&self, family: &str) -> i64 {
        let families = self.process.metrics.registry().gather();
        let found = families.iter().filter(|f| f.name() == family).flat_map(|f| f.get_metric());
        found.map(|metric| metric.get_gauge().get_value() as i64).sum()
    }

    /// Stops ingest, which ends well.
    pub(crate) async fn stop(mut self) {
        self.process.stop.cancel();
        self.await_end().await;
        self.around.abort_all();
    }

    pub(crate) async fn await_end(&mut self) {
        let ended = tokio::time::timeout(AMPLE, self.running.join_next()).await;
        ended.unwrap().unwrap().unwrap().unwrap();
    }
}

/// Reads a catalog as an operator's is read.
pub(crate) fn load(text: &str, environment: &Environment) -> Catalog {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("catalog.yaml"), text).unwrap();
    catalog_io::load(folder.path(), environment).unwrap_or_else(|e| panic!("{e}"))
}

async fn serve_registry(around: &mut JoinSet<()>, address: SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    around.spawn(async move {
        registry_io::embedded::serve(listener, CancellationToken::new()).await.unwrap();
    });
}

pub(crate) fn now_unix() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Reads what comes on a connection until it closes; a reset counts as closed.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _reset = tokio::time::timeout(AMPLE, stream.read_to_end(&mut all)).await.unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// Checks a refusal: its status and that it is a problem document.
pub(crate) fn assert_refused(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert_eq!(reply.json()["status"], status);
}
