//! The service: goes on with jobs that nobody runs.

use std::{sync::Arc, time::Duration};

use chassis::Process;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Config, Error, Job, Replayer, Status, World, cluster::now_ms};

/// The condition of the readiness that speaks of Kafka.
const KAFKA: &str = "kafka";

/// Runs the service until the process stops; running jobs end their transactions first.
///
/// It waits, unready, for Kafka and its topics, and goes on by itself.
///
/// # Errors
/// [`Error::Start`] where the configuration forbids to start.
pub async fn run(config: Config, world: World, process: Process) -> Result<(), Error> {
    if let Some((key, why)) = config.findings().into_iter().next() {
        return Err(Error::Start(format!("dlq_replayer.{key}: {why}")));
    }
    process.ready.set(KAFKA, Err("starting".to_owned()));
    let replayer = Arc::new(Replayer::new(world).with_hook(process.hook.clone()));
    let mut running = JoinSet::new();
    while !process.stop.is_cancelled() {
        match replayer.jobs().await {
            Ok(jobs) => {
                process.ready.set(KAFKA, Ok(()));
                resume(&config, &jobs, &replayer, &process.stop, &mut running);
            }
            Err(error) => process.ready.set(KAFKA, Err(error.to_string())),
        }
        let wait = tokio::time::sleep(Duration::from_secs(2));
        process.stop.run_until_cancelled(wait).await;
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    Ok(())
}

fn resume(
    config: &Config,
    jobs: &[Job],
    replayer: &Arc<Replayer>,
    stop: &CancellationToken,
    running: &mut JoinSet<()>,
) {
    let silent_ms = i64::try_from(config.resume_after.as_millis()).unwrap_or(i64::MAX);
    let abandoned = |job: &&Job| job.is_abandoned(now_ms(), silent_ms);
    for job in jobs.iter().filter(abandoned).filter(|job| job.status == Status::Unfinished) {
        let (id, replayer, stop) = (job.id.clone(), replayer.clone(), stop.clone());
        running.spawn(async move {
            if let Err(error) = replayer.run_job(&id, stop, |_| {}).await {
                tracing::error!(replay_job_id = %id, %error, "replay job failed");
            }
        });
    }
}
