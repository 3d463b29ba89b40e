//! Standard Webhooks: `v1` (HMAC-SHA256) and `v1a` (Ed25519) over `id.timestamp.body`.
//!
//! Also signs what Millrace itself delivers. A `v1a` signature is verified, not made.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use subtle::Choice;

use crate::{
    Algorithm, ConfigError, Encoding, Identity, Refused, Request, Rules, Secret, Sending,
    Tolerance, Verified, header, mac, peek, secret, stamp,
};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// The scheme of standardwebhooks.com. A secret `whpk_…` is a public key for `v1a`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StandardWebhooks {
    pub tolerance_past: Tolerance,
    pub tolerance_future: Tolerance,
}

impl Default for StandardWebhooks {
    fn default() -> Self {
        let tolerance = Tolerance::FIVE_MINUTES;
        Self { tolerance_past: tolerance, tolerance_future: tolerance }
    }
}

/// Returns the value of `webhook-signature`: one `v1` per key, so that a receiver may rotate.
///
/// # Errors
/// A key is no Standard Webhooks secret.
pub fn signature(
    keys: &[&str],
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> Result<String, ConfigError> {
    let timestamp = timestamp.to_string();
    let mut value = String::with_capacity(48 * keys.len());
    for key in keys {
        let Key::Shared(key) = Key::read(key)? else {
            return Err(ConfigError::Secret("a public key can't sign"));
        };
        let digest = mac::hmac(Algorithm::Sha256, &key, &signed(id, &timestamp, body));
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str("v1,");
        value.push_str(&Encoding::Base64.encode(digest.as_bytes()));
    }
    Ok(value)
}

/// Refuses a text that is no Standard Webhooks secret to sign with.
///
/// # Errors
/// Says what is wrong with it, never what it is.
pub fn check_key(text: &str) -> Result<(), ConfigError> {
    match Key::read(text)? {
        Key::Shared(key) => check_length(&key),
        Key::Public(_) => Err(ConfigError::Secret("whpk_ is a public key, which can't sign")),
    }
}

fn check_length(key: &[u8]) -> Result<(), ConfigError> {
    if (24..=64).contains(&key.len()) {
        return Ok(());
    }
    Err(ConfigError::Secret("a key has 24 to 64 bytes, base64-encoded after an optional whsec_"))
}

enum Key {
    Shared(Vec<u8>),
    Public(VerifyingKey),
}

impl Key {
    fn read(text: &str) -> Result<Self, ConfigError> {
        if let Some(public) = text.strip_prefix("whpk_") {
            let wrong = ConfigError::Secret("whpk_ is followed by the base64 of an Ed25519 key");
            let bytes = STANDARD.decode(public).ok().and_then(|bytes| bytes.try_into().ok());
            let key = bytes.and_then(|bytes: [u8; 32]| VerifyingKey::from_bytes(&bytes).ok());
            return key.map(Self::Public).ok_or(wrong);
        }
        let wrong = ConfigError::Secret("it is not base64 after an optional whsec_");
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        STANDARD.decode(text).map(Self::Shared).map_err(|_| wrong)
    }
}

fn signed<'a>(id: &'a str, timestamp: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body]
}

/// The signatures of a header, by version.
#[derive(Default)]
struct Claimed {
    shared: Vec<mac::Digest>,
    public: Vec<mac::Digest>,
}

impl Claimed {
    /// Reads a list with spaces between; entries of other versions and malformed ones are passed over.
    fn read(value: &str) -> Result<Self, Refused> {
        let mut claimed = Self::default();
        let known = value.split(' ').filter_map(|entry| entry.split_once(','));
        let known = known.filter(|(version, _)| matches!(*version, "v1" | "v1a"));
        for (version, text) in known.take(header::SIGNATURES_MAX) {
            match version {
                "v1" => claimed.shared.extend(Encoding::Base64.decode(text, 32)),
                _ => claimed.public.extend(Encoding::Base64.decode(text, 64)),
            }
        }
        if claimed.shared.is_empty() && claimed.public.is_empty() {
            return Err(Refused::malformed(
                SIGNATURE,
                "it has no v1, or v1a, with canonical base64",
            ));
        }
        Ok(claimed)
    }

