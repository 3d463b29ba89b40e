//! The jobs this process runs: those asked for here, and those found silent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use chassis::Process;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{Ended, Error, Job, JobId, Progress, Replayer, cluster::now_ms, series::Series};

/// Jobs at a time; each holds some megabytes. Others wait, or are taken by another replica.
const RUNNING_MAX: usize = 2;
/// Jobs that may wait to be taken up; one that finds no room is found silent later.
const WAITING_MAX: usize = 64;
/// How often the jobs are looked at while the cluster does not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a job that failed is left alone.
const REST: Duration = Duration::from_secs(60);
/// The condition of the readiness that speaks of Kafka.
pub(crate) const KAFKA: &str = "kafka";

/// Hands jobs to be run and tells how far they are; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Jobs {
    asked: mpsc::Sender<JobId>,
    progress: Arc<Mutex<BTreeMap<JobId, Progress>>>,
}

/// Runs jobs until the process stops.
pub(crate) struct Keeper {
    replayer: Replayer,
    series: Series,
    silent: Duration,
    asked: mpsc::Receiver<JobId>,
    waiting: Vec<JobId>,
    /// With whether each has failed.
    running: JoinSet<(JobId, bool)>,
    /// When each job that failed is tried again.
    resting: HashMap<JobId, Instant>,
    progress: Arc<Mutex<BTreeMap<JobId, Progress>>>,
    stop: CancellationToken,
}

impl Jobs {
    /// Asks for a job to be run now; where there is no room it is found silent later.
    pub(crate) fn run(&self, id: JobId) {
        if self.asked.try_send(id).is_err() {
            tracing::debug!("a replay job waits until it is found silent");
        }
    }

    /// Returns how far a job is that runs here.
    pub(crate) fn progress(&self, id: &JobId) -> Option<Progress> {
        self.progress.lock().get(id).cloned()
    }
}

/// Returns what runs jobs, and the hand on it.
pub(crate) fn keeper(
    replayer: Replayer,
    series: Series,
    silent: Duration,
    stop: CancellationToken,
) -> (Jobs, Keeper) {
    let (sender, asked) = mpsc::channel(WAITING_MAX);
    let progress = Arc::new(Mutex::new(BTreeMap::new()));
    let jobs = Jobs { asked: sender, progress: progress.clone() };
    let (waiting, running, resting) = (Vec::new(), JoinSet::new(), HashMap::new());
    (jobs, Keeper { replayer, series, silent, asked, waiting, running, resting, progress, stop })
}

impl Keeper {
    /// Runs jobs until the process stops; running ones end their transactions first.
    pub(crate) async fn run(mut self, process: &Process) {
        let mut looks = interval(LOOK_AGAIN);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stop.is_cancelled() {
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some(id) = self.asked.recv() => { self.take_in(id); }
                Some(ended) = self.running.join_next() => self.ended(ended.ok()),
                _ = looks.tick() => {
                    let looked = self.look().await;
                    // An idle cluster is asked rarely, and a failing one often.
                    if looked.is_ok() {
                        looks.reset_after((self.silent / 3).max(LOOK_AGAIN));
                    }
                    process.ready.set(KAFKA, looked.map_err(|error| error.to_string()));
                }
            }
            self.take_up();
        }
        while self.running.join_next().await.is_some() {}
    }

    /// Looks for jobs that nobody runs.
    async fn look(&mut self) -> Result<(), Error> {
        let jobs = self.replayer.jobs();
        let Some(jobs) = self.stop.run_until_cancelled(jobs).await.transpose()? else {
            return Ok(());
        };
        let silent_ms = i64::try_from(self.silent.as_millis()).unwrap_or(i64::MAX);
        let now = now_ms();
        let silent = jobs.into_iter().filter(|job: &Job| job.is_abandoned(now, silent_ms));
        for job in silent {
            let rests = self.resting.get(&job.id).is_some_and(|until| *until > Instant::now());
            if !rests && self.take_in(job.id.clone()) {
                tracing::info!(replay_job_id = %job.id, "goes on with a silent replay job");
            }
        }
        Ok(())
    }

    /// Has a job wait for its turn, unless it waits or runs here already: two runs of one job would take
    /// it from each other.
    fn take_in(&mut self, id: JobId) -> bool {
        let is_known = self.waiting.contains(&id) || self.progress.lock().contains_key(&id);
        if !is_known {
            self.waiting.push(id);
        }
        !is_known
    }

    fn take_up(&mut self) {
        while self.running.len() < RUNNING_MAX && !self.waiting.is_empty() {
            let id = self.waiting.remove(0);
            self.progress.lock().insert(id.clone(), Progress::default());
            let (replayer, series) = (self.replayer.clone(), self.series.clone());
            let (progress, stop) = (self.progress.clone(), self.stop.clone());
            self.running.spawn(async move {
                let failed = run(&replayer, &series, &id, progress, stop).await;
                (id, failed)
            });
        }
    }

    fn ended(&mut self, ended: Option<(JobId, bool)>) {
        self.resting.retain(|_, until| *until > Instant::now());
        match ended {
            Some((id, failed)) => {
                self.progress.lock().remove(&id);
                if failed {
                    self.resting.insert(id, Instant::now() + REST);
                }
            }
            // It panicked, and the log has said so: whose it was is found silent again.
            None if self.running.is_empty() => self.progress.lock().clear(),
            None => {}
        }
    }
}

/// Runs a job; says whether it failed for a reason that does not pass by itself.
async fn run(
    replayer: &Replayer,
    series: &Series,
    id: &JobId,
    progress: Arc<Mutex<BTreeMap<JobId, Progress>>>,
    stop: CancellationToken,
) -> bool {
    let ended = async {
        let job = replayer.job(id).await?;
        let running = series.running(&job);
        let of = id.clone();
        let told = move |now: &Progress| {
            running.progress(now);
            progress.lock().insert(of.clone(), now.clone());
        };
        replayer.run_job(id, stop, told).await
    };
    match ended.await {
        Ok(Ended::Done(job)) => {
            let counts = job.counts;
            tracing::info!(
                replay_job_id = %id,
                republished = counts.republished,
                quarantined = counts.quarantined,
                failed = counts.failed,
                "replay job done"
            );
            false
        }
        Ok(Ended::Stopped | Ended::TakenOver) => false,
        Err(error) => {
            tracing::error!(replay_job_id = %id, error.message = %error, "replay job failed");
            // One that is not seen yet is found silent, and not left alone first.
            !matches!(error, Error::NoSuchJob(_))
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::Metrics;
    use registry_io::Registry;
    use wire::topics::Names;

    use super::*;
    use crate::World;

    #[test]
    fn a_job_that_is_asked_for_and_found_silent_is_run_once() {
        // Nobody is asked for anything.
        let nobody = registry_io::Config::at("http://127.0.0.1:1".to_owned());
        let world = World {
            kafka: kafka_io::Config::embedded("127.0.0.1:1"),
            registry: Registry::new(&nobody).unwrap(),
            names: Names::new(""),
        };
        let series = Series::new(&Metrics::default());
        let (_jobs, mut keeper) =
            keeper(Replayer::new(world), series, Duration::from_secs(1), CancellationToken::new());
        let id = JobId::of(uuid::Uuid::from_u128(7));
        assert!(keeper.take_in(id.clone()));
        assert!(!keeper.take_in(id.clone()), "it waits");
        keeper.waiting.clear();
        keeper.progress.lock().insert(id.clone(), Progress::default());
        assert!(!keeper.take_in(id), "it runs");
        assert!(keeper.waiting.is_empty());
    }
}
