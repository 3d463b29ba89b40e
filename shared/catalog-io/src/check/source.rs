//! Checks one source: its scheme, secrets, key and body limit.

use secrecy::SecretString;
use serde_json::Value;

use super::{Context, Entry};
use crate::{
    Source,
    file::{self, SecretRef, Text},
};

const BODY_BYTES_DEFAULT: usize = 5 * 1024 * 1024;
const BODY_BYTES_MAX: usize = 25 * 1024 * 1024;
const PARTITIONS_DEFAULT: i32 = 3;

pub(super) fn check(entry: &Entry<'_>, context: &mut Context<'_>) -> Option<Source> {
    let source: file::Source = context.typed(entry)?;
    let body_bytes_max = body_bytes(entry, source.body_max.as_ref(), context);
    let key = source.key.as_deref().and_then(|text| {
        let name = format!("sources.{}.key", entry.name);
        context.program(entry, "/key", text, &name, mapping::Use::Expression)
    });
    let mut options = source.verify;
    let secrets = secrets(entry, options.remove("secrets"), context);
    let scheme = scheme(entry, options, context)?;
    // A secret that is named and can't be read has its own message already.
    let secrets = secrets?;
    if secrets.is_empty() {
        let why = "without a secret anyone could send events in the provider's name";
        let fix = "add secrets: [{ env: NAME }] under verify";
        context.mistake(entry, "/verify", format!("{} has no secret", entry.name), why, fix);
        return None;
    }
    if let Err(error) = signing::check(&scheme, &secrets) {
        let what = format!("{} can't be verified: {error}", entry.name);
        let why = "its scheme refuses this secret or these options";
        context.mistake(entry, "/verify", what, why, "correct the secret or the options");
        return None;
    }
    Some(Source {
        name: entry.name.parse().ok()?,
        scheme,
        secrets,
        key,
        format: source.format,
        body_bytes_max,
        public_url: source.public_url,
        partitions: source.partitions.unwrap_or(PARTITIONS_DEFAULT),
    })
}

fn scheme(
    entry: &Entry<'_>,
    options: serde_json::Map<String, Value>,
    context: &mut Context<'_>,
) -> Option<signing::Scheme> {
    match serde_json::from_value(Value::Object(options)) {
        Ok(scheme) => Some(scheme),
        Err(error) => {
            let what = format!("verify of {} is not understood: {error}", entry.name);
            let why = "verify names a scheme, with its options beside it";
            let fix = "write e.g. verify: { scheme: github, secrets: [{ env: NAME }] }";
            context.mistake(entry, "/verify", what, why, fix);
            None
        }
    }
}

/// Reads every secret, to tell all mistakes; `None` where one can't be read.
fn secrets(
    entry: &Entry<'_>,
    listed: Option<Value>,
    context: &mut Context<'_>,
) -> Option<Vec<signing::Secret>> {
    let Some(listed) = listed else { return Some(Vec::new()) };
    let refs: Vec<SecretRef> = match serde_json::from_value(listed) {
        Ok(refs) => refs,
        Err(error) => {
            let what = format!("secrets of {} are not understood: {error}", entry.name);
            let why = "a secret is named by its place and never written into the catalog";
            let fix = "write secrets: [{ env: NAME }] or [{ file: PATH }]";
            context.mistake(entry, "/verify/secrets", what, why, fix);
            return None;
        }
    };
    let each = refs.iter().enumerate();
    let read: Vec<Option<signing::Secret>> = each
        .map(|(index, secret)| {
            let below = format!("/verify/secrets/{index}");
            let value = context.secret(entry, &below, secret)?;
            Some(dated(entry, &below, secret, value, context))
        })
        .collect();
    read.into_iter().collect()
}

fn dated(
    entry: &Entry<'_>,
    below: &str,
    secret: &SecretRef,
    value: SecretString,
    context: &mut Context<'_>,
) -> signing::Secret {
    let until = secret.valid_until.as_deref().and_then(|text| {
        let read = humantime::parse_rfc3339_weak(text).ok();
        if read.is_none() {
            let what = format!("valid_until {text:?} is no RFC 3339 time");
            let why = "from that time on the secret no longer counts";
            context.mistake(entry, below, what, why, "write e.g. 2027-01-31T00:00:00Z");
        }
        read
    });
    let seconds = |t: std::time::SystemTime| domain::time::UnixMillis::from(t).0 / 1000;
    signing::Secret { value, valid_until: until.map(seconds) }
}

fn body_bytes(entry: &Entry<'_>, text: Option<&Text>, context: &mut Context<'_>) -> usize {
    let (bytes, shown) = match text {
        None => return BODY_BYTES_DEFAULT,
        Some(Text::Text(text)) => (bytes_of(text), text.clone()),
        Some(Text::Number(number)) => (None, number.to_string()),
    };
    match bytes {
        Some(bytes) if (1..=BODY_BYTES_MAX).contains(&bytes) => bytes,
        _ => {
            let what = format!("body_max {shown:?} is no size between 1 B and 25 MiB");
            let why = "the limit has a number and a unit; Kafka and the providers end at 25 MiB";
            context.mistake(entry, "/body_max", what, why, "write e.g. 5 MiB");
            BODY_BYTES_DEFAULT
        }
    }
}

fn bytes_of(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "B" => 1,
        "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}
