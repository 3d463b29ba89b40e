//! How many dead letters there are, looked at from time to time.

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use chassis::Process;
use kafka_io::{
    reader::{Range, Reader},
    topics::{Admin, AdminOptions},
};

use crate::{
    Error, Filter, JobRange,
    cluster::{Cluster, deadline},
    replayer::blocking,
    series::{Depth, Series},
};

const RETENTION: &str = "retention.ms";

/// Looks at every topic of dead letters until the process stops.
pub(crate) async fn watch(cluster: Cluster, series: Series, every: Duration, process: &Process) {
    let mut known = BTreeSet::new();
    loop {
        match process.stop.run_until_cancelled(look(&cluster)).await {
            None => return,
            Some(Ok(depths)) => {
                let found: BTreeSet<String> = depths.iter().map(|d| d.topic.clone()).collect();
                known.difference(&found).for_each(|gone: &String| series.forget(gone));
                depths.iter().for_each(|depth| series.looked(depth));
                known = found;
            }
            Some(Err(error)) => {
                tracing::warn!(error.message = %error, "dead letters could not be counted");
            }
        }
        if process.stop.run_until_cancelled(tokio::time::sleep(every)).await.is_none() {
            return;
        }
    }
}

async fn look(cluster: &Cluster) -> Result<Vec<Depth>, Error> {
    let at = cluster.clone();
    let mut depths = blocking("the count of dead letters", move || depths(&at)).await?;
    let admin = Admin::open(&cluster.kafka, AdminOptions::default())?;
    let names: Vec<&str> = depths.iter().map(|depth| depth.topic.as_str()).collect();
    let existing = admin.describe(&names).await?;
    for depth in &mut depths {
        let topic = existing.get(&depth.topic);
        let retention = topic.and_then(|topic| topic.config.get(RETENTION)?.parse().ok());
        depth.retention_ms = retention.filter(|ms| *ms >= 0);
    }
    Ok(depths)
}

fn depths(cluster: &Cluster) -> Result<Vec<Depth>, Error> {
    let reader = cluster.reader()?;
    let topics = vec![cluster.names.quarantine()];
    let quarantine = reader.topics()?.iter().any(|topic| topic.name == topics[0]);
    let mut ranges = cluster.ranges(&reader, &Filter::default())?;
    if quarantine {
        ranges.extend(cluster.ranges(&reader, &Filter { topics, ..Filter::default() })?);
    }
    let mut depths: Vec<Depth> = Vec::new();
    for range in &ranges {
        let (records, oldest_ms) = (range.to - range.from, oldest(&reader, range)?);
        match depths.last_mut().filter(|depth| depth.topic == range.topic) {
            Some(depth) => {
                depth.records += records;
                depth.oldest_ms = [depth.oldest_ms, oldest_ms].into_iter().flatten().min();
            }
            None => {
                let topic = range.topic.clone();
                depths.push(Depth { topic, records, oldest_ms, retention_ms: None });
            }
        }
    }
    Ok(depths)
}

/// Returns the time of the first record of a partition.
fn oldest(reader: &Reader, range: &JobRange) -> Result<Option<i64>, Error> {
    if range.from >= range.to {
        return Ok(None);
    }
    let (topic, partition) = (range.topic.clone(), range.partition);
    let whole = Range { topic, partition, from: range.from, to: range.to };
    let mut found = None;
    reader.read(&[whole], deadline(), |view| {
        found = Some(view.timestamp_ms());
        ControlFlow::Break(())
    })?;
    Ok(found)
}
