//! Dead letters by command, on a real broker and without any service running.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::dead_letter::Reason;
use kafka_io::{
    Config, Outgoing, TransactionalOptions, TransactionalProducer,
    reader::{Range, Reader, ReaderOptions},
};
use serde_json::Value;
use testkit::Kafka;
use wire::headers::{self, Failure};

use crate::on;

const WITHIN: Duration = Duration::from_secs(30);

fn json(kafka: &Kafka, arguments: &[&str]) -> Value {
    let (code, text) = on(kafka, &[&["dlq"], arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A dead letter as deliver writes it, of the record at `offset`.
fn letter(offset: i64) -> Outgoing {
    let failure = Failure {
        reason: Reason::BudgetSpent,
        error_type: "503",
        message: "it answered 503 until the budget was spent",
        service: "millrace-deliver",
        service_version: "0",
        at_ms: 1_700_000_000_000 + offset,
        source_topic: "out.mail",
        source_partition: 0,
        source_offset: offset,
        source_timestamp_ms: 1_700_000_000_000,
        traceparent: None,
    };
    Outgoing {
        topic: Arc::from("dlq.deliver.mail"),
        partition: Some(0),
        key: Some("k".into()),
        value: Some("x".into()),
        headers: headers::dead_letter(&[], &failure),
        timestamp_ms: None,
    }
}

fn write(kafka: &Kafka, letters: &[Outgoing]) {
    let options = TransactionalOptions::new("test");
    let config = Config::plain(kafka.bootstrap());
    let mut producer = TransactionalProducer::new(&config, &options).unwrap();
    producer.init(WITHIN).unwrap();
    producer.begin().unwrap();
    letters.iter().for_each(|letter| producer.send(letter, WITHIN).unwrap());
    producer.flush_and_await(WITHIN).unwrap();
    producer.commit(|| true).unwrap();
}

fn count(kafka: &Kafka, topic: &str) -> usize {
    let config = Config::plain(kafka.bootstrap());
    let reader = Reader::open(&config, ReaderOptions::default()).unwrap();
    let range = |partition| Range { topic: topic.to_owned(), partition, from: 0, to: i64::MAX };
    let mut count = 0;
    let read = reader.read(&[range(0), range(1), range(2)], Instant::now() + WITHIN, |_| {
        count += 1;
        ControlFlow::Continue(())
    });
    read.unwrap();
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_and_replayed_once() {
    let kafka = Kafka::one().await;
    assert_eq!(on(&kafka, &["topics", "apply"]).0, 0);
    // The last is the second one again, as a crash between its dead letter and its offset leaves it.
    write(&kafka, &[letter(0), letter(1), letter(2), letter(1)]);

    let page = json(&kafka, &["list", "--destination", "mail", "--reason", "budget_spent"]);
    assert_eq!(page["letters"].as_array().unwrap().len(), 3, "{page}");
    assert!(on(&kafka, &["dlq", "list", "--destination", "crm"]).1.contains("no dead letters"));
    let shown = on(&kafka, &["dlq", "show", "dlq.deliver.mail/0/0"]);
    for part in ["budget_spent", "until the budget was spent", "out.mail/0/0"] {
        assert!(shown.1.contains(part), "{part} is not in {}", shown.1);
    }
    let gone = on(&kafka, &["dlq", "show", "dlq.deliver.mail/0/99"]);
    assert!(gone.0 == 1 && gone.1.contains("millrace dlq list"), "{gone:?}");

    assert_eq!(on(&kafka, &["dlq", "replay"]).0, 2);
    let counts = json(&kafka, &["replay", "--destination", "mail", "--dry-run"]);
    assert_eq!((&counts["republished"], &counts["doubles"]), (&3.into(), &1.into()), "{counts}");
    assert_eq!(count(&kafka, "out.mail.replay"), 0);
    let (code, text) = on(&kafka, &["dlq", "replay", "--destination", "mail", "--by", "ann"]);
    assert!(code == 0 && text.contains("3 of 3 dead letters replayed"), "{text}");
    assert_eq!(count(&kafka, "out.mail.replay"), 3);

    let again = on(&kafka, &["dlq", "replay", "--all"]).1;
    assert!(again.contains("0 of 3 dead letters") && again.contains("replayed before"), "{again}");
    let one = on(&kafka, &["dlq", "replay", "dlq.deliver.mail/0/2", "--again"]).1;
    assert!(one.contains("1 of 1 dead letter replayed"), "{one}");
    assert_eq!(count(&kafka, "out.mail.replay"), 4);
    let jobs = json(&kafka, &["jobs"]);
    assert_eq!((jobs[0]["by"].as_str(), jobs[0]["status"].as_str()), (Some("ann"), Some("done")));
}
