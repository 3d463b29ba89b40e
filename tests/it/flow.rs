//! The main job: what a signed request becomes, and what of it can be seen, and what never can.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_io::{Outgoing, TransactionalOptions, TransactionalProducer};
use serde_json::{Value, json};
use testkit::{OtlpSink, Receiver, get, receiver::Rule, sink::Span, wait};
use wire::headers;

use crate::{
    SOON,
    events::{Source, orders, sources},
    records::{event_id, header},
    secrets::{self, SENDERS_COOKIE, SENDERS_TOKEN},
    system::{
        BEARER, DELIVER_GROUP, DESTINATION_SECRET, EVENT, Service, Setup, System, TRANSFORM_GROUP,
    },
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What is asked for, and how many of it are sent by each source.
const ASKED: [(&str, usize); 5] =
    [("deliver", 3), ("filter", 1), ("nothing", 1), ("fail", 1), ("refuse", 1)];

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_becomes_what_it_asks_for_and_betrays_no_secret() {
    let sink = OtlpSink::start().await;
    // What becomes of a single event is told at this level.
    let log_level = "info,transform=debug";
    let setup = Setup { log_level, otlp: Some(sink.url()), ..Setup::default() };
    let system = System::start(&setup).await;
    system
        .world
        .receiver
        .on(Rule::path("/app").answers([secrets::repeated_by_the_third_party(200)]));
    let refusal = secrets::repeated_by_the_third_party(422);
    system.world.receiver.on(Rule::path("/app/refused").answers([refusal]));
    let mut answers = String::new();
    for source in sources() {
        answers += &send_each(&system, &source).await;
    }
    delivered_once_and_signed(&system).await;
    what_no_route_wants_is_counted_and_told(&system).await;
    dead_letters_say_why(&system).await;
    what_cannot_be_decoded_is_a_dead_letter(&system).await;
    one_trace_through_all_hops(&sink).await;
    metrics_have_their_names(&system).await;
    answers += &secrets::replayers_answers(&system, &id(&orders(), "refuse", 0)).await;
    secrets::are_nowhere(&system, &sink, &answers, &id(&orders(), "deliver", 0)).await;
}

fn id(source: &Source, what: &str, number: usize) -> String {
    format!("{}-{what}-{number}", source.name)
}

/// Sends what is asked for, and gives all answers as text.
async fn send_each(system: &System, source: &Source) -> String {
    let mut answers = String::new();
    for (what, count) in ASKED {
        for number in 0..count {
            let id = id(source, what, number);
            let body = body(&id, what, number);
            let mut request = source.request(&id, "order.placed", &body);
            let headers = request.headers_mut();
            headers.insert("authorization", format!("Bearer {SENDERS_TOKEN}").parse().unwrap());
            headers.insert("cookie", format!("session={SENDERS_COOKIE}").parse().unwrap());
            let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
            headers.insert("traceparent", parent.parse().unwrap());
            let reply = system.world.post(request).await;
            assert_eq!(reply.status, 200, "{id}: {}", reply.text());
            assert_eq!(reply.json()["event_id"], id.as_str());
            assert!(reply.json()["correlation_id"].is_string());
            answers += &format!("{:?}{}", reply.headers, reply.text());
        }
    }
    answers
}

fn body(id: &str, what: &str, number: usize) -> Value {
    let key = format!("key-{number}");
    json!({ "id": id, "type": "order.placed", "what": what, "key": key, "text": "no number" })
}

async fn delivered_once_and_signed(system: &System) {
    let receiver: &Receiver = &system.world.receiver;
    receiver.await_taken(sources().len() * 3, SOON).await;
    let wanted: BTreeSet<String> = sources()
        .iter()
        .flat_map(|source| (0..3).map(|number| id(source, "deliver", number)))
        .collect();
    let taken: Vec<_> = receiver.arrivals().into_iter().filter(|it| it.is_taken()).collect();
    let ids: Vec<String> = taken.iter().filter_map(|it| it.id.clone()).collect();
    assert_eq!(ids.len(), wanted.len(), "each once: {ids:?}");
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), wanted);
    for arrival in &taken {
        let header = |name| arrival.header(name).unwrap_or_default();
        let at = header("webhook-timestamp").parse().unwrap();
        let key = [DESTINATION_SECRET];
        let signed = signing::standard_webhooks::signature;
        let signature = signed(&key, header("webhook-id"), at, &arrival.body).unwrap();
        assert_eq!(header("webhook-signature"), signature, "{:?}", header(EVENT));
        assert_eq!(header("authorization"), format!("Bearer {BEARER}"));
    }
}

