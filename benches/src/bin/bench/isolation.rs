//! What a healthy destination notices of neighbours that fail: `make bench-isolation`.
//!
//! The healthy one gets half of what it bears at most. Its neighbours' nine tenths of the traffic lie in
//! the log before it begins: their lanes are full all the time, and writing them loads no machine that is
//! being measured. With and without them by turns, each time another process; the medians count.

use std::{net::SocketAddr, slice, time::Duration};

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    cell::{Came, Paced},
    measure::{self, Backlog, Run, median, peak_mib, percentile_ms},
    third_party::{Conduct, ThirdParty},
    traffic::Traffic,
    world::{Destination, PARTITIONS, Site, World},
};

const PAIRS: usize = 3;
const SECONDS: f64 = 6.0;
/// Long enough for the neighbours' lanes to fill.
const WARM: f64 = 3.0;
/// How many destinations there are beside the healthy one, each with one partition.
const OTHERS: u64 = 200;
/// What the healthy one is: its answers' time and its limit, the catalog's default, make its maximum.
const ANSWER: Duration = Duration::from_millis(10);
const CONCURRENCY: u64 = 64;
const KEYS: u64 = 1_000;
const BODY: usize = 1024;
/// How many deliveries the neighbours have for each of the healthy one: 90 % of all.
const TIMES: u64 = 9;
const MOST: Backlog = Backlog { events: 25_000, within: Duration::from_secs(20) };
/// A healthy p99 may grow by the larger of the two, and its rate shrink to this part.
const P99_TIMES: f64 = 1.1;
const P99_PLUS_MS: f64 = 2.0;
const RATE_TIMES: f64 = 0.95;
/// One run's numbers are as far from the next one's.
const RUN: u64 = 1 << 32;

/// What the neighbours do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fails {
    /// Refuse the connection.
    Refuse,
    /// Answer 500.
    #[value(name = "500")]
    Status500,
    /// Answer 429.
    #[value(name = "429")]
    Status429,
    /// Never answer.
    Hang,
    /// Take 10 s to answer.
    Slow,
    /// Answer, and drip a body.
    Drip,
    /// Answer, and send a body without end.
    Endless,
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Of isolation")]
pub(crate) struct Options {
    /// What the neighbours do; all of it where not said.
    #[arg(long, value_delimiter = ',')]
    fails: Vec<Fails>,
    /// How many of the 200 neighbours fail.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 199])]
    failing: Vec<u64>,
}

/// One run of the healthy destination.
#[derive(Debug, Clone, Copy, Serialize)]
struct Healthy {
    p50_ms: f64,
    p99_ms: f64,
    per_second: f64,
    rss_mib: f64,
}

/// What a failure of so many does to the healthy one.
#[derive(Debug, Serialize)]
struct Row {
    fails: String,
    failing: u64,
    offered_per_second: f64,
    alone: Healthy,
    beside: Healthy,
    is_within: bool,
}

/// A Millrace with the healthy destination and all others.
struct House<'w> {
    site: Site<'w>,
    healthy: Traffic,
    /// Those who fail.
    others: Traffic,
    runs: u64,
    /// Deliveries written for those who fail.
    written: u64,
}

pub(crate) async fn run(
    world: &World,
    pairs: Option<usize>,
    seconds: Option<f64>,
    options: &Options,
) {
    let party = ThirdParty::start(Conduct::After(ANSWER));
    let mut alone = House::new(world, &party, "alone", 1).await;
    let most = alone.most(&party).await;
    let paced = Paced { per_second: most / 2.0, warm: WARM, seconds: seconds.unwrap_or(SECONDS) };
    println!("the healthy one's maximum {most:.0}/s, offered {:.0}/s", paced.per_second);
    println!("{HEAD}");
    for failing in &options.failing {
        let mut beside = House::new(world, &party, &format!("beside-{failing}"), *failing).await;
        for fails in options.fails() {
            let mut runs = Vec::new();
            for _ in 0..pairs.unwrap_or(PAIRS).max(1) {
                let without = alone.run(&party, paced).await;
                runs.push((without, beside.run_beside(&party, paced, fails).await));
            }
            let row = Row::of(fails, *failing, paced.per_second, &runs);
            println!("{}", row.line());
            measure::write(&format!("isolation-{}-{failing}", row.fails), &row);
        }
    }
}

impl Options {
    fn fails(&self) -> Vec<Fails> {
        if self.fails.is_empty() { Fails::value_variants().to_vec() } else { self.fails.clone() }
    }
}

impl Fails {
    /// `None`: nobody listens.
    fn conduct(self) -> Option<Conduct> {
        match self {
            Self::Refuse => None,
            Self::Status500 => Some(Conduct::Status(500)),
            Self::Status429 => Some(Conduct::Status(429)),
            Self::Hang => Some(Conduct::Hang),
            Self::Slow => Some(Conduct::After(Duration::from_secs(10))),
            Self::Drip => Some(Conduct::Drip),
            Self::Endless => Some(Conduct::Endless),
        }
    }

