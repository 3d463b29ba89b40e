//! GitHub: HMAC-SHA256 of the body in `X-Hub-Signature-256`. The SHA-1 twin is not looked at.

use std::borrow::Cow;

use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Algorithm, ConfigError, Encoding, Identity, Refused, Request, Rules, Secret, Sending, Verified,
    header, mac, peek, secret,
};

const SIGNATURE: &str = "x-hub-signature-256";
const PREFIX: &str = "sha256=";
const DELIVERY: &str = "x-github-delivery";
const EVENT: &str = "x-github-event";

/// GitHub's scheme; it has no options and no timestamp.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Github {}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    action: Option<Cow<'b, str>>,
}

impl Rules for Github {
    fn check_secret(&self, _: &str) -> Result<(), ConfigError> {
        Ok(())
    }

    fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        now_unix: i64,
    ) -> Result<Verified, Refused> {
        let claimed = header::one(request.headers, SIGNATURE)?
            .strip_prefix(PREFIX)
            .and_then(|hex| Encoding::Hex.decode(hex, 32))
            .ok_or_else(|| {
                Refused::malformed(SIGNATURE, "it is not sha256= and 64 lower-case hex digits")
            })?;
        let secret = secret::matching(secrets, now_unix, |secret| {
            mac::hmac(Algorithm::Sha256, secret.as_bytes(), &[request.body]).is_among(&[claimed])
        })?;
        Ok(Verified { secret, signed_at: None })
    }

    fn identify(&self, request: &Request<'_>) -> Identity {
        let event = header::text(request.headers, EVENT);
        let action = peek::fields::<Body<'_>>(request.body).and_then(|body| body.action);
        Identity {
            event_id: header::text(request.headers, DELIVERY),
            event_type: event.map(|event| match action {
                Some(action) if !action.is_empty() => format!("{event}.{action}"),
                _ => event,
            }),
            ..Identity::default()
        }
    }

    fn sign(&self, secret: &str, sending: &Sending<'_>, _: i64) -> Result<HeaderMap, ConfigError> {
        let digest = mac::hmac(Algorithm::Sha256, secret.as_bytes(), &[sending.body]);
        let signature = format!("{PREFIX}{}", Encoding::Hex.encode(digest.as_bytes()));
        // The action is in the body already.
        let event = sending.event_type.split('.').next().unwrap_or_default();
        let mut headers = HeaderMap::new();
        header::set(&mut headers, EVENT, event)?;
        header::set(&mut headers, DELIVERY, sending.event_id)?;
        header::set(&mut headers, SIGNATURE, &signature)?;
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_type_is_the_event_with_the_bodys_action() {
        let mut headers = HeaderMap::new();
        headers.insert(EVENT, HeaderValue::from_static("pull_request"));
        headers.insert(DELIVERY, HeaderValue::from_static("72d3162e"));
        for (body, expected) in [
            (r#"{"action":"opened"}"#, "pull_request.opened"),
            (r#"{"number":1,"x":{"action":"inner"}}"#, "pull_request"),
            (r#"{"action":7}"#, "pull_request"),
            ("not json", "pull_request"),
        ] {
            let body = body.as_bytes();
            let request = Request { method: "POST", url: None, headers: &headers, body };
            let identity = Github {}.identify(&request);
            assert_eq!(identity.event_type.as_deref(), Some(expected));
            assert_eq!(identity.event_id.as_deref(), Some("72d3162e"));
        }
    }
}
