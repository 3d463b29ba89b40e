//! What librdkafka tells its owner: log lines, errors, statistics, and the wish for a new token.
//!
//! Lines of a broken connection come many times a second; each kind is logged once in ten seconds with a count.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use secrecy::ExposeSecret as _;

use crate::config::TokenSource;

/// A line of one kind is logged once in this time.
const QUIET: Duration = Duration::from_secs(10);
/// Kinds remembered; more than this are logged as one kind.
const KINDS_MAX: usize = 64;
/// Events looked at for the reason of a failure.
const POLLS: usize = 100;

/// The callbacks every client of ours has.
#[derive(Clone)]
pub(crate) struct ClientHooks {
    client: Arc<str>,
    tokens: Option<TokenSource>,
    quiet: Arc<Mutex<Quiet>>,
    /// Why a connection failed last: an answer to the caller only says that it did.
    broken: Arc<Mutex<Option<(Instant, String)>>>,
}

impl ClientHooks {
    pub(crate) fn new(client: &str, tokens: Option<TokenSource>) -> Self {
        let quiet = Arc::new(Mutex::new(Quiet::default()));
        Self { client: client.into(), tokens, quiet, broken: Arc::default() }
    }

    /// Adds to what a caller is told why a connection failed, if one failed just now.
    pub(crate) fn explain(&self, why: impl std::fmt::Display) -> String {
        match &*self.broken.lock() {
            Some((at, reason)) if at.elapsed() < QUIET => format!("{why} ({reason})"),
            Some(_) | None => why.to_string(),
        }
    }

    fn broke(&self, reason: &str) {
        *self.broken.lock() = Some((Instant::now(), reason.to_owned()));
    }

    fn admit(&self, kind: &str) -> Option<u64> {
        self.quiet.lock().admit(kind, Instant::now())
    }
}

impl ClientContext for ClientHooks {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let client = &*self.client;
        if is_of_another_kind(facility, line) {
            return;
        }
        let Some(suppressed) = self.admit(facility) else { return };
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(client, facility, line, suppressed, "kafka client reports");
            }
            // A lost connection is librdkafka's error and our warning: it reconnects by itself.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(client, facility, line, suppressed, "kafka client reports");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(client, facility, line, suppressed, "kafka client reports");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // What a reader of ranges waits for, and is told by its partition.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        // That all brokers are down follows from what went before, and says less.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.broke(reason);
        }
        let code = format!("{:?}", error.rdkafka_error_code());
        if let Some(suppressed) = self.admit(&code) {
            tracing::warn!(client = &*self.client, %error, reason, suppressed, "kafka client met an error");
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let tokens =
            self.tokens.as_ref().ok_or("no token source was given to the kafka configuration")?;
        let token = tokens.token()?;
        Ok(OAuthToken {
            token: token.value.expose_secret().to_owned(),
            principal_name: token.principal,
            lifetime_ms: token.expires_ms,
        })
    }
}

impl ConsumerContext for ClientHooks {}

/// Every client is given all properties of the section: one that only the other kind of client knows is no mistake.
fn is_of_another_kind(facility: &str, line: &str) -> bool {
    facility == "CONFWARN" && line.contains("property and will be ignored by this")
}

/// Adds to a failed answer why the connection failed: a client that belongs to no group tells that when it is polled.
pub(crate) fn explain(client: &BaseConsumer<ClientHooks>, why: impl std::fmt::Display) -> String {
    for _ in 0..POLLS {
        // Nothing is returned for a log line either, so that is no end.
        drop(client.poll(Duration::ZERO));
    }
    client.context().explain(why)
}

/// Remembers when a kind of line was last let through.
#[derive(Default)]
struct Quiet {
    kinds: BTreeMap<String, (Instant, u64)>,
}

impl Quiet {
    /// Returns how many lines of this kind were held back before this one, or `None` to hold it back too.
    fn admit(&mut self, kind: &str, now: Instant) -> Option<u64> {
        let kind =
            if self.kinds.len() < KINDS_MAX || self.kinds.contains_key(kind) { kind } else { "" };
        if let Some((last, held)) = self.kinds.get_mut(kind) {
            if now.duration_since(*last) < QUIET {
                *held += 1;
                return None;
            }
            *last = now;
            return Some(std::mem::take(held));
        }
        self.kinds.insert(kind.to_owned(), (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_line_is_logged_once_in_ten_seconds_with_a_count() {
        let mut quiet = Quiet::default();
        let start = Instant::now();
        let seconds = |s| start + Duration::from_secs(s);
        assert_eq!(quiet.admit("FAIL", seconds(0)), Some(0));
        assert_eq!(quiet.admit("FAIL", seconds(1)), None);
        assert_eq!(quiet.admit("OTHER", seconds(1)), Some(0), "kinds do not hide each other");
        assert_eq!(quiet.admit("FAIL", seconds(9)), None);
        assert_eq!(quiet.admit("FAIL", seconds(10)), Some(2));
    }

    #[test]
    fn a_consumers_property_is_no_warning_of_a_producer() {
        let line = "[thrd:app]: Configuration property fetch.wait.max.ms is a consumer property and will be ignored by this producer instance";
        assert!(is_of_another_kind("CONFWARN", line));
        assert!(!is_of_another_kind("CONFWARN", "No `bootstrap.servers` configured"));
    }

    #[test]
    fn a_caller_is_told_why_the_connection_failed() {
        let hooks = ClientHooks::new("millrace", None);
        assert_eq!(hooks.explain("no answer"), "no answer");
        let failed = |code| KafkaError::Global(code);
        hooks.error(
            failed(RDKafkaErrorCode::Authentication),
            "b:1/bootstrap: Authentication failed",
        );
        hooks.error(failed(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(hooks.explain("no answer"), "no answer (b:1/bootstrap: Authentication failed)");
    }

    #[test]
    fn kinds_without_end_take_bounded_memory() {
        let mut quiet = Quiet::default();
        for kind in 0..1000 {
            quiet.admit(&kind.to_string(), Instant::now());
        }
        assert!(quiet.kinds.len() <= KINDS_MAX + 1);
    }
}
