//! Catalogs as files: the examples, ten mistakes at once, secrets, and a reload that keeps the old.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use catalog_io::{Catalogs, Environment, Problem, Problems, Reload, load, watch, watch_asking};
use domain::{
    breaker,
    catalog::{Probe, ProbeMethod, SharedRate},
    fallback::Fate,
    rate::Rate,
    retry::{Delays, Policy},
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const GOOD: &str = r#"apiVersion: millrace/v1
sources:
  shop:
    kind: webhook
    verify: { scheme: github, secrets: [{ env: SHOP }] }
routes:
  - { name: all, from: shop, to: sink }
destinations:
  sink: { kind: http, url: https://sink.example/in }
"#;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn environment() -> Environment {
    [("SHOP", "planted-secret"), ("BLANK", " ")].into_iter().collect()
}

fn mistakes(files: &[(&str, &str)]) -> Vec<Problem> {
    load(folder(files).path(), &environment()).unwrap_err().0
}

#[test]
fn the_examples_hold() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let catalog = load(&examples, &Environment::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        (catalog.sources.len(), catalog.routes.len(), catalog.destinations.len()),
        (3, 5, 4)
    );
}

#[test]
fn ten_mistakes_are_ten_messages_with_their_lines() {
    let bad = r#"apiVersion: millrace/v1
sources:
  Shop:
    kind: webhook
    verify: { scheme: github, secrets: [{ env: SHOP }] }
  git:
    kind: webhook
    verify: { scheme: github, secrets: [{ env: MISSING }] }
  big:
    kind: webhook
    verify: { scheme: github, secrets: [{ env: SHOP }] }
    body_max: 5
  odd:
    kind: webhook
    verify: { scheme: github, secrets: [{ env: SHOP }] }
    key: .a ==
  unknown:
    kind: webhook
    verify: { scheme: githob, secrets: [{ env: SHOP }] }
routes:
  - { name: one, from: git, to: nowhere }
  - { name: one, from: git, to: sink }
  - { name: two, from: git, to: slow, map: missing.vrl }
destinations:
  sink: { kind: http, url: "ftp://sink.example" }
  slow: { kind: http, url: https://slow.example, timeout: 30 }
  extra: { kind: http, url: https://extra.example, retries: 3 }
"#;
    let found = mistakes(&[("catalog.yaml", bad)]);
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected = [
        (3, "is not a name"),
        (8, "MISSING"),
        (12, "body_max"),
        (16, "does not compile"),
        (19, "githob"),
        (21, "unknown destination \"nowhere\""),
        (22, "declared twice"),
        (23, "missing.vrl"),
        (25, "url of sink"),
        (26, "30 has no unit"),
        (27, "retries"),
    ];
    for (line, what) in expected {
        let there = found.iter().any(|p| p.line == line && p.what.contains(what));
        assert!(there, "nothing said of {what} in line {line}:\n{}", told.join("\n"));
    }
    assert_eq!(found.len(), expected.len(), "{}", told.join("\n"));
    for problem in &found {
        assert_eq!(problem.file, "catalog.yaml");
        assert!(!problem.why.is_empty() && !problem.fix.is_empty(), "{problem}");
    }
}

/// The good catalog with another destination, and this as what its route's fallback is.
fn with_fallback(fallback: &str) -> String {
    let route = format!("to: sink, fallback: {fallback} }}");
    let spare = "  spare: { kind: http, url: https://spare.example }\n";
    format!("{}{spare}", GOOD.replace("to: sink }", &route))
}

#[test]
fn a_routes_fallback_is_read_with_its_mapping_and_its_fates() {
    let read = |fallback| {
        let yaml = with_fallback(fallback);
        let files = [("catalog.yaml", yaml.as_str()), ("note.vrl", ". = \"note\"")];
        let catalog = load(folder(&files).path(), &environment());
        let catalog = catalog.unwrap_or_else(|e| panic!("{e}"));
        let fallback = catalog.routes[0].fallback.as_ref().unwrap();
        let rule = &fallback.rule;
        (rule.to.as_str().to_owned(), rule.on.clone(), fallback.map.is_some())
    };
    let spare = || "spare".to_owned();
    assert_eq!(read("{ to: spare }"), (spare(), Fate::ALL.to_vec(), false));
    let wanted = (spare(), vec![Fate::Exhausted], true);
    assert_eq!(read("{ to: spare, map: note.vrl, on: [exhausted] }"), wanted);
}

#[test]
fn a_fallback_that_leads_nowhere_to_itself_or_further_is_a_mistake_with_its_line() {
    let rows = [
        ("{ to: sparr }", "unknown destination \"sparr\"", "write \"spare\""),
        ("{ to: sink }", "its own destination \"sink\"", "another destination"),
        ("{ to: spare, map: none.vrl }", "mapping \"none.vrl\" can't be read", "create the file"),
        ("{ to: spare, map: bad.vrl }", "does not compile", "correct the program"),
        ("{ to: spare, fallback: { to: sink } }", "unknown key \"fallback\"", "remove it"),
        ("{ to: spare, on: [] }", "routes.0.fallback.on", "within the bound"),
        ("{ to: spare, on: [gone] }", "routes.0.fallback.on.0", ""),
        ("{ map: bad.vrl }", "routes.0.fallback lacks \"to\"", "add to"),
    ];
    for (fallback, what, fix) in rows {
        let yaml = with_fallback(fallback);
        let found = mistakes(&[("catalog.yaml", &yaml), ("bad.vrl", ". = now()")]);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{fallback}: {}", told.join("\n"));
        let problem = &found[0];
        assert!(problem.what.contains(what) && problem.fix.contains(fix), "{}", told.join("\n"));
        assert_eq!((problem.line, problem.file.as_str()), (7, "catalog.yaml"), "{problem}");
        assert!(!problem.why.is_empty(), "{problem}");
    }
}

/// Two destinations of one credential, one of another, and these lines at the end.
fn of_one_credential(first: &str, second: &str, rates: &str) -> String {
    let good = GOOD.replace("sink.example/in }", &format!("sink.example/in, {first} }}"));
    let mail = format!("  mail: {{ kind: http, url: https://mail.example, {second} }}\n");
    let other =
        "  other: { kind: http, url: https://o.example, auth: { bearer: { env: OTHER } } }\n";
    format!("{good}{mail}{other}rates:\n{rates}")
}

#[test]
fn a_rate_is_shared_by_name_and_by_all_of_one_credential() {
    let environment: Environment =
        [("SHOP", "s"), ("APP", "a"), ("OTHER", "o")].into_iter().collect();
    let app = "auth: { bearer: { env: APP } }";
    let sharing = format!("{app}, shared_rate: crm-app");
    let read = |first: &str, second: &str, rates: &str| {
        let yaml = of_one_credential(first, second, rates);
        load(folder(&[("catalog.yaml", &yaml)]).path(), &environment)
    };
    let good = read(&sharing, &sharing, "  crm-app: 600/m\n").unwrap_or_else(|e| panic!("{e}"));
    let wanted = SharedRate { name: "crm-app".into(), rate: Rate::per_second(10.0).unwrap() };
    for (name, shared) in [("sink", Some(&wanted)), ("mail", Some(&wanted)), ("other", None)] {
        assert_eq!(good.destinations[name].shared_rate.as_ref(), shared, "{name}");
    }
    let none = "propagate_trace: false";
    let rows = [
        (sharing.as_str(), app, "  crm-app: 1/s\n", 10, "mail does not share the rate"),
        (none, none, "  crm-app: 1/s\n", 13, "no destination shares the rate \"crm-app\""),
        (&sharing, &sharing, "  crm-app: 9\n", 13, "has no unit"),
        (&sharing, &sharing, "  crm-app: many\n", 13, "is no rate"),
        (&sharing, none, "  crm-ap: 1/s\n  crm-app: 1/s\n", 13, "\"crm-ap\""),
        (none, "shared_rate: crm-ap", "  crm-app: 1/s\n", 10, "unknown rate \"crm-ap\""),
    ];
    for (first, second, rates, line, what) in rows {
        let found = read(first, second, rates).unwrap_err();
        let there = found.0.iter().any(|p| p.line == line && p.what.contains(what));
        assert!(there, "nothing said of {what} in line {line}:\n{found}");
    }
}

/// The good catalog with these keys in its destination, each on a line of its own from line 12 on.
fn with_keys(keys: &[&str]) -> String {
    let sink = GOOD.find("  sink:").unwrap();
    let lines: String = keys.iter().map(|key| format!("    {key}\n")).collect();
    format!("{}  sink:\n    kind: http\n    url: https://sink.example/in\n{lines}", &GOOD[..sink])
}

#[test]
fn what_a_destination_bears_is_read() {
    let keys = [
        "rate: 600/m",
        "concurrency: 20",
        "concurrency_min: 4",
        "breaker: { window: 30s, attempts_min: 5, error_ratio: 1, open: 1s, open_max: 10s }",
        "retry: { delays: [5s, 5m, 1h], max_age: 2d }",
    ];
    let catalog = load(folder(&[("catalog.yaml", &with_keys(&keys))]).path(), &environment());
    let catalog = catalog.unwrap_or_else(|e| panic!("{e}"));
    let sink = &catalog.destinations["sink"].spec;
    let seconds = Duration::from_secs;
    assert_eq!(Some(sink.rate), Rate::per_second(10.0));
    assert_eq!((sink.concurrency, sink.concurrency_min), (20, 4));
    let breaker = breaker::Policy {
        window: seconds(30),
        attempts_min: 5,
        error_ratio: 1.0,
        open: seconds(1),
        open_max: seconds(10),
    };
    assert_eq!(sink.breaker, breaker);
    let delays = Delays::Fixed(vec![seconds(5), seconds(300), seconds(3600)]);
    let day = seconds(86400);
    let retry = Policy { delays, budget: 2 * day, max_age: 2 * day, ..Policy::default() };
    assert_eq!(sink.retry, retry);
    let catalog = load(folder(&[("catalog.yaml", GOOD)]).path(), &environment()).unwrap();
    let sink = &catalog.destinations["sink"].spec;
    assert_eq!((sink.rate, &sink.retry), (Rate::UNLIMITED, &Policy::default()));
    assert_eq!((sink.concurrency, sink.concurrency_min), (64, 1));
    assert_eq!(sink.breaker, breaker::Policy::default());
}

#[test]
fn what_no_destination_can_bear_is_told_with_its_line() {
    let rows: [(&[&str], usize, &str); 20] = [
        (&["rate: 100"], 0, "rate of 100 has no unit"),
        (&["rate: 100/w"], 0, "\"100/w\" is no rate"),
        (&["rate: fast"], 0, "\"fast\" is no rate"),
        (&["rate: 0/s"], 0, "\"0/s\" is no rate"),
        (&["rate: -1/s"], 0, "\"-1/s\" is no rate"),
        (&["rate: 1e3/s"], 0, "\"1e3/s\" is no rate"),
        (&["concurrency: 4", "concurrency_min: 5"], 1, "concurrency_min of 5 is above"),
        (&["concurrency_min: 0"], 0, "concurrency_min does not fit"),
        (&["breaker: { window: 10 }"], 0, "10 has no unit"),
        (&["breaker: { error_ratio: 50 }"], 0, "breaker.error_ratio of 50"),
        (&["breaker: { error_ratio: 0 }"], 0, "breaker.error_ratio of 0"),
        (&["breaker: { attempts_min: 0 }"], 0, "breaker.attempts_min does not fit"),
        (&["breaker: { open: 2m }"], 0, "breaker.open is above breaker.open_max"),
        (&["breaker: { opens: 2m }"], 0, "unknown key \"opens\""),
        (&["retry: { base: 2m }"], 0, "retry.base is above retry.cap"),
        (&["retry: { delays: [1s], base: 1s }"], 0, "retry.base says nothing"),
        (&["retry: { delays: [1s, soon] }"], 0, "\"soon\" is no duration"),
        (&["retry: { delays: [1s], attempts: 3 }"], 0, "retry.attempts of 3 is more"),
        (&["retry: { delays: [1h, 1h], budget: 90m }"], 0, "retry.delays are 2h in all"),
        (&["retry: { budget: 2h, max_age: 1h }"], 0, "retry.budget is above retry.max_age"),
    ];
    for (keys, place, what) in rows {
        let found = mistakes(&[("catalog.yaml", &with_keys(keys))]);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{keys:?}: {told:?}");
        assert!(found[0].what.contains(what), "{keys:?}: {told:?}");
        assert_eq!((found[0].file.as_str(), found[0].line), ("catalog.yaml", 12 + place));
        assert!(!found[0].why.is_empty() && !found[0].fix.is_empty(), "{told:?}");
    }
}

#[test]
fn what_a_probe_asks_is_on_the_destinations_host_and_has_no_effect() {
    let probe = |keys: &[&str]| {
        let catalog = load(folder(&[("catalog.yaml", &with_keys(keys))]).path(), &environment());
        catalog.unwrap_or_else(|e| panic!("{e}")).destinations["sink"].spec.probe.clone()
    };
    assert_eq!((probe(&[]), probe(&["probe: {}"])), (Probe::default(), Probe::default()));
    let path = Some("/me?a=b".to_owned());
    let wanted = Probe { method: ProbeMethod::Get, path };
    assert_eq!(probe(&["probe: { method: GET, path: /me?a=b }"]), wanted);
    let rows = [
        ("probe: { method: POST }", "probe.method is \"POST\""),
        ("probe: { method: get }", "probe.method is \"get\""),
        ("probe: { path: me }", "probe.path of sink is no path"),
        ("probe: { path: \"https://evil.example/\" }", "probe.path of sink is no path"),
        ("probe: { path: \"/a b\" }", "probe.path of sink is no path"),
        ("probe: { path: \"/a#b\" }", "probe.path of sink is no path"),
        ("probe: { body: x }", "unknown key \"body\""),
    ];
    for (key, what) in rows {
        let found = mistakes(&[("catalog.yaml", &with_keys(&[key]))]);
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].what.contains(what), "{key}: {told:?}");
        assert_eq!(found[0].line, 12, "{told:?}");
    }
}

