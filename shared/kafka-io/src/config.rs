//! How the cluster is reached: addresses, TLS, SASL, and librdkafka's own settings.
//!
//! It holds no password: files are read when a client is made, so that a rotated one is found. Settings that
//! would break a guarantee are refused by name.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::Arc;

use rdkafka::ClientConfig;
use secrecy::SecretString;
use serde::Deserialize;

use crate::context::ClientHooks;

mod refused;

/// The commented defaults of the section `kafka`.
pub const DEFAULTS: &str = include_str!("default.toml");

/// How the cluster is reached.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    pub client_id: String,
    pub group_protocol: GroupProtocol,
    pub tls: Tls,
    pub sasl: Sasl,
    /// Further settings of librdkafka.
    pub properties: BTreeMap<String, String>,
    /// The brokers are an [`embedded::Broker`](crate::embedded::Broker).
    pub embedded: bool,
    /// Where OAUTHBEARER tokens come from.
    #[serde(skip)]
    pub tokens: Option<TokenSource>,
}

/// How members of a group find their partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupProtocol {
    /// Cooperative-sticky, agreed among the members: a restart flows again in about 2 s.
    #[default]
    Classic,
    /// KIP-848, decided by the broker (4.0 and later). Its price: the session is the broker's setting (45 s by
    /// default), and a killed instance with a stable name is refused until that time is over.
    Consumer,
}

/// Encryption of the connection.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    pub enabled: bool,
    /// PEM; empty for the system's certificates.
    pub ca_file: String,
    /// PEM; empty for no client certificate.
    pub cert_file: String,
    /// PEM; goes with `cert_file`.
    pub key_file: String,
    /// Empty for a key without a password.
    pub key_password_file: String,
}

/// Who we are to the brokers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub username: String,
    pub password_file: String,
}

/// The SASL mechanisms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    #[default]
    #[serde(rename = "")]
    None,
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

/// A token for OAUTHBEARER.
pub struct Token {
    pub value: SecretString,
    pub principal: String,
    /// Milliseconds since 1970 at which it ends; a new one is asked for at 80 % of its time.
    pub expires_ms: i64,
}

type TokenFn = dyn Fn() -> Result<Token, String> + Send + Sync;

/// Hands out OAUTHBEARER tokens when librdkafka asks. It is called on the client's polling thread: a source that
/// goes over the network keeps a token ready and returns it at once.
#[derive(Clone)]
pub struct TokenSource(Arc<TokenFn>);

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<ConfigProblem>);

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kafka.{key}: {what}; {remedy}")]
pub struct ConfigProblem {
    /// The key inside the section `kafka`.
    pub key: String,
    pub what: String,
    pub remedy: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            client_id: "millrace".to_owned(),
            group_protocol: GroupProtocol::default(),
            tls: Tls::default(),
            sasl: Sasl::default(),
            properties: BTreeMap::new(),
            embedded: false,
            tokens: None,
        }
    }
}

impl TokenSource {
    /// Wraps a function that returns a valid token, or says why there is none.
    pub fn new(tokens: impl Fn() -> Result<Token, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(tokens))
    }

    pub(crate) fn token(&self) -> Result<Token, String> {
        (self.0)()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}

impl Mechanism {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Plain => Some("PLAIN"),
            Self::ScramSha256 => Some("SCRAM-SHA-256"),
            Self::ScramSha512 => Some("SCRAM-SHA-512"),
            Self::OAuthBearer => Some("OAUTHBEARER"),
        }
    }

    fn has_password(self) -> bool {
        match self {
            Self::None | Self::OAuthBearer => false,
            Self::Plain | Self::ScramSha256 | Self::ScramSha512 => true,
        }
    }
}

