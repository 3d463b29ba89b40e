//! Transform on the embedded broker: what becomes of events, one by one.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use catalog_io::{Catalogs, Environment, Reload};
use chassis::Process;
use domain::dead_letter::Reason;
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

const PATIENCE: Duration = Duration::from_secs(30);

const CATALOG: &str = r#"apiVersion: millrace/v1
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
const ORDER: &str = "%request.path = \"/orders\"\n%key = .customer\n. = {\"id\": %id, \"total\": to_int!(.total)}\n";
const NOTE: &str = "if .silent == true { abort }\n. = {\"note\": .text}\n";

const TOPICS: [&str; 8] = [
    "raw.shop",
    "raw.shop.replay",
    "dlq.transform.shop",
    "out.crm",
    "out.mail",
    "raw.late",
    "raw.late.replay",
    "dlq.transform.late",
];

/// A broker, a registry and a running transform.
struct Bench {
    broker: Broker,
    kafka: kafka_io::Config,
    registry: Registry,
    envelope_id: u32,
    folder: TempDir,
    process: Process,
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
    async fn start(topics: &[&str]) -> Self {
        let topics: Vec<(String, i32)> = topics.iter().map(|t| ((*t).to_owned(), 1)).collect();
        let broker = Broker::start(&topics).unwrap();
        let kafka = kafka_io::Config::embedded(broker.bootstrap_servers());
        let mut around = JoinSet::new();
        let registry = registry(&mut around).await;
        let kind = wire::Kind::Envelope;
        let envelope_id = registry.register("raw.shop-value", kind).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("catalog.yaml", CATALOG), ("order.vrl", ORDER), ("note.vrl", NOTE)] {
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
        Self { broker, kafka, registry, envelope_id, folder, process, told, running, around }
    }

