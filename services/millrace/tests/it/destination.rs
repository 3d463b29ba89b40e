//! Destinations held by command, on a real broker and without any service running.

use std::time::Duration;

use kafka_io::{Config, reader::Reader};
use serde_json::Value;
use testkit::Kafka;

use crate::on;

const WITHIN: Duration = Duration::from_secs(30);

fn listed(kafka: &Kafka, destination: &str) -> Value {
    let (code, text) = on(kafka, &["destination", "list", "--format", "json"]);
    assert_eq!(code, 0, "{text}");
    let rows: Value = serde_json::from_str(&text).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["destination"] == destination);
    row.cloned().unwrap_or_default()
}

fn audit(kafka: &Kafka) -> Vec<Value> {
    let reader = Reader::open(&Config::plain(kafka.bootstrap()), Default::default()).unwrap();
    let last = reader.watermarks("ctl.audit", 0).unwrap().high;
    let record = |offset| reader.fetch_one("ctl.audit", 0, offset, WITHIN).unwrap().unwrap();
    (0..last)
        .map(|offset| serde_json::from_slice(&record(offset).value.unwrap()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_says_is_kept_listed_audited_and_taken_back() {
    let kafka = Kafka::one().await;
    let missing = on(&kafka, &["destination", "list"]);
    assert!(missing.0 == 1 && missing.1.contains("`millrace topics apply`"), "{missing:?}");
    assert_eq!(on(&kafka, &["topics", "apply"]).0, 0);
    let (code, text) = on(&kafka, &["destination", "list"]);
    assert!(code == 0 && text.contains("crm  active") && text.contains("4 destinations"), "{text}");

    let unknown = on(&kafka, &["destination", "pause", "crn", "--reason", "a slip"]);
    assert!(unknown.0 == 2 && unknown.1.contains("builds, chat, crm, mail"), "{unknown:?}");
    let pause = ["destination", "pause", "crm", "--reason", "it is moved", "--by", "ann"];
    let (code, text) = on(&kafka, &pause);
    assert!(code == 0 && text.contains("crm is paused: nothing more is sent"), "{text}");
    let row = listed(&kafka, "crm");
    assert_eq!(
        (&row["paused"]["by"], &row["paused"]["why"]),
        (&"ann".into(), &"it is moved".into())
    );
    assert!(row["disabled"].is_null() && listed(&kafka, "mail")["paused"].is_null(), "{row}");
    let (_, text) = on(&kafka, &["destination", "list"]);
    assert!(text.contains("crm  paused") && text.contains("by ann: it is moved"), "{text}");

    let (code, text) = on(&kafka, &["destination", "enable", "crm", "--by", "ann"]);
    assert!(code == 0 && text.contains("crm is not disabled: nothing has changed"), "{text}");
    let (code, text) = on(&kafka, &["destination", "resume", "crm", "--by", "bob"]);
    assert!(code == 0 && text.contains("crm is resumed: it is sent to again"), "{text}");
    assert!(listed(&kafka, "crm")["paused"].is_null());
    let told = audit(&kafka);
    let told: Vec<_> =
        told.iter().map(|told| (told["what"].as_str(), told["by"].as_str())).collect();
    let expected =
        [(Some("destination_paused"), Some("ann")), (Some("destination_resumed"), Some("bob"))];
    assert_eq!(told, expected);
}