impl Config {
    /// Returns the configuration for an embedded broker.
    pub fn embedded(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), embedded: true, ..Self::default() }
    }

    /// Returns the configuration for brokers without encryption or login.
    pub fn plain(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), ..Self::default() }
    }

    /// Looks for everything that would keep a client from working, files included. Nothing is connected.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if self.bootstrap_servers.split(',').all(|server| server.trim().is_empty()) {
            problems.push(problem("bootstrap_servers", "empty", "name at least one host:port"));
        }
        self.tls.check(&mut problems);
        self.sasl.check(self.tokens.is_some(), &mut problems);
        problems.extend(self.properties.keys().filter_map(|key| refused::property(key)));
        problems.extend(self.unknown_properties());
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }

    /// Returns the settings every client begins with.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.bootstrap_servers);
        client.set("client.id", &self.client_id);
        client.set("allow.auto.create.topics", "false");
        // A lost broker is looked for at once and then twice a second, so that a restart is not felt longer than it lasts.
        client.set("reconnect.backoff.ms", "50");
        client.set("reconnect.backoff.max.ms", "500");
        client.set("topic.metadata.refresh.interval.ms", "30000");
        self.secure(&mut client);
        for (key, value) in &self.properties {
            if refused::property(key).is_none() {
                client.set(key, value);
            }
        }
        client
    }

    /// Sets what the operator has not set.
    pub(crate) fn set_defaults(&self, client: &mut ClientConfig, settings: &[(&str, &str)]) {
        for (key, value) in settings {
            if !self.properties.contains_key(*key) {
                client.set(*key, *value);
            }
        }
    }

    /// Returns the callbacks for a client.
    pub(crate) fn hooks(&self) -> ClientHooks {
        ClientHooks::new(&self.client_id, self.tokens.clone())
    }

    fn secure(&self, client: &mut ClientConfig) {
        let protocol = match (self.tls.enabled, self.sasl.mechanism.name()) {
            (false, None) => "plaintext",
            (true, None) => "ssl",
            (false, Some(_)) => "sasl_plaintext",
            (true, Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if self.tls.enabled {
            self.tls.apply(client);
        }
        if let Some(mechanism) = self.sasl.mechanism.name() {
            client.set("sasl.mechanism", mechanism);
        }
        if self.sasl.mechanism.has_password() {
            client.set("sasl.username", &self.sasl.username);
            set_secret(client, "sasl.password", &self.sasl.password_file);
        }
    }

    /// Asks librdkafka about each further setting alone, so that every mistake is found.
    fn unknown_properties(&self) -> Vec<ConfigProblem> {
        let allowed = self.properties.iter().filter(|(key, _)| refused::property(key).is_none());
        let wrong = allowed.filter_map(|(key, value)| {
            let why = ClientConfig::new().set(key, value).create_native_config().err()?;
            Some(problem(
                &format!("properties.{key}"),
                &why.to_string(),
                "correct it or take it out",
            ))
        });
        wrong.collect()
    }
}

impl Tls {
    fn check(&self, problems: &mut Vec<ConfigProblem>) {
        if !self.enabled {
            return;
        }
        let files = [
            ("tls.ca_file", &self.ca_file),
            ("tls.cert_file", &self.cert_file),
            ("tls.key_file", &self.key_file),
            ("tls.key_password_file", &self.key_password_file),
        ];
        for (key, path) in files {
            check_file(key, path, problems);
        }
        if self.cert_file.is_empty() != self.key_file.is_empty() {
            problems.push(problem(
                "tls.cert_file",
                "certificate and key go together",
                "set tls.cert_file and tls.key_file, or neither",
            ));
        }
    }

    fn apply(&self, client: &mut ClientConfig) {
        let files = [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.cert_file),
            ("ssl.key.location", &self.key_file),
        ];
        for (key, path) in files.into_iter().filter(|(_, path)| !path.is_empty()) {
            client.set(key, path);
        }
        if !self.key_password_file.is_empty() {
            set_secret(client, "ssl.key.password", &self.key_password_file);
        }
    }
}

impl Sasl {
    fn check(&self, has_tokens: bool, problems: &mut Vec<ConfigProblem>) {
        if self.mechanism == Mechanism::OAuthBearer && !has_tokens {
            problems.push(problem(
                "sasl.mechanism",
                "OAUTHBEARER has no token source",
                "hand one in where the process is built, or choose another mechanism",
            ));
        }
        if !self.mechanism.has_password() {
            return;
        }
        if self.username.is_empty() {
            problems.push(problem("sasl.username", "empty", "name the user"));
        }
        if self.password_file.is_empty() {
            problems.push(problem(
                "sasl.password_file",
                "empty",
                "name the file that holds the password",
            ));
        }
        check_file("sasl.password_file", &self.password_file, problems);
    }
}

fn problem(key: &str, what: &str, remedy: &str) -> ConfigProblem {
    ConfigProblem { key: key.to_owned(), what: what.to_owned(), remedy: remedy.to_owned() }
}

fn check_file(key: &str, path: &str, problems: &mut Vec<ConfigProblem>) {
    if path.is_empty() {
        return;
    }
    if let Err(why) = fs::File::open(path) {
        problems.push(problem(
            key,
            &format!("cannot read {path}: {why}"),
            "correct the path or the file's rights",
        ));
    }
}

/// Reads a secret into a setting. Without it librdkafka refuses the client and says what is missing.
fn set_secret(client: &mut ClientConfig, key: &'static str, path: &str) {
    match fs::read_to_string(path) {
        Ok(secret) => {
            client.set(key, secret.trim_end_matches(['\r', '\n']));
        }
        Err(why) => tracing::error!(key, path, %why, "secret not readable"),
    }
}

#[cfg(test)]
mod tests;
