//! Everything around the replayer: broker, registry, topics, dead letters.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dlq_replayer::{
    Choice, Counts, Ended, Filter, Job, LetterId, PageOrder, Query, Replayer, Summary, Wanted,
};
use domain::dead_letter::Reason;
use kafka_io::{
    Metrics, Outgoing, Producer, ProducerOptions, Record, Written,
    embedded::Broker,
    reader::{Range, Reader, ReaderOptions},
};
use registry_io::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use wire::{
    Delivery, Kind, Order, Request,
    headers::{self, Failure, Headers},
    topics::Names,
};

pub(crate) const AMPLE: Duration = Duration::from_secs(30);
const PARTITIONS: i32 = 2;

/// A cluster, embedded or real, with the topics of a destination `crm` and a source `shop`.
pub(crate) struct World {
    /// Ends with the world.
    pub(crate) broker: Option<Arc<Broker>>,
    pub(crate) kafka: kafka_io::Config,
    pub(crate) names: Names,
    pub(crate) registry: Registry,
    producer: Producer,
    schema: u32,
    _registry_runs: DropGuard,
}

/// A dead letter to be written.
pub(crate) struct Letter {
    pub(crate) event: String,
    pub(crate) partition: i32,
    /// Where it lay in `out.crm`.
    pub(crate) origin: i64,
    pub(crate) reason: Reason,
    pub(crate) at_ms: i64,
    /// The record's own time, which deliver takes from the original; `None` is now.
    pub(crate) written_ms: Option<i64>,
    pub(crate) replays: u32,
}

impl Letter {
    pub(crate) fn new(number: i64) -> Self {
        Self {
            event: format!("evt-{number}"),
            partition: 0,
            origin: number,
            reason: Reason::Permanent,
            at_ms: 1_700_000_000_000 + number,
            written_ms: None,
            replays: 0,
        }
    }
}

/// Every topic that the tests use, with its partitions.
pub(crate) fn topics(names: &Names) -> Vec<(String, i32)> {
    let shared = [names.state(), names.audit(), names.quarantine(), names.receipts()];
    let streams = [
        names.raw("shop"),
        names.raw_replay("shop"),
        names.dlq("transform", "shop"),
        names.out("crm"),
        names.out("spare"),
        names.out_replay("crm"),
        names.dlq("deliver", "crm"),
    ];
    let shared = shared.into_iter().map(|topic| (topic, 1));
    shared.chain(streams.into_iter().map(|topic| (topic, PARTITIONS))).collect()
}

impl World {
    pub(crate) async fn embedded() -> Self {
        let names = Names::new("t.");
        let broker = Arc::new(Broker::start(&topics(&names)).unwrap());
        let kafka = kafka_io::Config::embedded(broker.bootstrap_servers());
        Self::of(kafka, names, Some(broker)).await
    }

    pub(crate) async fn of(
        kafka: kafka_io::Config,
        names: Names,
        broker: Option<Arc<Broker>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(registry_io::embedded::serve(listener, stop.clone()));
        let registry = Registry::new(&registry_io::Config::at(url)).unwrap();
        let schema = registry.register("t.out.crm-value", Kind::Delivery).await.unwrap();
        let producer =
            Producer::open(&kafka, ProducerOptions::default(), &Metrics::default()).unwrap();
        let _registry_runs = stop.drop_guard();
        Self { broker, kafka, names, registry, producer, schema, _registry_runs }
    }

    pub(crate) fn replayer(&self) -> Replayer {
        Replayer::new(self.world())
    }

    pub(crate) fn world(&self) -> dlq_replayer::World {
        dlq_replayer::World {
            kafka: self.kafka.clone(),
            registry: self.registry.clone(),
            names: self.names.clone(),
        }
    }

    pub(crate) fn letters(&self) -> String {
        self.names.dlq("deliver", "crm")
    }

    /// Writes dead letters of deliver and returns their ids.
    pub(crate) async fn write(&self, letters: impl IntoIterator<Item = Letter>) -> Vec<LetterId> {
        // They are handed over in this order, and written in it.
        let writes = letters.into_iter().map(|letter| self.producer.send(self.outgoing(letter)));
        let written = futures::future::join_all(writes).await.into_iter().map(Result::unwrap);
        let id = |written: Written| LetterId {
            topic: self.letters(),
            partition: written.partition,
            offset: written.offset,
        };
        written.map(id).collect()
    }

    fn outgoing(&self, letter: Letter) -> Outgoing {
        let delivery = delivery(&letter.event);
        let value = wire::encode(&delivery, self.schema).unwrap();
        Outgoing {
            topic: self.letters().into(),
            partition: Some(letter.partition),
            headers: headers_of(&self.names, &delivery, &letter),
            key: Some(letter.event.into()),
            value: Some(value),
            timestamp_ms: letter.written_ms,
        }
    }

