//! Everything around the service: broker, registry, topics, catalog, and what it tells.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use catalog_io::{Auth, Catalog, Catalogs, Destination};
use chassis::Process;
use deliver::{Config, Desk, Told, What};
use domain::{
    breaker, catalog as rules,
    catalog::Protocol,
    offset_map::OffsetMap,
    outcome::Overrides,
    rate::Rate,
    retry::{Delays, Policy},
};
use kafka_io::{
    Metrics, Outgoing, Producer, ProducerOptions, Record,
    embedded::Broker,
    reader::{Range, Reader, ReaderOptions},
};
use registry_io::Registry;
use testkit::wait;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use wire::{
    Delivery, Header, Kind, Order, Receipt, Request,
    control::{Act, Word},
    headers,
    topics::Names,
};

pub(crate) const AMPLE: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 2;

pub(crate) struct World {
    pub(crate) broker: Arc<Broker>,
    pub(crate) names: Names,
    pub(crate) process: Process,
    kafka: kafka_io::Config,
    registry: Registry,
    producer: Producer,
    schema: u32,
    told: Arc<Mutex<Vec<Told>>>,
    _registry_runs: tokio_util::sync::DropGuard,
}

/// A destination at `url`, quick to try again, whose breaker never opens.
pub(crate) fn destination(name: &str, url: &str) -> Destination {
    let (base, cap) = (Duration::from_millis(20), Duration::from_millis(100));
    let retry = Policy { delays: Delays::Doubling { base, cap }, ..Policy::default() };
    let breaker = breaker::Policy { attempts_min: u32::MAX, ..breaker::Policy::default() };
    let spec = rules::Destination {
        name: name.parse().unwrap(),
        url: url.to_owned(),
        method: "POST".to_owned(),
        headers: Vec::new(),
        timeout: Duration::from_secs(20),
        rate: Rate::UNLIMITED,
        concurrency: 64,
        concurrency_min: 1,
        breaker,
        protocol: Protocol::Auto,
        retry,
        outcomes: Overrides::default(),
        propagate_trace: false,
        probe: rules::Probe::default(),
    };
    Destination {
        spec,
        signing: Vec::new(),
        auth: Auth::None,
        shared_rate: None,
        partitions: PARTITIONS,
    }
}

pub(crate) fn catalog(destinations: Vec<Destination>) -> Catalog {
    let destinations: BTreeMap<_, _> =
        destinations.into_iter().map(|d| (d.spec.name.clone(), Arc::new(d))).collect();
    let version = format!("{}", destinations.len());
    Catalog { version, sources: BTreeMap::new(), routes: Vec::new(), destinations }
}

