//! What a destination that is no longer in the catalog leaves behind, and what was decided on it.
//!
//! A removed or renamed destination with undelivered records or dead letters is refused, with
//! their counts, by `topics apply` and `topics verify`, by the start of transform and deliver and
//! by their reloads, until an operator says `--drain` or `--abandon`. The decision is kept in
//! `ctl.state`; it ends when the destination comes back and `topics apply` is run.

mod count;
#[cfg(test)]
mod golden;
mod read;
mod reload;

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use catalog_io::Catalog;
use kafka_io::{Outgoing, TransactionalOptions, TransactionalProducer};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use wire::topics::Names;

use crate::{failure::Failure, output::say, settings::Config, shared};

use count::Count;
pub(crate) use reload::Asking;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const WRITE_WITHIN: Duration = Duration::from_secs(15);
/// Names this writer to the brokers; a second one at the same time ends the first.
const WRITER: &str = "millrace-topics";

/// What one removed destination leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) destination: String,
    pub(crate) undelivered: Count,
    pub(crate) dead_letters: Count,
    pub(crate) decided: Option<Decision>,
}

/// What a look at the cluster shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) left: Vec<Left>,
    /// Declared destinations on which a decision stands from when they were removed.
    pub(crate) returned: Vec<String>,
}

/// What an operator said of a removed destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decision {
    /// Everything was delivered before it went; dead letters may expire.
    Drained,
    /// What is left may expire undelivered.
    Abandoned,
}

/// The decision as `ctl.state` keeps it, under the key of [`key`]; there was at least so much.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    decision: Decision,
    by: String,
    at: String,
    undelivered: u64,
    dead_letters: u64,
}

/// Where to look: the cluster, the names, and the destinations that are declared.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    kafka: kafka_io::Config,
    names: Names,
    declared: Vec<String>,
}

/// Which destinations a look is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    /// All that have topics, but these.
    AllBut(Vec<String>),
    /// These, which are about to be removed.
    Removed(Vec<String>),
    /// The one that is decided on, again perhaps.
    Decided(String),
}

impl Left {
    /// Says whether the operator has still to decide.
    pub(crate) fn is_open(&self) -> bool {
        match self.decided {
            None => !(self.undelivered.is_none() && self.dead_letters.is_none()),
            Some(Decision::Drained) => !self.undelivered.is_none(),
            Some(Decision::Abandoned) => false,
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, undelivered, dead_letters, decided } = self;
        write!(
            f,
            "destination {destination} is not in the catalog and has {undelivered} undelivered records and {dead_letters} dead letters"
        )?;
        match decided {
            None => Ok(()),
            Some(Decision::Drained) => f.write_str(" (drained)"),
            Some(Decision::Abandoned) => f.write_str(" (abandoned)"),
        }
    }
}

