//! A missing topic holds up the sources that need it and no others, and no event of theirs is lost.

use std::fs;

use kafka_io::Outgoing;
use transform::Became;

use crate::world::{Bench, CATALOG, TOPICS, mapped};

const SLOW: &str = "topic out.slow is missing (wanted: 2 partitions)";
const LATE: &str = "sources not read until then: late;";

/// A catalog with a source `late` besides, whose events go where it says.
fn with_late(to: &str) -> String {
    let source = "sources:\n  late:\n    kind: webhook\n    verify: { scheme: github, secrets: [{ env: SHOP }] }\n";
    let route = format!("routes:\n  - {{ name: late, from: late, map: note.vrl, to: {to} }}\n");
    let slow = "destinations:\n  slow: { kind: http, url: https://slow.example, partitions: 2 }\n";
    let catalog = CATALOG.replace("sources:\n", source).replace("routes:\n", &route);
    catalog.replace("destinations:\n", slow)
}

fn note(bench: &Bench, source: &str, id: &str) -> Outgoing {
    let event = bench.event(id, r#"{"kind":"note","text":"hi"}"#);
    Outgoing { topic: format!("raw.{source}").into(), ..event }
}

/// Says which event went to which destination.
fn went(heard: &[(String, String, Became)]) -> Vec<(&str, &str)> {
    heard.iter().map(|(event, _, became)| (event.as_str(), mapped(became))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named_and_waited_for() {
    let (mut bench, broker) = Bench::embedded(CATALOG, &TOPICS[..4]).await;
    let missing = "topic out.mail is missing (wanted: 3 partitions)";
    bench.await_missing(&[missing, "run `millrace topics apply`"]).await;
    broker.create_topic("out.mail", 1).unwrap();
    bench.write(&[note(&bench, "shop", "e1")]);
    assert_eq!(went(&bench.hear(1).await), [("e1", "mail")]);
    bench.await_ready().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_start_a_missing_topic_holds_up_its_own_source_only() {
    let (mut bench, broker) = Bench::embedded(&with_late("[mail, slow]"), &TOPICS).await;
    bench.write(&[note(&bench, "late", "e1"), note(&bench, "shop", "e2")]);
    assert_eq!(went(&bench.hear(1).await), [("e2", "mail")]);
    bench.await_missing(&[SLOW, LATE]).await;
    broker.create_topic("out.slow", 1).unwrap();
    assert_eq!(went(&bench.hear(2).await), [("e1", "mail"), ("e1", "slow")]);
    bench.await_ready().await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_catalog_whose_topic_is_missing_holds_up_its_own_source_only() {
    let (mut bench, broker) = Bench::embedded(&with_late("mail"), &TOPICS).await;
    bench.write(&[note(&bench, "late", "e1")]);
    assert_eq!(went(&bench.hear(1).await), [("e1", "mail")]);
    bench.await_ready().await;
    bench.change(
        "from: late, map: note.vrl, to: mail",
        "from: late, map: note.vrl, to: [mail, slow]",
    );
    fs::write(bench.folder.path().join("note.vrl"), ". = {\"new\": .text}\n").unwrap();
    await_new_mapping(&mut bench).await;
    bench.await_missing(&[SLOW, LATE]).await;
    bench.write(&[note(&bench, "late", "e3")]);
    bench.write(&[note(&bench, "shop", "e4")]);
    assert_eq!(went(&bench.hear(1).await), [("e4", "mail")]);
    broker.create_topic("out.slow", 1).unwrap();
    assert_eq!(went(&bench.hear(2).await), [("e3", "mail"), ("e3", "slow")]);
    bench.await_ready().await;
    bench.stop().await;
}

/// Sends events of `shop` until one is mapped by the catalog as it is now.
async fn await_new_mapping(bench: &mut Bench) {
    loop {
        bench.write(&[note(bench, "shop", "e2")]);
        assert_eq!(went(&bench.hear(1).await), [("e2", "mail")]);
        let last = bench.deliveries("out.mail").pop().unwrap();
        if last.request.body == br#"{"new":"hi"}"# {
            return;
        }
    }
}