    fn event(&self, id: &str, body: &str) -> Outgoing {
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
    fn write(&self, records: &[Outgoing]) {
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
    async fn hear(&mut self, count: usize) -> Vec<(String, String, Became)> {
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

    fn read(&self, topic: &str) -> Vec<Outgoing> {
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

    fn deliveries(&self, topic: &str) -> Vec<Delivery> {
        let each = self.read(topic).into_iter();
        each.map(|r| self.registry.decode_cached(&r.value.unwrap()).unwrap()).collect()
    }

    async fn stop(mut self) {
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

fn record(topic: &str, value: Bytes, headers: headers::Headers) -> Outgoing {
    let (topic, key) = (topic.into(), Some("k".into()));
    Outgoing { topic, partition: None, key, value: Some(value), headers, timestamp_ms: None }
}

fn mapped(became: &Became) -> &str {
    match became {
        Became::Mapped { destination, .. } => destination,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_become_deliveries_or_are_filtered_unrouted_or_dead() {
    let mut bench = Bench::start(&TOPICS).await;
    bench.write(&[
        bench.event("e1", r#"{"kind":"order","customer":"ann","total":"7","text":"hi"}"#),
        bench.event("e2", r#"{"kind":"note","silent":true}"#),
        bench.event("e3", r#"{"kind":"other"}"#),
        bench.event("e4", r#"{"kind":"order","customer":"bob","total":"many","text":"ho"}"#),
        record("raw.shop", Bytes::from_static(b"no record of ours"), Vec::new()),
    ]);
    let heard = bench.hear(8).await;
    let became: Vec<(&str, &str)> =
        heard.iter().map(|(e, r, _)| (e.as_str(), r.as_str())).collect();
    let expected = [
        ("", ""),
        ("e1", "to-crm"),
        ("e1", "to-crm"),
        ("e1", "to-mail"),
        ("e2", "to-mail"),
        ("e3", ""),
        ("e4", "to-crm"),
        ("e4", "to-mail"),
    ];
    assert_eq!(became, expected);
    assert_eq!(
        [mapped(&heard[1].2), mapped(&heard[2].2), mapped(&heard[3].2)],
        ["crm", "mail", "mail"]
    );
    assert_eq!((&heard[4].2, &heard[5].2), (&Became::Filtered, &Became::Unrouted));
    assert!(matches!(heard[0].2, Became::Failed { reason: Reason::Undecodable, .. }));
    assert!(matches!(heard[6].2, Became::Failed { reason: Reason::MappingFailed, .. }));
    deliveries_are_whole(&bench);
    dead_letters_are_whole(&bench);
    bench.stop().await;
}

fn deliveries_are_whole(bench: &Bench) {
    let crm = bench.read("out.crm");
    assert_eq!(crm.len(), 1);
    assert_eq!(crm[0].key.as_deref(), Some(&b"ann"[..]));
    assert_eq!(headers::text(&crm[0].headers, headers::CE_ID), Some("e1"));
    assert_eq!(headers::text(&crm[0].headers, headers::ROUTE), Some("to-crm"));
    assert!(headers::context(&crm[0].headers, headers::TRACEPARENT).is_some());
    let delivery = &bench.deliveries("out.crm")[0];
    assert_eq!(delivery.request.path, "/orders");
    assert_eq!(delivery.request.body, br#"{"id":"e1","total":7}"#);
    assert_eq!(delivery.correlation_id, "c-e1");
    let mut ids: Vec<String> =
        bench.deliveries("out.mail").into_iter().map(|d| d.delivery_id).collect();
    ids.push(delivery.delivery_id.clone());
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each delivery has a key of its own");
}

fn dead_letters_are_whole(bench: &Bench) {
    let letters = bench.read("dlq.transform.shop");
    let told: BTreeMap<&str, &Outgoing> = letters
        .iter()
        .map(|l| (headers::text(&l.headers, headers::DLQ_REASON).unwrap(), l))
        .collect();
    assert_eq!(letters.len(), 2);
    let letter = told["mapping_failed"];
    assert_eq!(headers::text(&letter.headers, headers::ROUTE), Some("to-crm"));
    assert_eq!(headers::text(&letter.headers, headers::CE_ID), Some("e4"));
    assert_eq!(headers::text(&letter.headers, headers::DLQ_SOURCE_OFFSET), Some("3"));
    let envelope: Envelope = bench.registry.decode_cached(letter.value.as_ref().unwrap()).unwrap();
    assert_eq!(envelope.event_id, "e4");
    assert_eq!(told["undecodable"].value.as_deref(), Some(&b"no record of ours"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_repeats_the_failed_route_alone_with_the_catalog_of_then() {
    let mut bench = Bench::start(&TOPICS).await;
    bench.write(&[bench.event("e4", r#"{"kind":"order","customer":"bob","total":"many"}"#)]);
    let first = bench.hear(2).await;
    assert!(matches!(first[0].2, Became::Failed { .. }));
    let mended = ORDER.replace("to_int!(.total)", ".total");
    fs::write(bench.folder.path().join("order.vrl"), mended).unwrap();
    let letter = bench.read("dlq.transform.shop").remove(0);
    let again =
        headers::replay(&letter.headers, &headers::Replay { job: "j", by: "ann", at_ms: 0 });
    let replayed = Outgoing { topic: "raw.shop.replay".into(), headers: again, ..letter };
    let heard = loop {
        // Until the new mapping is taken the replay fails as the event did.
        bench.write(std::slice::from_ref(&replayed));
        let heard = bench.hear(1).await.remove(0);
        if matches!(heard.2, Became::Mapped { .. }) {
            break [heard, bench.hear(1).await.remove(0)];
        }
    };
    assert_eq!(heard.each_ref().map(|(_, route, _)| route.as_str()), ["to-crm", "to-crm"]);
    let mail = bench.deliveries("out.mail");
    let routes: Vec<&str> = mail.iter().map(|d| d.route.as_str()).collect();
    assert_eq!(routes, ["to-mail", "to-crm"], "the route that did not fail is not repeated");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named_and_waited_for() {
    let mut bench = Bench::start(&TOPICS[..4]).await;
    let unmet = || {
        let unmet = bench.process.ready.unmet();
        unmet.iter().any(|u| u.condition == "topics" && u.reason.contains("out.mail"))
    };
    testkit::wait::until("the missing topic is named", PATIENCE, unmet).await;
    bench.broker.create_topic("out.mail", 1).unwrap();
    bench.write(&[bench.event("e1", r#"{"kind":"note","text":"hi"}"#)]);
    assert_eq!(mapped(&bench.hear(1).await[0].2), "mail");
    let process = bench.process.clone();
    testkit::wait::until("transform is ready", PATIENCE, || process.ready.is_ready()).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_source_is_read_once_the_catalog_has_it() {
    let mut bench = Bench::start(&TOPICS).await;
    bench.write(&[bench.event("e1", r#"{"kind":"note","text":"hi"}"#)]);
    bench.hear(1).await;
    let file = bench.folder.path().join("catalog.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let late = "sources:\n  late:\n    kind: webhook\n    verify: { scheme: github, secrets: [{ file: secret }] }\n";
    let text = text.replace("sources:\n", late).replace(
        "from: shop, when: .kind == \"order\" ||",
        "from: [shop, late], when: .kind == \"order\" ||",
    );
    fs::write(&file, text).unwrap();
    let event = bench.event("e2", r#"{"kind":"note","text":"late"}"#);
    bench.write(&[Outgoing { topic: "raw.late".into(), ..event }]);
    let heard = bench.hear(1).await;
    assert_eq!((heard[0].0.as_str(), mapped(&heard[0].2)), ("e2", "mail"));
    bench.stop().await;
}
