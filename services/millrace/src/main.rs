//! The one executable: each service, all of them in one process, and the operator's commands.
//!
//! It reads the command line and the configuration, builds what services share, and prints; what a
//! service or a command decides is in its own crate or file.

mod bar;
mod check;
mod cli;
mod compose;
mod curl;
mod demo;
mod destination;
mod dev;
mod dlq;
mod embedded;
mod event;
mod failure;
mod house;
mod leftovers;
mod output;
mod receiver;
mod schema;
mod sender;
mod service;
mod settings;
mod shared;
mod show_config;
mod signature;
mod specs;
mod told;
mod topics;
mod when;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    compose::Service,
    failure::Failure,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long threads that hang in a client may hold the exit.
const THREADS_WITHIN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let why = error.to_string();
            return Failure::new("start the event loop", why, "raise the limit of threads")
                .report();
        }
    };
    let done = runtime.block_on(run(cli));
    runtime.shutdown_timeout(THREADS_WITHIN);
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Ingest => service::one(file, Service::Ingest).await,
        Command::Transform => service::one(file, Service::Transform).await,
        Command::Deliver => service::one(file, Service::Deliver).await,
        Command::DlqReplayer => service::one(file, Service::DlqReplayer).await,
        Command::Dev(options) => dev::run(file, options).await,
        Command::Demo => demo::run(file).await,
        Command::Check(options) => check::run(&options),
        Command::Schema(options) => schema::run(&options),
        Command::Topics(options) => topics::run(file, options).await,
        Command::Destination(options) => destination::run(file, options).await,
        Command::Dlq(options) => dlq::run(file, options).await,
        Command::Event(options) => event::run(file, options).await,
        Command::Signature(options) => signature::run(options),
        Command::Receiver(options) => receiver::run(&options).await,
        Command::Config(options) => show_config::run(file, &options),
    }
}
