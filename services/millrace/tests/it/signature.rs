//! `millrace signature verify` as a user asks it: of one saved request, and of a file of vectors.
//!
//! The requests are those of the open vectors, which others have signed.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::{code, examples, millrace, text};

/// Signed at 1234567890, which is 2009-02-13T23:31:30Z.
const STRIPE: &str = "stripe-12";
const GITHUB: &str = "github-02";

fn vectors_file() -> PathBuf {
    examples().join("../shared/signing/testdata/signatures.json")
}

fn vectors() -> Vec<Value> {
    serde_json::from_slice(&fs::read(vectors_file()).unwrap()).unwrap()
}

/// One vector saved as a user saves a request: secret, headers and body, each a file.
struct Saved {
    folder: TempDir,
    scheme: String,
}

impl Saved {
    fn of(id: &str) -> Self {
        let vector = vectors().into_iter().find(|vector| vector["id"] == id).unwrap();
        let saved = Self {
            folder: tempfile::tempdir().unwrap(),
            scheme: vector["provider"].as_str().unwrap().to_owned(),
        };
        let headers = vector["headers"].as_object().unwrap();
        let line =
            |(name, value): (&String, &Value)| format!("{name}: {}\n", value.as_str().unwrap());
        saved.write("headers", &headers.iter().map(line).collect::<String>());
        saved.write("body", vector["body"].as_str().unwrap());
        saved.write("secret", vector["secret"].as_str().unwrap());
        saved
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Asks, with what else is said; returns the exit code and what is printed.
    fn verify(&self, more: &[&str]) -> (i32, String) {
        let [secret, headers, body] = ["secret", "headers", "body"].map(|name| self.path(name));
        let request = ["signature", "verify", "--scheme", &self.scheme, "--headers", &headers];
        let files = ["--body", &body, "--secret-file", &secret];
        let output = millrace(&[&request[..], &files, more].concat(), &[]);
        (code(&output), text(&output))
    }
}

#[test]
fn a_request_that_verifies_is_told_with_its_secret_event_and_age() {
    let github = Saved::of(GITHUB);
    let told = format!(
        "valid: the secret in {} matches\nevent id    72d3162e-cc78-11e3-81ab-4c9367dc0958\nevent type  push\n",
        github.path("secret")
    );
    assert_eq!(github.verify(&[]), (0, told));
    let stripe = Saved::of(STRIPE);
    for (now, age) in [
        ("1234567890", "0 s before 1234567890"),
        ("1234568190", "300 s before 1234568190"),
        ("2009-02-13T23:32:30Z", "60 s before 1234567950"),
        ("2009-02-14T00:31:20+01:00", "10 s after 1234567880"),
    ] {
        let told = format!(
            "valid: the secret in {} matches\nevent id    evt_test_webhook\nevent type  (none)\nsigned      {age}\n",
            stripe.path("secret")
        );
        assert_eq!(stripe.verify(&["--now", now]), (0, told), "{now}");
    }
}

#[test]
fn a_request_is_stale_by_the_clock_that_is_given_and_by_the_tolerance() {
    let stripe = Saved::of(STRIPE);
    let stale = "invalid: signed 301 s ago, and 300 s are allowed\n";
    assert_eq!(stripe.verify(&["--now", "1234568191"]), (1, stale.to_owned()));
    let (code, told) = stripe.verify(&["--now", "1234568191", "--option", "tolerance_past=10m"]);
    assert_eq!(code, 0, "{told}");
    // By the clock of today it is years old.
    let (code, told) = stripe.verify(&[]);
    assert!(code == 1 && told.starts_with("invalid: signed "), "{code} {told}");
    let future = ["--now", "1234567500", "--option", "tolerance_future=5m"];
    let told = "invalid: signed 390 s in the future, and 300 s are allowed\n";
    assert_eq!(stripe.verify(&future), (1, told.to_owned()));
}

#[test]
fn another_secret_or_another_body_is_told_as_a_mismatch_and_of_two_secrets_the_one_that_matches() {
    let told = "invalid: no signature matches: another secret, or the body or a signed header was changed\n";
    let wrong = (1, told.to_owned());
    let github = Saved::of(GITHUB);
    let right = fs::read_to_string(github.path("secret")).unwrap();
    github.write("secret", "another");
    assert_eq!(github.verify(&[]), wrong);
    // An editor ends the file with a line feed, which is not the secret's.
    github.write("new", &format!("{right}\n"));
    let (code, told) = github.verify(&["--secret-file", &github.path("new")]);
    let first = told.lines().next().unwrap_or_default();
    let matching = format!("valid: the secret in {} matches", github.path("new"));
    assert_eq!((code, first), (0, matching.as_str()));
    github.write("secret", &right);
    github.write("body", "{\"foo\":\"bar\"}");
    assert_eq!(github.verify(&[]), wrong);
}

#[test]
fn what_is_typed_wrong_is_no_verdict() {
    let saved = Saved::of(STRIPE);
    let rows: [(&[&str], &str); 4] = [
        (&["--now", "noon"], "\"noon\" is no time"),
        (&["--option", "tolerance_past"], "has no ="),
        (&["--option", "tolerance=5m"], "unknown field `tolerance`"),
        (&["--secret-file", "no/such/file"], "could not read no/such/file"),
    ];
    for (more, why) in rows {
        let (code, told) = saved.verify(more);
        assert!(code == 2 && told.contains(why), "{more:?}: {code} {told}");
    }
}

/// The rows of the table: agreed, disagreed and skipped of each provider.
fn table(told: &str) -> BTreeMap<String, [usize; 3]> {
    let (_, rows) = told.split_once("provider").unwrap();
    let (head, rows) = rows.split_once('\n').unwrap();
    assert_eq!(head.split_whitespace().collect::<Vec<_>>(), ["agreed", "disagreed", "skipped"]);
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let counts = [1, 2, 3].map(|place| words[place].parse().unwrap());
        (words[0].to_owned(), counts)
    };
    rows.lines().take_while(|line| !line.is_empty()).map(row).collect()
}

