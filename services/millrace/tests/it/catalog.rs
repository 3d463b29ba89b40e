//! Commands that look at files only.

use std::{fs, path::Path};

use crate::{changed, code, examples, millrace, text};

#[test]
fn the_examples_are_right_and_a_wrong_catalog_is_told_whole() {
    let right = millrace(&["check", "examples"], &[]);
    assert_eq!(code(&right), 0, "{}", text(&right));
    let folder = tempfile::tempdir().unwrap();
    changed(folder.path(), |text| {
        text.replace("to: builds", "to: nowhere").replace("scheme: stripe", "scheme: stripes")
    });
    let wrong = millrace(&["check", folder.path().to_str().unwrap()], &[]);
    assert_eq!(code(&wrong), 1);
    for part in ["catalog.yaml:", "nowhere", "stripes", "why", "do "] {
        assert!(text(&wrong).contains(part), "{part} is not in {}", text(&wrong));
    }
    let json = millrace(&["check", folder.path().to_str().unwrap(), "--json"], &[]);
    let mistakes: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(mistakes.as_array().is_some_and(|m| m.len() >= 2), "{mistakes}");
}

const TEN_MISTAKES: &str = r#"apiVersion: millrace/v1
sources:
  Shop:
    kind: webhook
    verify: { scheme: github, secrets: [{ file: secret }] }
  git:
    kind: webhook
    verify: { scheme: github, secrets: [{ env: MILLRACE_TEST_NO_SUCH_SECRET }] }
  pay:
    kind: webhook
    verify: { scheme: strip, secrets: [{ file: secret }] }
  odd:
    kind: webhook
    verify: { scheme: github, secrets: [{ file: secret }] }
    key: .a ==
routes:
  - { name: one, from: odd, to: nowhere }
  - { name: one, from: odd, to: sink }
  - { name: two, from: odd, to: sink, map: missing.vrl }
  - { name: three, from: odd, to: sink, map: wrong.vrl }
destinations:
  sink: { kind: http, url: "ftp://sink.example" }
  slow: { kind: http, url: https://slow.example, timeout: 30 }
"#;

#[test]
fn ten_mistakes_are_told_as_ten_each_with_its_place_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in
        [("catalog.yaml", TEN_MISTAKES), ("secret", "hush"), ("wrong.vrl", ". = upcase(.name)\n")]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let told = millrace(&["check", folder.path().to_str().unwrap()], &[]);
    let (code, told) = (code(&told), text(&told));
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("10 mistakes in "), "{told}");
    let begins = |word: &str| told.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(
        (begins("catalog.yaml:"), begins("  why  "), begins("  do   ")),
        (10, 10, 10),
        "{told}"
    );
    for line in [3, 8, 11, 15, 17, 18, 19, 20, 22, 23] {
        assert_eq!(begins(&format!("catalog.yaml:{line}:")), 1, "line {line} in {told}");
    }
    assert!(!told.contains("hush"), "{told}");
}

#[test]
fn the_configuration_is_told_with_origins_and_every_mistake_at_once() {
    let variables = [("MILLRACE_LOG__LEVEL", "debug")];
    let shown = text(&millrace(&["config"], &variables));
    assert!(shown.contains("log.level = \"debug\""), "{shown}");
    assert!(shown.contains("# MILLRACE_LOG__LEVEL") && shown.contains("# default"), "{shown}");
    let wrong = [("MILLRACE_TOPICS__REPLICATION", "0"), ("MILLRACE_KAFKA__COLOUR", "red")];
    let refused = millrace(&["config"], &wrong);
    assert_eq!(code(&refused), 2);
    for part in ["topics.replication = 0", "kafka.colour = \"red\"", "MILLRACE_KAFKA__COLOUR"] {
        assert!(text(&refused).contains(part), "{part} is not in {}", text(&refused));
    }
}

#[test]
fn a_signature_that_fails_is_told_with_the_check_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("body"), "{\"zen\":\"Keep it logically awesome.\"}").unwrap();
    fs::write(path("secret"), "hush\n").unwrap();
    fs::write(path("headers"), "X-GitHub-Event: ping\nX-Hub-Signature-256: sha256=00\n").unwrap();
    let verify = |headers: &Path| {
        let arguments = ["signature", "verify", "--scheme", "github", "--secret-file"];
        let files = [path("secret"), headers.to_owned(), path("body")];
        let [secret, headers, body] = files.each_ref().map(|file| file.to_str().unwrap());
        let more = [secret, "--headers", headers, "--body", body];
        millrace(&[arguments.as_slice(), more.as_slice()].concat(), &[])
    };
    let refused = verify(&path("headers"));
    assert_eq!(code(&refused), 1, "{}", text(&refused));
    assert!(text(&refused).starts_with("invalid: "), "{}", text(&refused));
    let unsigned = path("unsigned");
    fs::write(&unsigned, "X-GitHub-Event: ping\n").unwrap();
    assert!(text(&verify(&unsigned)).contains("not signed"), "{}", text(&verify(&unsigned)));
}

#[test]
fn the_schema_of_a_catalog_is_one() {
    let schema = millrace(&["schema", "catalog"], &[]);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(schema["properties"]["sources"].is_object(), "{schema}");
    assert!(examples().join("catalog.yaml").is_file());
}