/// Each once: in transform's log by its id, and in its counter.
async fn what_no_route_wants_is_counted_and_told(system: &System) {
    let mut wanted = sources().map(|source| id(&source, "nothing", 0));
    wanted.sort_unstable();
    let told = wait::until_some("the unrouted events in transform's log", SOON, || async {
        let told = unrouted_ids(&system.logs());
        (told.len() >= wanted.len()).then_some(told)
    })
    .await;
    assert_eq!(told, wanted);
    let text = metrics(system, Service::Transform).await;
    let counted: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("millrace_transform_events_total{"))
        .filter(|line| line.contains(r#"outcome="unrouted""#))
        .collect();
    let [one] = counted[..] else { panic!("one series counts them: {counted:?}") };
    assert_eq!(one.rsplit(' ').next(), Some(wanted.len().to_string().as_str()), "{one}");
}

/// The ids of the events that transform says no route wanted, sorted.
fn unrouted_ids(logs: &str) -> Vec<String> {
    let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = lines.filter(|line| {
        line["message"] == "event unrouted" && line["service.name"] == "millrace-transform"
    });
    let mut ids: Vec<String> =
        told.filter_map(|line| Some(line["event_id"].as_str()?.to_owned())).collect();
    ids.sort_unstable();
    ids
}

async fn dead_letters_say_why(system: &System) {
    let topics = &system.world.topics;
    for source in sources() {
        let topic = format!("dlq.transform.{}", source.name);
        let letters = await_records(system, &topic, 1).await;
        assert_eq!(event_id(&letters[0]), id(&source, "fail", 0));
        let origin = header(&letters[0], headers::DLQ_SOURCE_TOPIC);
        assert_eq!(origin, Some(format!("raw.{}", source.name).as_str()));
        assert!(header(&letters[0], headers::DLQ_REASON).is_some());
        let raw = topics.all(&format!("raw.{}", source.name)).await;
        let original = raw.iter().find(|record| event_id(record) == event_id(&letters[0]));
        let original = original.expect("the event is in the log");
        assert_eq!((&original.value, &original.key), (&letters[0].value, &letters[0].key));
        assert_eq!(original.partition, letters[0].partition);
    }
    let refused = await_records(system, "dlq.deliver.app", sources().len()).await;
    let ids: BTreeSet<String> = refused.iter().map(event_id).collect();
    let wanted: BTreeSet<String> = sources().iter().map(|source| id(source, "refuse", 0)).collect();
    assert_eq!(ids, wanted);
}

/// Waits until a topic has `count` records, and gives them.
async fn await_records(system: &System, topic: &str, count: usize) -> Vec<kafka_io::Record> {
    let what = format!("{count} records in {topic}");
    wait::until_some(&what, SOON, || async {
        let records = system.world.topics.all(topic).await;
        (records.len() >= count).then_some(records)
    })
    .await
}

async fn what_cannot_be_decoded_is_a_dead_letter(system: &System) {
    let inputs = [
        ("raw.orders", "dlq.transform.orders"),
        ("raw.orders.replay", "dlq.transform.orders"),
        ("out.app", "dlq.deliver.app"),
        ("out.app.replay", "dlq.deliver.app"),
    ];
    let bootstrap = system.world.kafka.bootstrap();
    let write = move || {
        let config = kafka_io::Config::plain(bootstrap);
        let options = TransactionalOptions::new("test-garbage");
        let mut producer = TransactionalProducer::new(&config, &options).unwrap();
        producer.init(SOON).unwrap();
        producer.begin().unwrap();
        for (topic, _) in inputs {
            producer.send(&garbage(topic), SOON).unwrap();
        }
        producer.flush_and_await(SOON).unwrap();
        producer.commit(|| true).unwrap();
    };
    tokio::task::spawn_blocking(write).await.unwrap();
    for (input, letters) in inputs {
        let what = format!("the undecodable record of {input} in {letters}");
        wait::until_some(&what, SOON, || async {
            let found = system.world.topics.all(letters).await;
            found.into_iter().find(|letter| {
                header(letter, headers::DLQ_SOURCE_TOPIC) == Some(input)
                    && letter.value.as_deref() == Some(garbage(input).value.unwrap().as_ref())
            })
        })
        .await;
    }
    system.world.await_committed(TRANSFORM_GROUP, "raw.orders").await;
    system.world.await_committed(DELIVER_GROUP, "out.app").await;
}

fn garbage(topic: &str) -> Outgoing {
    Outgoing {
        topic: Arc::from(topic),
        partition: Some(1),
        key: Some(Bytes::from_static(b"key-1")),
        value: Some(Bytes::from(format!("no avro in {topic}"))),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

/// The sender's context is a stranger's: the event's trace begins at ingest, and links to it.
async fn one_trace_through_all_hops(sink: &OtlpSink) {
    let event = id(&orders(), "deliver", 0);
    let wanted = [
        ("millrace-ingest", "SPAN_KIND_SERVER"),
        ("millrace-ingest", "SPAN_KIND_PRODUCER"),
        ("millrace-transform", "SPAN_KIND_CONSUMER"),
        ("millrace-transform", "SPAN_KIND_PRODUCER"),
        ("millrace-deliver", "SPAN_KIND_CONSUMER"),
        ("millrace-deliver", "SPAN_KIND_CLIENT"),
    ];
    let is_of = |span: &Span, service: &str, kind: &str| {
        span.resource.get("service.name").is_some_and(|it| it == service)
            && span.kind.as_str_name() == kind
    };
    let is_whole = |spans: &[Span]| {
        let spans = trace_of(spans, &event);
        wanted.iter().all(|(service, kind)| spans.iter().any(|span| is_of(span, service, kind)))
    };
    let spans = sink.await_spans("the spans of all three hops", SOON, is_whole).await;
    let spans = trace_of(&spans, &event);
    let known: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let roots: Vec<&Span> =
        spans.iter().filter(|span| !known.contains(span.parent_id.as_str())).collect();
    assert_eq!(
        roots.len(),
        1,
        "one span begins the trace, all others have their parent: {roots:#?}"
    );
    assert!(is_of(roots[0], "millrace-ingest", "SPAN_KIND_SERVER"), "{:#?}", roots[0]);
    assert!(roots[0].parent_id.is_empty(), "the sender decides nothing: {:#?}", roots[0]);
    assert!(roots[0].links.iter().any(|(trace, _)| trace == TRACE), "{:#?}", roots[0]);
}

/// The spans of the trace that the writing of an event's record is in.
fn trace_of(spans: &[Span], event: &str) -> Vec<Span> {
    let is_its = |span: &&Span| {
        span.attributes.get("cloudevents.event_id").is_some_and(|id| id == event)
            && span.resource.get("service.name").is_some_and(|it| it == "millrace-ingest")
    };
    let Some(trace) = spans.iter().find(is_its).map(|span| &span.trace_id) else {
        return Vec::new();
    };
    spans.iter().filter(|span| span.trace_id == *trace).cloned().collect()
}

async fn metrics_have_their_names(system: &System) {
    let wanted: [(Service, &[&str]); 3] = [
        (
            Service::Ingest,
            &["millrace_ingest_events_total", "http_server_request_duration_seconds"],
        ),
        (Service::Transform, &["millrace_transform_events_total", "millrace_consumer_lag_records"]),
        (
            Service::Deliver,
            &[
                "millrace_delivery_attempts_total",
                "millrace_delivery_events_total",
                "millrace_e2e_latency_seconds",
                "http_client_request_duration_seconds",
                "millrace_consumer_assigned_partitions",
            ],
        ),
    ];
    for (service, names) in wanted {
        let text = metrics(system, service).await;
        for name in names.iter().chain(&["millrace_build_info", "process_cpu_seconds_total"]) {
            let is_there = text.lines().any(|line| line.starts_with(name));
            assert!(is_there, "{} has no {name}", service.name());
        }
    }
}

pub(crate) async fn metrics(system: &System, service: Service) -> String {
    let admin = system.world.admin(service, 0);
    get(admin, "/metrics", Duration::from_secs(5)).await.expect("the admin port answers").text()
}