#[test]
fn every_open_vector_agrees_and_is_counted_in_a_table() {
    let file = vectors_file();
    let output = millrace(&["signature", "verify", "--vectors", file.to_str().unwrap()], &[]);
    let told = text(&output);
    assert_eq!(code(&output), 0, "{told}");
    let mut wanted: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for vector in vectors() {
        wanted.entry(vector["provider"].as_str().unwrap().to_owned()).or_default()[0] += 1;
    }
    assert_eq!(table(&told), wanted, "{told}");
    assert_eq!(wanted.len(), 4);
    let total = format!("\n{} agreed, 0 disagreements, 0 skipped", vectors().len());
    assert!(told.contains(&total), "{told}");
    // Nothing before the table: what is printed there is a disagreement.
    assert!(told.starts_with("provider"), "{told}");
}

#[test]
fn a_wrong_expectation_fails_and_is_named_with_what_was_found() {
    let mut vectors = vectors();
    for vector in &mut vectors {
        match vector["id"].as_str().unwrap() {
            GITHUB => vector["expected"] = "invalid".into(),
            "stripe-05" => vector["expected"] = "valid".into(),
            "github-01" => vector["provider"] = "nobody".into(),
            _ => {}
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vectors.json");
    fs::write(&file, serde_json::to_vec(&vectors).unwrap()).unwrap();
    let output = millrace(&["signature", "verify", "--vectors", file.to_str().unwrap()], &[]);
    let told = text(&output);
    assert_eq!(code(&output), 1, "{told}");
    let named: Vec<&str> = told.lines().take_while(|line| !line.is_empty()).collect();
    let mismatch = "stripe-05: expected valid, found invalid: no signature matches: another secret, or the body or a signed header was changed";
    assert_eq!(named, ["github-02: expected invalid, found valid", mismatch]);
    let counts = table(&told);
    assert_eq!(
        (counts["github"], counts["stripe"], counts["nobody"]),
        ([6, 1, 0], [9, 1, 0], [0, 0, 1])
    );
    let total = format!("\n{} agreed, 2 disagreements, 1 skipped", vectors.len() - 3);
    assert!(told.contains(&total), "{told}");
}

#[test]
fn a_file_that_holds_no_vectors_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vectors.json");
    fs::write(&file, "{\"id\":\"github-02\"}").unwrap();
    for (path, why) in [
        (file.to_str().unwrap(), "give a JSON array of cases"),
        ("no/such/file", "could not read no/such/file"),
    ] {
        let output = millrace(&["signature", "verify", "--vectors", path], &[]);
        assert!(code(&output) == 2 && text(&output).contains(why), "{}", text(&output));
    }
}
