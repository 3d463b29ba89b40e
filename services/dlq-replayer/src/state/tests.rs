//! Replay jobs and their audit as they were once written: they read back for ever.
//!
//! A file of `golden/` is `<kind>.<version>.json`, the record's key beside it as `.key`. Neither is
//! ever changed; another format gets new files.

use domain::dead_letter::Reason;
use serde_json::Value;

use super::*;
use crate::{Choice, Filter, JobRange, LetterId, Status};

const NEW_KEY: &str = include_str!("../../golden/job-new.1.key");
const NEW: &str = include_str!("../../golden/job-new.1.json");
const DONE_KEY: &str = include_str!("../../golden/job-done.1.key");
const DONE: &str = include_str!("../../golden/job-done.1.json");
/// As the first versions wrote it: without what can be missing.
const DONE_OLDER: &str = include_str!("../../golden/job-done.older.json");
/// With fields that nobody knows of here.
const DONE_NEWER: &str = include_str!("../../golden/job-done.newer.json");
/// With a condition that nobody knows of here.
const CHOICE_NEWER: &str = include_str!("../../golden/job-choice.newer.json");
const AUDIT_KEY: &str = include_str!("../../golden/audit-replay.1.key");
const STARTED: &str = include_str!("../../golden/audit-replay-started.1.json");
const FINISHED: &str = include_str!("../../golden/audit-replay-finished.1.json");

fn range(topic: &str, partition: i32, from: i64, to: i64) -> JobRange {
    JobRange { topic: topic.into(), partition, from, to }
}

fn letter(topic: &str, offset: i64) -> LetterId {
    LetterId { topic: topic.into(), partition: 3, offset }
}

fn filter() -> Filter {
    Filter {
        topics: vec!["dlq.deliver.crm".into()],
        reasons: Reason::ALL.to_vec(),
        destinations: vec!["crm".into()],
        sources: vec!["payments".into()],
        since_ms: Some(1_699_000_000_000),
        until_ms: Some(1_700_000_000_000),
    }
}

/// A job just recorded: nobody runs it yet, and its place is where its record lies.
fn new() -> Job {
    Job {
        id: "0123456789abcdef0123456789abcdef".parse().expect("it is an id"),
        by: "ann".into(),
        created_ms: 1_700_000_000_123,
        place: None,
        choice: Choice::Filter(filter()),
        again: true,
        replays_max: 5,
        ranges: vec![range("dlq.deliver.crm", 0, 0, 40), range("dlq.deliver.crm", 3, 7, 9)],
        origins: vec![],
        status: Status::Unfinished,
        counts: Counts::default(),
        failed: vec![],
        cut_short: false,
        runner: String::new(),
        updated_ms: 1_700_000_000_123,
        finished_ms: None,
    }
}

/// A job by ids that has ended, and not well.
fn done() -> Job {
    Job {
        id: "fedcba9876543210fedcba9876543210".parse().expect("it is an id"),
        place: Some(41),
        choice: Choice::Ids(vec![letter("dlq.deliver.crm", 7), letter("dlq.deliver.crm", 8)]),
        again: false,
        ranges: vec![range("dlq.deliver.crm", 3, 7, 9)],
        origins: vec![letter("out.crm", 70)],
        status: Status::Done,
        counts: Counts {
            scanned: 7,
            chosen: 6,
            republished: 1,
            replayed_before: 2,
            doubles: 3,
            quarantined: 4,
            failed: 5,
        },
        failed: vec![letter("dlq.deliver.crm", 8)],
        cut_short: true,
        runner: "host-1".into(),
        updated_ms: 1_700_000_001_000,
        finished_ms: Some(1_700_000_002_000),
        ..new()
    }
}

/// What the jobs are after a record of `ctl.state` at offset 41.
fn taken(key: &str, value: Option<&str>, mut jobs: BTreeMap<String, Job>) -> Vec<Job> {
    take(&mut jobs, key.as_bytes(), value.map(str::as_bytes), 41);
    jobs.into_values().collect()
}

