//! An HMAC by options: for senders that sign in the common way and have no scheme of their own.
//!
//! It refuses options that would check nothing, such as a timestamp that is not signed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Algorithm, ConfigError, Encoding, Identity, Refused, Request, Rules, Secret, Sending,
    Tolerance, Unit, Verified, header, mac, peek, secret, stamp,
};

/// How the text of a secret becomes the key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyDecoding {
    /// Its bytes as they are.
    #[default]
    Raw,
    Base64,
    Hex,
}

/// An HMAC over a template, compared with a header.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GenericHmac {
    /// The header with the signature.
    pub header: String,
    /// What stands before each signature; an entry of a list without it is passed over.
    pub prefix: String,
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// What is signed: text with `{body}`, `{timestamp}`, `{id}`, `{method}` and `{url}`.
    pub template: String,
    /// The header with the time of signing; it has to be in the template.
    pub timestamp_header: Option<String>,
    /// A JSON pointer to the time of signing in the body.
    pub timestamp_json_pointer: Option<String>,
    pub timestamp_unit: Unit,
    pub tolerance_past: Tolerance,
    pub tolerance_future: Tolerance,
    /// What lies between several signatures of the header, e.g. `,`; without it there is one.
    pub list_separator: Option<String>,
    /// How the secret's text becomes the key.
    pub key_decoding: KeyDecoding,
    /// What is taken off the secret's text before that, where it begins with it.
    pub key_prefix: String,
    /// The header with the event's id.
    pub id_header: Option<String>,
    /// A JSON pointer to the event's id in the body, where no header has it.
    pub id_json_pointer: Option<String>,
    /// The header with the event's type.
    pub type_header: Option<String>,
    /// A JSON pointer to the event's type in the body, where no header has it.
    pub type_json_pointer: Option<String>,
}

impl Default for GenericHmac {
    fn default() -> Self {
        Self {
            header: String::new(),
            prefix: String::new(),
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Hex,
            template: "{body}".to_owned(),
            timestamp_header: None,
            timestamp_json_pointer: None,
            timestamp_unit: Unit::S,
            tolerance_past: Tolerance::FIVE_MINUTES,
            tolerance_future: Tolerance::FIVE_MINUTES,
            list_separator: None,
            key_decoding: KeyDecoding::Raw,
            key_prefix: String::new(),
            id_header: None,
            id_json_pointer: None,
            type_header: None,
            type_json_pointer: None,
        }
    }
}

/// One piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Body,
    Timestamp,
    Id,
    Method,
    Url,
}

/// What a template's placeholders stand for in one request.
struct Values<'v> {
    body: &'v [u8],
    timestamp: &'v str,
    id: &'v str,
    method: &'v str,
    url: &'v str,
}

impl GenericHmac {
    pub(crate) fn signs_url(&self) -> bool {
        self.has(Piece::Url)
    }

    fn has(&self, piece: Piece<'_>) -> bool {
        pieces(&self.template).is_ok_and(|pieces| pieces.contains(&piece))
    }

    fn has_timestamp(&self) -> bool {
        self.timestamp_header.is_some() || self.timestamp_json_pointer.is_some()
    }

    fn digest(&self, secret: &str, values: &Values<'_>) -> Result<mac::Digest, ConfigError> {
        let key = self.key(secret)?;
        let pieces = pieces(&self.template)?;
        let parts: Vec<&[u8]> = pieces.iter().map(|piece| values.of(*piece)).collect();
        Ok(mac::hmac(self.algorithm, &key, &parts))
    }

    fn key(&self, secret: &str) -> Result<Vec<u8>, ConfigError> {
        let text = secret.strip_prefix(self.key_prefix.as_str()).unwrap_or(secret);
        match self.key_decoding {
            KeyDecoding::Raw => Ok(text.as_bytes().to_vec()),
            KeyDecoding::Base64 => {
                STANDARD.decode(text).map_err(|_| ConfigError::Secret("it is not base64"))
            }
            KeyDecoding::Hex => {
                hex::decode(text).map_err(|_| ConfigError::Secret("it is not hexadecimal"))
            }
        }
    }

    fn claimed(&self, value: &str) -> Result<Vec<mac::Digest>, Refused> {
        let length = self.algorithm.digest_bytes();
        let read = |entry: &str| {
            self.encoding.decode(entry.trim().strip_prefix(self.prefix.as_str())?, length)
        };
        let claimed: Vec<_> = match self.list_separator.as_deref() {
            Some(separator) => {
                value.split(separator).filter_map(read).take(header::SIGNATURES_MAX).collect()
            }
            // A single signature has one spelling: nothing is trimmed.
            None => value
                .strip_prefix(self.prefix.as_str())
                .and_then(|text| self.encoding.decode(text, length))
                .into_iter()
                .collect(),
        };
        if claimed.is_empty() {
            return Err(Refused::malformed(
                &self.header,
                "it has no signature with the configured prefix, encoding and length",
            ));
        }
        Ok(claimed)
    }

