//! Exactly once, on a real Kafka: across kill -9, between two runners, and past refused records.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use chassis::Hook;
use dlq_replayer::{Choice, Ended, Filter, Job, JobId, Replayer, Status, StoryQuery};
use kafka_io::{
    Config, Record,
    reader::{BorrowedView, Ended as ReadEnded, Isolation, Range, Reader, ReaderOptions},
    topics::{Admin, AdminOptions, Change, Spec},
};
use registry_io::Registry;
use testkit::{Kafka, process::Program, wait};
use tokio_util::sync::CancellationToken;
use wire::topics::Names;

use crate::{
    times::Times,
    world::{AMPLE, Letter, World, all, replay, topics, wanted},
};

const LETTERS: i64 = 4000;
/// The most that reading the whole lane may take; it may hold a million records.
const READ_WITHIN: Duration = Duration::from_secs(300);

/// A real Kafka with the topics of the tests.
pub(crate) struct Real {
    pub(crate) kafka: Kafka,
    pub(crate) world: World,
}

impl Real {
    /// `change` may alter the topics.
    pub(crate) async fn start(change: impl Fn(Spec) -> Spec) -> Self {
        let kafka = Kafka::one().await;
        let config = Config::plain(kafka.bootstrap());
        let names = Names::new("t.");
        let admin = Admin::open(&config, AdminOptions::default()).unwrap();
        for (topic, partitions) in topics(&names) {
            let spec = change(Spec::new(topic, partitions, 1));
            admin.apply(&Change::Create(spec.clone())).await.unwrap();
            let there = async || admin.verify(std::slice::from_ref(&spec)).await.ok();
            wait::until_some("the topic to be there", AMPLE, there).await;
        }
        Self { world: World::of(config, names, None).await, kafka }
    }

    async fn write(&self, count: i64) {
        let letter = |number: i64| Letter {
            partition: (number % 2) as i32,
            at_ms: now_ms(),
            ..Letter::new(number)
        };
        self.world.write((0..count).map(letter)).await;
    }

    /// Runs a job in a process of its own that dies at a failpoint.
    async fn run_to_death(&self, job: &Job, failpoint: &str) {
        let program = Program::at(std::env::current_exe().unwrap())
            .arg("--ignored")
            .arg("--exact")
            .arg("real::a_runner_of_its_own")
            .env("REPLAY_BOOTSTRAP", self.kafka.bootstrap())
            .env("REPLAY_JOB", &job.id)
            .env("REPLAY_FAILPOINTS", failpoint);
        let mut runner = program.spawn();
        let ended = runner.wait_exit(AMPLE).await;
        assert_eq!(ended.signal(), Some(9), "{}", runner.log());
        assert!(
            runner.log().contains(&format!("failpoint {}", failpoint.split('=').next().unwrap()))
        );
    }

    /// How many records the lane holds for a reader of committed records, or for one of all.
    pub(crate) async fn held(&self, isolation: Isolation) -> usize {
        self.fold_lane(isolation, 0, |count, _| *count += 1).await
    }