fn known(job: Job) -> BTreeMap<String, Job> {
    BTreeMap::from([(job.id.to_string(), job)])
}

fn text(bytes: Option<bytes::Bytes>) -> String {
    String::from_utf8(bytes.expect("it is there").to_vec()).expect("it is text")
}

#[test]
fn what_is_recorded_of_a_job_now_is_among_the_golden_files() {
    let names = Names::new("p.");
    for (job, key, value) in [(new(), NEW_KEY, NEW), (done(), DONE_KEY, DONE)] {
        let record = kept(&names, &job);
        assert_eq!((&*record.topic, record.partition), ("p.ctl.state", None));
        assert_eq!((text(record.key).as_str(), text(record.value).as_str()), (key, value));
    }
}

#[test]
fn every_job_ever_recorded_is_read_and_a_tombstone_takes_it_back() {
    let first = Job { place: Some(41), ..new() };
    for (key, value, job) in [(NEW_KEY, NEW, first), (DONE_KEY, DONE, done())] {
        assert_eq!(taken(key, None, known(job.clone())), []);
        assert_eq!(taken(key, Some(value), BTreeMap::new()), [job]);
    }
    // Whose position it is that the group of this name holds, does not change either.
    assert_eq!(new().id.group(), "millrace-replay-0123456789abcdef0123456789abcdef");
}

#[test]
fn a_job_of_an_older_version_has_nothing_of_what_it_does_not_say() {
    let counts = Counts { doubles: 0, quarantined: 0, failed: 0, ..done().counts };
    let (origins, failed) = (vec![], vec![]);
    let wanted = Job { counts, origins, failed, cut_short: false, finished_ms: None, ..done() };
    assert_eq!(taken(DONE_KEY, Some(DONE_OLDER), BTreeMap::new()), [wanted]);
}

#[test]
fn what_a_later_version_says_beside_a_job_is_passed_over() {
    assert_eq!(taken(DONE_KEY, Some(DONE_NEWER), BTreeMap::new()), [done()]);
}

/// Passing over a condition would put more letters through than somebody wanted.
#[test]
fn a_job_that_chooses_by_what_is_not_known_is_left_to_who_knows_it() {
    assert_eq!(taken(NEW_KEY, Some(CHOICE_NEWER), BTreeMap::new()), []);
    assert_eq!(taken(NEW_KEY, Some(CHOICE_NEWER), known(new())), [new()]);
}

#[test]
fn what_is_audited_of_a_job_now_is_among_the_golden_files() {
    let names = Names::new("p.");
    for what in [Happened::ReplayStarted, Happened::ReplayFinished] {
        let (job, golden) = match what {
            Happened::ReplayStarted => (new(), STARTED),
            Happened::ReplayFinished => (Job { id: new().id, ..done() }, FINISHED),
        };
        let record = audited(&names, &job, what, 1_700_000_002_123);
        assert_eq!((&*record.topic, record.partition), ("p.ctl.audit", None));
        assert_eq!((text(record.key).as_str(), text(record.value).as_str()), (AUDIT_KEY, golden));
    }
}

#[test]
fn every_audit_of_a_job_ever_written_tells_what_was_chosen_by_whom_and_how_it_ended() {
    for (golden, what, job) in
        [(STARTED, "replay_started", new()), (FINISHED, "replay_finished", done())]
    {
        let audit: Value = serde_json::from_str(golden).expect("it is JSON");
        let is = |field: &str, wanted: Value| assert_eq!(audit[field], wanted, "{what} {field}");
        is("what", what.into());
        is("at", "2023-11-14T22:13:22.123Z".into());
        is("by", "ann".into());
        is("job", AUDIT_KEY.into());
        is("again", job.again.into());
        is("replays_max", 5.into());
        let choice: Choice = serde_json::from_value(audit["choice"].clone()).expect("it is one");
        let counts: Counts = serde_json::from_value(audit["counts"].clone()).expect("they are");
        assert_eq!((choice, counts), (job.choice, job.counts), "{what}");
    }
}
