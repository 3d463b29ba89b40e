//! Which settings are refused, and that all are told at once.
#![allow(clippy::unwrap_used)]
use super::*;

fn keys(config: &Config) -> Vec<String> {
    match config.check() {
        Ok(()) => Vec::new(),
        Err(ConfigError(problems)) => problems.into_iter().map(|problem| problem.key).collect(),
    }
}

#[test]
fn the_defaults_are_good() {
    assert_eq!(keys(&Config::default()), Vec::<String>::new());
}

#[test]
fn settings_that_would_break_a_guarantee_are_refused_and_all_told_at_once() {
    let mut config = Config { bootstrap_servers: " ,".into(), ..Config::default() };
    config.tls.enabled = true;
    config.tls.cert_file = "only-one-of-two".into();
    for key in ["acks", "enable.idempotence", "partitioner", "group.id", "no.such.setting"] {
        config.properties.insert(key.into(), "1".into());
    }
    config.properties.insert("socket.keepalive.enable".into(), "true".into());
    let found = keys(&config).join(" ");
    for key in [
        "bootstrap_servers",
        "tls.cert_file",
        "acks",
        "idempotence",
        "partitioner",
        "group.id",
        "no.such.setting",
    ] {
        assert!(found.contains(key), "{key} not in {found}");
    }
    assert!(!found.contains("keepalive"), "{found}");
}
