//! `millrace dlq replay` and `resume`: a job is recorded, then run here, with its progress.
//!
//! A run that is interrupted loses nothing: the job is gone on with by `resume`, or by a running
//! dlq-replayer.

use std::process::ExitCode;

use dlq_replayer::{Choice, Ended, Job, JobId, Progress, Replayer, Wanted};
use tokio_util::sync::CancellationToken;

use super::{failed, filter, print};
use crate::{
    bar::Bar,
    cli::dlq as cli,
    failure::{Failure, USAGE},
    output::{json, say},
    when,
};

pub(super) async fn run(
    replayer: &Replayer,
    replays_max: u32,
    options: cli::Replay,
) -> Result<ExitCode, Failure> {
    let choice = choice(&options, when::now_ms())?;
    let wanted = Wanted { choice, again: options.again, by: options.by, replays_max };
    if options.dry_run {
        return dry_run(replayer, wanted, options.json).await;
    }
    let job = replayer.start(wanted).await.map_err(|e| failed("record the replay", e))?;
    go(replayer, &job.id, options.json).await
}

pub(super) async fn resume(replayer: &Replayer, options: cli::Resume) -> Result<ExitCode, Failure> {
    go(replayer, &options.job, options.json).await
}

/// Reads what is chosen; a whole cluster's dead letters are never chosen by saying nothing.
fn choice(options: &cli::Replay, now_ms: i64) -> Result<Choice, Failure> {
    if !options.ids.is_empty() {
        return Ok(Choice::Ids(options.ids.clone()));
    }
    let filter = filter(&options.filter, now_ms)?;
    if filter == dlq_replayer::Filter::default() && !options.all {
        let remedy = "name ids as `millrace dlq list` prints them, or a filter, or say --all";
        return Err(Failure::new("replay dead letters", "none are chosen", remedy).code(USAGE));
    }
    Ok(Choice::Filter(filter))
}

async fn dry_run(replayer: &Replayer, wanted: Wanted, as_json: bool) -> Result<ExitCode, Failure> {
    let bar = Bar::new("counting");
    let shown = bar.clone();
    let counted = replayer.dry_run(wanted, move |progress| show(&shown, progress)).await;
    bar.clear();
    let counts = counted.map_err(|e| failed("count dead letters", e))?;
    if as_json {
        return json(&counts);
    }
    say!("{}", print::counts(&counts, "would be replayed"));
    Ok(ExitCode::SUCCESS)
}

async fn go(replayer: &Replayer, id: &JobId, as_json: bool) -> Result<ExitCode, Failure> {
    let stop = CancellationToken::new();
    let bar = Bar::new("replaying");
    let shown = bar.clone();
    let running = replayer.run_job(id, stop.clone(), move |progress| show(&shown, progress));
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        Ok(()) = tokio::signal::ctrl_c() => {
            // What is open is committed; the rest stays for who resumes it.
            stop.cancel();
            running.await
        }
    };
    bar.clear();
    match ended.map_err(|e| failed("replay dead letters", e))? {
        Ended::Done(job) => done(&job, as_json),
        Ended::Stopped => Err(Failure::new(
            format!("finish replay {id}"),
            "it was interrupted; what it put through is not put through again",
            format!("run `millrace dlq resume {id}`"),
        )),
        Ended::TakenOver => {
            say!(
                "replay {id} is run by another process now; `millrace dlq jobs` shows how far it is"
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn show(bar: &Bar, progress: &Progress) {
    let counts = &progress.counts;
    match &progress.waiting {
        Some(reason) => bar.waits(reason),
        None => {
            let text = format!("{} looked at, {} chosen", counts.scanned, counts.chosen);
            bar.show(progress.passed, progress.total, progress.eta, &text);
        }
    }
}

fn done(job: &Job, as_json: bool) -> Result<ExitCode, Failure> {
    if as_json {
        json(job)?;
    } else {
        say!("{}", print::counts(&job.counts, "replayed"));
    }
    if job.counts.failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let why: Vec<String> = job.failed.iter().map(ToString::to_string).collect();
    Err(Failure::new(
        format!("put {} of the dead letters through", job.counts.failed),
        format!("there is no lane for them, or Kafka refused them:\n{}", why.join("\n")),
        "`millrace dlq show` tells each one's record; `millrace topics verify` names a missing lane",
    ))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, dlq::DlqAction};

    fn chosen(arguments: &[&str]) -> Option<Choice> {
        let line = [&["millrace", "dlq", "replay"], arguments].concat();
        let Command::Dlq(dlq) = Cli::try_parse_from(line).ok()?.command else { return None };
        let DlqAction::Replay(options) = dlq.action else { return None };
        choice(&options, 0).ok()
    }

    #[test]
    fn a_replay_is_of_ids_or_a_filter_or_expressly_of_all() {
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&["--all", "--destination", "crm"]), None);
        assert_eq!(chosen(&["dlq.deliver.crm/0/1", "--all"]), None);
        assert_eq!(chosen(&["--reason", "no_such_reason"]), None);
        assert_eq!(chosen(&["--all"]), Some(Choice::Filter(dlq_replayer::Filter::default())));
        let id = "dlq.deliver.crm/0/1".parse().expect("it is an id");
        assert_eq!(chosen(&["dlq.deliver.crm/0/1"]), Some(Choice::Ids(vec![id])));
        let filter = chosen(&["--destination", "crm", "--reason", "budget_spent"]);
        assert!(matches!(filter, Some(Choice::Filter(f)) if f.destinations == ["crm"]));
    }
}
