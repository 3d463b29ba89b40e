//! Deliveries for the destinations of a site: a backlog, or so many a second while something runs.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use kafka_io::{Outgoing, Producer};
use tokio::time::{MissedTickBehavior, interval};
use wire::{Kind, headers};

use crate::{
    records,
    watch::Watch,
    world::{Destination, Site, World},
};

/// How often the records that are due are handed over, when they are made at a rate.
const TICK: Duration = Duration::from_millis(1);
const BODIES: u64 = 200;

/// Delivery number `n` is for the `n`th destination, counted round and round, and of the `n`th key.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Names and topics.
    destinations: Vec<(String, Arc<str>)>,
    keys: u64,
    schema: u32,
    bodies: Vec<Vec<u8>>,
}

impl Traffic {
    pub(crate) async fn of(
        site: &Site<'_>,
        destinations: &[Destination],
        keys: u64,
        body_bytes: usize,
    ) -> Self {
        let names = destinations.iter().map(|destination| destination.name.clone());
        let destinations: Vec<(String, Arc<str>)> =
            names.map(|name| (name.clone(), site.names.out(&name).into())).collect();
        // The same schema has one id, whichever topic it is asked for.
        let schema = site.schema_id(&destinations[0].1, Kind::Delivery).await;
        let bodies = (0..BODIES).map(|n| body(n, body_bytes)).collect();
        Self { destinations, keys, schema, bodies }
    }

    /// Writes deliveries of these numbers; returns when all are acknowledged.
    pub(crate) async fn fill(&self, world: &World, numbers: Range<u64>) {
        world.fill(numbers.map(|number| self.record(number))).await;
    }

    /// Writes them at a rate, and tells the watch when each is handed to the producer; returns when all are
    /// acknowledged.
    pub(crate) async fn at_rate(
        &self,
        producer: &Producer,
        numbers: Range<u64>,
        per_second: f64,
        watch: &Watch,
    ) {
        let begun = Instant::now();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut acknowledgements = Vec::with_capacity(numbers.clone().count());
        let mut next = numbers.start;
        while next < numbers.end {
            ticks.tick().await;
            let due = numbers.start + (begun.elapsed().as_secs_f64() * per_second) as u64;
            for number in next..due.min(numbers.end) {
                let record = self.record(number);
                watch.made(number);
                acknowledgements.push(producer.try_send(record).unwrap());
            }
            next = next.max(due.min(numbers.end));
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await.unwrap();
        }
    }

    pub(crate) fn record(&self, number: u64) -> Outgoing {
        let among = |count: usize| (number % count as u64) as usize;
        let (name, topic) = &self.destinations[among(self.destinations.len())];
        let body = self.bodies[among(self.bodies.len())].clone();
        let delivery =
            wire::Delivery { destination: name.clone(), ..records::delivery(number, body) };
        let trace = Some(records::trace());
        let value = wire::encode(&delivery, self.schema).unwrap();
        let key = format!("bench/{}", number % self.keys);
        records::outgoing(topic, key, value, headers::delivery(&delivery, trace, trace))
    }
}

/// JSON of exactly so many bytes, blanks at its end included.
fn body(number: u64, bytes: usize) -> Vec<u8> {
    let mut body = records::body(number, bytes);
    body.resize(bytes.max(body.len()), b' ');
    body
}