    /// Returns the time of signing as it is written, and in Unix seconds; empty where none is signed.
    fn stamp(&self, request: &Request<'_>) -> Result<(String, Option<i64>), Refused> {
        let (place, text) = match (&self.timestamp_header, &self.timestamp_json_pointer) {
            (Some(name), _) => (name.as_str(), header::one(request.headers, name)?.to_owned()),
            (None, Some(pointer)) => {
                let found = peek::pointer(request.body, pointer);
                let missing = || Refused::malformed("the body", "it has no timestamp");
                (pointer.as_str(), found.ok_or_else(missing)?)
            }
            (None, None) => return Ok((String::new(), None)),
        };
        let wrong = || Refused::malformed(place, "it is no timestamp in the configured unit");
        let signed_at = self.timestamp_unit.read_ms(&text).ok_or_else(wrong)? / 1000;
        Ok((text, Some(signed_at)))
    }

    fn named(header: Option<&str>, pointer: Option<&str>, request: &Request<'_>) -> Option<String> {
        header
            .and_then(|name| header::text(request.headers, name))
            .or_else(|| peek::pointer(request.body, pointer?))
    }
}

impl<'v> Values<'v> {
    fn of<'a>(&'a self, piece: Piece<'a>) -> &'a [u8] {
        match piece {
            Piece::Text(text) => text.as_bytes(),
            Piece::Body => self.body,
            Piece::Timestamp => self.timestamp.as_bytes(),
            Piece::Id => self.id.as_bytes(),
            Piece::Method => self.method.as_bytes(),
            Piece::Url => self.url.as_bytes(),
        }
    }
}

impl Rules for GenericHmac {
    fn check_options(&self) -> Result<(), ConfigError> {
        let wrong = |option, why: &str| Err(ConfigError::option(option, why));
        let is_header = |name: &str| http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        if !is_header(&self.header) {
            return wrong("header", "has to name the header with the signature");
        }
        pieces(&self.template)?;
        if !self.has(Piece::Body) {
            return wrong("template", "has to contain {body}: an unsigned body can be changed");
        }
        if self.timestamp_header.is_some() && !self.has(Piece::Timestamp) {
            return wrong(
                "timestamp_header",
                "is not in the template: the check would be decorative",
            );
        }
        if self.has(Piece::Timestamp) && !self.has_timestamp() {
            return wrong(
                "template",
                "has {timestamp}, so timestamp_header has to name its header",
            );
        }
        if self.has(Piece::Id) && self.id_header.is_none() {
            return wrong("template", "has {id}, so id_header has to name its header");
        }
        let pointers = [
            ("timestamp_json_pointer", &self.timestamp_json_pointer),
            ("id_json_pointer", &self.id_json_pointer),
            ("type_json_pointer", &self.type_json_pointer),
        ];
        for (option, pointer) in pointers {
            if pointer.as_deref().is_some_and(|text| !peek::is_pointer(text)) {
                return wrong(option, "is no JSON pointer such as /data/id");
            }
        }
        if self.list_separator.as_deref() == Some("") {
            return wrong("list_separator", "is empty");
        }
        Ok(())
    }

    fn check_secret(&self, secret: &str) -> Result<(), ConfigError> {
        if self.key(secret)?.is_empty() { Err(ConfigError::BlankSecret) } else { Ok(()) }
    }

    fn verify(
        &self,
        secrets: &[Secret],
        request: &Request<'_>,
        now_unix: i64,
    ) -> Result<Verified, Refused> {
        let claimed = self.claimed(header::one(request.headers, &self.header)?)?;
        let (timestamp, signed_at) = self.stamp(request)?;
        let id = match &self.id_header {
            Some(name) if self.has(Piece::Id) => header::one(request.headers, name)?,
            _ => "",
        };
        let url = match request.url {
            None if self.signs_url() => return Err(Refused::NoUrl),
            url => url.unwrap_or_default(),
        };
        let (body, method) = (request.body, request.method);
        let values = Values { body, timestamp: &timestamp, id, method, url };
        let secret = secret::matching(secrets, now_unix, |secret| {
            // A secret that is no key was refused when it was read; it matches nothing.
            self.digest(secret, &values).map_or(0.into(), |digest| digest.is_among(&claimed))
        })?;
        if let Some(signed_at) = signed_at {
            let (past, future) = (self.tolerance_past, self.tolerance_future);
            stamp::judge(signed_at, now_unix, Some(past), Some(future))?;
        }
        Ok(Verified { secret, signed_at })
    }

