//! Configurations right and wrong, layer over layer.

use std::{collections::BTreeMap, io::Write as _};

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Config {
    instance: String,
    kafka: Kafka,
    limits: Limits,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Kafka {
    bootstrap_servers: String,
    sasl: Option<Sasl>,
    properties: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sasl {
    username: String,
    password: u32,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Limits {
    body_bytes_max: u32,
    ratio: f64,
    hosts: Vec<String>,
}

const DEFAULTS: [Defaults; 3] = [
    Defaults { section: "", text: "instance = \"\"" },
    Defaults { section: "kafka", text: "bootstrap_servers = \"localhost:9092\"\n[properties]" },
    Defaults { section: "limits", text: "body_bytes_max = 10\nratio = 1.0\nhosts = []" },
];

fn loaded(file: &str, variables: &[(&str, &str)]) -> Result<Loaded<Config>, Problems> {
    let mut written = tempfile::NamedTempFile::new().unwrap();
    written.write_all(file.as_bytes()).unwrap();
    let environment = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let layers = Layers { defaults: &DEFAULTS, file: Some(written.path()), environment };
    load(&layers, |config: &Config| {
        let too_large = config.limits.ratio > 1.0;
        too_large
            .then(|| ("limits.ratio".to_owned(), "must be at most 1".to_owned()))
            .into_iter()
            .collect()
    })
}

fn told(result: Result<Loaded<Config>, Problems>) -> Vec<String> {
    let problems = result.expect_err("it is wrong").0;
    let place = |p: &Problem| match &p.origin {
        Origin::File { line, .. } => format!("file:{line}"),
        other => other.to_string(),
    };
    problems
        .iter()
        .map(|p| format!("{} {} {}", place(p), p.key, p.value.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn a_variable_wins_over_the_file_and_the_file_over_the_default() {
    let file = "[kafka]\nbootstrap_servers = \"file:9092\"\nproperties.\"linger.ms\" = \"5\"\n[limits]\nbody_bytes_max = 20\n";
    let variables = [
        ("MILLRACE_KAFKA__BOOTSTRAP_SERVERS", "var:9092"),
        ("MILLRACE_LIMITS__RATIO", "0.5"),
        ("MILLRACE_LIMITS__HOSTS", "a, b"),
        ("MILLRACE_INSTANCE", "7"),
        ("MILLRACE_INGEST_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("MILLRACE_CONFIG", "x"),
        ("HOME", "/"),
    ];
    let loaded = loaded(file, &variables).unwrap();
    let Config { instance, kafka, limits } = &loaded.config;
    assert_eq!((instance.as_str(), kafka.bootstrap_servers.as_str()), ("7", "var:9092"));
    assert_eq!((limits.body_bytes_max, limits.ratio), (20, 0.5));
    assert_eq!(limits.hosts, ["a", "b"]);
    assert_eq!(kafka.properties["linger.ms"], "5");
    let origin = |key: &str| {
        loaded.effective.0.iter().find(|e| e.key == key).map(|e| e.origin.clone()).unwrap()
    };
    assert_eq!(
        origin("kafka.bootstrap_servers"),
        Origin::Variable("MILLRACE_KAFKA__BOOTSTRAP_SERVERS".into())
    );
    assert!(matches!(origin("limits.body_bytes_max"), Origin::File { line: 5, .. }));
}

#[test]
fn every_mistake_of_every_layer_is_told_at_once() {
    let file = "unknown_section = 1\n[kafka]\nbootstrap = \"x\"\nbootstrap_servers = 5\n[limits]\nratio = 2.0\n";
    let variables = [
        ("MILLRACE_LIMITS__BODY_BYTES_MAX", "many"),
        ("MILLRACE_LIMITS__COLOUR", "red"),
        ("MILLRACE_KAFKA_SERVERS", "x"),
    ];
    let expected = [
        "file:3 kafka.bootstrap \"x\"",
        "file:4 kafka.bootstrap_servers 5",
        "file:6 limits.ratio 2.0",
        "file:1 unknown_section 1",
        "MILLRACE_KAFKA_SERVERS  ",
        "MILLRACE_LIMITS__BODY_BYTES_MAX limits.body_bytes_max \"many\"",
        "MILLRACE_LIMITS__COLOUR limits.colour \"red\"",
    ];
    let mut told = told(loaded(file, &variables));
    let mut expected = expected.map(str::to_owned).to_vec();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn the_value_of_a_secret_is_never_told() {
    let file = "[kafka.sasl]\nusername = \"u\"\npassword = \"hunter2\"\n";
    let problems = loaded(file, &[]).expect_err("a number is wanted").to_string();
    assert!(problems.contains("kafka.sasl.password = (hidden)"), "{problems}");
    assert!(!problems.contains("hunter2"), "{problems}");
    let good = "[kafka]\nbootstrap_servers = \"http://me:hunter2@host/x\"\n[kafka.sasl]\nusername = \"u\"\npassword = 4711\n";
    let shown = loaded(good, &[]).unwrap().effective.to_string();
    assert!(!shown.contains("4711") && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("http://(hidden)@host/x"), "{shown}");
}

#[test]
fn a_file_that_is_none_is_told_with_its_line() {
    assert_eq!(told(loaded("a = 1\nb = = 2\n", &[])), ["file:2  "]);
    let layers =
        Layers { defaults: &DEFAULTS, file: Some(Path::new("missing.toml")), environment: vec![] };
    let problems = load(&layers, |_: &Config| vec![]).expect_err("there is no file").to_string();
    assert!(problems.starts_with("missing.toml: can't be read"), "{problems}");
}