    fn name(self) -> String {
        self.to_possible_value().unwrap().get_name().to_owned()
    }
}

impl<'w> House<'w> {
    /// Those who fail are the first of the others.
    async fn new(world: &'w World, party: &ThirdParty, name: &str, failing: u64) -> House<'w> {
        // What the catalog says where an operator says nothing.
        let of = |name: String, to: SocketAddr, partitions: i32| Destination {
            name,
            url: format!("http://{to}/"),
            concurrency: CONCURRENCY,
            concurrency_min: 1,
            partitions,
        };
        let healthy = of("healthy".to_owned(), party.address(), PARTITIONS);
        let others: Vec<Destination> =
            (0..OTHERS).map(|n| of(format!("other-{n}"), world.spare(), 1)).collect();
        let all = [slice::from_ref(&healthy), &others[..]].concat();
        let site = world.site_of(name, &all).await;
        let failing = &others[..failing.clamp(1, OTHERS) as usize];
        Self {
            healthy: Traffic::of(&site, &[healthy], KEYS, BODY).await,
            others: Traffic::of(&site, failing, KEYS, BODY).await,
            site,
            runs: 0,
            written: 0,
        }
    }

    /// The healthy one's largest rate, with nothing beside it.
    async fn most(&self, party: &ThirdParty) -> f64 {
        self.healthy.fill(self.site.world, 0..MOST.events).await;
        let before = party.taken();
        let process = self.site.spawn("deliver");
        let done = async || party.taken() - before;
        Run::of_part(process, MOST, Duration::ZERO, done).await.per_second()
    }

    async fn run(&mut self, party: &ThirdParty, paced: Paced) -> Healthy {
        self.runs += 1;
        let service = self.site.service("deliver").await;
        let came = paced.run(self.site.world, &self.healthy, party, self.runs * RUN).await;
        Healthy::of(came, peak_mib(&service))
    }

    /// The same while the others fail. What they took in the end is written anew for the next time.
    async fn run_beside(&mut self, party: &ThirdParty, paced: Paced, fails: Fails) -> Healthy {
        let all = (paced.per_second * (paced.warm + paced.seconds)) as u64 * TIMES;
        let missing = all.saturating_sub(self.written);
        let from = self.runs * RUN;
        self.others.fill(self.site.world, from..from + missing).await;
        let failing =
            fails.conduct().map(|conduct| ThirdParty::at(self.site.world.spare(), conduct));
        let healthy = self.run(party, paced).await;
        self.written = all - failing.map_or(0, |failing| failing.begun()).min(all);
        healthy
    }
}

impl Healthy {
    fn of(came: Came, rss_mib: f64) -> Self {
        let Came { mut times, per_second } = came;
        let mut at = |share| percentile_ms(&mut times, share).unwrap_or(f64::NAN);
        Self { p50_ms: at(0.5), p99_ms: at(0.99), per_second, rss_mib }
    }

    fn median(runs: &[Healthy]) -> Self {
        let of = |f: fn(&Healthy) -> f64| median(runs.iter().map(f).collect());
        Self {
            p50_ms: of(|run| run.p50_ms),
            p99_ms: of(|run| run.p99_ms),
            per_second: of(|run| run.per_second),
            rss_mib: of(|run| run.rss_mib),
        }
    }
}

const HEAD: &str = "\
failing  they     |   alone /s  p50 ms  p99 ms |  beside /s  p50 ms  p99 ms    MiB | p99 within 10 % or 2 ms, rate within 5 %";

impl Row {
    fn of(fails: Fails, failing: u64, offered: f64, runs: &[(Healthy, Healthy)]) -> Self {
        let (alone, beside): (Vec<_>, Vec<_>) = runs.iter().copied().unzip();
        let (alone, beside) = (Healthy::median(&alone), Healthy::median(&beside));
        let p99_ms = (alone.p99_ms * P99_TIMES).max(alone.p99_ms + P99_PLUS_MS);
        let is_within =
            beside.p99_ms <= p99_ms && beside.per_second >= alone.per_second * RATE_TIMES;
        let fails = fails.name();
        Self { fails, failing, offered_per_second: offered, alone, beside, is_within }
    }

    fn line(&self) -> String {
        let Self { fails, failing, alone, beside, is_within, .. } = self;
        let of = |run: &Healthy| {
            format!("{:>10.0} {:>7.1} {:>7.1}", run.per_second, run.p50_ms, run.p99_ms)
        };
        let judged = if *is_within { "met" } else { "MISSED" };
        let rss_mib = beside.rss_mib;
        format!(
            "{failing:>7}  {fails:<8} | {} | {} {rss_mib:>6.0} | {judged}",
            of(alone),
            of(beside)
        )
    }
}