    fn matches(&self, secret: &str, parts: &[&[u8]]) -> Choice {
        match Key::read(secret) {
            Ok(Key::Shared(key)) => {
                mac::hmac(Algorithm::Sha256, &key, parts).is_among(&self.shared)
            }
            // The key is public: nothing can be learnt from the time this takes.
            Ok(Key::Public(key)) => {
                let message = parts.concat();
                let valid = |digest: &mac::Digest| {
                    Signature::from_slice(digest.as_bytes())
                        .is_ok_and(|signature| key.verify_strict(&message, &signature).is_ok())
                };
                Choice::from(u8::from(self.public.iter().any(valid)))
            }
            Err(_) => Choice::from(0),
        }
    }
}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    r#type: Option<Cow<'b, str>>,
    #[serde(borrow)]
    timestamp: Option<Cow<'b, str>>,
}

impl Rules for StandardWebhooks {
    fn check_secret(&self, secret: &str) -> Result<(), ConfigError> {
        match Key::read(secret)? {
            Key::Shared(key) => check_length(&key),
            Key::Public(_) => Ok(()),
        }
    }

    fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        now_unix: i64,
    ) -> Result<Verified, Refused> {
        let claimed = Claimed::read(header::one(request.headers, SIGNATURE)?)?;
        let id = header::one(request.headers, ID)?;
        let timestamp = header::one(request.headers, TIMESTAMP)?;
        let signed_at = stamp::digits(timestamp)
            .ok_or_else(|| Refused::malformed(TIMESTAMP, "it is not plain digits"))?;
        let parts = signed(id, timestamp, request.body);
        let secret = secret::matching(secrets, now_unix, |secret| claimed.matches(secret, &parts))?;
        let (past, future) = (self.tolerance_past, self.tolerance_future);
        stamp::judge(signed_at, now_unix, Some(past), Some(future))?;
        Ok(Verified { secret, signed_at: Some(signed_at) })
    }

    fn identify(&self, request: &Request<'_>) -> Identity {
        let body = peek::fields::<Body<'_>>(request.body);
        let (event_type, time) = body.map(|b| (b.r#type, b.timestamp)).unwrap_or_default();
        Identity {
            event_id: header::text(request.headers, ID),
            event_type: event_type.map(Cow::into_owned),
            subject: None,
            time_ms: time.and_then(|text| stamp::rfc3339_ms(&text)),
        }
    }

    fn sign(
        &self,
        secret: &str,
        sending: &Sending<'_>,
        now_unix: i64,
    ) -> Result<HeaderMap, ConfigError> {
        let value = signature(&[secret], sending.event_id, now_unix, sending.body)?;
        let mut headers = HeaderMap::new();
        header::set(&mut headers, ID, sending.event_id)?;
        header::set(&mut headers, TIMESTAMP, &now_unix.to_string())?;
        header::set(&mut headers, SIGNATURE, &value)?;
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_to_sign_with_is_a_shared_secret_of_24_to_64_bytes() {
        let encoded = |length| format!("whsec_{}", STANDARD.encode(vec![7; length]));
        for (key, good) in [
            (encoded(24), true),
            (encoded(64), true),
            (encoded(23), false),
            (encoded(65), false),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), true),
            ("whsec_not base64".to_owned(), false),
            ("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=".to_owned(), false),
        ] {
            assert_eq!(check_key(&key).is_ok(), good, "{key}");
        }
    }

    #[test]
    fn the_reference_signature_is_made() {
        let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let value = signature(&[key, key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(value, Ok(format!("{one} {one}")));
    }
}