    fn identify(&self, request: &Request<'_>) -> Identity {
        let named = |header: &Option<String>, pointer: &Option<String>| {
            Self::named(header.as_deref(), pointer.as_deref(), request)
        };
        let stamp = self.stamp(request).ok().and_then(|(_, signed_at)| signed_at);
        Identity {
            event_id: named(&self.id_header, &self.id_json_pointer),
            event_type: named(&self.type_header, &self.type_json_pointer),
            subject: None,
            time_ms: stamp.and_then(|seconds| seconds.checked_mul(1000)),
        }
    }

    fn sign(
        &self,
        secret: &str,
        sending: &Sending<'_>,
        now_unix: i64,
    ) -> Result<HeaderMap, ConfigError> {
        let mut headers = HeaderMap::new();
        let timestamp = self.timestamp_unit.write(now_unix);
        let named = [
            (&self.timestamp_header, timestamp.as_str()),
            (&self.id_header, sending.event_id),
            (&self.type_header, sending.event_type),
        ];
        for (name, value) in named {
            if let Some(name) = name {
                header::set(&mut headers, name, value)?;
            }
        }
        let url = sending.url.unwrap_or_default();
        let (body, id, method) = (sending.body, sending.event_id, sending.method);
        let digest =
            self.digest(secret, &Values { body, timestamp: &timestamp, id, method, url })?;
        let signature = format!("{}{}", self.prefix, self.encoding.encode(digest.as_bytes()));
        header::set(&mut headers, &self.header, &signature)?;
        Ok(headers)
    }
}

/// Cuts a template into its pieces; braces are only for placeholders.
fn pieces(template: &str) -> Result<Vec<Piece<'_>>, ConfigError> {
    let unknown = |name: &str| {
        let why = format!(
            "has {{{name}}}, and only {{body}} {{timestamp}} {{id}} {{method}} {{url}} are known"
        );
        ConfigError::option("template", why)
    };
    let mut found = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| unknown(after))?;
        if !text.is_empty() {
            found.push(Piece::Text(text));
        }
        found.push(match name {
            "body" => Piece::Body,
            "timestamp" => Piece::Timestamp,
            "id" => Piece::Id,
            "method" => Piece::Method,
            "url" => Piece::Url,
            other => return Err(unknown(other)),
        });
        rest = after;
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(template: &str) -> GenericHmac {
        let header = "x-signature".to_owned();
        GenericHmac { header, template: template.to_owned(), ..GenericHmac::default() }
    }

    #[test]
    fn options_that_check_nothing_are_refused() {
        let stamped = |template: &str| GenericHmac {
            timestamp_header: Some("x-time".into()),
            ..options(template)
        };
        for (options, good) in [
            (options("{body}"), true),
            (stamped("{timestamp}.{body}"), true),
            (stamped("{body}"), false),
            (options("{timestamp}.{body}"), false),
            (options("{method}"), false),
            (options("{id}.{body}"), false),
            (options("{body"), false),
            (options("{secret}{body}"), false),
            (GenericHmac { header: String::new(), ..options("{body}") }, false),
            (GenericHmac { id_json_pointer: Some("id".into()), ..options("{body}") }, false),
        ] {
            assert_eq!(options.check_options().is_ok(), good, "{options:?}");
        }
    }

    #[test]
    fn what_is_signed_is_verified_until_a_byte_is_changed() {
        let rules = GenericHmac {
            timestamp_header: Some("x-time".into()),
            id_header: Some("x-id".into()),
            ..options("{method} {url} {id} {timestamp} {body}")
        };
        let (secrets, url, body) =
            ([Secret::new("k")], Some("https://a.example/x"), b"{}".as_slice());
        let sending = Sending { event_id: "e1", event_type: "t", method: "POST", url, body };
        let signed = rules.sign("k", &sending, 1_000);
        let Ok(headers) = signed else { panic!("{signed:?}") };
        let request = Request { method: "POST", url, headers: &headers, body };
        let verify =
            |request: &Request<'_>, now| rules.verify(&secrets, request, now).map(|v| v.secret);
        assert_eq!(verify(&request, 1_300), Ok(0));
        assert_eq!(verify(&Request { body: b"{ }", ..request }, 1_000), Err(Refused::Mismatch));
        assert_eq!(verify(&Request { method: "PUT", ..request }, 1_000), Err(Refused::Mismatch));
        assert_eq!(verify(&Request { url: None, ..request }, 1_000), Err(Refused::NoUrl));
        let stale = Refused::Stale { age_seconds: 301, allowed_seconds: 300 };
        assert_eq!(verify(&request, 1_301), Err(stale));
        assert!(matches!(verify(&request, 699), Err(Refused::Future { .. })));
    }
}
