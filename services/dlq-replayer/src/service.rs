//! The service: the API, the jobs, and how many dead letters there are.

use std::sync::Arc;

use chassis::Process;
use tokio::net::TcpListener;

use crate::{
    Config, Error, Replayer, World,
    api::{self, Access, Api, Measure},
    depth,
    jobs::{self, Jobs},
    series::Series,
};

/// Runs the service until the process stops; running jobs end their transactions first.
///
/// It waits, unready, for Kafka and its topics, and goes on by itself.
///
/// # Errors
/// [`Error::Start`] where the configuration forbids to start, or the address is taken.
pub async fn run(config: Config, world: World, process: Process) -> Result<(), Error> {
    let access = Access::read(&config)?;
    let listener = TcpListener::bind(config.listen).await.map_err(|why| {
        Error::Start(format!("dlq_replayer.listen: could not listen on {}: {why}", config.listen))
    })?;
    process.ready.set(jobs::KAFKA, Err("starting".to_owned()));
    let series = Series::new(&process.metrics);
    let replayer = Replayer::of(world, &process, series.clone());
    let stop = process.stop.clone();
    let (jobs, keeper) = jobs::keeper(replayer.clone(), series.clone(), config.resume_after, stop);
    tracing::info!(listen = %config.listen, "dlq-replayer starts");
    let cluster = replayer.cluster().clone();
    let (served, (), ()) = tokio::join!(
        serve(listener, access, replayer, jobs, &config, &process),
        keeper.run(&process),
        depth::watch(cluster, series, config.look_every, &process),
    );
    served
}

/// Serves the API until the process stops and the requests in hand are answered.
async fn serve(
    listener: TcpListener,
    access: Access,
    replayer: Replayer,
    jobs: Jobs,
    config: &Config,
    process: &Process,
) -> Result<(), Error> {
    let api = Arc::new(Api::new(replayer, jobs, config.replays_max));
    let router = api::router(api, access, Measure::new(&process.metrics));
    let stopped = process.stop.clone().cancelled_owned();
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped);
    served.await.map_err(|why| Error::Start(format!("the API ended: {why}")))
}