    /// Writes any record.
    pub(crate) async fn put(&self, topic: &str, value: Bytes, headers: Headers) {
        let outgoing = Outgoing {
            topic: topic.into(),
            partition: Some(0),
            key: None,
            value: Some(value),
            headers,
            timestamp_ms: None,
        };
        self.producer.send(outgoing).await.unwrap();
    }

    /// Reads a topic to its end.
    pub(crate) async fn read(&self, topic: String) -> Vec<Record> {
        let kafka = self.kafka.clone();
        tokio::task::spawn_blocking(move || {
            let reader = Reader::open(&kafka, ReaderOptions::default()).unwrap();
            let info = reader.topics().unwrap().into_iter().find(|t| t.name == topic).unwrap();
            let range =
                |partition| Range { topic: topic.clone(), partition, from: 0, to: i64::MAX };
            let ranges: Vec<Range> = (0..info.partitions).map(range).collect();
            let mut records = Vec::new();
            reader
                .read(&ranges, Instant::now() + AMPLE, |view| {
                    records.push(view.to_record());
                    ControlFlow::Continue(())
                })
                .unwrap();
            records
        })
        .await
        .unwrap()
    }

    /// Returns the events in the lane of `crm`, in their order.
    pub(crate) async fn lane(&self) -> Vec<String> {
        let records = self.read(self.names.out_replay("crm")).await;
        records.iter().map(|record| text(record, headers::CE_ID)).collect()
    }
}

pub(crate) fn text(record: &Record, name: &str) -> String {
    headers::text(&record.headers, name).unwrap_or_default().to_owned()
}

pub(crate) fn delivery(event: &str) -> Delivery {
    Delivery {
        delivery_id: format!("del-{event}"),
        event_id: event.to_owned(),
        source: "shop".to_owned(),
        event_type: "order.paid".to_owned(),
        route: "shop-to-crm".to_owned(),
        destination: "crm".to_owned(),
        correlation_id: format!("cor-{event}"),
        event_time_ms: 1,
        received_ms: 2,
        created_ms: 1_600_000_000_003,
        mapping_version: "none".to_owned(),
        split_index: 0,
        order: Order::Strict,
        fallback: None,
        request: Request {
            method: "POST".to_owned(),
            path: "/orders".to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            content_type: "application/json".to_owned(),
            body: br#"{"total":7}"#.to_vec(),
        },
    }
}

fn headers_of(names: &Names, delivery: &Delivery, letter: &Letter) -> Headers {
    let mut original = headers::delivery(delivery, None, None);
    if letter.replays > 0 {
        original.push((headers::REPLAY_COUNT.to_owned(), letter.replays.to_string().into()));
    }
    headers::dead_letter(
        &original,
        &Failure {
            reason: letter.reason,
            error_type: "status",
            message: "410 gone",
            service: "millrace-deliver",
            service_version: "0.1.0",
            at_ms: letter.at_ms,
            source_topic: &names.out("crm"),
            source_partition: letter.partition,
            source_offset: letter.origin,
            source_timestamp_ms: 1,
            traceparent: None,
        },
    )
}

pub(crate) fn all() -> Wanted {
    wanted(Choice::Filter(Filter::default()))
}

pub(crate) fn wanted(choice: Choice) -> Wanted {
    Wanted { choice, again: false, by: "ann".to_owned(), replays_max: 3 }
}

/// Starts a job and runs it to its end.
pub(crate) async fn replay(replayer: &Replayer, wanted: Wanted) -> Job {
    let job = replayer.start(wanted).await.unwrap();
    let ended = replayer.run_job(&job.id, CancellationToken::new(), |_| {}).await.unwrap();
    match ended {
        Ended::Done(job) => *job,
        Ended::Stopped | Ended::TakenOver => panic!("the job ended as {ended:?}"),
    }
}

/// Lists all letters, page by page.
pub(crate) async fn list(
    replayer: &Replayer,
    filter: Filter,
    order: PageOrder,
    limit: usize,
) -> Vec<Summary> {
    let mut letters = Vec::new();
    let mut query = Query { filter, order, limit, cursor: None };
    loop {
        let page = replayer.list(query.clone()).await.unwrap();
        assert!(page.letters.len() <= limit);
        letters.extend(page.letters);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return letters,
        }
    }
}

pub(crate) fn counts(change: impl FnOnce(&mut Counts)) -> Counts {
    let mut counts = Counts::default();
    change(&mut counts);
    counts
}
