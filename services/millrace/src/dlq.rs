//! `millrace dlq`: dead letters listed, shown and put through again, without any service running.
//!
//! What a dead letter is and how a replay is done exactly once is dlq-replayer's; here it is asked
//! for and printed.

mod print;
mod replay;

use std::{path::Path, process::ExitCode};

use dlq_replayer::{Error, Filter, PageOrder, Query, Replayer};

use crate::{
    cli::dlq::{self as cli, DlqAction},
    failure::{Failure, USAGE},
    output::{json, say},
    service, settings, shared, when,
};

pub(crate) async fn run(path: Option<&Path>, options: cli::Dlq) -> Result<ExitCode, Failure> {
    let config = settings::load(path)?.config;
    service::start_log(&config.log, "millrace")?;
    let replayer = replayer(&config)?;
    match options.action {
        DlqAction::List(options) => list(&replayer, options).await,
        DlqAction::Show(options) => show(&replayer, options).await,
        DlqAction::Jobs(options) => jobs(&replayer, options).await,
        DlqAction::Replay(options) => {
            replay::run(&replayer, config.dlq_replayer.replays_max, options).await
        }
        DlqAction::Resume(options) => replay::resume(&replayer, options).await,
    }
}

/// Makes what looks at dead letters and puts them through again.
pub(crate) fn replayer(config: &settings::Config) -> Result<Replayer, Failure> {
    Ok(Replayer::new(dlq_replayer::World {
        kafka: config.kafka.clone(),
        registry: service::client_of_registry(config)?,
        names: shared::names(config),
    }))
}

async fn list(replayer: &Replayer, options: cli::List) -> Result<ExitCode, Failure> {
    let order = if options.oldest { PageOrder::Oldest } else { PageOrder::Newest };
    let filter = filter(&options.filter, when::now_ms())?;
    let query = Query { filter, order, limit: options.limit.into(), cursor: options.cursor };
    let page = replayer.list(query).await.map_err(|e| failed("list dead letters", e))?;
    if options.json {
        return json(&page);
    }
    print::page(&page);
    Ok(ExitCode::SUCCESS)
}

async fn show(replayer: &Replayer, options: cli::Show) -> Result<ExitCode, Failure> {
    let shown = replayer.show(&options.id).await;
    let shown = shown.map_err(|e| failed("show a dead letter", e))?;
    if options.json {
        return json(&shown);
    }
    print::shown(&shown);
    Ok(ExitCode::SUCCESS)
}

async fn jobs(replayer: &Replayer, options: cli::Jobs) -> Result<ExitCode, Failure> {
    let jobs = replayer.jobs().await.map_err(|e| failed("list replays", e))?;
    if options.json {
        return json(&jobs);
    }
    if jobs.is_empty() {
        say!("nothing was replayed yet");
    }
    jobs.iter().for_each(print::job);
    Ok(ExitCode::SUCCESS)
}

/// Reads what the operator said of the dead letters that are meant.
fn filter(said: &cli::Filter, now_ms: i64) -> Result<Filter, Failure> {
    let at = |option, text: &Option<String>| {
        text.as_deref().map(|text| when::read(option, text, now_ms)).transpose()
    };
    Ok(Filter {
        topics: said.topic.clone(),
        reasons: said.reason.clone(),
        destinations: said.destination.clone(),
        sources: said.source.clone(),
        since_ms: at("--since", &said.since)?,
        until_ms: at("--until", &said.until)?,
    })
}

fn failed(what: &str, error: Error) -> Failure {
    let asked = matches!(error, Error::Asked(_));
    let failure = Failure::new(what, error, "");
    if asked { failure.code(USAGE) } else { failure }
}
