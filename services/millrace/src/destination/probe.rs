//! `millrace destination probe`: asks a destination once, and prints what it answers and what holds it.
//!
//! The request and the finding are deliver's. Kafka is asked what holds the destination and told of the
//! probe, but a probe works without it: a third party is looked at when things are down.

use std::{process::ExitCode, sync::Arc};

use catalog_io::Catalog;
use deliver::{Desk, Finding, Probed};
use domain::{outcome::Outcome, time::UnixMillis};
use serde::Serialize;
use wire::{
    Latency,
    control::{Said, Word},
};

use crate::{
    cli::destination::{self as cli, Format},
    failure::{Failure, USAGE},
    output::{json, say},
    when,
};

/// How much of an answer's body is printed for a person.
const BODY_CHARS_MAX: usize = 300;

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    probed: Probed,
    /// What holds the destination; null where that could not be read.
    said: Option<Said>,
    said_unknown: Option<String>,
    /// Why the audit has not been told.
    unaudited: Option<String>,
}

pub(super) async fn run(
    config: &deliver::Config,
    catalog: &Catalog,
    desk: &Desk,
    options: cli::Probe,
) -> Result<ExitCode, Failure> {
    let destination = declared(catalog, &options.name)?;
    let at_ms = when::now_ms();
    let probing = deliver::probe(config, destination, UnixMillis(at_ms));
    let (probed, said) = tokio::join!(probing, desk.said());
    let doing = format!("probe {}", options.name);
    let probed = probed.map_err(|error| Failure::new(doing, error, "correct what it names"))?;
    let word = Word { by: options.who.by, at_ms, why: options.reason, event_id: None };
    let (said, said_unknown, unaudited) = match said {
        Ok(said) => {
            let told = desk.tell_probed(&probed, &word).await;
            (Some(said.of(&options.name)), None, told.err().map(|error| error.to_string()))
        }
        // Who could not be read is not waited for a second time.
        Err(error) => (None, Some(error.to_string()), Some("Kafka could not be read".to_owned())),
    };
    let report = Report { probed, said, said_unknown, unaudited };
    match options.format {
        Format::Json => {
            json(&report)?;
        }
        Format::Text => lines(&report).iter().for_each(|line| say!("{line}")),
    }
    let is_well = report.probed.finding.is_well();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn declared(catalog: &Catalog, name: &str) -> Result<Arc<catalog_io::Destination>, Failure> {
    let found = catalog.destinations.get(name).cloned();
    found.ok_or_else(|| {
        let names: Vec<&str> = catalog.destinations.keys().map(|name| name.as_str()).collect();
        let why = format!("the catalog does not have it; there are: {}", names.join(", "));
        let remedy = "name one of them, or the folder that has it with --catalog";
        Failure::new(format!("find destination {name:?}"), why, remedy).code(USAGE)
    })
}

fn lines(report: &Report) -> Vec<String> {
    let Report { probed, said, said_unknown, unaudited } = report;
    let mut lines = vec![first(probed)];
    let mut add = |line: String| lines.push(format!("    {line}"));
    if let Some(steps) = steps(&probed.latency) {
        add(steps);
    }
    meaning(probed).into_iter().for_each(&mut add);
    if let Some(id) = &probed.provider_request_id {
        add(format!("their id of the request: {id}"));
    }
    if let (Some(body), Finding::Fails) = (&probed.response_body, probed.finding) {
        add(format!("it says: {}", on_one_line(body)));
    }
    match said {
        Some(said) => held(said, probed).into_iter().for_each(&mut add),
        None => add(format!(
            "whether it is held is not known: {}",
            said_unknown.as_deref().unwrap_or_default()
        )),
    }
    if let Some(why) = unaudited {
        add(format!("the probe is not in the audit: {why}"));
    }
    lines
}

fn first(probed: &Probed) -> String {
    let Probed { destination, method, host, status, error, .. } = probed;
    let status = status.map(|status| format!("{status} to ")).unwrap_or_default();
    let verb = match probed.finding {
        Finding::Answers => "answers",
        Finding::TakesOtherMethods => "is reached",
        Finding::Fails => "fails",
    };
    let why = match (probed.status, error) {
        (None, Some(error)) => format!(": {error}"),
        _ => String::new(),
    };
    format!("{destination} {verb}: {status}{method} at {host}{why}")
}

fn steps(latency: &Latency) -> Option<String> {
    let Latency { dns_ms, connect_ms, tls_ms, first_byte_ms, total_ms } = *latency;
    let steps = [
        ("dns", dns_ms),
        ("connect", connect_ms),
        ("tls", tls_ms),
        ("first byte", first_byte_ms),
        ("in all", total_ms),
    ];
    let told = steps.into_iter().filter_map(|(name, ms)| Some(format!("{name} {:.1} ms", ms?)));
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// What a delivery would have become.
fn meaning(probed: &Probed) -> Vec<String> {
    let so = if probed.status.is_some() { "answered" } else { "that fails" };
    let became = match probed.outcome {
        Outcome::Delivered => "would be delivered",
        Outcome::Retryable => "would be tried again: retryable",
        Outcome::Unknown => "would be tried again: unknown, it may have been done",
        Outcome::Permanent if probed.would_disable => "would disable the destination: permanent",
        Outcome::Permanent => "would be a dead letter: permanent",
    };
    match probed.finding {
        Finding::Answers | Finding::Fails => vec![format!("a delivery {so} so {became}")],
        Finding::TakesOtherMethods => vec![
            "it does not take this method, and deliveries have another: its credentials are not shown"
                .to_owned(),
            "say in the catalog what to ask of it, for example probe: { method: GET, path: /me }"
                .to_owned(),
        ],
    }
}

fn held(said: &Said, probed: &Probed) -> Vec<String> {
    let name = &probed.destination;
    let mut lines = Vec::new();
    for (state, word) in [("disabled", &said.disabled), ("paused", &said.paused)] {
        if let Some(Word { by, at_ms, why, .. }) = word {
            lines.push(format!("{state} since {} by {by}: {why}", when::written(*at_ms)));
        }
    }
    if said.disabled.is_some() {
        let then = match (probed.would_disable, &said.paused) {
            (true, _) => "; answered as this probe was, that disables it again",
            (false, Some(_)) => ", once it is resumed as well",
            (false, None) => "",
        };
        lines.push(format!(
            "`millrace destination enable {name}` would send again what waits within 2 s, in order, from the delivery that was answered 410 on{then}"
        ));
    }
    if lines.is_empty() {
        lines.push("no operator and no 410 holds it".to_owned());
    }
    let breakers = "each replica of deliver has a breaker of its own, which a probe does not ask: millrace_delivery_breaker_state shows them";
    lines.push(breakers.to_owned());
    lines
}

/// Third parties' texts may hold anything that a terminal acts on.
fn on_one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = plain.take(BODY_CHARS_MAX).collect();
    short.split_whitespace().collect::<Vec<_>>().join(" ")
}
