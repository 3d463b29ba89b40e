//! Jobs as they are kept in `ctl.state`, and what is told of them in `ctl.audit`.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use kafka_io::{
    Outgoing,
    reader::{Ended, Range, Reader},
};
use serde::Serialize;
use wire::topics::Names;

use crate::{
    Counts, Error, Job, JobId,
    cluster::{Cluster, deadline},
};

/// What a job's key begins with; other commands keep their state in the same topic.
const KEY_PREFIX: &str = "replay/";
/// How long a job that was just recorded is looked for, and how often.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
const SEEN_LOOK: Duration = Duration::from_millis(20);
/// How often a wait for other runners' transactions looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Reads every job there is, the oldest first.
pub(crate) fn jobs(cluster: &Cluster, reader: &Reader) -> Result<Vec<Job>, Error> {
    let topic = cluster.names.state();
    let partitions = partitions(reader, &topic)?;
    let range = |partition| Range { topic: topic.clone(), partition, from: 0, to: i64::MAX };
    let ranges: Vec<Range> = (0..partitions).map(range).collect();
    let mut jobs = BTreeMap::new();
    let ended = reader.read(&ranges, deadline(), |view| {
        take(&mut jobs, view.key().unwrap_or_default(), view.value(), view.offset());
        ControlFlow::Continue(())
    })?;
    let mut jobs: Vec<Job> = match ended {
        Ended::Complete | Ended::Stopped => jobs.into_values().collect(),
        Ended::Deadline { .. } => return Err(Error::TooSlow("read the replay jobs")),
    };
    jobs.sort_by(|a, b| a.turn().cmp(&b.turn()));
    Ok(jobs)
}

/// Takes the next record of `ctl.state`; those that keep no job are passed over.
fn take(jobs: &mut BTreeMap<String, Job>, key: &[u8], value: Option<&[u8]>, offset: i64) {
    let key = std::str::from_utf8(key).ok();
    if let Some(id) = key.and_then(|key| key.strip_prefix(KEY_PREFIX)) {
        match value {
            Some(value) => keep(jobs, (id, offset), value),
            None => drop(jobs.remove(id)),
        }
    }
}

/// Keeps a job's last record, and the place of its first: until it is claimed it has only one.
fn keep(jobs: &mut BTreeMap<String, Job>, (id, offset): (&str, i64), value: &[u8]) {
    match serde_json::from_slice::<Job>(value) {
        Ok(mut job) => {
            job.place.get_or_insert(offset);
            jobs.insert(id.to_owned(), job);
        }
        Err(error) => {
            tracing::warn!(replay_job_id = id, %error, "a replay job's record is not understood");
        }
    }
}

fn partitions(reader: &Reader, topic: &str) -> Result<i32, Error> {
    let found = reader.topics()?.into_iter().find(|t| t.name == topic);
    Ok(found.ok_or_else(|| Error::NoTopic(topic.to_owned()))?.partitions)
}

/// Waits until nothing recorded so far is hidden behind the open transaction of a runner that died.
///
/// A job that missed an earlier one would replay what that one replays. False where `go_on` ended it.
pub(crate) fn settle(
    cluster: &Cluster,
    reader: &Reader,
    go_on: impl Fn() -> bool,
) -> Result<bool, Error> {
    let topic = cluster.names.state();
    let all = cluster.reader_of_all()?;
    for partition in 0..partitions(reader, &topic)? {
        let end = all.watermarks(&topic, partition)?.high;
        while reader.watermarks(&topic, partition)?.high < end {
            if !go_on() {
                return Ok(false);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
    Ok(true)
}

/// Reads one job.
pub(crate) fn job(cluster: &Cluster, reader: &Reader, id: &JobId) -> Result<Job, Error> {
    let found = jobs(cluster, reader)?.into_iter().find(|job| job.id == *id);
    found.ok_or_else(|| Error::NoSuchJob(id.clone()))
}

/// Waits until readers find a job that was just recorded: a commit is answered before the brokers have written its
/// markers, and whoever looks at once would be told that there is none. After a while it is left to the readers.
pub(crate) fn await_seen(cluster: &Cluster, reader: &Reader, id: &JobId) -> Result<(), Error> {
    let until = Instant::now() + SEEN_WITHIN;
    loop {
        match job(cluster, reader, id) {
            Err(Error::NoSuchJob(_)) if Instant::now() < until => thread::sleep(SEEN_LOOK),
            Err(Error::NoSuchJob(_)) | Ok(_) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Returns the record that keeps a job as it is now.
pub(crate) fn kept(names: &Names, job: &Job) -> Outgoing {
    let value = serde_json::to_vec(job).expect("a job is made of texts and numbers");
    record(names.state(), format!("{KEY_PREFIX}{}", job.id), value)
}

/// What happened to a job, for the audit.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Happened {
    ReplayStarted,
    ReplayFinished,
}

#[derive(Serialize)]
struct Audit<'a> {
    what: Happened,
    at: String,
    by: &'a str,
    job: &'a JobId,
    choice: &'a crate::Choice,
    again: bool,
    replays_max: u32,
    counts: Counts,
}

/// Returns the audit's record of what happened to a job, at `now_ms` in milliseconds since 1970.
pub(crate) fn audited(names: &Names, job: &Job, what: Happened, now_ms: i64) -> Outgoing {
    let audit = Audit {
        what,
        at: wire::headers::rfc3339(now_ms),
        by: &job.by,
        job: &job.id,
        choice: &job.choice,
        again: job.again,
        replays_max: job.replays_max,
        counts: job.counts,
    };
    let value = serde_json::to_vec(&audit).expect("an audit is made of texts and numbers");
    record(names.audit(), job.id.to_string(), value)
}

fn record(topic: String, key: String, value: Vec<u8>) -> Outgoing {
    let headers = vec![("content-type".to_owned(), "application/json".into())];
    Outgoing {
        topic: Arc::from(topic),
        partition: None,
        key: Some(key.into()),
        value: Some(value.into()),
        headers,
        timestamp_ms: None,
    }
}

#[cfg(test)]
mod tests;
