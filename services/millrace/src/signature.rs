//! `millrace signature verify`: a file of vectors, or one request of a user whose signatures fail.
//!
//! It says which check failed, which a sender is never told.

use std::{path::Path, process::ExitCode};

use http::{HeaderMap, HeaderName, HeaderValue};
use signing::{Scheme, Secret, vectors};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    check::counted,
    cli::{self, SignatureAction},
    failure::{Failure, USAGE},
    output::say,
};

pub(crate) fn run(options: cli::Signature) -> Result<ExitCode, Failure> {
    let SignatureAction::Verify(options) = options.action;
    match &options.vectors {
        Some(file) => every(file),
        None => one(&options),
    }
}

fn every(file: &Path) -> Result<ExitCode, Failure> {
    let text = String::from_utf8_lossy(&read(file)?).into_owned();
    let cases = vectors::read(&text).map_err(|e| {
        let what = format!("read the vectors of {}", file.display());
        Failure::new(what, e, "give a JSON array of cases").code(USAGE)
    })?;
    let report = vectors::run(&cases);
    for disagreement in &report.disagreements {
        say!("{disagreement}");
    }
    if !report.disagreements.is_empty() {
        say!("");
    }
    say!("{:<24} {:>7} {:>10} {:>8}", "provider", "agreed", "disagreed", "skipped");
    for (provider, count) in &report.providers {
        let vectors::Count { agreed, disagreed, skipped } = count;
        say!("{provider:<24} {agreed:>7} {disagreed:>10} {skipped:>8}");
    }
    let agreed: usize = report.providers.values().map(|count| count.agreed).sum();
    let skipped: usize = report.providers.values().map(|count| count.skipped).sum();
    say!(
        "\n{} agreed, {}, {skipped} skipped: schemes that Millrace does not have",
        agreed,
        counted(report.disagreements.len(), "disagreement"),
    );
    Ok(ExitCode::from(u8::from(!report.disagreements.is_empty())))
}

fn one(options: &cli::Verify) -> Result<ExitCode, Failure> {
    let scheme = scheme(options)?;
    let secrets = secrets(options, &scheme)?;
    let headers = match &options.headers {
        Some(file) => headers(file)?,
        None => HeaderMap::new(),
    };
    let body = match &options.body {
        Some(file) => read(file)?,
        None => Vec::new(),
    };
    let now = now(options.now.as_deref())?;
    let url = options.url.as_deref();
    let request = signing::Request { method: &options.method, url, headers: &headers, body: &body };
    match signing::verify(&scheme, &secrets, &request, now) {
        Ok(verified) => {
            say!("valid: {} matches", named(&options.secret_file, verified.secret));
            let identity = signing::identify(&scheme, &request);
            let told = [("event id", identity.event_id), ("event type", identity.event_type)];
            for (name, value) in told {
                say!("{name:<10}  {}", value.as_deref().unwrap_or("(none)"));
            }
            if let Some(at) = verified.signed_at {
                say!("{:<10}  {}", "signed", age(at, now));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(refused) => {
            say!("invalid: {refused}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Says how long before `now` something was, or after it, as a clock that is ahead has it.
fn age(at: i64, now: i64) -> String {
    let seconds = now.abs_diff(at);
    let side = if at > now { "after" } else { "before" };
    format!("{seconds} s {side} {now}")
}

fn named(files: &[std::path::PathBuf], index: usize) -> String {
    files
        .get(index)
        .map_or_else(|| "a secret".into(), |file| format!("the secret in {}", file.display()))
}

/// Reads the scheme as a catalog would: options beside its name.
fn scheme(options: &cli::Verify) -> Result<Scheme, Failure> {
    let name = options.scheme.clone().unwrap_or_default();
    let mut verify = serde_json::Map::new();
    verify.insert("scheme".into(), name.clone().into());
    for option in &options.option {
        let Some((key, value)) = option.split_once('=') else {
            let why = format!("{option:?} has no =");
            return Err(
                Failure::new("read an option of the scheme", why, "write NAME=VALUE").code(USAGE)
            );
        };
        // A number or a list is written as JSON; anything else is text.
        let value = match serde_json::from_str(value) {
            Ok(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value,
            Ok(value @ serde_json::Value::Array(_)) => value,
            Ok(_) | Err(_) => value.into(),
        };
        verify.insert(key.to_owned(), value);
    }
    serde_json::from_value(verify.into()).map_err(|e| {
        let remedy = "name a scheme and its options as under `verify` in a catalog";
        Failure::new(format!("use the scheme {name:?}"), e, remedy).code(USAGE)
    })
}

fn secrets(options: &cli::Verify, scheme: &Scheme) -> Result<Vec<Secret>, Failure> {
    let mut secrets = Vec::new();
    for file in &options.secret_file {
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        secrets.push(Secret::new(text.trim_end_matches(['\r', '\n'])));
    }
    signing::check(scheme, &secrets).map_err(|e| {
        Failure::new("use the secret or the options", e, "correct them").code(USAGE)
    })?;
    Ok(secrets)
}

fn headers(file: &Path) -> Result<HeaderMap, Failure> {
    let text = String::from_utf8_lossy(&read(file)?).into_owned();
    let mut headers = HeaderMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        headers.append(header_name(line, file)?, header_value(line, file)?);
    }
    Ok(headers)
}

fn header_name(line: &str, file: &Path) -> Result<HeaderName, Failure> {
    let name = line.split_once(':').map(|(name, _)| name.trim());
    name.and_then(|name| name.parse().ok()).ok_or_else(|| no_header(line, file))
}

fn header_value(line: &str, file: &Path) -> Result<HeaderValue, Failure> {
    let value = line.split_once(':').map(|(_, value)| value.trim());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| no_header(line, file))
}

fn no_header(line: &str, file: &Path) -> Failure {
    let what = format!("read the headers of {}", file.display());
    Failure::new(what, format!("{line:?} is no header"), "write one `Name: value` a line")
        .code(USAGE)
}

fn now(text: Option<&str>) -> Result<i64, Failure> {
    let Some(text) = text else { return Ok(OffsetDateTime::now_utc().unix_timestamp()) };
    let parsed = text.parse().ok();
    let parsed =
        parsed.or_else(|| Some(OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp()));
    parsed.ok_or_else(|| {
        let why = format!("{text:?} is no time");
        let remedy = "give Unix seconds, or for example 2026-01-05T10:00:00Z";
        Failure::new("read --now", why, remedy).code(USAGE)
    })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|e| {
        let what = format!("read {}", file.display());
        Failure::new(what, e, "name a readable file").code(USAGE)
    })
}
