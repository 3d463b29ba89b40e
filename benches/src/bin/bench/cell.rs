//! One cell of deliver's grid: the service, its floor and the plain loop on the same backlog, and what the
//! service adds to a delivery's way at half its rate.

use std::{
    collections::HashMap,
    fmt,
    ops::Range,
    time::{Duration, Instant},
};

use serde::Serialize;
use testkit::{Spawned, wait};

use crate::{
    deliver::Floor,
    measure::{Backlog, Run, median, percentile_ms, start_of},
    third_party::{Conduct, ThirdParty},
    traffic::Traffic,
    watch::Watch,
    world::{Destination, PARTITIONS, Site, World, Worlds},
};

/// Requests in flight that every cell allows, and that deliver may have however slow the answers are.
pub(crate) const IN_FLIGHT_MIN: u64 = 256;
/// The most that a cell allows by itself.
const IN_FLIGHT_MAX: u64 = 1_000;
/// What a process is thought to manage, for the length of a run alone: a second, and below a big body.
const PER_SECOND: f64 = 30_000.0;
const PER_SECOND_BIG: f64 = 15_000.0;
const BIG: usize = 4_000;
/// What an answer takes at least.
const ROUND_TRIP: f64 = 0.000_4;
/// How long the plain loop is looked at.
const LOOP: Duration = Duration::from_secs(4);
const WARM: f64 = 2.0;
const ARRIVED: Duration = Duration::from_secs(30);
/// Above the numbers of every backlog.
const LATER: u64 = 1 << 40;

/// What a cell's destinations are, and what comes for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    pub(crate) answer_ms: u64,
    pub(crate) keys: u64,
    pub(crate) destinations: u64,
    pub(crate) body_bytes: usize,
    /// How many requests at a time, over all destinations, at most.
    pub(crate) in_flight: u64,
    /// Whether the added latency is measured too.
    #[serde(skip)]
    pub(crate) latency: bool,
}

/// What a cell came to: medians over the pairs.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) events: u64,
    pub(crate) per_second: f64,
    pub(crate) busy: f64,
    pub(crate) cpu_us: f64,
    pub(crate) rss_mib: f64,
    pub(crate) floor_per_second: f64,
    pub(crate) floor_cpu_us: f64,
    pub(crate) ratio: f64,
    pub(crate) loop_per_second: f64,
    pub(crate) loop_cpu_us: f64,
    pub(crate) latency: Option<Latency>,
}

/// From handing a record to the producer until its request came, the answer's time not in it.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) at_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
}

/// What processes take to start, by how many destinations there are.
#[derive(Debug, Default)]
pub(crate) struct Starts(HashMap<u64, Start>);

#[derive(Debug, Clone, Copy)]
struct Start {
    service: Duration,
    floor: Duration,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answer_ms, keys, destinations, body_bytes, .. } = self;
        write!(f, "{answer_ms}ms-{keys}keys-{destinations}to-{body_bytes}b")
    }
}

impl Cell {
    /// As many in flight as there are keys, within what is of use.
    pub(crate) fn new(answer_ms: u64, keys: u64, destinations: u64, body_bytes: usize) -> Self {
        let in_flight = keys.clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX);
        Self { answer_ms, keys, destinations, body_bytes, in_flight, latency: false }
    }

    /// How many can be in flight: one of each key.
    fn possible(&self) -> u64 {
        self.in_flight.min(self.keys)
    }

    fn listed(&self, party: &ThirdParty) -> Vec<Destination> {
        let each = |all: u64| all.div_ceil(self.destinations);
        let of = |number| Destination {
            name: format!("d{number}"),
            url: format!("http://{}/", party.address()),
            concurrency: each(self.in_flight),
            concurrency_min: each(self.in_flight.min(IN_FLIGHT_MIN)),
            partitions: PARTITIONS,
        };
        (0..self.destinations).map(of).collect()
    }

    /// How many deliveries take about so long.
    fn events(&self, seconds: f64) -> u64 {
        let most = if self.body_bytes < BIG { PER_SECOND } else { PER_SECOND_BIG };
        let turn = self.answer_ms as f64 / 1e3 + ROUND_TRIP;
        (most.min(self.possible() as f64 / turn) * seconds) as u64
    }

    fn floor(&self, site: &Site<'_>, party: &ThirdParty) -> Floor {
        let topics = (0..self.destinations).map(|n| site.names.out(&format!("d{n}"))).collect();
        let in_flight = Some(self.possible());
        Floor { topics, group: "floor", to: party.address(), in_flight }
    }

    /// Measures it, each pair on topics that nobody has used before.
    pub(crate) async fn measured(
        self,
        worlds: &mut Worlds,
        pairs: usize,
        seconds: f64,
        starts: &mut Starts,
    ) -> Figures {
        let party = ThirdParty::start(Conduct::After(Duration::from_millis(self.answer_ms)));
        let destinations = self.listed(&party);
        let mut runs = Vec::new();
        loop {
            let pair = runs.len() + 1;
            let world = worlds.with_room(self.destinations).await;
            let site = world.site_of(&format!("{self}-{pair}"), &destinations).await;
            let traffic = Traffic::of(&site, &destinations, self.keys, self.body_bytes).await;
            let start = starts.of(&self, &site, &party).await;
            runs.push(self.pair(&site, &traffic, &party, (seconds, start)).await);
            if pair < pairs {
                continue;
            }
            let plain = self.plain(&site, &party, (seconds, start)).await;
            let mut figures = Figures::of(self, &runs, plain);
            if self.latency {
                let rate = figures.per_second / 2.0;
                figures.latency = Some(latency(&site, &traffic, &party, (rate, seconds)).await);
            }
            return figures;
        }
    }

    /// The plain loop, on a backlog that is there.
    async fn plain(
        &self,
        site: &Site<'_>,
        party: &ThirdParty,
        (seconds, start): (f64, Start),
    ) -> Run {
        let plain = Floor { group: "loop", in_flight: None, ..self.floor(site, party) };
        let backlog = Backlog { events: self.events(seconds), within: LOOP };
        drained(party, plain.spawn(site), backlog, start.floor).await
    }

    async fn pair(
        &self,
        site: &Site<'_>,
        traffic: &Traffic,
        party: &ThirdParty,
        (seconds, start): (f64, Start),
    ) -> (Run, Run) {
        let backlog = Backlog { events: self.events(seconds), within: Duration::MAX };
        traffic.fill(site.world, 0..backlog.events).await;
        let service = drained(party, site.spawn("deliver"), backlog, start.service).await;
        let floor = self.floor(site, party).spawn(site);
        (service, drained(party, floor, backlog, start.floor).await)
    }
}

