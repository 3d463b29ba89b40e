//! Destinations that are probed: what is sent, what is found, and what is told of it.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use deliver::Desk;
use kafka_io::{Config, reader::Reader};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    Kafka, Receiver,
    receiver::{Answer, Rule},
};
use wire::{
    control::{Act, Word},
    topics::Names,
};

use crate::{code, millrace, text};

const WITHIN: Duration = Duration::from_secs(30);
const TOKEN: &str = "planted-probe-token-55";
const KEY: &str = "whsec_cGxhbnRlZC1zaWduaW5nLWtleS0wMTIzNDU2Nzg5";
/// Where no broker is.
const NOWHERE: &str = "127.0.0.1:1";

/// A configuration and a catalog of these destinations, each `name: { … }` without its kind.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(bootstrap: &str, egress_allow: &str, destinations: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[deliver]\negress_allow = [{egress_allow}]\n[kafka]\nbootstrap_servers = \"{bootstrap}\"\n[log]\nlevel = \"error\"\n[topics]\nreplication = 1\n"
        );
        let listed: String = destinations
            .iter()
            .map(|(name, keys)| format!("  {name}: {{ kind: http, {keys} }}\n"))
            .collect();
        let catalog = format!("apiVersion: millrace/v1\ndestinations:\n{listed}");
        fs::create_dir(folder.path().join("catalog")).unwrap();
        fs::write(folder.path().join("catalog/catalog.yaml"), catalog).unwrap();
        fs::write(folder.path().join("millrace.toml"), config).unwrap();
        Self { folder }
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.folder.path().join("millrace.toml");
        let catalog = self.folder.path().join("catalog");
        let place = ["--config", config.to_str().unwrap(), "--catalog", catalog.to_str().unwrap()];
        let secrets = [("PROBE_TOKEN", TOKEN), ("PROBE_KEY", KEY)];
        let output = millrace(&[arguments, &place[..]].concat(), &secrets);
        (code(&output), text(&output))
    }

    fn probe(&self, name: &str) -> (i32, String) {
        self.run(&["destination", "probe", name, "--by", "ann"])
    }

    fn report(&self, name: &str) -> (i32, Value) {
        let probe = ["destination", "probe", name, "--by", "ann", "--format", "json"];
        let (code, text) = self.run(&probe);
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }
}

