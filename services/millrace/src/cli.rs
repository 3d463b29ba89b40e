//! The command line.

pub(crate) mod destination;
pub(crate) mod dlq;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// What `--version` tells.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The revision of a build by `deploy/`, where it is known.
pub(crate) const REVISION: &str = match option_env!("MILLRACE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// From a signed webhook to a delivered request, on Kafka.
///
/// Exit codes: 0 done; 1 failed, or a check found mistakes; 2 the command line or the configuration
/// is wrong; 3 work in flight was cut off at the drain's deadline; 130 or 143 stopped by a second
/// signal.
#[derive(Debug, Parser)]
#[command(name = "millrace", version = VERSION)]
pub(crate) struct Cli {
    /// The process configuration, as TOML. Keys may also be set by variables: MILLRACE_SECTION__KEY.
    #[arg(long, global = true, env = "MILLRACE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Accepts webhooks and writes one event per accepted payload.
    Ingest,
    /// Makes deliveries from events.
    Transform,
    /// Sends deliveries to their destinations.
    Deliver,
    /// Shows dead letters and replays them, over HTTP.
    DlqReplayer,
    /// Runs all services in one process until Ctrl-C, on a broker in memory unless one is configured.
    Dev(Dev),
    /// Shows the main job in one process with events as providers send them, and judges the outcome.
    ///
    /// FAULT=swallow or FAULT=double lets the demo's receiver lie, which the demo must notice.
    Demo,
    /// Says what is wrong with a catalog, every mistake at once.
    Check(Check),
    /// Prints a JSON Schema.
    Schema(Schema),
    /// Compares the topics with what the catalog needs, and makes them.
    Topics(Topics),
    /// Pauses, resumes and probes destinations, and enables those that have answered 410 Gone.
    Destination(destination::Destination),
    /// Shows dead letters and puts them through again.
    Dlq(dlq::Dlq),
    /// Tells everything that happened to an event.
    Event(Event),
    /// Verifies webhook signatures, outside of any service.
    Signature(Signature),
    /// Stands in for third parties: takes every request and prints it.
    Receiver(Receiver),
    /// Prints the configuration in force, with where each value comes from; never a secret.
    Config(Config),
}

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The catalog's folder, where it is not the configuration's.
    pub(crate) catalog: Option<PathBuf>,
    /// Where the stand-in for third parties listens, if a destination of the catalog is there.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9700")]
    pub(crate) receiver: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The folder with the catalog's YAML files.
    pub(crate) folder: PathBuf,
    /// Prints the mistakes as a JSON array.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// What to describe.
    pub(crate) of: SchemaOf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A catalog's YAML file.
    Catalog,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Prints the values as a JSON array.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Receiver {
    /// Where it listens; the examples' destinations are there.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9700")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct Topics {
    #[command(subcommand)]
    pub(crate) action: TopicsAction,
    /// The catalog's folder, where it is not the configuration's.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) catalog: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TopicsAction {
    /// Prints what apply would change, and what it means.
    Plan,
    /// Creates and changes topics as the plan says; never removes or shortens anything.
    Apply(Leaving),
    /// Fails if a topic is missing or different, naming it and what is wanted.
    Verify(Leaving),
}

/// What happens to what a removed destination leaves behind.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Leaving {
    /// Waits until the services, still on the old catalog, have delivered what this removed
    /// destination has undelivered; its dead letters stay until they expire.
    #[arg(long, value_name = "DESTINATION")]
    pub(crate) drain: Vec<String>,
    /// Leaves this removed destination's undelivered records and dead letters where they are, and
    /// records who decided so; services then start without it and let it go while they run.
    #[arg(long, value_name = "DESTINATION")]
    pub(crate) abandon: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Event {
    /// The event's id, its correlation id, or an id that the provider gave it.
    pub(crate) id: String,
    /// How far back to look: an age such as 2h or 3d, or a time in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    pub(crate) since: String,
    /// Up to when to look; now if unsaid.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Prints the story as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Signature {
    #[command(subcommand)]
    pub(crate) action: SignatureAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SignatureAction {
    /// Checks one request, or every vector of a file.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A file of vectors: prints each disagreement and a count per provider.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scheme", "secret_file", "headers", "body", "now", "url", "option"])]
    pub(crate) vectors: Option<PathBuf>,
    /// The scheme, as the catalog names it, for example github.
    #[arg(long, required_unless_present = "vectors")]
    pub(crate) scheme: Option<String>,
    /// An option of the scheme, as under `verify` in a catalog, for example header=X-Signature.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) option: Vec<String>,
    /// The file that holds the secret; may be given twice.
    #[arg(long, value_name = "FILE", required_unless_present = "vectors")]
    pub(crate) secret_file: Vec<PathBuf>,
    /// The request's headers, one `Name: value` a line.
    #[arg(long, value_name = "FILE", required_unless_present = "vectors")]
    pub(crate) headers: Option<PathBuf>,
    /// The request's body, byte for byte as it was received.
    #[arg(long, value_name = "FILE", required_unless_present = "vectors")]
    pub(crate) body: Option<PathBuf>,
    /// The address the request was sent to, for the schemes that sign it.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// The method of the request.
    #[arg(long, default_value = "POST")]
    pub(crate) method: String,
    /// The time of the request in Unix seconds or RFC 3339; now if unsaid.
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