    /// How often the lane holds each of `events`.
    pub(crate) async fn times(&self, events: usize) -> Times {
        let count = |times: &mut Times, view: &BorrowedView<'_>| {
            times.count(view.header(wire::headers::CE_ID).unwrap_or_default());
        };
        self.fold_lane(Isolation::Committed, Times::of(events), count).await
    }

    /// Shows each record of the lane to `each`, and keeps none.
    async fn fold_lane<T: Send + 'static>(
        &self,
        isolation: Isolation,
        mut found: T,
        each: impl Fn(&mut T, &BorrowedView<'_>) + Send + 'static,
    ) -> T {
        let (kafka, topic) = (self.world.kafka.clone(), self.world.names.out_replay("crm"));
        let read = move || {
            let options = ReaderOptions { isolation, ..ReaderOptions::default() };
            let reader = Reader::open(&kafka, options).unwrap();
            let range =
                |partition| Range { topic: topic.clone(), partition, from: 0, to: i64::MAX };
            let deadline = Instant::now() + READ_WITHIN;
            let ended = reader.read(&[range(0), range(1)], deadline, |view| {
                each(&mut found, view);
                ControlFlow::Continue(())
            });
            assert_eq!(ended.unwrap(), ReadEnded::Complete);
            found
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    /// Asserts that the lane holds each of `count` events once, in order within a partition.
    async fn holds_each_once(&self, count: i64) {
        self.times(count as usize).await.demand_once(|_| true);
        let lane = self.world.read(self.world.names.out_replay("crm")).await;
        let letters = self.world.read(self.world.letters()).await;
        for partition in 0..2 {
            let was = in_order(&letters, partition);
            assert!(in_order(&lane, partition) == was, "partition {partition} is out of order");
        }
    }
}

/// Returns the events of a partition, each where it is met first.
fn in_order(records: &[Record], partition: i32) -> Vec<String> {
    let mut met = HashSet::new();
    let of = records.iter().filter(|record| record.partition == partition);
    let events = of.map(|record| crate::world::text(record, wire::headers::CE_ID));
    events.filter(|event| met.insert(event.clone())).collect()
}

pub(crate) fn replayer_of(kafka: Config, failpoints: &str) -> Replayer {
    let nowhere = registry_io::Config::at("http://127.0.0.1:9".to_owned());
    let registry = Registry::new(&nowhere).unwrap();
    let world = dlq_replayer::World { kafka, registry, names: Names::new("t.") };
    Replayer::new(world).with_hook(Hook::parse(failpoints).unwrap())
}

/// A part of another test: that test kills the process this runs in.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by other tests in a process of its own"]
async fn a_runner_of_its_own() {
    let named = |name| std::env::var(name).unwrap();
    let id: JobId = named("REPLAY_JOB").parse().unwrap();
    let replayer =
        replayer_of(Config::plain(named("REPLAY_BOOTSTRAP")), &named("REPLAY_FAILPOINTS"));
    replayer.run_job(&id, CancellationToken::new(), |_| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_killed_at_every_step_doubles_and_loses_nothing() {
    let real = Real::start(|spec| spec).await;
    real.write(LETTERS).await;
    let replayer = real.world.replayer();
    let job = replayer.start(all()).await.unwrap();
    // What comes later, doubles of what is replayed among it, is none of the job's business.
    real.write(10).await;
    for failpoint in [
        "replay.after_flush=kill@1",
        "replay.after_send_offsets=kill@2",
        "replay.after_commit=kill@2",
        "replay.after_flush=kill@2",
    ] {
        real.run_to_death(&job, failpoint).await;
    }
    let before = real.held(Isolation::Committed).await;
    assert!(before > 0 && before < LETTERS as usize, "{before} were replayed before the end");
    let ended = replayer.run_job(&job.id, CancellationToken::new(), |_| {}).await.unwrap();
    let Ended::Done(done) = ended else { panic!("{ended:?}") };
    assert_eq!((done.status, done.counts.republished), (Status::Done, LETTERS as u64));
    real.holds_each_once(LETTERS).await;
    let all_records = real.held(Isolation::Uncommitted).await;
    assert!(all_records > LETTERS as usize, "no transaction was cut off: the kills proved nothing");
    // The story is found by time here, and tells of the replay.
    let query = StoryQuery { id: "evt-5".into(), since_ms: now_ms() - 600_000, until_ms: None };
    let story = replayer.story(query.clone(), |_| {}).await.unwrap();
    assert_eq!(story.entries.len(), 3, "{story:?}");
    let later = StoryQuery { since_ms: now_ms() + 60_000, ..query };
    assert_eq!(replayer.story(later, |_| {}).await.unwrap().entries, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_of_the_past_holds_dead_letters_that_lie_out_of_the_order_of_their_times() {
    const MINUTE: i64 = 60_000;
    let (real, now) = (Real::start(|spec| spec).await, now_ms());
    let letter = |event: &str, origin, written, at| Letter {
        event: event.to_owned(),
        written_ms: Some(now - written * MINUTE),
        at_ms: now - at * MINUTE,
        ..Letter::new(origin)
    };
    let letters = [
        letter("evt-other", 0, 1, 1),
        letter("evt-a", 1, 60, 59),
        letter("evt-a", 2, 180, 58),
        letter("evt-a", 3, 60, 10),
    ];
    let ids = real.world.write(letters).await;
    let (since_ms, until_ms) = (now - 120 * MINUTE, Some(now - 30 * MINUTE));
    let query = StoryQuery { id: "evt-a".into(), since_ms, until_ms };
    let story = real.world.replayer().story(query, |_| {}).await.unwrap();
    let told: Vec<_> = story.entries.iter().map(|entry| entry.record.clone()).collect();
    assert_eq!((told, story.complete), (ids[1..3].to_vec(), true));
}

pub(crate) fn now_ms() -> i64 {
    domain::time::UnixMillis::from(std::time::SystemTime::now()).0
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runners_the_later_goes_on_and_two_jobs_share_no_letter() {
    let real = Real::start(|spec| spec).await;
    real.write(LETTERS).await;
    // Long enough for the others to begin, however busy the machine is.
    let slow = replayer_of(real.world.kafka.clone(), "replay.after_flush=delay:3000ms");
    let job = slow.start(all()).await.unwrap();
    let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
    let (id, first) = (job.id.clone(), slow.clone());
    let first = tokio::spawn(async move {
        let told = move |_: &dlq_replayer::Progress| {
            let _ = started.send(());
        };
        first.run_job(&id, CancellationToken::new(), told).await
    });
    has_started.recv().await;
    let replayer = real.world.replayer();
    // Another job over the same letters, at the same time.
    let other = replayer.start(all()).await.unwrap();
    let (second, third) = tokio::join!(
        replayer.run_job(&job.id, CancellationToken::new(), |_| {}),
        replayer.run_job(&other.id, CancellationToken::new(), |_| {}),
    );
    assert_eq!(first.await.unwrap().unwrap(), Ended::TakenOver);
    let counts = |ended: Ended| match ended {
        Ended::Done(job) => job.counts,
        Ended::Stopped | Ended::TakenOver => panic!("{ended:?}"),
    };
    assert_eq!(counts(second.unwrap()).republished, LETTERS as u64);
    assert_eq!(counts(third.unwrap()).replayed_before, LETTERS as u64);
    real.holds_each_once(LETTERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_kafka_refuses_is_told_and_stops_no_other() {
    let lane = Names::new("t.").out_replay("crm");
    let small = |spec: Spec| match spec.name == lane {
        true => spec.with("max.message.bytes", "2000"),
        false => spec,
    };
    let real = Real::start(small).await;
    real.write(6).await;
    // Its id alone is more than the lane takes, and does not compress away.
    let long: String = (0..2000).map(|n| format!("{:x}", n * 7919 % 65521)).collect();
    let large = real.world.write([Letter { event: long, ..Letter::new(6) }]).await;
    real.world.write([Letter::new(8)]).await;
    let replayer = real.world.replayer();
    let job = replay(&replayer, all()).await;
    assert_eq!((job.counts.republished, job.counts.failed), (7, 1));
    assert_eq!(job.failed, large);
    let mut lane = real.world.lane().await;
    lane.sort();
    assert_eq!(lane, ["evt-0", "evt-1", "evt-2", "evt-3", "evt-4", "evt-5", "evt-8"]);
    // It was not replayed, so a later job tries it.
    let by_id = wanted(Choice::Ids(large));
    let counted = replayer.dry_run(by_id, |_| {}).await.unwrap();
    assert_eq!((counted.republished, counted.replayed_before), (1, 0));
    let page =
        replayer.list(dlq_replayer::Query { filter: Filter::default(), ..Default::default() });
    let page = page.await.unwrap();
    let waiting: Vec<_> =
        page.letters.iter().filter(|letter| letter.replayed_by.is_none()).collect();
    assert_eq!(waiting.len(), 1);
}