fn loopback(bootstrap: &str, destinations: &[(&str, String)]) -> Place {
    Place::new(bootstrap, "\"127.0.0.0/8\"", destinations)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_shows_the_credentials_and_sends_nothing_else_and_needs_no_kafka() {
    let receiver = Receiver::start().await;
    let (plain, signed) = (receiver.url("/in?k=1"), receiver.url("/hooks"));
    let signing = "signing: { secrets: [{ env: PROBE_KEY }] }";
    let probe = r#"probe: { method: GET, path: "/me?fields=id" }"#;
    let place = loopback(
        NOWHERE,
        &[
            ("plain", format!(r#"url: "{plain}", auth: {{ bearer: {{ env: PROBE_TOKEN }} }}"#)),
            ("signed", format!(r#"url: "{signed}", {signing}, {probe}"#)),
        ],
    );
    let (code, text) = place.probe("plain");
    assert_eq!(code, 0, "{text}");
    let host = receiver.address().to_string();
    let parts = [
        format!("plain answers: 200 to HEAD at {host}"),
        "connect ".to_owned(),
        "a delivery answered so would be delivered".to_owned(),
        "whether it is held is not known: ".to_owned(),
        "not in the audit: Kafka".to_owned(),
    ];
    for part in parts {
        assert!(text.contains(&part), "{part} is not in {text}");
    }
    assert!(!text.contains(TOKEN) && !text.contains("k=1"), "{text}");
    assert_eq!(place.probe("signed").0, 0);
    let arrivals = receiver.arrivals();
    let [plain, signed] = arrivals.as_slice() else { panic!("{arrivals:?}") };
    assert_eq!((plain.method.as_str(), plain.path.as_str()), ("HEAD", "/in"));
    assert_eq!(plain.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    for name in ["webhook-id", "idempotency-key", "content-type", "traceparent"] {
        assert_eq!(plain.header(name), None);
    }
    let asked = (signed.method.as_str(), signed.path.as_str(), signed.query.as_deref());
    assert_eq!(asked, ("GET", "/me", Some("fields=id")));
    let (id, at) = (signed.header("webhook-id").unwrap(), signed.header("webhook-timestamp"));
    let at = at.unwrap().parse().unwrap();
    let signature = signing::standard_webhooks::signature(&[KEY], id, at, b"").unwrap();
    assert_eq!(signed.header("webhook-signature"), Some(signature.as_str()));
    assert!(arrivals.iter().all(|arrival| arrival.body.is_empty()));
}

/// A destination's name, its probe's exit code, finding, status, outcome, and a part of its error.
type Row = (&'static str, i32, &'static str, Option<u16>, &'static str, &'static str);

const ROWS: [Row; 10] = [
    ("denied", 1, "fails", Some(401), "permanent", "401"),
    ("posts", 0, "takes_other_methods", Some(405), "permanent", "405"),
    ("posts-asked", 1, "fails", Some(405), "permanent", "405"),
    ("busy", 1, "fails", Some(503), "retryable", "503"),
    ("gone", 1, "fails", Some(410), "permanent", "410"),
    ("known", 0, "answers", Some(409), "delivered", ""),
    ("hangs", 1, "fails", None, "unknown", "nothing within 500ms"),
    ("refused", 1, "fails", None, "retryable", "could not connect"),
    ("nameless", 1, "fails", None, "retryable", "could not find the address"),
    ("guarded", 1, "fails", None, "permanent", "egress_allow"),
];

/// The destinations of the rows, most of them at the receiver.
fn of_rows(receiver: &Receiver) -> Place {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let at = |path: &str, more: &str| format!(r#"url: "{}"{more}"#, receiver.url(path));
    let with_token = ", auth: { bearer: { env: PROBE_TOKEN } }, probe: { method: GET }";
    loopback(
        NOWHERE,
        &[
            ("denied", at("/denied", with_token)),
            ("posts", at("/posts", "")),
            ("posts-asked", at("/posts", ", probe: { method: OPTIONS }")),
            ("busy", at("/busy", "")),
            ("gone", at("/gone", "")),
            ("known", at("/known", ", outcomes: { 409: delivered }")),
            ("hangs", at("/hangs", ", timeout: 500ms")),
            ("refused", format!("url: \"http://{free}/\"")),
            ("nameless", "url: \"http://nowhere.invalid/\"".to_owned()),
            ("guarded", "url: \"http://169.254.169.254/latest\"".to_owned()),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_and_failure_is_found_and_judged_as_a_delivery_would_be() {
    let receiver = Receiver::start().await;
    let denied = Answer::Full {
        status: 401,
        headers: vec![("x-request-id", format!("req for {TOKEN}"))],
        body: format!("who are you, {TOKEN}?\u{1b}[31m").into(),
    };
    receiver.on(Rule::path("/denied").answers([denied]));
    for (path, status) in [("/posts", 405), ("/busy", 503), ("/gone", 410), ("/known", 409)] {
        receiver.on(Rule::path(path).statuses([status]));
    }
    receiver.on(Rule::path("/hangs").answers([Answer::Hang]));
    let place = of_rows(&receiver);
    // At once, for each waits for a broker that is not there.
    std::thread::scope(|scope| {
        for row in &ROWS {
            scope.spawn(|| check(&place, row));
        }
    });
    let (_, denied) = place.probe("denied");
    assert!(denied.contains("it says: who are you, [redacted]? [31m"), "{denied}");
    assert!(denied.contains("their id of the request: req for [redacted]"), "{denied}");
    let (_, gone) = place.report("gone");
    assert_eq!(gone["would_disable"], true, "{gone}");
}

fn check(place: &Place, row: &Row) {
    let (name, code, finding, status, outcome, part) = *row;
    let begun = Instant::now();
    let (exit, told) = place.report(name);
    assert!(begun.elapsed() < WITHIN, "{name} took {:?}", begun.elapsed());
    let found = (exit, told["finding"].as_str(), told["outcome"].as_str());
    assert_eq!(found, (code, Some(finding), Some(outcome)), "{name}: {told}");
    assert_eq!(told["status"].as_u64(), status.map(u64::from), "{name}: {told}");
    let error = told["error"].as_str().unwrap_or_default();
    assert!(error.contains(part) && error.is_empty() == part.is_empty(), "{name}: {told}");
    assert!(!told.to_string().contains(TOKEN), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_egress_guard_keeps_a_probe_from_addresses_that_are_not_public() {
    let receiver = Receiver::start().await;
    let crm = format!("url: \"{}\"", receiver.url("/"));
    let place = Place::new(NOWHERE, "", &[("crm", crm)]);
    let (code, text) = place.probe("crm");
    let first =
        format!("crm fails: HEAD at {}: 127.0.0.1 is refused by egress", receiver.address());
    assert!(code == 1 && text.contains(&first), "{text}");
    assert!(text.contains("would be a dead letter: permanent"), "{text}");
    assert!(receiver.arrivals().is_empty());
    let unknown = place.probe("crn");
    assert!(unknown.0 == 2 && unknown.1.contains("there are: crm"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_what_holds_the_destination_and_is_in_the_audit() {
    let (kafka, receiver) = (Kafka::one().await, Receiver::start().await);
    let crm = format!("url: \"{}\"", receiver.url("/"));
    let place = loopback(&kafka.bootstrap(), &[("crm", crm)]);
    assert_eq!(place.run(&["topics", "apply"]).0, 0);
    let (code, text) = place.probe("crm");
    assert!(code == 0 && text.contains("no operator and no 410 holds it"), "{text}");
    let pause = ["destination", "pause", "crm", "--reason", "it is moved", "--by", "ann"];
    assert_eq!(place.run(&pause).0, 0);
    let gone = Word { by: "millrace-deliver".into(), at_ms: 1, why: "410".into(), event_id: None };
    let desk = Desk::new(Config::plain(kafka.bootstrap()), Names::new(""));
    desk.act(Act::Disable, "crm", &gone).await.unwrap();
    receiver.fail("/", Answer::Status(410));
    let (code, text) = place.probe("crm");
    assert_eq!(code, 1, "{text}");
    let parts = [
        "by ann: it is moved",
        "disabled since",
        "`millrace destination enable crm` would send again",
        "disables it again",
        "would disable the destination",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("not in the audit"), "{text}");
    assert_eq!(receiver.arrivals().len(), 2, "a hold keeps no probe back");
    let (_, report) = place.report("crm");
    assert_eq!(report["said"]["paused"]["by"], "ann", "{report}");
    assert!(report["unaudited"].is_null() && report["said_unknown"].is_null(), "{report}");
    let reader = Reader::open(&Config::plain(kafka.bootstrap()), Default::default()).unwrap();
    let last = reader.watermarks("ctl.audit", 0).unwrap().high;
    let probed = (0..last).map(|offset| {
        let record = reader.fetch_one("ctl.audit", 0, offset, WITHIN).unwrap().unwrap();
        serde_json::from_slice::<Value>(&record.value.unwrap()).unwrap()
    });
    let probed: Vec<_> = probed.filter(|told| told["what"] == "destination_probed").collect();
    let told: Vec<_> = probed.iter().map(|t| (t["by"].as_str(), t["status"].as_u64())).collect();
    let ann = Some("ann");
    assert_eq!(told, [(ann, Some(200)), (ann, Some(410)), (ann, Some(410))]);
    assert_eq!(
        desk.said().await.unwrap().of("crm").disabled,
        Some(gone),
        "a probe changes nothing"
    );
}