/// Refuses the catalog in `folder` while a destination that it does not have has something left
/// on which nobody has decided.
pub(crate) fn refuse(left: &[Left], folder: &Path) -> Result<(), Failure> {
    let open: Vec<&Left> = left.iter().filter(|left| left.is_open()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let why: Vec<String> = open.iter().map(|left| left.to_string()).collect();
    let all = |option: &str| {
        let each: Vec<String> =
            open.iter().map(|left| format!("--{option} {}", left.destination)).collect();
        each.join(" ")
    };
    let (folder, drain, abandon) = (folder.display(), all("drain"), all("abandon"));
    let remedy = format!(
        "put the destination back; or run `millrace topics apply --catalog {folder}` with {drain} while services still run on the old catalog, or with {abandon} to leave its records"
    );
    Err(Failure::new("take the catalog", why.join("\n"), remedy))
}

impl Place {
    pub(crate) fn new(config: &Config, names: &Names, catalog: &Catalog) -> Self {
        let declared = catalog.destinations.keys().map(|name| name.as_str().to_owned());
        Self { kafka: config.kafka.clone(), names: names.clone(), declared: declared.collect() }
    }

    /// Counts what each removed destination has left.
    pub(crate) async fn look(&self) -> Result<Looked, Failure> {
        look(&self.kafka, &self.names, Which::AllBut(self.declared.clone())).await
    }

    /// Waits until a removed destination has nothing undelivered, then keeps that decision.
    pub(crate) async fn drain(&self, destination: &str) -> Result<(), Failure> {
        let mut told = None;
        loop {
            let Some(left) = self.of(destination).await? else { return Ok(()) };
            if left.undelivered.is_none() {
                say!("{destination} is drained");
                return self.keep(&left, Decision::Drained).await;
            }
            if told != Some(left.undelivered) {
                say!("{destination}: {} records are still to be delivered", left.undelivered);
                told = Some(left.undelivered);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Keeps the decision to leave what a removed destination has.
    pub(crate) async fn abandon(&self, destination: &str) -> Result<(), Failure> {
        let Some(left) = self.of(destination).await? else { return Ok(()) };
        say!(
            "{destination} is abandoned with {} undelivered records and {} dead letters",
            left.undelivered,
            left.dead_letters
        );
        self.keep(&left, Decision::Abandoned).await
    }

    /// Takes back what was decided on destinations that are declared again.
    pub(crate) async fn welcome_back(&self, returned: &[String]) -> Result<(), Failure> {
        for destination in returned {
            self.write(destination, None).await?;
            say!("{destination} is back: what was decided on its removal is taken back");
        }
        Ok(())
    }

    /// Finds a removed destination; one that is declared can't be given up.
    async fn of(&self, destination: &str) -> Result<Option<Left>, Failure> {
        if contains(&self.declared, destination) {
            let what = format!("give {destination} up");
            let remedy = "take it out of the catalog first, or name the catalog with --catalog";
            return Err(Failure::new(what, "it is in the catalog", remedy));
        }
        let which = Which::Decided(destination.to_owned());
        let left = look(&self.kafka, &self.names, which).await?.left.pop();
        if left.is_none() {
            say!("{destination} has left nothing");
        }
        Ok(left)
    }

    async fn keep(&self, left: &Left, decision: Decision) -> Result<(), Failure> {
        let kept = Kept {
            decision,
            by: std::env::var("USER").unwrap_or_else(|_| "unknown".into()),
            at: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            undelivered: left.undelivered.at_least(),
            dead_letters: left.dead_letters.at_least(),
        };
        let value = serde_json::to_vec(&kept).map_err(|e| unkept(&e))?;
        self.write(&left.destination, Some(value)).await
    }

    /// Writes a decision, or with no value takes it back.
    async fn write(&self, destination: &str, value: Option<Vec<u8>>) -> Result<(), Failure> {
        let record = Outgoing {
            topic: Arc::from(self.names.state()),
            partition: Some(0),
            key: Some(key(destination).into_bytes().into()),
            value: value.map(Into::into),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        let kafka = self.kafka.clone();
        shared::blocking("keep the decision", move || write(&kafka, &record)).await
    }
}

impl Which {
    /// Says whether records are counted; what is abandoned may be any number.
    fn counts(&self, destination: &str, decided: Option<Decision>) -> bool {
        let abandoned = decided == Some(Decision::Abandoned);
        match self {
            Self::AllBut(declared) => !contains(declared, destination) && !abandoned,
            Self::Removed(removed) => contains(removed, destination) && !abandoned,
            Self::Decided(one) => one == destination,
        }
    }

    fn is_declared(&self, destination: &str) -> bool {
        match self {
            Self::AllBut(declared) => contains(declared, destination),
            Self::Removed(_) | Self::Decided(_) => false,
        }
    }
}

fn contains(names: &[String], name: &str) -> bool {
    names.iter().any(|other| other == name)
}

async fn look(kafka: &kafka_io::Config, names: &Names, which: Which) -> Result<Looked, Failure> {
    let (kafka, names) = (kafka.clone(), names.clone());
    let doing = "count what removed destinations have left";
    shared::blocking(doing, move || read::look(&kafka, &names, &which)).await
}

/// The key of a decision in `ctl.state`.
fn key(destination: &str) -> String {
    format!("removed-destination/{destination}")
}

fn unkept(why: &dyn fmt::Display) -> Failure {
    Failure::new(
        "keep the decision",
        why,
        "check that the brokers are reachable, then say it again",
    )
}

fn write(kafka: &kafka_io::Config, record: &Outgoing) -> Result<(), Failure> {
    let options = TransactionalOptions::new(WRITER);
    let mut producer = TransactionalProducer::new(kafka, &options).map_err(|e| unkept(&e))?;
    producer.init(WRITE_WITHIN).map_err(|e| unkept(&e))?;
    producer.begin().map_err(|e| unkept(&e))?;
    producer.send(record, WRITE_WITHIN).map_err(|e| unkept(&e))?;
    producer.flush_and_await(WRITE_WITHIN).map_err(|e| unkept(&e))?;
    let until = std::time::Instant::now() + WRITE_WITHIN;
    producer.commit(|| std::time::Instant::now() < until).map_err(|e| unkept(&e))
}

/// Reads the decisions of `ctl.state`, key by key as the log holds them; the last one counts.
fn decisions<'a>(
    records: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> BTreeMap<String, Decision> {
    let mut decisions = BTreeMap::new();
    for (key, value) in records {
        let Some(destination) =
            std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix("removed-destination/"))
        else {
            continue;
        };
        match value.and_then(|value| serde_json::from_slice::<Kept>(value).ok()) {
            Some(kept) => decisions.insert(destination.to_owned(), kept.decision),
            None => decisions.remove(destination),
        };
    }
    decisions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(undelivered: u64, dead_letters: u64, decided: Option<Decision>) -> Left {
        let counts = (Count::exactly(undelivered), Count::exactly(dead_letters));
        let (undelivered, dead_letters) = counts;
        Left { destination: "crm".into(), undelivered, dead_letters, decided }
    }

    #[test]
    fn what_is_abandoned_is_counted_only_for_who_decides_on_it_again() {
        let names = || vec!["crm".to_owned()];
        let (drained, abandoned) = (Some(Decision::Drained), Some(Decision::Abandoned));
        let rows = [
            (Which::AllBut(names()), "crm", [false, false, false]),
            (Which::AllBut(names()), "mail", [true, true, false]),
            (Which::Removed(names()), "crm", [true, true, false]),
            (Which::Removed(names()), "mail", [false, false, false]),
            (Which::Decided("crm".to_owned()), "crm", [true, true, true]),
            (Which::Decided("crm".to_owned()), "mail", [false, false, false]),
        ];
        for (which, destination, counted) in rows {
            let found = [None, drained, abandoned].map(|said| which.counts(destination, said));
            assert_eq!(found, counted, "{which:?} {destination}");
        }
    }

    #[test]
    fn what_is_left_is_refused_with_its_counts_until_it_is_decided() {
        let rows = [
            (left(0, 0, None), true),
            (left(3, 0, None), false),
            (left(0, 2, None), false),
            (left(0, 2, Some(Decision::Drained)), true),
            (left(1, 2, Some(Decision::Drained)), false),
            (left(3, 2, Some(Decision::Abandoned)), true),
        ];
        for (left, taken) in rows {
            let refused = refuse(std::slice::from_ref(&left), Path::new("new"));
            assert_eq!(refused.is_ok(), taken, "{left:?}");
        }
    }

    #[test]
    fn a_refusal_tells_the_counts_and_the_command_for_all_that_is_open() {
        let mail = Left {
            destination: "mail".into(),
            dead_letters: Count::of_part(10_000, 30_000),
            ..left(0, 0, None)
        };
        let refused = refuse(&[left(3, 2, None), mail], Path::new("new"));
        let refused = refused.expect_err("something is left").to_string();
        for part in [
            "crm is not in the catalog and has 3 undelivered records and 2 dead letters",
            "mail is not in the catalog and has 0 undelivered records and at least 10000 dead letters",
            "`millrace topics apply --catalog new`",
            "--drain crm --drain mail",
            "--abandon crm --abandon mail",
        ] {
            assert!(refused.contains(part), "{part} is not in {refused}");
        }
    }

    #[test]
    fn the_last_decision_counts_and_a_tombstone_takes_it_back() {
        let kept = |decision| {
            let kept = Kept {
                decision,
                by: "me".into(),
                at: "now".into(),
                undelivered: 1,
                dead_letters: 0,
            };
            serde_json::to_vec(&kept).expect("it is plain")
        };
        let (drained, abandoned) = (kept(Decision::Drained), kept(Decision::Abandoned));
        let (crm, mail) = (key("crm"), key("mail"));
        let records: [(&[u8], Option<&[u8]>); 5] = [
            (crm.as_bytes(), Some(&drained)),
            (b"job/1", Some(b"{}")),
            (mail.as_bytes(), Some(&abandoned)),
            (crm.as_bytes(), Some(&abandoned)),
            (mail.as_bytes(), None),
        ];
        let expected = BTreeMap::from([("crm".to_owned(), Decision::Abandoned)]);
        assert_eq!(decisions(records.into_iter()), expected);
    }
}