/// A delivery whose id says its key and its place among those of the key.
pub(crate) fn delivery(destination: &str, key: &str, number: usize) -> Delivery {
    let header = Header { name: "x-key".to_owned(), value: key.to_owned() };
    Delivery {
        delivery_id: format!("{key}-{number}"),
        event_id: format!("evt-{key}-{number}"),
        source: "shop".to_owned(),
        event_type: "order.paid".to_owned(),
        route: "shop-to-it".to_owned(),
        destination: destination.to_owned(),
        correlation_id: "cor".to_owned(),
        event_time_ms: 1,
        received_ms: 2,
        created_ms: 3,
        mapping_version: "none".to_owned(),
        split_index: 0,
        order: Order::Strict,
        fallback: None,
        request: Request {
            method: String::new(),
            path: String::new(),
            query: Vec::new(),
            headers: vec![header],
            content_type: "application/json".to_owned(),
            body: format!("{{\"number\":{number}}}").into_bytes(),
        },
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config { drain_seconds: 5, acknowledge_seconds: 5, ..Config::default() };
    config.egress_allow.allow.push("127.0.0.0/8".parse().unwrap());
    config
}

impl World {
    /// Prepares a world with the topics of these destinations.
    pub(crate) async fn of(destinations: &[&str]) -> Self {
        let world = Self::without_topics().await;
        world.make_topics(destinations);
        world
    }

    pub(crate) async fn without_topics() -> Self {
        let broker = Arc::new(Broker::start(&[]).unwrap());
        let kafka = kafka_io::Config::embedded(broker.bootstrap_servers());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(registry_io::embedded::serve(listener, stop.clone()));
        let registry = Registry::new(&registry_io::Config::at(url)).unwrap();
        let schema = registry.register("out.any-value", Kind::Delivery).await.unwrap();
        let options = ProducerOptions::default();
        let producer = Producer::open(&kafka, options, &Metrics::default()).unwrap();
        Self {
            broker,
            names: Names::new(""),
            process: Process::alone("millrace-deliver"),
            kafka,
            registry,
            producer,
            schema,
            told: Arc::default(),
            _registry_runs: stop.drop_guard(),
        }
    }

    pub(crate) fn make_topics(&self, destinations: &[&str]) {
        for topic in [self.names.state(), self.names.audit()] {
            self.broker.create_topic(&topic, 1).unwrap();
        }
        self.make_lanes(destinations);
    }

    /// Makes all but those of operators.
    pub(crate) fn make_lanes(&self, destinations: &[&str]) {
        self.broker.create_topic(&self.names.receipts(), 1).unwrap();
        for name in destinations {
            for topic in
                [self.names.out(name), self.names.out_replay(name), self.names.dlq("deliver", name)]
            {
                self.broker.create_topic(&topic, PARTITIONS).unwrap();
            }
        }
    }

    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Starts the service; it stops with the process's token.
    pub(crate) fn start(&self, catalogs: Catalogs) -> JoinHandle<Result<(), deliver::Error>> {
        self.start_with(config(), catalogs, self.registry.clone())
    }

    pub(crate) fn start_with(
        &self,
        config: Config,
        catalogs: Catalogs,
        registry: Registry,
    ) -> JoinHandle<Result<(), deliver::Error>> {
        let told = self.told.clone();
        let world = deliver::World {
            kafka: self.kafka.clone(),
            metrics: Metrics::default(),
            registry,
            catalogs,
            names: self.names.clone(),
            broker: Some(self.broker.clone()),
            listener: Some(Arc::new(move |what| told.lock().unwrap().push(what))),
        };
        tokio::spawn(deliver::run(config, world, self.process.clone()))
    }

    pub(crate) async fn send(&self, delivery: &Delivery) {
        self.send_as(delivery, 0).await;
    }

    pub(crate) async fn send_as(&self, delivery: &Delivery, partition: i32) {
        let value = wire::encode(delivery, self.schema).unwrap();
        let key = delivery.request.headers.first().map(|h| Bytes::from(h.value.clone()));
        let headers = headers::delivery(delivery, None, None);
        self.write(&delivery.destination, partition, key, Some(value), headers).await;
    }

    pub(crate) async fn write(
        &self,
        destination: &str,
        partition: i32,
        key: Option<Bytes>,
        value: Option<Bytes>,
        headers: headers::Headers,
    ) {
        let topic = self.names.out(destination);
        self.put(&topic, partition, (key, value), headers).await;
    }

    pub(crate) async fn put(
        &self,
        topic: &str,
        partition: i32,
        (key, value): (Option<Bytes>, Option<Bytes>),
        headers: headers::Headers,
    ) {
        let (topic, partition) = (topic.into(), Some(partition));
        let timestamp_ms = Some(1_700_000_000_000);
        let record = Outgoing { topic, partition, key, value, headers, timestamp_ms };
        self.producer.send(record).await.unwrap();
    }

    pub(crate) fn desk(&self) -> Desk {
        Desk::new(self.kafka.clone(), self.names.clone())
    }

    /// Has an operator do something to a destination.
    pub(crate) async fn operator(&self, act: Act, destination: &str) {
        let word =
            Word { by: "ann".to_owned(), at_ms: 1, why: "it is moved".to_owned(), event_id: None };
        self.desk().act(act, destination, &word).await.unwrap();
    }

    /// What the audit holds, each as `who what destination`.
    pub(crate) async fn audit(&self) -> Vec<String> {
        let records = self.read(&self.names.audit(), 0).await;
        let told = |record: Record| {
            let told: BTreeMap<String, String> =
                serde_json::from_slice(&record.value.unwrap()).unwrap();
            format!("{} {} {}", told["by"], told["what"], told["destination"])
        };
        records.into_iter().map(told).collect()
    }

    /// Whether the process shows this line among its metrics.
    pub(crate) fn shows(&self, line: &str) -> bool {
        let families = self.process.metrics.registry().gather();
        let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
        text.lines().any(|shown| shown == line)
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until so many deliveries are over, one way or the other.
    pub(crate) async fn await_over(&self, count: usize) {
        let over = |told: &Told| match &told.what {
            What::Attempted { outcome, .. } => *outcome == domain::outcome::Outcome::Delivered,
            What::DeadLettered { .. } => true,
            // Its fallback has it now, and tells the end.
            What::HandedOver { .. } => false,
        };
        let what = format!("{count} deliveries over");
        wait::until(&what, AMPLE, || self.told().iter().filter(|t| over(t)).count() >= count).await;
    }

    pub(crate) async fn receipts(&self) -> Vec<Receipt> {
        let records = self.read(&self.names.receipts(), 0).await;
        let decode = |r: Record| self.registry.decode_cached(&r.value.unwrap()).unwrap();
        records.into_iter().map(decode).collect()
    }

    pub(crate) async fn dead_letters(&self, destination: &str, partition: i32) -> Vec<Record> {
        self.read(&self.names.dlq("deliver", destination), partition).await
    }

    pub(crate) async fn read(&self, topic: &str, partition: i32) -> Vec<Record> {
        let (kafka, topic) = (self.kafka.clone(), topic.to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            let reader = Reader::open(&kafka, ReaderOptions::default()).unwrap();
            let mut records = Vec::new();
            let range = Range { topic, partition, from: 0, to: i64::MAX };
            let until = Instant::now() + AMPLE;
            reader
                .read(&[range], until, |view| {
                    records.push(view.to_record());
                    ControlFlow::Continue(())
                })
                .unwrap();
            records
        });
        reading.await.unwrap()
    }

    /// Waits until everything before `next` of a destination's partition is committed.
    pub(crate) async fn await_committed(&self, destination: &str, partition: i32, next: i64) {
        let look = || async {
            let committed = self.committed(destination, partition).await;
            committed.is_some_and(|map| map.commit_point() == next).then_some(())
        };
        wait::until_some(&format!("{destination} committed to {next}"), AMPLE, look).await;
    }

    /// What the last commit of a destination's partition says.
    pub(crate) async fn committed(&self, destination: &str, partition: i32) -> Option<OffsetMap> {
        let (kafka, group) = (self.kafka.clone(), deliver::group(&self.names));
        let topic = self.names.out(destination);
        let asked = tokio::task::spawn_blocking(move || {
            let reader = Reader::open(&kafka, ReaderOptions::default()).unwrap();
            reader.committed(&group, &[(topic, partition)]).unwrap()
        });
        asked.await.unwrap().into_values().next()
    }

    /// Waits until a destination's breaker is in this state.
    pub(crate) async fn await_breaker(&self, destination: &str, state: &str) {
        let name = "millrace_delivery_breaker_state";
        let states = self.process.metrics.gauge_vec(name, name, &["destination", "state"]);
        let state_now = states.with_label_values(&[destination, state]);
        let what = format!("the breaker of {destination} {state}");
        wait::until(&what, AMPLE, || state_now.get() == 1).await;
    }

    /// How many deliveries were given up on.
    pub(crate) fn given_up(&self) -> usize {
        let is_letter = |told: &&Told| matches!(told.what, What::DeadLettered { .. });
        self.told().iter().filter(is_letter).count()
    }

    pub(crate) async fn await_ready(&self) {
        let what = format!("ready: {:?}", self.process.ready.unmet());
        wait::until(&what, AMPLE, || self.process.ready.is_ready()).await;
    }

    pub(crate) async fn await_unmet(&self, condition: &str, part: &str) {
        let unmet = || self.process.ready.unmet();
        wait::until(&format!("{condition} unmet because of {part}"), AMPLE, || {
            unmet().iter().any(|u| u.condition == condition && u.reason.contains(part))
        })
        .await;
    }
}
