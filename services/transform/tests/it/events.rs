//! What becomes of events, one by one, on the embedded broker.

use std::{collections::BTreeMap, fs};

use bytes::Bytes;
use domain::dead_letter::Reason;
use kafka_io::Outgoing;
use transform::Became;
use wire::{Envelope, headers};

use crate::world::{Bench, CATALOG, ORDER, TOPICS, mapped, record};

#[tokio::test(flavor = "multi_thread")]
async fn events_become_deliveries_or_are_filtered_unrouted_or_dead() {
    let (mut bench, _broker) = Bench::embedded(CATALOG, &TOPICS).await;
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
async fn a_fallbacks_mapping_is_applied_beforehand_and_fails_nothing() {
    let route = "map: note.vrl, to: mail, fallback: { to: crm, map: order.vrl } }";
    let catalog = CATALOG.replace("map: note.vrl, to: mail }", route);
    let (mut bench, _broker) = Bench::embedded(&catalog, &TOPICS).await;
    bench.write(&[
        bench.event("e1", r#"{"kind":"note","customer":"ann","total":"7","text":"hi"}"#),
        bench.event("e2", r#"{"kind":"note","customer":"bob","total":"many","text":"ho"}"#),
    ]);
    let heard = bench.hear(2).await;
    assert_eq!([mapped(&heard[0].2), mapped(&heard[1].2)], ["mail", "mail"]);
    let mail = bench.deliveries("out.mail");
    assert_eq!(mail[0].request.body, br#"{"note":"hi"}"#);
    let fallback = mail[0].fallback.as_ref().unwrap();
    assert_eq!((fallback.key.as_deref(), &fallback.error), (Some("ann"), &None));
    assert_eq!(fallback.to, "crm");
    assert_ne!(fallback.mapping_version, mail[0].mapping_version);
    let request = fallback.request.as_ref().unwrap();
    assert_eq!(
        (request.path.as_str(), &request.body[..]),
        ("/orders", &br#"{"id":"e1","total":7}"#[..])
    );
    assert_eq!(mail[1].request.body, br#"{"note":"ho"}"#);
    let fallback = mail[1].fallback.as_ref().unwrap();
    assert!(fallback.request.is_none() && fallback.error.is_some(), "{fallback:?}");
    assert!(bench.read("out.crm").is_empty() && bench.read("dlq.transform.shop").is_empty());
    let keys: Vec<_> = bench.read("out.mail").into_iter().map(|record| record.key).collect();
    assert_eq!(keys, [Some("k".into()), Some("k".into())], "only the fallback's own key is other");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_repeats_the_failed_route_alone_with_the_catalog_of_then() {
    let (mut bench, _broker) = Bench::embedded(CATALOG, &TOPICS).await;
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
async fn a_new_source_is_read_once_the_catalog_has_it() {
    let (mut bench, _broker) = Bench::embedded(CATALOG, &TOPICS).await;
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
