//! The executable told to stop while it replays, on a real Kafka.

use std::time::Duration;

use dlq_replayer::{JobId, Status};
use domain::dead_letter::Reason;
use kafka_io::reader::Isolation;
use serde_json::json;
use testkit::{Ports, process::Program, request, scratch, wait};

use crate::{
    real::{Real, now_ms},
    world::{AMPLE, Letter},
};

const LETTERS: usize = 8000;
/// Three in four; the others had another reason.
const CHOSEN: usize = 6000;
/// As long as `shutdown.timeout_seconds` lets it take by default; what is cut off then exits with 3.
const DRAINED_WITHIN: Duration = Duration::from_secs(30);
const FAILPOINTS: &str = "MILLRACE_FAILPOINTS";
/// Six transactions, so that there is time to stop it between the first and the last.
const SLOW: &str = "replay.after_flush=delay:700ms";

fn is_chosen(number: usize) -> bool {
    !number.is_multiple_of(4)
}

/// `millrace dlq-replayer`, with its API on the first port.
fn program(real: &Real, ports: &Ports) -> Program {
    Program::millrace()
        .arg("dlq-replayer")
        .env("MILLRACE_KAFKA__BOOTSTRAP_SERVERS", real.kafka.bootstrap())
        .env("MILLRACE_TOPICS__PREFIX", "t.")
        .env("MILLRACE_TOPICS__REPLICATION", 1)
        // It has to be a right one, and says nothing about dead letters.
        .env("MILLRACE_CATALOG__FOLDER", scratch::root().join("examples").display())
        .env("MILLRACE_DLQ_REPLAYER__LISTEN", ports.address(0))
        .env("MILLRACE_DLQ_REPLAYER__RESUME_AFTER", "1s")
        .env("MILLRACE_ADMIN__LISTEN", ports.address(1))
        .admin(ports.address(1))
}

async fn write_letters(real: &Real) {
    let letter = |number: usize| Letter {
        partition: (number % 2) as i32,
        reason: if is_chosen(number) { Reason::Permanent } else { Reason::BudgetSpent },
        at_ms: now_ms(),
        ..Letter::new(number as i64)
    };
    real.world.write((0..LETTERS).map(letter)).await;
}

/// Asks for a replay of the chosen.
async fn ask(ports: &Ports) -> JobId {
    let wanted = json!({ "filter": { "reasons": ["permanent"] }, "by": "ann" });
    let asked = http::Request::post("/v1/replays").header("content-type", "application/json");
    let asked = asked.body(wanted.to_string().into()).unwrap();
    let reply = request(ports.address(0), asked, AMPLE).await.unwrap();
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_told_to_stop_ends_in_time_and_the_next_process_ends_it_with_each_letter_once() {
    let (real, ports) = (Real::start(|spec| spec).await, Ports::reserve());
    write_letters(&real).await;
    let mut process = program(&real, &ports).env(FAILPOINTS, SLOW).spawn();
    process.wait_ready(AMPLE).await;
    let id = ask(&ports).await;
    wait::until_some("a part to be replayed", AMPLE, async || {
        (real.held(Isolation::Committed).await > 0).then_some(())
    })
    .await;

    process.sigterm();
    let status = process.wait_exit(DRAINED_WITHIN).await;
    assert!(status.success(), "{status}:\n{}", process.log());
    let replayer = real.world.replayer();
    let job = replayer.job(&id).await.unwrap();
    assert_eq!(job.status, Status::Unfinished, "it was stopped on the way");
    // A commit is seen a little after it was answered; a transaction left open or aborted never is.
    let before = wait::until_some("all that was written to be committed", AMPLE, async || {
        let committed = real.held(Isolation::Committed).await;
        (real.held(Isolation::Uncommitted).await == committed).then_some(committed)
    })
    .await;
    assert!(before > 0 && before < CHOSEN, "{before} were replayed before it was stopped");

    process.restart_with(&[(FAILPOINTS, "")]);
    let job = wait::until_some("the job to be done", AMPLE, async || {
        let job = replayer.job(&id).await.unwrap();
        (job.status == Status::Done).then_some(job)
    })
    .await;
    assert_eq!((job.counts.chosen, job.counts.republished), (CHOSEN as u64, CHOSEN as u64));
    real.times(LETTERS).await.demand_once(is_chosen);
}
