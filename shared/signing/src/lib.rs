//! Verifies that a webhook was sent by who holds its secret, and signs as a sender does.
//!
//! Pure: the clock comes in as a value, nothing is fetched, nothing is kept. One file per scheme;
//! a further scheme is a file, a variant of `Scheme` and its arm in `Scheme::rules`.

mod encoding;
mod generic_hmac;
mod github;
mod header;
mod mac;
mod peek;
mod refused;
mod secret;
mod stamp;
pub mod standard_webhooks;
mod stripe;
pub mod vectors;

use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::{
    encoding::Encoding,
    generic_hmac::{GenericHmac, KeyDecoding},
    github::Github,
    mac::Algorithm,
    refused::{ConfigError, Refused},
    secret::Secret,
    stamp::{Tolerance, Unit},
    standard_webhooks::StandardWebhooks,
    stripe::Stripe,
};

/// How a provider signs, with the options of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
pub enum Scheme {
    Github(Github),
    Stripe(Stripe),
    StandardWebhooks(StandardWebhooks),
    GenericHmac(Box<GenericHmac>),
}

impl Scheme {
    /// Says whether the provider signs the public address, which has to be configured then.
    pub fn signs_url(&self) -> bool {
        match self {
            Self::GenericHmac(options) => options.signs_url(),
            Self::Github(_) | Self::Stripe(_) | Self::StandardWebhooks(_) => false,
        }
    }

    fn rules(&self) -> &dyn Rules {
        match self {
            Self::Github(rules) => rules,
            Self::Stripe(rules) => rules,
            Self::StandardWebhooks(rules) => rules,
            Self::GenericHmac(rules) => rules.as_ref(),
        }
    }
}

/// A request as it came: verified over these bytes, before anything is parsed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The public address as the provider knows it, never rebuilt from `Host`.
    pub url: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// What a matching signature says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Which of the secrets matched, from 0: the last user of an old one tells when it can go.
    pub secret: usize,
    /// When it was signed, in Unix seconds, where the scheme says so.
    pub signed_at: Option<i64>,
}

/// What a provider calls its event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    pub subject: Option<String>,
    pub time_ms: Option<i64>,
}

/// An event about to be sent, as its sender names it.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    pub event_id: &'a str,
    pub event_type: &'a str,
    pub method: &'a str,
    pub url: Option<&'a str>,
    pub body: &'a [u8],
}

/// What every scheme answers; each in its own file.
trait Rules {
    /// Refuses options that contradict themselves.
    fn check_options(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Refuses a secret that can't be a key of this scheme.
    fn check_secret(&self, secret: &str) -> Result<(), ConfigError>;

    fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        now_unix: i64,
    ) -> Result<Verified, Refused>;

    fn identify(&self, request: &Request<'_>) -> Identity;

    fn sign(
        &self,
        secret: &str,
        sending: &Sending<'_>,
        now_unix: i64,
    ) -> Result<HeaderMap, ConfigError>;
}

/// Refuses options and secrets that can't work or would check nothing; called when they are read.
///
/// # Errors
/// Says which option or that a secret is wrong, never its value.
pub fn check(scheme: &Scheme, secrets: &[Secret]) -> Result<(), ConfigError> {
    use secrecy::ExposeSecret as _;
    scheme.rules().check_options()?;
    for secret in secrets {
        if secret.value.expose_secret().trim().is_empty() {
            return Err(ConfigError::BlankSecret);
        }
        scheme.rules().check_secret(secret.value.expose_secret())?;
    }
    Ok(())
}

/// Verifies a request against every secret valid at `now_unix` (seconds), in constant time.
///
/// The timestamp is judged only after a signature matched: a stale forgery and a stale genuine
/// request look alike.
/// # Errors
/// `Refused` says which check failed, for the operator; a sender is not told.
pub fn verify(
    scheme: &Scheme,
    secrets: &[Secret],
    request: &Request<'_>,
    now_unix: i64,
) -> Result<Verified, Refused> {
    scheme.rules().verify(secrets, request, now_unix)
}

/// Reads id, type and time of a verified event by the scheme's rule, without parsing all of it.
pub fn identify(scheme: &Scheme, request: &Request<'_>) -> Identity {
    scheme.rules().identify(request)
}

/// Returns the headers a sender of this scheme adds to the event.
///
/// # Errors
/// The secret is no key of the scheme, or a name can't be a header.
pub fn sign(
    scheme: &Scheme,
    secret: &Secret,
    sending: &Sending<'_>,
    now_unix: i64,
) -> Result<HeaderMap, ConfigError> {
    use secrecy::ExposeSecret as _;
    scheme.rules().sign(secret.value.expose_secret(), sending, now_unix)
}
