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
