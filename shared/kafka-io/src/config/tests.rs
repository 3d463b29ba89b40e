#![allow(clippy::unwrap_used)]
use super::*;

fn keys(config: &Config) -> Vec<String> {
    match config.check() {
        Ok(()) => Vec::new(),
        Err(ConfigError(problems)) => problems.into_iter().map(|problem| problem.key).collect(),
    }
}
