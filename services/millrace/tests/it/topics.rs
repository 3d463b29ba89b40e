//! Topics and what removed destinations leave behind, on a real broker.

use std::{path::Path, sync::Arc, time::Duration};

use kafka_io::{Config, Outgoing, TransactionalOptions, TransactionalProducer};
use testkit::{Kafka, Ports};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Running, changed, code, millrace, text, until_gauge};

const WITHIN: Duration = Duration::from_secs(30);
const RELOADED: &str = "millrace_config_last_reload_successful";

fn topics(kafka: &Kafka, arguments: &[&str]) -> (i32, String) {
    let bootstrap = kafka.bootstrap();
    let variables = [
        ("MILLRACE_KAFKA__BOOTSTRAP_SERVERS", bootstrap.as_str()),
        ("MILLRACE_TOPICS__REPLICATION", "1"),
    ];
    let output = millrace(&[&["topics"], arguments].concat(), &variables);
    (code(&output), text(&output))
}

fn write(kafka: &Kafka, topic: &str, count: usize) {
    write_on(&Config::plain(kafka.bootstrap()), topic, count);
}

/// Writes records in one transaction.
pub(crate) fn write_on(kafka: &Config, topic: &str, count: usize) {
    let options = TransactionalOptions::new("test");
    let mut producer = TransactionalProducer::new(kafka, &options).unwrap();
    producer.init(WITHIN).unwrap();
    producer.begin().unwrap();
    for _ in 0..count {
        let record = Outgoing {
            topic: Arc::from(topic),
            partition: Some(0),
            key: None,
            value: Some("x".into()),
            headers: vec![],
            timestamp_ms: None,
        };
        producer.send(&record, WITHIN).unwrap();
    }
    producer.flush_and_await(WITHIN).unwrap();
    producer.commit(|| true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_by_the_command_alone_and_nothing_left_behind_is_forgotten() {
    let kafka = Kafka::one().await;
    let (code, text) = topics(&kafka, &["verify"]);
    assert_eq!(code, 1);
    for part in ["raw.github: missing", "3 partitions", "`millrace topics apply`"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let (code, text) = topics(&kafka, &["apply"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(topics(&kafka, &["verify"]).0, 0);
    assert!(topics(&kafka, &["apply"]).1.contains("all topics are as wanted"));

    let folder = without_mail();
    let without_mail = ["--catalog", folder.path().to_str().unwrap()];
    let on = |arguments: &[&str]| topics(&kafka, &[arguments, &without_mail].concat());
    // Nothing is left yet, so nothing has to be said.
    assert_eq!(on(&["apply"]).0, 0);

    write(&kafka, "out.mail", 3);
    write(&kafka, "dlq.deliver.mail", 2);
    for action in ["apply", "verify"] {
        let (code, text) = on(&[action]);
        assert_eq!(code, 1, "{text}");
        for part in ["mail", "3 undelivered records and 2 dead letters", "--drain", "--abandon"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
    let (code, text) = on(&["apply", "--abandon", "mail"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(on(&["verify"]).0, 0);
    // It comes back, and the next removal has to be decided on anew.
    let (code, text) = topics(&kafka, &["apply"]);
    assert!(code == 0 && text.contains("mail is back"), "{text}");
    assert_eq!(on(&["verify"]).0, 1);
    assert_eq!(topics(&kafka, &["apply", "--abandon", "mail"]).0, 1);
}

/// The examples, with mail renamed.
fn without_mail() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    changed(folder.path(), renamed);
    folder
}

fn renamed(text: &str) -> String {
    text.replace("  mail:", "  post:").replace("to: mail", "to: post")
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_anybody_counts_is_told_as_at_least_so_many_and_can_be_abandoned() {
    let kafka = Kafka::one().await;
    assert_eq!(topics(&kafka, &["apply"]).0, 0);
    write(&kafka, "dlq.deliver.mail", 10_100);
    let folder = without_mail();
    let on = |arguments: &[&str]| {
        topics(&kafka, &[arguments, &["--catalog", as_text(folder.path())]].concat())
    };
    let counts = "0 undelivered records and at least 10000 dead letters";
    for action in ["verify", "plan"] {
        let (_, text) = on(&[action]);
        assert!(text.contains(counts), "{action}: {text}");
    }
    let (code, text) = on(&["apply", "--abandon", "mail"]);
    assert!(code == 0 && text.contains(&format!("abandoned with {counts}")), "{text}");
    assert_eq!(on(&["verify"]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_deliver_refuses_to_lose_a_destination_until_it_is_decided_on() {
    let kafka = Kafka::one().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let _registry = tokio::spawn(registry_io::embedded::serve(listener, stop.clone()));
    assert_eq!(topics(&kafka, &["apply"]).0, 0);
    write(&kafka, "dlq.deliver.mail", 2);
    let (folder, ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    changed(folder.path(), str::to_owned);
    let (bootstrap, admin) = (kafka.bootstrap(), ports.address(0));
    let address = admin.to_string();
    let variables = [
        ("MILLRACE_KAFKA__BOOTSTRAP_SERVERS", bootstrap.as_str()),
        ("MILLRACE_REGISTRY__URL", registry.as_str()),
        ("MILLRACE_ADMIN__LISTEN", address.as_str()),
        ("MILLRACE_CATALOG__FOLDER", as_text(folder.path())),
    ];
    let mut deliver = Running::start(&["deliver"], &variables);
    until_gauge(admin, RELOADED, 1).await;
    changed(folder.path(), renamed);
    until_gauge(admin, RELOADED, 0).await;
    // Put back, the catalog in force is the folder's again.
    changed(folder.path(), str::to_owned);
    until_gauge(admin, RELOADED, 1).await;
    changed(folder.path(), renamed);
    until_gauge(admin, RELOADED, 0).await;
    let new = ["apply", "--catalog", as_text(folder.path()), "--drain", "mail"];
    let (code, text) = topics(&kafka, &new);
    assert!(code == 0 && text.contains("mail is drained"), "{text}");
    until_gauge(admin, RELOADED, 1).await;
    deliver.interrupt();
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_destination_is_drained_by_the_old_catalog_and_refused_by_the_new() {
    let kafka = Kafka::one().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let _registry = tokio::spawn(registry_io::embedded::serve(listener, stop.clone()));
    assert_eq!(topics(&kafka, &["apply"]).0, 0);
    // They can't be decoded: deliver makes them dead letters, which ends them as well.
    write(&kafka, "out.mail", 3);
    let folder = without_mail();
    let bootstrap = kafka.bootstrap();
    let old = [
        ("MILLRACE_KAFKA__BOOTSTRAP_SERVERS", bootstrap.as_str()),
        ("MILLRACE_TOPICS__REPLICATION", "1"),
        ("MILLRACE_REGISTRY__URL", registry.as_str()),
        ("MILLRACE_ADMIN__LISTEN", "127.0.0.1:0"),
    ];
    let new = [old.as_slice(), &[("MILLRACE_CATALOG__FOLDER", as_text(folder.path()))]].concat();

    let refused = millrace(&["deliver"], &new);
    assert_eq!(code(&refused), 1, "{}", text(&refused));
    assert!(
        text(&refused).contains("3 undelivered records and 0 dead letters"),
        "{}",
        text(&refused)
    );
    let mut draining = Running::start(&["topics", "apply", "--drain", "mail"], &new);
    draining.until("mail: 3 records are still to be delivered");
    let mut deliver = Running::start(&["deliver"], &old);
    draining.until("mail is drained");
    assert!(draining.end().success());
    deliver.interrupt();
    assert_eq!(code(&millrace(&["topics", "verify"], &new)), 0);
    let plan = text(&millrace(&["topics", "plan"], &new));
    assert!(!plan.contains("not in the catalog"), "{plan}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_it_does_to_order_and_refuses_a_retention_that_loses_records() {
    let kafka = Kafka::one().await;
    assert_eq!(topics(&kafka, &["apply"]).0, 0);
    let folder = tempfile::tempdir().unwrap();
    changed(folder.path(), |text| {
        text.replace("key: .order.id", "key: .order.id\n    partitions: 6")
            .replace("retry: { budget: 2s, base: 100ms }", "retry: { budget: 30d }")
    });
    let (_, text) = topics(&kafka, &["plan", "--catalog", as_text(folder.path())]);
    for part in ["raw.orders: 3 to 6", "no longer in order", "retention.ms of 691200000 refused"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

fn as_text(path: &Path) -> &str {
    path.to_str().unwrap()
}
