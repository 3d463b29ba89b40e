//! `millrace destination`: what holds a destination, said and listed, and how it answers, without any
//! service running.
//!
//! How it is kept, obeyed and asked is deliver's; here it is asked for and printed.

mod probe;

use std::{collections::BTreeSet, path::Path, process::ExitCode};

use catalog_io::Catalog;
use deliver::{Desk, DeskError};
use serde::Serialize;
use wire::control::{Act, Destinations, Said, Word};

use crate::{
    check::counted,
    cli::destination::{self as cli, DestinationAction, Format},
    failure::{Failure, USAGE},
    output::{json, say},
    service, settings, shared, when,
};

/// One destination as it is listed.
#[derive(Debug, Serialize)]
struct Row {
    destination: String,
    in_catalog: bool,
    #[serde(flatten)]
    said: Said,
}

pub(crate) async fn run(
    file: Option<&Path>,
    options: cli::Destination,
) -> Result<ExitCode, Failure> {
    let config = settings::load(file)?.config;
    service::start_log(&config.log, "millrace")?;
    let catalog = shared::catalog(options.catalog.as_deref().unwrap_or(&config.catalog.folder))?;
    let desk = Desk::new(config.kafka.clone(), shared::names(&config));
    let place = Place { catalog: &catalog, desk: &desk };
    match options.action {
        DestinationAction::List(cli::List { format }) => place.list(format).await,
        DestinationAction::Pause(cli::Pause { name, reason, who }) => {
            place.say(Act::Pause, &name, reason, who).await
        }
        DestinationAction::Resume(cli::Back { name, reason, who }) => {
            place.say(Act::Resume, &name, reason, who).await
        }
        DestinationAction::Probe(options) => {
            probe::run(&config.deliver, &catalog, &desk, options).await
        }
        DestinationAction::Enable(cli::Back { name, reason, who }) => {
            place.say(Act::Enable, &name, reason, who).await
        }
    }
}

/// What destinations there are, and where it is said what holds them.
struct Place<'a> {
    catalog: &'a Catalog,
    desk: &'a Desk,
}

impl Place<'_> {
    async fn rows(&self) -> Result<Vec<Row>, Failure> {
        let said = self.desk.said().await;
        let said = said.map_err(|e| failed("read what is said of destinations", e))?;
        Ok(rows(self.catalog, &said))
    }

    async fn list(&self, format: Format) -> Result<ExitCode, Failure> {
        let rows = self.rows().await?;
        match format {
            Format::Json => return json(&rows),
            Format::Text => print(&rows),
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn say(
        &self,
        act: Act,
        name: &str,
        why: String,
        who: cli::Who,
    ) -> Result<ExitCode, Failure> {
        let rows = self.rows().await?;
        let before = known(&rows, name)?;
        let word = Word { by: who.by, at_ms: when::now_ms(), why, event_id: None };
        perform(self.desk, act, before, &word).await
    }
}

/// Lists the catalog's destinations, and those of which something is said all the same.
fn rows(catalog: &Catalog, said: &Destinations) -> Vec<Row> {
    let declared = catalog.destinations.keys().map(|name| name.as_str());
    let names: BTreeSet<&str> = declared.chain(said.iter().map(|(name, _)| name)).collect();
    let row = |name: &str| Row {
        destination: name.to_owned(),
        in_catalog: catalog.destinations.contains_key(name),
        said: said.of(name),
    };
    names.into_iter().map(row).collect()
}

fn known<'a>(rows: &'a [Row], name: &str) -> Result<&'a Row, Failure> {
    rows.iter().find(|row| row.destination == name).ok_or_else(|| {
        let names: Vec<&str> = rows.iter().map(|row| row.destination.as_str()).collect();
        let why = format!(
            "the catalog does not have it, and nothing is said of it; there are: {}",
            names.join(", ")
        );
        let remedy = "name one of them, or the folder that has it with --catalog";
        Failure::new(format!("find destination {name:?}"), why, remedy).code(USAGE)
    })
}

