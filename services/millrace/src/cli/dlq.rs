//! The arguments of `millrace dlq`.

use clap::{Args, Subcommand};
use dlq_replayer::{JobId, LetterId};
use domain::dead_letter::Reason;

#[derive(Debug, Args)]
pub(crate) struct Dlq {
    #[command(subcommand)]
    pub(crate) action: DlqAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DlqAction {
    /// Lists dead letters, the newest first.
    List(List),
    /// Shows one dead letter with its headers and its record.
    Show(Show),
    /// Puts dead letters through again, each exactly once into the lane of the consumer that failed.
    Replay(Replay),
    /// Lists the replays there have been.
    Jobs(Jobs),
    /// Goes on with a replay that was interrupted, from where it stopped.
    Resume(Resume),
}

/// Which dead letters are meant; what is not said means all.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filter {
    /// A dead-letter topic; may be given several times, as all of these. The quarantine is meant
    /// only where it is named.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Vec<String>,
    /// Why it was given up on, for example budget_spent.
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Vec<Reason>,
    /// The destination it was for.
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Vec<String>,
    /// The source of its event.
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Vec<String>,
    /// Given up on since: an age such as 2h or 3d, or a time in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Given up on before, said as for --since.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Lists by topic, partition and offset, instead of the newest first.
    #[arg(long)]
    pub(crate) oldest: bool,
    /// How many to list, at most 200.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) limit: u16,
    /// Goes on where an earlier page ended, with the word it printed.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// Prints the page as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The dead letter, as topic/partition/offset.
    pub(crate) id: LetterId,
    /// Prints it as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Dead letters, as topic/partition/offset; instead of ids, a filter chooses, or --all.
    #[arg(conflicts_with_all = ["topic", "reason", "destination", "source", "since", "until", "all"])]
    pub(crate) ids: Vec<LetterId>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Chooses every dead letter there is, the quarantine's apart.
    #[arg(long, conflicts_with_all = ["topic", "reason", "destination", "source", "since", "until"])]
    pub(crate) all: bool,
    /// Counts what would be done, and does nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also puts through what an earlier replay has put through.
    #[arg(long)]
    pub(crate) again: bool,
    /// Who wants it, for the audit; the user's name if unsaid.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    pub(crate) by: String,
    /// Prints the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Prints them as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The replay, as `millrace dlq jobs` prints it.
    pub(crate) job: JobId,
    /// Prints the outcome as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
