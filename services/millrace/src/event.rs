//! `millrace event`: everything that happened to one event, in the order of time.
//!
//! What belongs to it is found by dlq-replayer's library; here it is asked for and printed.

use std::{path::Path, process::ExitCode};

use dlq_replayer::{Entry, Error, Happened, Story, StoryProgress, StoryQuery};

use crate::{
    bar::Bar,
    check::counted,
    cli,
    dlq::replayer,
    failure::{Failure, USAGE},
    output::{json, say},
    service, settings, when,
};

pub(crate) async fn run(path: Option<&Path>, options: cli::Event) -> Result<ExitCode, Failure> {
    let config = settings::load(path)?.config;
    service::start_log(&config.log, "millrace")?;
    let query = query(&options, when::now_ms())?;
    let bar = Bar::new("searching");
    let shown = bar.clone();
    let told = move |progress: &StoryProgress| {
        let found = format!("{} found", counted(progress.found, "record"));
        shown.show(progress.passed, progress.total, progress.eta, &found);
    };
    let story = replayer(&config)?.story(query, told).await;
    bar.clear();
    let story = story.map_err(failed)?;
    if options.json {
        json(&story)?;
    } else {
        print(&story);
        print_traces(&story.trace_ids, &config.telemetry.trace_url);
    }
    if story.entries.is_empty() {
        let why = format!("no record of {:?} was written since {}", options.id, options.since);
        let remedy = "look further back with --since 7d, or check the id";
        return Err(Failure::new("find the event", why, remedy));
    }
    Ok(ExitCode::SUCCESS)
}

fn query(options: &cli::Event, now_ms: i64) -> Result<StoryQuery, Failure> {
    let until = options.until.as_deref();
    Ok(StoryQuery {
        id: options.id.clone(),
        since_ms: when::read("--since", &options.since, now_ms)?,
        until_ms: until.map(|text| when::read("--until", text, now_ms)).transpose()?,
    })
}

fn failed(error: Error) -> Failure {
    let asked = matches!(error, Error::Asked(_));
    let failure = Failure::new("find the event's story", error, "");
    if asked { failure.code(USAGE) } else { failure }
}

/// Prints what happened, a line for each step.
pub(crate) fn print(story: &Story) {
    let began = story.entries.first().map_or(0, |entry| entry.at_ms);
    let mut event = "";
    for entry in &story.entries {
        if entry.event_id != event && !entry.event_id.is_empty() {
            event = &entry.event_id;
            say!("event {event}, correlation {}", entry.correlation_id);
        }
        say!("{}", line(entry, began));
    }
    if !story.complete {
        say!("Not everything could be looked at: narrow the time by --since and --until.");
    }
}

fn print_traces(trace_ids: &[String], url: &str) {
    for trace in trace_ids {
        say!("trace {}", link(trace, url));
    }
    if url.is_empty() && !trace_ids.is_empty() {
        say!("Set telemetry.trace_url for links to traces.");
    }
}

fn line(entry: &Entry, began_ms: i64) -> String {
    let happened = match entry.happened {
        Happened::Accepted => "accepted",
        Happened::ReplayedToTransform | Happened::ReplayedToDeliver => "replayed",
        Happened::Mapped => "mapped",
        Happened::Attempted => "attempted",
        Happened::HandedOver => "fallback",
        Happened::DeadLettered => "dead letter",
        Happened::Quarantined => "quarantined",
    };
    let after = entry.at_ms - began_ms;
    let (at, told, record) = (when::written(entry.at_ms), &entry.told, &entry.record);
    format!("  {at}  +{after:>6} ms  {happened:<11}  {told}  [{record}]")
}

/// Tells where a trace is looked at, or its id where that is not configured.
fn link(trace_id: &str, url: &str) -> String {
    if url.is_empty() { trace_id.to_owned() } else { url.replace("{trace_id}", trace_id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_line_with_the_time_since_the_first() {
        let entry = Entry {
            at_ms: 1_700_000_000_250,
            happened: Happened::Attempted,
            told: "attempt 2: retryable, 503".to_owned(),
            record: "receipts/0/7".parse().expect("it is an id"),
            event_id: "evt_1".to_owned(),
            correlation_id: "c".to_owned(),
            delivery_id: "d".to_owned(),
            route: "r".to_owned(),
            destination: "crm".to_owned(),
            trace_id: None,
            details: None,
        };
        assert_eq!(
            line(&entry, 1_700_000_000_000),
            "  2023-11-14 22:13:20.250  +   250 ms  attempted    attempt 2: retryable, 503  [receipts/0/7]"
        );
    }

    #[test]
    fn a_trace_is_a_link_where_one_is_configured() {
        assert_eq!(link("4bf9", "http://jaeger/trace/{trace_id}"), "http://jaeger/trace/4bf9");
        assert_eq!(link("4bf9", ""), "4bf9");
    }
}
