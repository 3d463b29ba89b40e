//! How the registry is reached.

use std::time::Duration;

use serde::Deserialize;

/// The commented defaults of the section `registry`.
pub const DEFAULTS: &str = include_str!("default.toml");

/// How the registry is reached. It holds no password: the file is read when the client is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Base address of the Confluent API.
    pub url: String,
    /// Empty for no authentication.
    pub username: String,
    pub password_file: String,
    /// PEM file of certificates trusted beside the system's; empty for none.
    pub ca_file: String,
    pub timeout_seconds: u64,
}

impl Config {
    /// Returns the defaults with this address.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.max(1))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8081".to_owned(),
            username: String::new(),
            password_file: String::new(),
            ca_file: String::new(),
            timeout_seconds: 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_defaults_are_the_defaults() {
        assert_eq!(toml::from_str::<Config>(DEFAULTS), Ok(Config::default()));
    }
}
