//! Runs a job: each chosen letter exactly once into its lane.
//!
//! The records and the job's own position, the offsets of its group, are in one transaction. A
//! runner that was killed leaves an open transaction, which its successor ends before it reads the
//! position: nothing is lost and nothing doubled. Of two runners the later one goes on; the broker
//! refuses the earlier.

mod attempt;
mod lanes;
mod outgoing;
mod spans;

use std::{collections::BTreeSet, thread, time::Duration};

use chassis::{Hook, Tracer};
use kafka_io::Class;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Job, JobId, LetterId, Progress, Status, cluster::Cluster, scan::History, series::Series,
    state,
};

use attempt::Attempt;
pub(crate) use attempt::record_start;

/// How long a failed attempt waits before the next; doubled each time.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How long a fenced runner waits for its successor to make itself known.
const SUCCESSOR: Duration = Duration::from_secs(3);
/// How often a waiting runner looks whether it has to stop.
const SLICE: Duration = Duration::from_millis(50);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Every chosen letter was decided about.
    Done(Box<Job>),
    /// It was told to stop; another run goes on where it stopped.
    Stopped,
    /// Another process runs the job now.
    TakenOver,
}

/// Who runs a job, and what stops it.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) cluster: Cluster,
    /// Unique to this process.
    pub(crate) name: String,
    pub(crate) stop: CancellationToken,
    pub(crate) hook: Hook,
    pub(crate) tracer: Tracer,
    /// Where it is counted, in a service.
    pub(crate) series: Option<Series>,
}

/// What failed attempts have taught.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    /// Letters whose records Kafka refuses.
    refused: BTreeSet<LetterId>,
    /// A record among several was refused: one at a time tells which.
    one_at_a_time: bool,
}

impl Lessons {
    fn known(&self) -> (usize, bool) {
        (self.refused.len(), self.one_at_a_time)
    }
}

impl Runner {
    /// Runs a job to its end; failures that may pass are waited out.
    ///
    /// # Errors
    /// Those that repeating does not help.
    pub(crate) fn run(&self, id: &JobId, mut told: impl FnMut(&Progress)) -> Result<Ended, Error> {
        let mut lessons = Lessons::default();
        let mut wait = BACKOFF.0;
        loop {
            let known = lessons.known();
            let error = match self.attempt(id, &mut lessons, &mut told) {
                Err(error @ (Error::Write(_) | Error::Read(_) | Error::TooSlow(_))) => error,
                ended => return ended,
            };
            if self.stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
            if is_fenced(&error) && self.has_successor(id) {
                return Ok(Ended::TakenOver);
            }
            if lessons.known() != known {
                // Not the cluster is at fault but a record, and that is known now.
                wait = BACKOFF.0;
                continue;
            }
            tracing::warn!(replay_job_id = %id, error.message = %error, wait_ms = wait.as_millis(), "replay waits");
            told(&waiting(&error));
            self.pause(wait);
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    fn attempt(
        &self,
        id: &JobId,
        lessons: &mut Lessons,
        told: &mut dyn FnMut(&Progress),
    ) -> Result<Ended, Error> {
        let reader = self.cluster.reader_of(&id.group())?;
        // Whatever a runner of this job left open is ended first; others' are waited for.
        let producer = attempt::producer(&self.cluster, id, || !self.stop.is_cancelled())?;
        if !state::settle(&self.cluster, &reader, || !self.stop.is_cancelled())? {
            return Ok(Ended::Stopped);
        }
        let jobs = state::jobs(&self.cluster, &reader)?;
        let found = jobs.iter().find(|job| job.id == *id).cloned();
        let job = found.ok_or_else(|| Error::NoSuchJob(id.clone()))?;
        if job.status == Status::Done {
            return Ok(Ended::Done(Box::new(job)));
        }
        Attempt::open(self, &reader, producer, job)?.run(&History::new(jobs), lessons, told)
    }

    /// Says whether another runner has written its name to the job.
    fn has_successor(&self, id: &JobId) -> bool {
        self.pause(SUCCESSOR);
        let look = || state::job(&self.cluster, &self.cluster.reader()?, id);
        look().is_ok_and(|job| job.runner != self.name)
    }

    fn pause(&self, mut left: Duration) {
        while !left.is_zero() && !self.stop.is_cancelled() {
            let slice = left.min(SLICE);
            thread::sleep(slice);
            left -= slice;
        }
    }
}

fn is_fenced(error: &Error) -> bool {
    matches!(error, Error::Write(error) if error.class == Class::Fenced)
}

fn waiting(error: &Error) -> Progress {
    Progress {
        passed: 0,
        total: 0,
        counts: crate::Counts::default(),
        elapsed: Duration::ZERO,
        eta: None,
        waiting: Some(error.to_string()),
    }
}
