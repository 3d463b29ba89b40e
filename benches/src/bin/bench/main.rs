//! Each service beside its floor, and all of them together: `make bench`.
//!
//! Service and floor run alternately, in pairs, on the same broker with the same records, partitions
//! and connections. What counts is processor time per event, read from the system for the process
//! alone; events per second on a machine that also runs the broker and the load say less.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod deliver;
mod idle;
mod ingest;
mod measure;
mod pipeline;
mod records;
mod transform;
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
}

#[derive(Debug, Parser)]
struct Arguments {
    /// All of them where none is named.
    what: Vec<What>,
    /// Pairs of service and floor; the medians count.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Events of one run.
    #[arg(long, default_value_t = 30_000)]
    events: u64,
    /// Brokers, 1 or 3: three for ingest and one for the rest where not said.
    #[arg(long)]
    brokers: Option<u16>,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let all = [What::Ingest, What::Transform, What::Deliver, What::Pipeline, What::Idle];
    let chosen = if arguments.what.is_empty() { all.to_vec() } else { arguments.what };
    let (pairs, events) = (arguments.pairs, arguments.events);
    let (ingest, rest): (Vec<What>, Vec<What>) =
        chosen.iter().partition(|what| matches!(what, What::Ingest));
    if !ingest.is_empty() {
        let world = World::start(arguments.brokers.unwrap_or(3)).await;
        ingest::run(&world, pairs, events).await;
    }
    if rest.is_empty() {
        return;
    }
    let world = World::start(arguments.brokers.unwrap_or(1)).await;
    for what in rest {
        match what {
            What::Ingest => {}
            What::Transform => transform::run(&world, pairs, events).await,
            What::Deliver => deliver::run(&world, pairs, events).await,
            What::Pipeline => pipeline::run(&world).await,
            What::Idle => idle::run(&world).await,
        }
    }
}
