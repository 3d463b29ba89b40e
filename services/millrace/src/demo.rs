//! `millrace demo`: shows the main job in one process, and judges it.
//!
//! It sends real signed events, tells what becomes of each, lets one destination fail until its
//! events are dead letters, heals it and replays them. What counts is what the receiver saw: a
//! delivery that is missing or doubled there fails the demo.

mod examples;
mod ledger;
mod replay;
mod samples;
mod tally;
mod timeline;

use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use chassis::frame::Work;
use time::OffsetDateTime;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    compose::World,
    failure::{Failure, USAGE},
    house::House,
    output::say,
    receiver::{Fault, Receiver},
    sender::{Event, Sender},
    service, settings, shared,
    told::{self, Told},
};

use ledger::Ledger;
use replay::DeadLetters;
use samples::Sample;
use timeline::Timeline;

/// Three of each kind of event.
const EVENTS: usize = 24;
/// Events for the destination that fails.
const FAILING_EVENTS: usize = 4;
const FAILING: &str = "crm";
/// How long after an event the next is sent, so that each can be followed.
const BETWEEN: Duration = Duration::from_millis(40);
const READY_WITHIN: Duration = Duration::from_secs(15);
const SETTLED_WITHIN: Duration = Duration::from_secs(15);
/// How long a doubled delivery may take to show after all is delivered.
const QUIET: Duration = Duration::from_millis(300);

pub(crate) async fn run(file: Option<&Path>) -> Result<ExitCode, Failure> {
    let fault = std::env::var("FAULT").ok();
    let fault = Fault::parse(fault.as_deref())
        .map_err(|why| Failure::new("read the variable FAULT", why, "").code(USAGE))?;
    let receiver = Receiver::new(fault, false);
    let listener = Receiver::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let third_party = listener.local_addr().map_err(|e| failed(&e))?;
    let folder = examples::write(third_party).map_err(|e| failed(&e))?;
    let mut config = settings::load(file)?.config;
    examples::adjust(&mut config, folder.path()).map_err(|e| failed(&e))?;
    service::start_log(&config.log, "millrace")?;
    let catalog = shared::catalog(folder.path())?;
    let (ear, told) = mpsc::channel(told::WAITING_MAX);
    let house = House::build(config, catalog, true, Some(ear)).await?;
    let stop = house.stop();
    let serving = receiver.clone().serve(listener, stop.clone());
    let third_party = Work {
        service: "receiver",
        run: Box::pin(async {
            serving.await;
            Ok(())
        }),
    };
    let demo = Demo::new(&house, receiver, told);
    let (judge, judged) = oneshot::channel();
    let showing = Work {
        service: "demo",
        run: Box::pin(async move {
            let _nobody_left = judge.send(demo.show().await);
            stop.cancel();
            Ok(())
        }),
    };
    service::ended(house.run(vec![third_party, showing]).await)?;
    let interrupted = |_| Failure::new("finish the demo", "it was interrupted", "");
    judged.await.map_err(interrupted)??;
    Ok(ExitCode::SUCCESS)
}

struct Demo {
    world: World,
    ready: chassis::Readiness,
    receiver: Receiver,
    sender: Sender,
    told: mpsc::Receiver<Told>,
    timeline: Timeline,
    ledger: Ledger,
}

impl Demo {
    fn new(house: &House, receiver: Receiver, told: mpsc::Receiver<Told>) -> Self {
        Self {
            world: house.world().clone(),
            ready: house.ready.clone(),
            receiver,
            sender: Sender::new(house.config.ingest.listen),
            told,
            timeline: Timeline::new(),
            ledger: Ledger::default(),
        }
    }

    async fn show(mut self) -> Result<(), Failure> {
        self.until_ready().await?;
        self.timeline.begin(EVENTS);
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let seed = now.unsigned_abs();
        self.timeline
            .part("Events as GitHub, Stripe and a shop send them, each signed as its sender signs");
        self.send(&samples::samples(EVENTS, seed, now)).await?;
        self.until("every event is settled", Ledger::is_settled).await?;
        self.timeline.latencies();
        self.timeline.part(&format!("{FAILING} fails: it answers every request with 503"));
        self.receiver.fail(FAILING, true);
        self.send(&samples::orders(FAILING_EVENTS, seed.wrapping_add(1))).await?;
        self.until("what can't be delivered is a dead letter", Ledger::is_settled).await?;
        let dead_letters = DeadLetters::of(FAILING, &self.world);
        let letters = dead_letters.list().await?;
        self.timeline.dead_letters(self.receiver.refused(), &letters);
        self.timeline.part(&format!("{FAILING} is healed, and its dead letters are replayed"));
        self.receiver.fail(FAILING, false);
        self.ledger.replayed = self.hearing(dead_letters.replay()).await?;
        self.until("what was replayed is delivered", Ledger::is_healed).await?;
        self.timeline.replayed(self.ledger.replayed, FAILING);
        self.until_quiet().await;
        if let Some(letter) = letters.first() {
            dead_letters.tell_story(&letter.event_id).await?;
        }
        self.judge()
    }

