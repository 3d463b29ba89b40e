//! How much memory deliver takes with a large backlog: of one destination, and of 200 of which half hang.

use std::time::Duration;

use serde::Serialize;
use testkit::wait;

use crate::{
    measure::{self, peak_mib},
    third_party::{Conduct, ThirdParty},
    traffic::Traffic,
    world::{Destination, PARTITIONS, World},
};

const SECONDS: f64 = 30.0;
const GIB: u64 = 1 << 30;
const KEYS: u64 = 10_000;
/// What the catalog says where an operator says nothing.
const CONCURRENCY: u64 = 64;

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Of memory")]
pub(crate) struct Options {
    /// Bytes of a body of the backlog.
    #[arg(long, default_value_t = 1024)]
    backlog_body: usize,
    /// Bytes of the whole backlog.
    #[arg(long, default_value_t = GIB)]
    backlog: u64,
}

/// One case, and what it may take.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    destinations: u64,
    /// The first so many hang.
    hang: u64,
    mib_max: f64,
}

const CASES: [Case; 3] = [
    Case { name: "one", destinations: 1, hang: 0, mib_max: 256.0 },
    Case { name: "one-hangs", destinations: 1, hang: 1, mib_max: 256.0 },
    Case { name: "half-of-200-hang", destinations: 200, hang: 100, mib_max: 512.0 },
];

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    records: u64,
    backlog_bytes: u64,
    delivered: u64,
    peak_mib: f64,
    mib_max: f64,
    is_met: bool,
}

pub(crate) async fn run(world: &World, seconds: Option<f64>, options: &Options) {
    for case in CASES {
        let row = case.measured(world, seconds.unwrap_or(SECONDS), options).await;
        let judged = if row.is_met { "met" } else { "MISSED" };
        println!(
            "memory {:<18} {:>8} records of {:>5} bytes, {:>8} delivered: peak {:>5.0} MiB, aim {:.0} MiB: {judged}",
            row.name,
            row.records,
            row.backlog_bytes / row.records,
            row.delivered,
            row.peak_mib,
            row.mib_max,
        );
        measure::write(&format!("memory-{}", row.name), &row);
    }
}

impl Case {
    async fn measured(self, world: &World, seconds: f64, options: &Options) -> Row {
        let taking = ThirdParty::start(Conduct::After(Duration::ZERO));
        let hanging = ThirdParty::start(Conduct::Hang);
        let of = |n: u64| {
            let party = if n < self.hang { &hanging } else { &taking };
            let (name, url) = (format!("d{n}"), format!("http://{}/", party.address()));
            let (concurrency, concurrency_min, partitions) = (CONCURRENCY, 1, PARTITIONS);
            Destination { name, url, concurrency, concurrency_min, partitions }
        };
        let destinations: Vec<Destination> = (0..self.destinations).map(of).collect();
        let site = world.site_of(&format!("memory-{}", self.name), &destinations).await;
        let traffic = Traffic::of(&site, &destinations, KEYS, options.backlog_body).await;
        let bytes = traffic.record(0).value.unwrap().len() as u64;
        let records = options.backlog / bytes;
        traffic.fill(world, 0..records).await;
        let service = site.spawn("deliver");
        // Those that take theirs may be done before the time is over; the others never are.
        let all = records / self.destinations * (self.destinations - self.hang);
        let is_done = || (all > 0 && taking.taken() >= all).then_some(());
        let limit = Duration::from_secs_f64(seconds);
        let _not_done = wait::within(limit, || std::future::ready(is_done())).await;
        let peak_mib = peak_mib(&service);
        Row {
            name: self.name.to_owned(),
            records,
            backlog_bytes: records * bytes,
            delivered: taking.taken(),
            peak_mib,
            mib_max: self.mib_max,
            is_met: peak_mib <= self.mib_max,
        }
    }
}