impl Starts {
    /// Measures it on a site whose topics are empty, once.
    async fn of(&mut self, cell: &Cell, site: &Site<'_>, party: &ThirdParty) -> Start {
        if let Some(start) = self.0.get(&cell.destinations) {
            return *start;
        }
        let service = start_of(site.service("deliver").await).await;
        let floor = Floor { group: "start", ..cell.floor(site, party) };
        let start = Start { service, floor: start_of(floor.spawn(site)).await };
        self.0.insert(cell.destinations, start);
        start
    }
}

async fn drained(party: &ThirdParty, process: Spawned, backlog: Backlog, start: Duration) -> Run {
    let before = party.taken();
    Run::of_part(process, backlog, start, async || party.taken() - before).await
}

impl Figures {
    fn of(cell: Cell, runs: &[(Run, Run)], plain: Run) -> Self {
        let service = |f: fn(&Run) -> f64| median(runs.iter().map(|(s, _)| f(s)).collect());
        let floor = |f: fn(&Run) -> f64| median(runs.iter().map(|(_, s)| f(s)).collect());
        let cpu_us = service(|run| run.cpu_us_per_event);
        let floor_cpu_us = floor(|run| run.cpu_us_per_event);
        Self {
            cell,
            events: runs.iter().map(|(service, _)| service.events).sum(),
            per_second: service(Run::per_second),
            busy: service(|run| run.busy.unwrap_or(f64::NAN)),
            cpu_us,
            rss_mib: runs.iter().map(|(service, _)| service.rss_mib).fold(0.0, f64::max),
            floor_per_second: floor(Run::per_second),
            floor_cpu_us,
            ratio: cpu_us / floor_cpu_us,
            loop_per_second: plain.per_second(),
            loop_cpu_us: plain.cpu_us_per_event,
            latency: None,
        }
    }
}

async fn latency(
    site: &Site<'_>,
    traffic: &Traffic,
    party: &ThirdParty,
    (per_second, seconds): (f64, f64),
) -> Latency {
    let _service = site.service("deliver").await;
    let paced = Paced { per_second, warm: WARM, seconds };
    Latency::of(paced.run(site.world, traffic, party, LATER).await.times, per_second)
}

impl Latency {
    pub(crate) fn of(mut times: Vec<Duration>, at_per_second: f64) -> Self {
        let mut at = |share| percentile_ms(&mut times, share).unwrap_or(f64::NAN);
        Self { at_per_second, p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999) }
    }
}

/// Deliveries at a rate that does not follow the service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paced {
    pub(crate) per_second: f64,
    /// Seconds before those that count.
    pub(crate) warm: f64,
    pub(crate) seconds: f64,
}

/// What came of them.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) times: Vec<Duration>,
    pub(crate) per_second: f64,
}

impl Paced {
    /// Makes them, numbered from `first`, for a service that runs.
    pub(crate) async fn run(
        self,
        world: &World,
        traffic: &Traffic,
        party: &ThirdParty,
        first: u64,
    ) -> Came {
        let of = |seconds: f64| (self.per_second * seconds) as u64;
        let measured: Range<u64> = first + of(self.warm)..first + of(self.warm + self.seconds);
        let watch = Watch::new(&(first..measured.end));
        party.watched_by(&watch);
        let producer = world.prompt();
        traffic.at_rate(&producer, first..measured.start, self.per_second, &watch).await;
        let (before, begun) = (watch.count(), Instant::now());
        traffic.at_rate(&producer, measured.clone(), self.per_second, &watch).await;
        let came = (watch.count() - before) as f64;
        let per_second = came / begun.elapsed().as_secs_f64();
        let all = measured.end - first;
        // What does not come counts with the time until now.
        let looking = || std::future::ready((watch.count() == all).then_some(()));
        let _missing = wait::within(ARRIVED, looking).await;
        Came { times: watch.times(measured), per_second }
    }
}
