//! The clock of deliver's machine steps by an hour, there and back, by libfaketime; its monotonic clock
//! does not, as on a real machine.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::json;
use testkit::{process::Program, scratch, wait};

use super::{
    judge::{Bar, Tally, demand, now_ms},
    plan::Plan,
    stage::{Stage, refuse},
    traffic::{Mix, Traffic},
};
use crate::{
    SOON,
    system::{Setup, World},
};

const HOUR_SECONDS: i64 = 3600;
// Twice there and back: beginning with either direction.
const STEPS: [i64; 4] = [HOUR_SECONDS, 0, -HOUR_SECONDS, 0];

const STALL_MAX: Duration = Duration::from_secs(10);

const WAITS: &str = "tests/it/chaos/faked_waits.c";
const LIBRARY: &str = ".cache/tools/libfaketime/usr/lib";
const NAME: &str = "libfaketimeMT.so.1";

/// The wall clock of a program, which a file tells.
struct Clock {
    file: PathBuf,
    preload: String,
}

pub(super) async fn steps_by_an_hour() {
    // Content is kept: each attempt tells by which clock it was signed.
    let retry = json!({ "budget": "60s", "base": "50ms", "cap": "1s" });
    let world = World::start(&Setup { retry, ..Setup::default() }).await;
    let clock = Clock::of(&world);
    let mut stage = Stage::on(world).await;
    stage.add_with(0, |program| clock.given_to(program));
    let (mut plan, mut tally) = (Plan::of("clock", STEPS.len()), Tally::default());
    let traffic = Traffic::start(&stage.world, Mix::Usual);
    stage.flows().await;
    let first = 2 * plan.below(STEPS.len() as u64 / 2) as usize;
    while let Some(round) = plan.round() {
        let offset = STEPS[(first + round) % STEPS.len()];
        stage.retries_some().await;
        clock.set(offset);
        signs_at(&stage.world, offset).await;
        eprintln!("clock: {offset} s off at {} ms", now_ms(&stage.world));
        *tally.hits.entry(format!("{offset} s")).or_default() += 1;
        stage.world.receiver.heal();
        refuse(&stage.world.receiver);
        stage.takes_more(450).await;
        tally.accepted_at.push(traffic.accepted());
    }
    let sent = traffic.finish().await;
    let (stall_max, key_stall_max) = (STALL_MAX, STALL_MAX);
    let bar = Bar { scenario: "clock", mix: Mix::Usual, stall_max, key_stall_max };
    demand(bar, &stage.world, tally, &sent).await;
}

impl Clock {
    /// Goes right at first.
    fn of(world: &World) -> Self {
        let (file, waits) = (world.path("clock"), world.path("faked_waits.so"));
        let source = scratch::root().join(WAITS);
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).args([&waits, &source]);
        let compiled = compiler.status().expect("a C compiler is installed");
        assert!(compiled.success(), "{WAITS} compiles");
        let clock = Self { file, preload: format!("{}:{}", waits.display(), library().display()) };
        clock.set(0);
        clock
    }

    fn given_to(&self, program: Program) -> Program {
        program
            .env("LD_PRELOAD", &self.preload)
            .env("FAKETIME_TIMESTAMP_FILE", self.file.display())
            .env("FAKETIME_CACHE_DURATION", 1)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", 1)
    }

    /// It is off by so much a second later.
    fn set(&self, offset_seconds: i64) {
        // A file that is read while it is being written would say nothing.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{offset_seconds:+}\n")).expect("the scratch folder is writable");
        fs::rename(&next, &self.file).expect("the scratch folder is writable");
    }
}

/// Waits until attempts are signed by the new time.
async fn signs_at(world: &World, offset_seconds: i64) {
    let of_unix = |at: i64| {
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
        (at - now.as_secs() as i64 - offset_seconds).abs() < HOUR_SECONDS / 2
    };
    wait::until("an attempt by the new time", SOON, || {
        let arrivals = world.receiver.arrivals();
        let last = arrivals.last().and_then(|it| it.header("webhook-timestamp")?.parse().ok());
        last.is_some_and(of_unix)
    })
    .await;
}

fn library() -> PathBuf {
    let folders = fs::read_dir(scratch::root().join(LIBRARY)).into_iter().flatten().flatten();
    let files = folders.map(|folder| folder.path().join("faketime").join(NAME));
    let found = files.into_iter().find(|file| file.is_file());
    found.expect("`.ci/setup chaos` has fetched libfaketime")
}
