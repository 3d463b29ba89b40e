//! Measures how many transactions a second 1, 2, 4 and 8 slots manage on three brokers, and how long commits take.
//!
//! Every slot is kept busy with small batches: it measures transactions, not records. Starts its own Kafka.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_io::topics::{Admin, AdminOptions, Change, Spec};
use kafka_io::{
    Batch, Config, GroupOptions, Metrics, Outgoing, Processor, Record, Refusal, TransactOptions,
    Transaction, TransactionalOptions, TransactionalProducer, transact,
};
use serde::Serialize;
use tokio::sync::mpsc;

const SLOTS: [usize; 4] = [1, 2, 4, 8];
const PARTITIONS: i32 = 8;
const RECORDS: usize = 150_000;
const RECORD_BYTES: usize = 200;
const BATCH_RECORDS: usize = 50;
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Row {
    slots: usize,
    transactions_per_second: f64,
    records_per_second: f64,
    commit_p50_ms: f64,
    commit_p99_ms: f64,
    closed_to_committed_p50_ms: f64,
    closed_to_committed_p99_ms: f64,
}

struct Copy;

impl Processor for Copy {
    fn process(&mut self, record: &Record, batch: &mut Batch) {
        let outgoing = Outgoing {
            topic: "out".into(),
            partition: None,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        batch.send(outgoing).unwrap();
    }

    fn refused(&mut self, record: &Record, refusal: &Refusal, _: &mut Batch) {
        panic!("record {} refused: {}", record.offset, refusal.why);
    }
}

#[tokio::main]
async fn main() {
    let kafka = testkit::Kafka::three().await;
    let config = Config::plain(kafka.bootstrap());
    let admin = Admin::open(&config, AdminOptions::default()).unwrap();
    for topic in ["in", "out"] {
        let spec = Spec::new(topic, PARTITIONS, 3).with("min.insync.replicas", "2");
        admin.apply(&Change::Create(spec)).await.unwrap();
    }
    let filling = config.clone();
    tokio::task::spawn_blocking(move || fill(&filling)).await.unwrap();
    println!(
        "slots  transactions/s  records/s  commit p50  p99 ms  closed to committed p50  p99 ms"
    );
    let mut rows = Vec::new();
    for slots in SLOTS {
        let row = measure(&config, slots).await;
        println!(
            "{:>5}  {:>14.1}  {:>9.0}  {:>10.1}  {:>6.1}  {:>23.1}  {:>6.1}",
            row.slots,
            row.transactions_per_second,
            row.records_per_second,
            row.commit_p50_ms,
            row.commit_p99_ms,
            row.closed_to_committed_p50_ms,
            row.closed_to_committed_p99_ms,
        );
        rows.push(row);
    }
    let folder = testkit::scratch::target().join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    let text = serde_json::to_string_pretty(&rows).unwrap();
    std::fs::write(folder.join("transactions.json"), text).unwrap();
}

/// Writes the input once; every measurement reads it as a group of its own.
fn fill(config: &Config) {
    let options = TransactionalOptions::new("fill");
    let mut producer = TransactionalProducer::new(config, &options).unwrap();
    producer.init(PATIENCE).unwrap();
    producer.begin().unwrap();
    for number in 0..RECORDS {
        let outgoing = Outgoing {
            topic: "in".into(),
            partition: None,
            key: Some(format!("k{}", number % 1000).into()),
            value: Some(vec![b'x'; RECORD_BYTES].into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        producer.send(&outgoing, PATIENCE).unwrap();
    }
    producer.flush_and_await(PATIENCE).unwrap();
    producer.commit(|| true).unwrap();
}

async fn measure(config: &Config, slots: usize) -> Row {
    let (sender, mut ended) = mpsc::unbounded_channel::<(Instant, Transaction)>();
    let told = Arc::new(move |transaction: &Transaction| {
        let _ = sender.send((Instant::now(), *transaction));
    });
    let busy = Duration::from_millis(1);
    let options = TransactOptions {
        slots,
        batch_records: BATCH_RECORDS,
        interval_min: busy,
        interval_max: busy,
        told,
        ..TransactOptions::new(format!("bench-{slots}"), 0)
    };
    let group = GroupOptions::new(format!("bench-{slots}"), vec!["in".to_owned()]);
    let engine = transact(config, &group, options, &Metrics::default(), Copy).unwrap();
    let first = ended.recv().await.unwrap().0;
    let (from, to) = (first + WARM_UP, first + WARM_UP + MEASURED);
    let mut counted = Vec::new();
    while let Some((at, transaction)) = ended.recv().await {
        if at >= to {
            break;
        }
        if at >= from {
            assert!(transaction.committed, "a transaction was rolled back");
            counted.push(transaction);
        }
    }
    engine.stop(PATIENCE).await.unwrap();
    summary(slots, &counted)
}

fn summary(slots: usize, counted: &[Transaction]) -> Row {
    let seconds = MEASURED.as_secs_f64();
    let records: usize = counted.iter().map(|transaction| transaction.inputs).sum();
    let commits = sorted_ms(counted.iter().map(|transaction| transaction.commit));
    let whole = sorted_ms(counted.iter().map(|transaction| transaction.took));
    Row {
        slots,
        transactions_per_second: counted.len() as f64 / seconds,
        records_per_second: records as f64 / seconds,
        commit_p50_ms: at(&commits, 0.5),
        commit_p99_ms: at(&commits, 0.99),
        closed_to_committed_p50_ms: at(&whole, 0.5),
        closed_to_committed_p99_ms: at(&whole, 0.99),
    }
}

fn sorted_ms(times: impl Iterator<Item = Duration>) -> Vec<f64> {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