#[test]
fn a_mapping_that_does_not_compile_is_told_with_the_compilers_words() {
    let bad = GOOD.replace("to: sink }", "to: sink, map: m.vrl }");
    let found = mistakes(&[("catalog.yaml", &bad), ("m.vrl", ". = upcase(.name)\n")]);
    let told = found[0].to_string();
    assert!(found.len() == 1 && told.contains("m.vrl") && told.contains("line 1"), "{told}");
}

#[test]
fn a_secret_is_never_printed() {
    let folder = folder(&[("catalog.yaml", GOOD)]);
    let catalog = load(folder.path(), &environment()).unwrap();
    assert!(!format!("{catalog:?} {:?}", environment()).contains("planted-secret"));
    let blank = GOOD.replace("SHOP", "BLANK");
    assert!(mistakes(&[("catalog.yaml", &blank)])[0].to_string().contains("blank"));
}

#[test]
fn a_rotated_secret_is_another_version() {
    let folder = folder(&[("catalog.yaml", GOOD)]);
    let version = |secret: &str| {
        load(folder.path(), &[("SHOP", secret)].into_iter().collect()).unwrap().version
    };
    assert_eq!(version("a"), version("a"));
    assert_ne!(version("a"), version("b"));
}

#[tokio::test]
async fn a_bad_reload_is_refused_whole_and_the_old_catalog_goes_on() {
    let good = GOOD.replace("env: SHOP", "file: secret");
    let folder = folder(&[("catalog.yaml", &good), ("secret", "s")]);
    let first = load(folder.path(), &Environment::default()).unwrap();
    let version = first.version.clone();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let (catalogs, keep) = watch(first, folder.path().to_owned(), stop.clone(), move |reload| {
        let _listening = tell.send(reload);
    });
    let keeping = tokio::spawn(keep);
    let mut next =
        async || tokio::time::timeout(Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
    fs::write(folder.path().join("catalog.yaml"), good.replace("sink }", "none }")).unwrap();
    assert!(matches!(next().await, Reload::Refused(_)));
    assert_eq!(catalogs.current().version, version);
    fs::write(folder.path().join("catalog.yaml"), good.replace("/in", "/other")).unwrap();
    assert!(matches!(next().await, Reload::Taken { .. }));
    assert_ne!(catalogs.current().version, version);
    stop.cancel();
    keeping.await.unwrap();
}

/// A watch on a folder, and what is asked and told there.
struct Watched {
    catalogs: Catalogs,
    told: tokio::sync::mpsc::UnboundedReceiver<Reload>,
    /// Whether destinations may go.
    may_go: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Instant>>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Watched {
    fn on(folder: &Path) -> Self {
        let first = load(folder, &Environment::default()).unwrap();
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let (may_go, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (answer, times) = (may_go.clone(), asked.clone());
        let ask = move |removed: Vec<domain::ids::DestinationName>| {
            times.lock().unwrap().push(Instant::now());
            let (file, why) = ("catalog.yaml".to_owned(), "3 records".to_owned());
            let (what, fix) = (format!("{removed:?} has records"), "decide".to_owned());
            let problem = Problem { file, line: 0, column: 0, what, why, fix };
            let allowed = answer.load(Ordering::SeqCst);
            std::future::ready(if allowed { Ok(()) } else { Err(Problems(vec![problem])) })
        };
        let stop = CancellationToken::new();
        let (catalogs, keep) =
            watch_asking(first, folder.to_owned(), stop.clone(), ask, move |reload| {
                let _listening = tell.send(reload);
            });
        tokio::spawn(keep);
        Self { catalogs, told, may_go, asked, _stop: stop.drop_guard() }
    }

    async fn next(&mut self) -> Reload {
        let next = tokio::time::timeout(Duration::from_secs(30), self.told.recv());
        next.await.unwrap().unwrap()
    }

    fn has(&self, destination: &str) -> bool {
        self.catalogs.current().destinations.contains_key(destination)
    }
}

#[tokio::test]
async fn a_destination_leaves_a_running_catalog_only_when_it_may() {
    let good = GOOD.replace("env: SHOP", "file: secret");
    let folder = folder(&[("catalog.yaml", &good), ("secret", "s")]);
    let write = |text: &str| fs::write(folder.path().join("catalog.yaml"), text).unwrap();
    let renamed = good.replace("sink", "drain");
    let mut watched = Watched::on(folder.path());
    write(&renamed);
    let Reload::Refused(problems) = watched.next().await else { panic!("taken unasked") };
    assert!(problems.to_string().contains("sink"), "{problems}");
    assert!(watched.has("sink") && !watched.has("drain"));
    watched.may_go.store(true, Ordering::SeqCst);
    assert!(matches!(watched.next().await, Reload::Taken { .. }));
    assert!(watched.has("drain") && !watched.has("sink"));
    // The looks at the unchanged folder in between were no questions.
    let asked = watched.asked.lock().unwrap().clone();
    assert!(asked.len() == 2 && asked[1] - asked[0] > Duration::from_secs(9), "{asked:?}");
}

#[tokio::test]
async fn putting_a_refused_destination_back_is_told_as_the_end_of_the_refusal() {
    let good = GOOD.replace("env: SHOP", "file: secret");
    let folder = folder(&[("catalog.yaml", &good), ("secret", "s")]);
    let write = |text: &str| fs::write(folder.path().join("catalog.yaml"), text).unwrap();
    let mut watched = Watched::on(folder.path());
    let version = watched.catalogs.current().version.clone();
    write(&good.replace("sink", "drain"));
    assert!(matches!(watched.next().await, Reload::Refused(_)));
    write(&good);
    let Reload::Taken { version: told } = watched.next().await else { panic!("refused") };
    assert_eq!(told, version);
}
