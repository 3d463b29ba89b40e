//! `millrace dev`: everything in one process until Ctrl-C, with what one needs to try it.

use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};

use catalog_io::Catalog;
use chassis::{Readiness, config::Origin, frame::Work};
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    cli, curl,
    failure::Failure,
    house::{self, House},
    output::say,
    receiver::{Fault, Receiver},
    sender::Sender,
    service, settings, shared,
};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a start may take in silence.
const PATIENCE: Duration = Duration::from_secs(10);
const LINES_MAX: usize = 3;

pub(crate) async fn run(file: Option<&Path>, options: cli::Dev) -> Result<ExitCode, Failure> {
    let loaded = settings::load(file)?;
    let configured = loaded
        .effective
        .0
        .iter()
        .any(|entry| entry.key == "kafka.bootstrap_servers" && entry.origin != Origin::Default);
    let mut config = loaded.config;
    if let Some(folder) = options.catalog {
        config.catalog.folder = folder;
    }
    service::start_log(&config.log, "millrace")?;
    let catalog = shared::catalog(&config.catalog.folder)?;
    // A developer's destinations are on this machine.
    house::allow_loopback(&mut config);
    let lets_receive = uses(options.receiver, &catalog);
    let house = House::build(config, catalog, !configured, None).await?;
    let mut beside = Vec::new();
    if lets_receive {
        beside.push(third_party(options.receiver, house.stop()).await?);
    }
    beside.push(introduction(&house));
    service::ended(house.run(beside).await)
}

fn uses(receiver: SocketAddr, catalog: &Catalog) -> bool {
    let address = format!("http://{receiver}/");
    catalog.destinations.values().any(|destination| destination.spec.url.starts_with(&address))
}

async fn third_party(address: SocketAddr, stop: CancellationToken) -> Result<Work, Failure> {
    let listener = Receiver::bind(address).await?;
    let serving = Receiver::new(Fault::None, true).serve(listener, stop);
    let run = Box::pin(async {
        serving.await;
        Ok(())
    });
    Ok(Work { service: "receiver", run })
}

/// Tells where everything is as soon as it is ready, then waits for the end.
fn introduction(house: &House) -> Work {
    let (ready, stop) = (house.ready.clone(), house.stop());
    let (text, commands) = (addresses(house), commands(house));
    let (catalogs, ingest) = (house.world().catalogs.clone(), house.config.ingest.listen);
    let run = Box::pin(async move {
        if stop.run_until_cancelled(until_ready(&ready)).await.is_none() {
            return Ok(());
        }
        say!("{text}");
        lines(&catalogs.current(), &Sender::new(ingest));
        say!("{commands}");
        say!("Ctrl-C stops.\n");
        stop.cancelled().await;
        Ok(())
    });
    Work { service: "introduction", run }
}

/// Waits for all services; where that takes long, tells what they wait for.
async fn until_ready(ready: &Readiness) {
    let told_at = Instant::now() + PATIENCE;
    let mut told = false;
    while !ready.is_ready() {
        if !told && Instant::now() > told_at {
            told = true;
            say!("still waiting:");
            ready.unmet().iter().for_each(|unmet| {
                say!("  {} {}: {}", unmet.service, unmet.condition, unmet.reason);
            });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn addresses(house: &House) -> String {
    let on = match house.is_embedded() {
        true => "the embedded broker and registry: in memory, gone at the end".to_owned(),
        false => format!("Kafka at {}", house.config.kafka.bootstrap_servers),
    };
    let config = &house.config;
    let rows = [
        ("events", format!("http://{}/v1/events/{{source}}", config.ingest.listen)),
        ("dead letters", format!("http://{}/v1/dead-letters", config.dlq_replayer.listen)),
        ("metrics", format!("http://{}/metrics", house.admin_address())),
        ("Kafka", config.kafka.bootstrap_servers.clone()),
        ("registry", config.registry.url.clone()),
        ("catalog", format!("{}, read again when it changes", config.catalog.folder.display())),
    ];
    let rows = rows.map(|(name, place)| format!("  {name:<12}  {place}\n"));
    format!("Millrace runs on {on}.\n\n{}", rows.concat())
}

/// Tells how the operator's commands reach this process.
fn commands(house: &House) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "millrace".to_owned());
    let (kafka, registry) = (&house.config.kafka, &house.config.registry);
    format!(
        "Then ask in another terminal, with the event_id that was answered:\n\n\
         export MILLRACE_KAFKA__BOOTSTRAP_SERVERS={} MILLRACE_KAFKA__EMBEDDED={} MILLRACE_REGISTRY__URL={}\n\
         {program} event <event_id>\n\
         {program} dlq list\n",
        kafka.bootstrap_servers, kafka.embedded, registry.url
    )
}

fn lines(catalog: &Catalog, sender: &Sender) {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    say!("Send an event, signed as its source signs:\n");
    for source in catalog.sources.values().take(LINES_MAX) {
        match curl::line(source, sender, now) {
            Ok(line) if line.ages => {
                say!("{}\n  # its timestamp is believed for some minutes\n", line.text)
            }
            Ok(line) => say!("{}\n", line.text),
            Err(why) => say!("# {}: no line, {why}\n", source.name),
        }
    }
}