    async fn until_ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.ready.is_ready() {
            if Instant::now() > deadline {
                let unmet = self.ready.unmet().into_iter();
                let unmet: Vec<String> =
                    unmet.map(|u| format!("{} {}: {}", u.service, u.condition, u.reason)).collect();
                return Err(Failure::new("get the services ready", unmet.join("\n"), ""));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn send(&mut self, samples: &[Sample]) -> Result<(), Failure> {
        let catalog = self.world.catalogs.current();
        for sample in samples {
            let Some(source) = catalog.sources.get(sample.source) else {
                return Err(not_accepted(sample, "the catalog has no such source"));
            };
            let body = sample.body.to_string();
            let event = Event { id: &sample.id, kind: sample.event, body: body.as_bytes() };
            let now = OffsetDateTime::now_utc().unix_timestamp();
            self.timeline.sent(sample);
            let sender = self.sender.clone();
            let answer = self.hearing(sender.send(source, event, now)).await;
            let answer = answer.map_err(|why| not_accepted(sample, &why))?;
            if !answer.status.is_success() {
                let why = format!("ingest answered {}: {}", answer.status, answer.body);
                return Err(not_accepted(sample, &why));
            }
            self.timeline.accepted(sample);
            self.ledger.accept(sample, &catalog);
            self.hearing(tokio::time::sleep(BETWEEN)).await;
        }
        Ok(())
    }

    /// Waits for something while what is told is heard, so that the timeline keeps its order.
    async fn hearing<T>(&mut self, waited_for: impl Future<Output = T>) -> T {
        tokio::pin!(waited_for);
        loop {
            tokio::select! {
                biased;
                Some(told) = self.told.recv() => self.hear(&told),
                done = &mut waited_for => return done,
            }
        }
    }

    fn hear(&mut self, told: &Told) {
        self.timeline.told(told);
        self.ledger.hear(told);
    }

    async fn until(&mut self, what: &str, enough: impl Fn(&Ledger) -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        while !enough(&self.ledger) {
            match timeout_at(deadline, self.told.recv()).await {
                Ok(Some(told)) => self.hear(&told),
                Ok(None) | Err(_) => {
                    let what = format!("wait until {what}");
                    let why =
                        format!("not within {SETTLED_WITHIN:?}\n{}", self.ledger.open().join("\n"));
                    return Err(Failure::new(
                        what,
                        why,
                        "look at the log: MILLRACE_LOG__LEVEL=debug",
                    ));
                }
            }
        }
        Ok(())
    }

    async fn until_quiet(&mut self) {
        while let Ok(Some(told)) = timeout_at(Instant::now() + QUIET, self.told.recv()).await {
            self.hear(&told);
        }
    }

    /// Counts what the receiver saw; anything but the expected is a failure with its reason.
    fn judge(&self) -> Result<(), Failure> {
        let taken = self.receiver.taken().into_iter();
        let observed = self.ledger.observe(taken.map(|taken| (taken.destination, taken.key)));
        let tally = observed.tally();
        let mut reasons = observed.surprises.clone();
        reasons.extend(tally.lost.iter().map(|(id, to)| format!("{id} never arrived at {to}")));
        reasons.extend(tally.doubled.iter().map(|(id, to)| format!("{id} arrived twice at {to}")));
        if tally.dead_lettered != FAILING_EVENTS || tally.replayed != tally.dead_lettered {
            reasons.push(format!(
                "{FAILING_EVENTS} dead letters were expected, {} came and {} were replayed",
                tally.dead_lettered, tally.replayed
            ));
        }
        say!("\n{tally}");
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Failure::new("show a clean run", reasons.join("\n"), ""))
    }
}

fn not_accepted(sample: &Sample, why: &str) -> Failure {
    Failure::new(format!("send {} {} to ingest", sample.source, sample.id), why, "")
}

fn failed(why: &dyn std::fmt::Display) -> Failure {
    Failure::new("prepare the demo", why, "make room in the system's folder for temporary files")
}