/// Says it, waits until it is in force, and tells what holds the destination now.
async fn perform(desk: &Desk, act: Act, row: &Row, word: &Word) -> Result<ExitCode, Failure> {
    let name = &row.destination;
    let takes_back = matches!(act, Act::Resume | Act::Enable);
    if takes_back && act.stands(&row.said) {
        say!("{name} is not {}: nothing has changed", undone(act));
        print_said(&row.said);
        return Ok(ExitCode::SUCCESS);
    }
    let doing = format!("{} {name}", verb(act));
    let now = desk.act(act, name, word).await.map_err(|e| failed(&doing, e))?.of(name);
    if !act.stands(&now) {
        let why = "somebody has said otherwise in the same moment";
        return Err(Failure::new(doing, why, "look with `millrace destination list`"));
    }
    match act {
        Act::Pause | Act::Disable => {
            say!(
                "{name} is {}: nothing more is sent within 2 s, and what is in flight ends",
                undone(act)
            );
        }
        Act::Resume | Act::Enable if now == Said::default() => {
            say!("{name} is {}: it is sent to again within 2 s", done(act));
        }
        Act::Resume | Act::Enable => say!("{name} is {}, and still held:", done(act)),
    }
    print_said(&now);
    Ok(ExitCode::SUCCESS)
}

fn verb(act: Act) -> &'static str {
    match act {
        Act::Pause => "pause",
        Act::Resume => "resume",
        Act::Disable => "disable",
        Act::Enable => "enable",
    }
}

fn done(act: Act) -> &'static str {
    match act {
        Act::Pause => "paused",
        Act::Resume => "resumed",
        Act::Disable => "disabled",
        Act::Enable => "enabled",
    }
}

/// What a destination is, of which the act is said or taken back.
fn undone(act: Act) -> &'static str {
    match act {
        Act::Pause | Act::Resume => "paused",
        Act::Disable | Act::Enable => "disabled",
    }
}

fn print(rows: &[Row]) {
    for row in rows {
        let state = match (&row.said.disabled, &row.said.paused) {
            (None, None) => "active",
            (None, Some(_)) => "paused",
            (Some(_), None) => "disabled",
            (Some(_), Some(_)) => "disabled and paused",
        };
        let beside = if row.in_catalog { "" } else { "  (not in the catalog)" };
        say!("{}  {state}{beside}", row.destination);
        print_said(&row.said);
    }
    say!("{}", counted(rows.len(), "destination"));
}

fn print_said(said: &Said) {
    for (state, word) in [("disabled", &said.disabled), ("paused", &said.paused)] {
        if let Some(Word { by, at_ms, why, .. }) = word {
            say!("    {state} since {} by {by}: {why}", when::written(*at_ms));
        }
    }
}

fn failed(what: &str, error: DeskError) -> Failure {
    Failure::new(what, error, "")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use catalog_io::Environment;

    use super::*;

    #[test]
    fn what_is_held_is_listed_and_known_though_the_catalog_does_not_have_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let catalog = catalog_io::load(&folder, &Environment::of_process());
        let catalog = catalog.map_err(|problems| problems.to_string()).expect("it is right");
        let mut said = Destinations::default();
        said.take(b"destination/old/paused", Some(br#"{"by":"ann"}"#));
        let rows = rows(&catalog, &said);
        let listed: Vec<_> =
            rows.iter().map(|row| (row.destination.as_str(), row.in_catalog)).collect();
        let declared = [("builds", true), ("chat", true), ("crm", true), ("mail", true)];
        assert_eq!(listed, [&declared[..], &[("old", false)]].concat());
        assert!(known(&rows, "old").is_ok());
        let unknown = known(&rows, "crn").expect_err("there is none").to_string();
        assert!(unknown.contains("builds, chat, crm, mail, old"), "{unknown}");
    }
}
