//! Stripe: HMAC-SHA256 of `t.body` in `Stripe-Signature`; only entries `v1` count.

use std::borrow::Cow;

use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Algorithm, ConfigError, Encoding, Identity, Refused, Request, Rules, Secret, Sending,
    Tolerance, Verified, header, mac, peek, secret, stamp,
};

const SIGNATURE: &str = "stripe-signature";

/// Stripe's scheme. The secret is used as it is, with its `whsec_`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stripe {
    /// How old a signature may be.
    pub tolerance_past: Tolerance,
    /// How far ahead of our clock it may be; without it that is not limited, as in Stripe's libraries.
    pub tolerance_future: Option<Tolerance>,
}

impl Default for Stripe {
    fn default() -> Self {
        Self { tolerance_past: Tolerance::FIVE_MINUTES, tolerance_future: None }
    }
}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    id: Option<Cow<'b, str>>,
    #[serde(borrow)]
    r#type: Option<Cow<'b, str>>,
    created: Option<i64>,
}

struct Claim<'h> {
    timestamp: &'h str,
    signed_at: i64,
    digests: Vec<mac::Digest>,
}

impl Rules for Stripe {
    fn check_secret(&self, _: &str) -> Result<(), ConfigError> {
        Ok(())
    }

    fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        now_unix: i64,
    ) -> Result<Verified, Refused> {
        let claim = claim(header::one(request.headers, SIGNATURE)?)?;
        let parts = [claim.timestamp.as_bytes(), b".", request.body];
        let secret = secret::matching(secrets, now_unix, |secret| {
            mac::hmac(Algorithm::Sha256, secret.as_bytes(), &parts).is_among(&claim.digests)
        })?;
        stamp::judge(claim.signed_at, now_unix, Some(self.tolerance_past), self.tolerance_future)?;
        Ok(Verified { secret, signed_at: Some(claim.signed_at) })
    }

    fn identify(&self, request: &Request<'_>) -> Identity {
        let Some(body) = peek::fields::<Body<'_>>(request.body) else {
            return Identity::default();
        };
        Identity {
            event_id: body.id.map(Cow::into_owned),
            event_type: body.r#type.map(Cow::into_owned),
            subject: None,
            time_ms: body.created.and_then(|seconds| seconds.checked_mul(1000)),
        }
    }

    fn sign(
        &self,
        secret: &str,
        sending: &Sending<'_>,
        now_unix: i64,
    ) -> Result<HeaderMap, ConfigError> {
        let timestamp = now_unix.to_string();
        let parts = [timestamp.as_bytes(), b".", sending.body];
        let digest = mac::hmac(Algorithm::Sha256, secret.as_bytes(), &parts);
        let signature = Encoding::Hex.encode(digest.as_bytes());
        let mut headers = HeaderMap::new();
        header::set(&mut headers, SIGNATURE, &format!("t={timestamp},v1={signature}"))?;
        Ok(headers)
    }
}

/// Reads `t=…,v1=…[,v1=…][,v0=…]`; a malformed `v1` beside a good one does no harm.
fn claim(value: &str) -> Result<Claim<'_>, Refused> {
    let wrong = |detail| Refused::malformed(SIGNATURE, detail);
    let entries = || value.split(',').filter_map(|entry| entry.split_once('='));
    let mut times = entries().filter(|(key, _)| *key == "t").map(|(_, value)| value);
    let timestamp = times.next().ok_or_else(|| wrong("it has no t="))?;
    if times.next().is_some() {
        return Err(wrong("it has two t="));
    }
    let signed_at = stamp::digits(timestamp).ok_or_else(|| wrong("its t= is not plain digits"))?;
    let digests: Vec<_> = entries()
        .filter(|(key, _)| *key == "v1")
        .take(header::SIGNATURES_MAX)
        .filter_map(|(_, hex)| Encoding::Hex.decode(hex, 32))
        .collect();
    if digests.is_empty() {
        return Err(wrong("it has no v1= with 64 lower-case hex digits"));
    }
    Ok(Claim { timestamp, signed_at, digests })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_signatures_are_looked_at() {
        let bad = format!("v1={},", "00".repeat(32));
        let value = format!("t=1,{}v1={}", bad.repeat(20), "11".repeat(32));
        let digests = claim(&value).map(|claim| claim.digests.len());
        assert_eq!(digests, Ok(header::SIGNATURES_MAX));
    }

    #[test]
    fn id_type_and_time_are_the_bodys() {
        let body = br#"{"id":"evt_1","object":"event","created":1700000000,"data":{"id":"x"},"type":"charge.succeeded"}"#;
        let headers = HeaderMap::new();
        let request = Request { method: "POST", url: None, headers: &headers, body };
        let expected = Identity {
            event_id: Some("evt_1".into()),
            event_type: Some("charge.succeeded".into()),
            subject: None,
            time_ms: Some(1_700_000_000_000),
        };
        assert_eq!(Stripe::default().identify(&request), expected);
    }
}
