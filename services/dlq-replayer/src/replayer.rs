//! What commands and the API call: each question on a thread that may block.

use chassis::{Hook, Process, Tracer};
use registry_io::Registry;
use tokio_util::sync::CancellationToken;

use crate::{
    Counts, Ended, Error, Job, JobId, LetterId, Page, Progress, Query, Shown, Story, StoryProgress,
    StoryQuery, Wanted, World,
    cluster::Cluster,
    dry_run, list,
    runner::{self, Runner},
    scan::History,
    series::Series,
    show, state, story,
};

/// Asks about dead letters and replays them; clones are cheap and the same.
///
/// Dropping a future of its ends what it does within moments; a list or a look may go on in the
/// background for as long as it may take at most.
#[derive(Debug, Clone)]
pub struct Replayer {
    cluster: Cluster,
    registry: Registry,
    /// Under which jobs are run; no other process has it.
    name: String,
    hook: Hook,
    tracer: Tracer,
    series: Option<Series>,
}

impl Replayer {
    /// Nothing is asked of the cluster yet.
    pub fn new(world: World) -> Self {
        Self {
            cluster: Cluster { kafka: world.kafka, names: world.names },
            registry: world.registry,
            name: uuid::Uuid::new_v4().simple().to_string(),
            hook: Hook::default(),
            tracer: Tracer::disabled(),
            series: None,
        }
    }

    /// Hits a process's failpoints on the way.
    #[must_use]
    pub fn with_hook(self, hook: Hook) -> Self {
        Self { hook, ..self }
    }

    /// Counts and traces what it replays as a process does.
    pub(crate) fn of(world: World, process: &Process, series: Series) -> Self {
        let (hook, tracer) = (process.hook.clone(), process.tracer.clone());
        Self { hook, tracer, series: Some(series), ..Self::new(world) }
    }

    /// Returns one page of dead letters.
    ///
    /// # Errors
    /// [`Error::Asked`] says what to change; [`Error::TooSlow`] asks for a narrower filter.
    pub async fn list(&self, query: Query) -> Result<Page, Error> {
        let cluster = self.cluster.clone();
        blocking("the list", move || {
            let reader = cluster.reader()?;
            let history = History::new(state::jobs(&cluster, &reader)?);
            list::page(&cluster, &reader, &history, &query)
        })
        .await
    }

    /// Returns one dead letter with all it holds, decoded where the registry knows its schema.
    ///
    /// # Errors
    /// [`Error::NoSuchLetter`] where there is none at this coordinate.
    pub async fn show(&self, id: &LetterId) -> Result<Shown, Error> {
        let (cluster, id) = (self.cluster.clone(), id.clone());
        let found = blocking("the look", move || show::find(&cluster, &id)).await?;
        Ok(show::decoded(found, &self.registry, &self.cluster.names).await)
    }

    /// Counts what a job would do, without doing it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn dry_run(
        &self,
        wanted: Wanted,
        told: impl Fn(&Progress) + Send + 'static,
    ) -> Result<Counts, Error> {
        let cluster = self.cluster.clone();
        let stop = CancellationToken::new();
        let _stopped_with_us = stop.clone().drop_guard();
        let (counts, mut tally) = blocking("the count", move || {
            let reader = cluster.reader()?;
            let history = History::new(state::jobs(&cluster, &reader)?);
            let job = dry_run::make(&cluster, &reader, &wanted)?;
            dry_run::count(&cluster, &reader, &job, &history, || !stop.is_cancelled(), told)
        })
        .await?;
        if let Some(series) = &self.series {
            series.replayed(&mut tally);
        }
        Ok(counts)
    }

    /// Records a job with its ranges as they are now; nothing is replayed yet.
    ///
    /// # Errors
    /// [`Error::Asked`] and [`Error::NoSuchLetter`] say what to change.
    /// # Cancellation
    /// The job may have been recorded all the same; `jobs` tells.
    pub async fn start(&self, wanted: Wanted) -> Result<Job, Error> {
        let cluster = self.cluster.clone();
        blocking("the start of a job", move || {
            let reader = cluster.reader()?;
            let job = dry_run::make(&cluster, &reader, &wanted)?;
            runner::record_start(&cluster, &job)?;
            state::await_seen(&cluster, &reader, &job.id)?;
            Ok(job)
        })
        .await
    }

    /// Runs a job from where it is to its end; failures that may pass are waited out.
    ///
    /// # Errors
    /// Those that repeating does not help.
    /// # Cancellation
    /// Safe: the job goes on where its last transaction ended, whoever runs it next.
    pub async fn run_job(
        &self,
        id: &JobId,
        stop: CancellationToken,
        told: impl Fn(&Progress) + Send + 'static,
    ) -> Result<Ended, Error> {
        let stop = stop.child_token();
        let _stopped_with_us = stop.clone().drop_guard();
        let runner = Runner {
            cluster: self.cluster.clone(),
            name: self.name.clone(),
            stop,
            hook: self.hook.clone(),
            tracer: self.tracer.clone(),
            series: self.series.clone(),
        };
        let id = id.clone();
        blocking("the job", move || runner.run(&id, told)).await
    }

    /// Returns every job there is, the oldest first.
    ///
    /// # Errors
    /// Where the cluster can't be read.
    pub async fn jobs(&self) -> Result<Vec<Job>, Error> {
        let cluster = self.cluster.clone();
        blocking("the list of jobs", move || state::jobs(&cluster, &cluster.reader()?)).await
    }

    /// Returns one job.
    ///
    /// # Errors
    /// [`Error::NoSuchJob`] where none of this id is recorded.
    pub async fn job(&self, id: &JobId) -> Result<Job, Error> {
        let (cluster, id) = (self.cluster.clone(), id.clone());
        blocking("the look at a job", move || state::job(&cluster, &cluster.reader()?, &id)).await
    }

    /// Returns everything that happened to an event, by its id, its correlation id, a delivery's, or
    /// one that a provider gave.
    ///
    /// # Errors
    /// [`Error::Asked`] says what to change.
    pub async fn story(
        &self,
        query: StoryQuery,
        told: impl Fn(&StoryProgress) + Send + Sync + 'static,
    ) -> Result<Story, Error> {
        story::find(self.cluster.clone(), &self.registry, query, told).await
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::CutOff(what)))
}
