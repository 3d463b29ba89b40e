//! Checks one destination: its address, headers, credentials, times and outcomes.

pub(super) mod flow;
mod retry;

use std::{collections::BTreeMap, time::Duration};

use domain::{
    catalog as rules,
    outcome::{Outcome, Overrides},
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Context, Entry, rates::Rates};
use crate::{
    Auth, Destination,
    file::{self, AuthSpec},
};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);
const PARTITIONS_DEFAULT: i32 = 3;

pub(super) fn check(
    entry: &Entry<'_>,
    rates: &Rates,
    context: &mut Context<'_>,
) -> Option<Destination> {
    let file: file::Destination = context.typed(entry)?;
    address(entry, &file.url, context);
    let method = method(entry, file.method.as_deref(), context);
    headers(entry, &file.headers, context);
    let timeout = timeout(entry, &file, context);
    let flow = flow::check(entry, &file, context);
    let retry = retry::check(entry, &file.retry, context);
    let outcomes = outcomes(entry, &file.outcomes, context);
    let probe = probe(entry, &file.probe, context);
    let signing = match &file.signing {
        Some(signing) => signing_keys(entry, signing, context),
        None => Vec::new(),
    };
    let auth = match &file.auth {
        Some(spec) => auth(entry, spec, context)?,
        None => Auth::None,
    };
    let spec = rules::Destination {
        name: entry.name.parse().ok()?,
        url: file.url,
        method,
        headers: file.headers.into_iter().collect(),
        timeout,
        rate: flow.rate,
        concurrency: flow.concurrency,
        concurrency_min: flow.concurrency_min,
        breaker: flow.breaker,
        protocol: file.protocol,
        retry,
        outcomes,
        propagate_trace: file.propagate_trace,
        probe,
    };
    let partitions = file.partitions.unwrap_or(PARTITIONS_DEFAULT);
    let shared_rate = match &file.shared_rate {
        Some(name) => Some(rates.of(entry, name, context)?),
        None => None,
    };
    Some(Destination { spec, signing, auth, shared_rate, partitions })
}

fn address(entry: &Entry<'_>, url: &str, context: &mut Context<'_>) {
    let why = match Url::parse(url) {
        Err(error) => error.to_string(),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "only http and https go".into(),
        Ok(url) if url.host().is_none() => "it has no host".into(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "it holds a user or a password, which belong under auth".into()
        }
        Ok(url) if url.fragment().is_some() => "a fragment is never sent".into(),
        Ok(_) => return,
    };
    // The address itself may hold a password, so it is not repeated.
    let what = format!("url of {} can't be used", entry.name);
    context.mistake(entry, "/url", what, why, "write e.g. https://api.example.com/events");
}

fn method(entry: &Entry<'_>, method: Option<&str>, context: &mut Context<'_>) -> String {
    let method = method.unwrap_or("POST");
    if !mapping::METHODS.contains(&method) {
        let what = format!("method {method:?} is not sent");
        let fix = format!("use one of {}", mapping::METHODS.join(", "));
        context.mistake(entry, "/method", what, "deliveries are requests with an effect", fix);
    }
    method.to_owned()
}

fn headers(entry: &Entry<'_>, headers: &BTreeMap<String, String>, context: &mut Context<'_>) {
    for (name, value) in headers {
        let below = crate::yaml::step("/headers", name);
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(token) {
            let why = "a header's name has only letters, digits and a few signs";
            let what = format!("{name:?} is no header name");
            context.mistake(entry, &below, what, why, "correct the name");
        } else if lower != "authorization" && mapping::RESERVED_HEADERS.contains(&lower.as_str()) {
            let what = format!("header {name:?} can't be set");
            let why = "Millrace or the connection sets it for each request";
            context.mistake(entry, &below, what, why, "remove it");
        } else if lower == "authorization" {
            let what = "header \"authorization\" holds a secret".to_owned();
            let why = "secrets are never written into the catalog";
            let fix = "use auth: { bearer: { env: NAME } }";
            context.mistake(entry, &below, what, why, fix);
        }
        if value.chars().any(|c| c.is_control()) {
            let what = format!("header {name:?} has a control character");
            let why = "it would break the request";
            context.mistake(entry, &below, what, why, "remove it");
        }
    }
}

fn timeout(entry: &Entry<'_>, file: &file::Destination, context: &mut Context<'_>) -> Duration {
    let timeout = context.duration(entry, "/timeout", file.timeout.as_ref(), TIMEOUT_DEFAULT);
    if timeout > TIMEOUT_MAX {
        let what = format!("timeout of {} is above 10 minutes", entry.name);
        let why = "an attempt that long would hold its key and every shutdown";
        context.mistake(entry, "/timeout", what, why, "write at most 10m");
    }
    timeout
}

fn outcomes(
    entry: &Entry<'_>,
    listed: &BTreeMap<String, Outcome>,
    context: &mut Context<'_>,
) -> Overrides {
    let mut overrides = BTreeMap::new();
    for (status, outcome) in listed {
        match status.parse::<u16>() {
            Ok(code) if (200..=599).contains(&code) => {
                overrides.insert(code, *outcome);
            }
            _ => {
                let what = format!("{status:?} is no HTTP status");
                let why = "an outcome belongs to a status between 200 and 599";
                let below = crate::yaml::step("/outcomes", status);
                context.mistake(entry, &below, what, why, "write e.g. 409: delivered");
            }
        }
    }
    Overrides(overrides)
}

fn probe(entry: &Entry<'_>, spec: &file::Probe, context: &mut Context<'_>) -> rules::Probe {
    let is_sent = |c: char| !c.is_whitespace() && !c.is_control() && c != '#';
    if let Some(path) = &spec.path
        && !(path.starts_with('/') && path.chars().all(is_sent))
    {
        let what = format!("probe.path of {} is no path", entry.name);
        let why = "it is asked of the destination's own host, so it begins with a slash";
        context.mistake(entry, "/probe/path", what, why, "write e.g. /v2/me?fields=id");
    }
    rules::Probe { method: spec.method, path: spec.path.clone() }
}

fn signing_keys(
    entry: &Entry<'_>,
    signing: &file::Signing,
    context: &mut Context<'_>,
) -> Vec<SecretString> {
    let each = signing.secrets.iter().enumerate();
    each.filter_map(|(index, secret)| {
        let below = format!("/signing/secrets/{index}");
        let value = context.secret(entry, &below, secret)?;
        if let Err(error) = signing::standard_webhooks::check_key(value.expose_secret()) {
            let what = format!("signing key {} of {} can't sign: {error}", index + 1, entry.name);
            let why = "Standard Webhooks keys are 24 to 64 bytes in base64 after whsec_";
            context.mistake(
                entry,
                &below,
                what,
                why,
                "make one: whsec_$(head -c 32 /dev/urandom | base64)",
            );
            return None;
        }
        Some(value)
    })
    .collect()
}

fn auth(entry: &Entry<'_>, spec: &AuthSpec, context: &mut Context<'_>) -> Option<Auth> {
    Some(match spec {
        AuthSpec::Bearer(secret) => Auth::Bearer(context.secret(entry, "/auth/bearer", secret)?),
        AuthSpec::Basic { user, password } => Auth::Basic {
            user: user.clone(),
            password: context.secret(entry, "/auth/basic/password", password)?,
        },
        AuthSpec::Header { name, value } => Auth::Header {
            name: name.clone(),
            value: context.secret(entry, "/auth/header/value", value)?,
        },
    })
}
