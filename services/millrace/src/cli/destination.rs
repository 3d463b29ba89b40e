//! The arguments of `millrace destination`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// The longest name of who says something, and the longest reason, in bytes.
const BY_BYTES_MAX: usize = 128;
const REASON_BYTES_MAX: usize = 1024;

#[derive(Debug, Args)]
pub(crate) struct Destination {
    #[command(subcommand)]
    pub(crate) action: DestinationAction,
    /// The catalog's folder, where it is not the configuration's.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) catalog: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DestinationAction {
    /// Lists the destinations, with what holds them.
    List(List),
    /// Stops sending to a destination, in every replica and over restarts, until it is resumed.
    Pause(Pause),
    /// Takes a pause back.
    Resume(Back),
    /// Asks a destination once, without an event: what it answers, how long each step takes, and what a
    /// delivery answered so would become. Exit code 1 where it fails.
    ///
    /// It resolves, keeps to the egress guard, connects and shows the destination's credentials as
    /// deliver does, from where it runs; it sends what the catalog says under `probe`, or HEAD, and never
    /// a body. A hold does not keep it back.
    Probe(Probe),
    /// Sends again to a destination that is disabled since it answered 410 Gone.
    Enable(Back),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The destination.
    pub(crate) name: String,
    /// Why, for those who find it paused.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) who: Who,
}

#[derive(Debug, Args)]
pub(crate) struct Back {
    /// The destination.
    pub(crate) name: String,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = line)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) who: Who,
}

#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// The destination.
    pub(crate) name: String,
    /// How the finding is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = line)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) who: Who,
}

#[derive(Debug, Args)]
pub(crate) struct Who {
    /// Who says so, for the audit; the user's name if unsaid.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown", value_parser = person)]
    pub(crate) by: String,
}

fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("say why, in a few words".to_owned());
    }
    line(text)
}

fn line(text: &str) -> Result<String, String> {
    on_one_line(text, REASON_BYTES_MAX)
}

fn person(text: &str) -> Result<String, String> {
    on_one_line(text, BY_BYTES_MAX)
}

fn on_one_line(text: &str, bytes_max: usize) -> Result<String, String> {
    if text.len() > bytes_max || text.chars().any(char::is_control) {
        return Err(format!("at most {bytes_max} bytes on one line"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    #[test]
    fn a_pause_says_which_destination_and_why_on_one_line() {
        let long = "x".repeat(1025);
        let rows: [(&[&str], bool); 13] = [
            (&["list"], true),
            (&["list", "--format", "json"], true),
            (&["list", "--format", "xml"], false),
            (&["pause", "crm", "--reason", "it is moved", "--by", "ann"], true),
            (&["pause", "crm"], false),
            (&["pause", "crm", "--reason", " "], false),
            (&["pause", "crm", "--reason", "a\nb"], false),
            (&["pause", "crm", "--reason", &long], false),
            (&["resume", "crm"], true),
            (&["probe", "crm", "--format", "json", "--by", "ann"], true),
            (&["probe", "crm", "--reason", "a\nb"], false),
            (&["probe"], false),
            (&["enable", "crm", "--reason", "back", "--by", "ann"], true),
        ];
        for (arguments, is_right) in rows {
            let line = [&["millrace", "destination"], arguments].concat();
            assert_eq!(Cli::try_parse_from(line).is_ok(), is_right, "{arguments:?}");
        }
    }
}
