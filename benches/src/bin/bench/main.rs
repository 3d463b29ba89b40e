//! Each service beside its floor, and all of them together: `make bench`. Deliver by what its
//! destinations are, and what they notice of each other: `make bench-deliver`, `make bench-isolation`.
//!
//! Service and floor run alternately, in pairs, on the same broker with the same records, partitions
//! and connections. What counts is processor time per event, read from the system for the process
//! alone; events per second on a machine that also runs the broker and the load say less.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod cell;
mod deliver;
mod grid;
mod idle;
mod ingest;
mod isolation;
mod measure;
mod memory;
mod pipeline;
mod records;
mod third_party;
mod traffic;
mod transform;
mod watch;
mod world;

use clap::{Parser, ValueEnum};

use world::World;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Ingest,
    Transform,
    Deliver,
    Pipeline,
    Idle,
    /// Deliver, by answers, keys, destinations and bodies.
    Grid,
    /// A healthy destination beside others that fail.
    Isolation,
    /// Deliver's memory with a large backlog.
    Memory,
}

#[derive(Debug, Parser)]
struct Arguments {
    /// The first five where none is named.
    what: Vec<What>,
    /// Pairs of service and floor, or of a healthy destination with and without others; the medians
    /// count. Where not said 5, 1 of the grid and 3 of isolation.
    #[arg(long)]
    pairs: Option<usize>,
    /// How long a run of the grid (6), of isolation (6) or of memory (30) takes about.
    #[arg(long)]
    seconds: Option<f64>,
    /// Events of one run.
    #[arg(long, default_value_t = 30_000)]
    events: u64,
    /// Brokers, 1 or 3: three for ingest and one for the rest where not said.
    #[arg(long)]
    brokers: Option<u16>,
    #[command(flatten)]
    grid: grid::Options,
    #[command(flatten)]
    isolation: isolation::Options,
    #[command(flatten)]
    memory: memory::Options,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let usual = [What::Ingest, What::Transform, What::Deliver, What::Pipeline, What::Idle];
    let chosen = if arguments.what.is_empty() { usual.to_vec() } else { arguments.what.clone() };
    // Those that stand on the same brokers follow each other there.
    let mut brokers = 0;
    let mut world = None;
    for what in chosen {
        let wanted = arguments.brokers.unwrap_or(if what == What::Ingest { 3 } else { 1 });
        if wanted != brokers || what.is_large() {
            drop(world.take());
            brokers = if what.is_large() { 0 } else { wanted };
        }
        if what == What::Grid {
            let pairs = arguments.pairs.unwrap_or(1);
            grid::run(wanted, pairs, arguments.seconds, &arguments.grid).await;
            continue;
        }
        if world.is_none() {
            world = Some(World::start(wanted).await);
        }
        if let Some(world) = &world {
            arguments.measure(what, world).await;
        }
    }
}

impl What {
    /// Whether it makes so many topics that it gets brokers of its own.
    fn is_large(self) -> bool {
        matches!(self, Self::Grid | Self::Isolation | Self::Memory)
    }
}

impl Arguments {
    async fn measure(&self, what: What, world: &World) {
        let (pairs, events, seconds) = (self.pairs.unwrap_or(5), self.events, self.seconds);
        match what {
            What::Ingest => ingest::run(world, pairs, events).await,
            What::Transform => transform::run(world, pairs, events).await,
            What::Deliver => deliver::run(world, pairs, events).await,
            What::Pipeline => pipeline::run(world).await,
            What::Idle => idle::run(world).await,
            // It has its own worlds.
            What::Grid => {}
            What::Isolation => {
                isolation::run(world, self.pairs, seconds, &self.isolation).await;
            }
            What::Memory => memory::run(world, seconds, &self.memory).await,
        }
    }
}
