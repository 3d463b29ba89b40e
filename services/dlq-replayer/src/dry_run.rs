//! What a job would do, counted without doing it; and the job itself, made.

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use kafka_io::reader::{Ended, Reader};

use crate::{
    Choice, Counts, Error, Filter, Job, JobId, JobRange, LetterId, Status, Wanted,
    cluster::{self, Cluster, now_ms},
    job::IDS_MAX,
    letter::Letter,
    progress::{Meter, Progress},
    scan::{Decision, History, Scan},
    series::{Outcome, Tally},
    show::SEEK,
};

/// The most a count over everything may take.
const COUNT: Duration = Duration::from_secs(3600);

/// Makes a job with its ranges as they are now; nothing is recorded.
pub(crate) fn make(cluster: &Cluster, reader: &Reader, wanted: &Wanted) -> Result<Job, Error> {
    let (ranges, origins) = match &wanted.choice {
        Choice::Filter(filter) => {
            let mut ranges = cluster.ranges(reader, filter)?;
            ranges.retain(|range| range.from < range.to);
            (ranges, Vec::new())
        }
        Choice::Ids(ids) => (ranges_of(ids)?, origins(cluster, reader, ids)?),
    };
    let now = now_ms();
    Ok(Job {
        id: JobId::of(uuid::Uuid::now_v7()),
        by: wanted.by.clone(),
        created_ms: now,
        place: None,
        choice: wanted.choice.clone(),
        again: wanted.again,
        replays_max: wanted.replays_max,
        ranges,
        origins,
        status: Status::Unfinished,
        counts: Counts::default(),
        failed: Vec::new(),
        cut_short: false,
        runner: String::new(),
        updated_ms: now,
        finished_ms: None,
    })
}

/// Counts what a job would do.
pub(crate) fn count(
    cluster: &Cluster,
    reader: &Reader,
    job: &Job,
    history: &History,
    go_on: impl Fn() -> bool + Copy,
    told: impl Fn(&Progress),
) -> Result<(Counts, Tally), Error> {
    let mut tally = Tally::default();
    let mut scan = Scan::new(job, history);
    let mut meter = Meter::new(&job.ranges);
    let deadline = std::time::Instant::now() + COUNT;
    let ended = cluster::read(reader, &job.ranges, deadline, go_on, |view| {
        let letter = Letter::of(view, &cluster.names);
        match scan.decide(&letter) {
            Decision::Republish | Decision::Quarantine => tally.add(letter.topic, Outcome::DryRun),
            Decision::Leave | Decision::Double | Decision::ReplayedBefore | Decision::Stray => {}
        }
        match meter.passed(letter.topic, letter.partition, letter.offset + 1) {
            true => {
                told(&meter.progress(scan.counts));
                if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            false => ControlFlow::Continue(()),
        }
    })?;
    match ended {
        Ended::Complete => {
            // Who watches sees the end.
            told(&meter.complete(scan.counts));
            Ok((scan.counts, tally))
        }
        Ended::Stopped => Err(Error::CutOff("the count")),
        Ended::Deadline { .. } => Err(Error::TooSlow("count the dead letters")),
    }
}

/// Returns one range for each partition that has a letter of `ids`.
fn ranges_of(ids: &[LetterId]) -> Result<Vec<JobRange>, Error> {
    if ids.is_empty() {
        return Err(Error::Asked("name at least one dead letter, or a filter".to_owned()));
    }
    if ids.len() > IDS_MAX {
        let why =
            format!("{} letters are named, at most {IDS_MAX} may be: use a filter", ids.len());
        return Err(Error::Asked(why));
    }
    let mut ranges: BTreeMap<(&str, i32), (i64, i64)> = BTreeMap::new();
    for id in ids {
        let range = ranges.entry((&id.topic, id.partition)).or_insert((id.offset, id.offset + 1));
        *range = (range.0.min(id.offset), range.1.max(id.offset + 1));
    }
    let range = |((topic, partition), (from, to)): ((&str, i32), (i64, i64))| JobRange {
        topic: topic.to_owned(),
        partition,
        from,
        to,
    };
    Ok(ranges.into_iter().map(range).collect())
}

/// Looks at each letter chosen by id: that it is there, and where it lay before.
fn origins(cluster: &Cluster, reader: &Reader, ids: &[LetterId]) -> Result<Vec<LetterId>, Error> {
    let topics: Vec<String> = ids.iter().map(|id| id.topic.clone()).collect();
    let filter = Filter { topics, ..Filter::default() };
    if let Some(problem) = filter.problem(&cluster.names) {
        return Err(Error::Asked(problem));
    }
    let mut origins = Vec::new();
    for id in ids {
        let found = reader.fetch_one(&id.topic, id.partition, id.offset, SEEK)?;
        let record = found.ok_or_else(|| Error::NoSuchLetter(id.clone()))?;
        let letter = Letter::of_record(&record, &cluster.names);
        origins.extend(letter.origin().map(|origin| LetterId {
            topic: origin.topic.to_owned(),
            partition: origin.partition,
            offset: origin.offset,
        }));
    }
    Ok(origins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_one_partition_share_a_range() {
        let ids = ["dlq.a.b/0/7", "dlq.a.b/1/3", "dlq.a.b/0/2"].map(|id| id.parse().expect("id"));
        let ranges = ranges_of(&ids).expect("there are ids");
        let told: Vec<_> = ranges.iter().map(|r| (r.partition, r.from, r.to)).collect();
        assert_eq!(told, [(0, 2, 8), (1, 3, 4)]);
        assert!(ranges_of(&[]).is_err());
        assert!(ranges_of(&vec![ids[0].clone(); IDS_MAX + 1]).is_err());
    }
}
