//! A million dead letters on a real Kafka: how long a page and a count take, and what memory.
//!
//! `make million` runs it.

use std::{
    fs,
    time::{Duration, Instant},
};

use dlq_replayer::{Choice, Ended, Filter, JobId, Query};
use domain::dead_letter::Reason;
use kafka_io::Config;
use testkit::process::Program;
use tokio_util::sync::CancellationToken;

use crate::{
    real::{Real, replayer_of},
    world::{Letter, all, wanted},
};

const MILLION: i64 = 1_000_000;
const LONG: Duration = Duration::from_secs(600);
/// What the product promises: see the guarantees of dead letters.
const PAGE: Duration = Duration::from_secs(1);
const COUNTED_PER_SECOND: f64 = 100_000.0;
const RSS_KIB: u64 = 128 * 1024;

/// Calls this executable again, so that memory and kills are the replayer's alone.
fn part(real: &Real, name: &str) -> Program {
    Program::at(std::env::current_exe().unwrap())
        .arg("--ignored")
        .arg("--exact")
        .arg("--nocapture")
        .arg(format!("million::{name}"))
        .env("REPLAY_BOOTSTRAP", real.kafka.bootstrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measure of some minutes"]
async fn of_a_million() {
    let real = Real::start(|spec| spec).await;
    for thousands in 0..MILLION / 10_000 {
        let letter = |number: i64| {
            let reason = if number % 10 == 0 { Reason::BudgetSpent } else { Reason::Permanent };
            Letter { partition: (number % 2) as i32, reason, ..Letter::new(number) }
        };
        real.world.write((thousands * 10_000..(thousands + 1) * 10_000).map(letter)).await;
    }
    let mut looks = part(&real, "looks").spawn();
    let ended = looks.wait_exit(LONG).await;
    eprintln!("{}", looks.log());
    assert!(ended.success());

    let job = real.world.replayer().start(all()).await.unwrap();
    let begun = Instant::now();
    let runner = || part(&real, "replays").env("REPLAY_JOB", &job.id);
    let killed = runner().env("REPLAY_FAILPOINTS", "replay.after_flush=kill@300").spawn();
    let mut killed = killed;
    assert!(!killed.wait_exit(LONG).await.success());
    let mut resumed = runner().env("REPLAY_FAILPOINTS", "").spawn();
    let ended = resumed.wait_exit(LONG).await;
    eprintln!("{}", resumed.log());
    assert!(ended.success());
    eprintln!("replayed with one kill -9 in {:?}", begun.elapsed());
    real.times(MILLION as usize).await.demand_once(|_| true);
}

/// The first page and a filtered count over all, each in memory that is bounded.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test in a process of its own"]
async fn looks() {
    let kafka = Config::plain(std::env::var("REPLAY_BOOTSTRAP").unwrap());
    let replayer = replayer_of(kafka, "");
    let filter = Filter { reasons: vec![Reason::BudgetSpent], ..Filter::default() };
    for (name, filter) in [("any", Filter::default()), ("filtered", filter.clone())] {
        let begun = Instant::now();
        let query = Query { filter, limit: 50, ..Query::default() };
        let page = replayer.list(query).await.unwrap();
        let took = begun.elapsed();
        eprintln!("first page, {name}: {} letters in {took:?}, limit {PAGE:?}", page.letters.len());
        assert!(page.letters.len() == 50 && took <= PAGE);
    }
    let begun = Instant::now();
    let counts = replayer.dry_run(wanted(Choice::Filter(filter)), |_| {}).await.unwrap();
    let per_second = counts.scanned as f64 / begun.elapsed().as_secs_f64();
    eprintln!("dry run: {counts:?}, {per_second:.0} records/s, at least {COUNTED_PER_SECOND}");
    assert_eq!((counts.scanned, counts.republished), (MILLION as u64, MILLION as u64 / 10));
    check_memory();
    assert!(per_second >= COUNTED_PER_SECOND);
}

/// A job from where it is to its end.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test in a process of its own"]
async fn replays() {
    let named = |name| std::env::var(name).unwrap();
    let id: JobId = named("REPLAY_JOB").parse().unwrap();
    let kafka = Config::plain(named("REPLAY_BOOTSTRAP"));
    let replayer = replayer_of(kafka, &named("REPLAY_FAILPOINTS"));
    let ended = replayer.run_job(&id, CancellationToken::new(), |_| {}).await.unwrap();
    assert!(matches!(ended, Ended::Done(job) if job.counts.republished == MILLION as u64));
    check_memory();
}

/// Asserts the largest memory this process ever held.
fn check_memory() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    eprintln!("memory: {} MiB at most, limit {} MiB", most / 1024, RSS_KIB / 1024);
    assert!(most <= RSS_KIB);
}
