//! What the transactional engine does when calls fail or hang by plan, on the embedded broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_io::embedded::{Broker, Failure, Request};
use kafka_io::{
    Config, EngineError, Metrics, Outgoing, Producer, ProducerOptions, TransactOptions,
};
use parking_lot::Mutex;
use testkit::wait::until;

use crate::cluster::PATIENCE;
use crate::copying::{Done, PARTITIONS, STOP, copying, number, options, start};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(300);

fn embedded() -> (Broker, Config) {
    let topics = [("in".to_owned(), PARTITIONS), ("out".to_owned(), PARTITIONS)];
    let broker = Broker::start(&topics).unwrap();
    let config = Config::embedded(broker.bootstrap_servers());
    (broker, config)
}

/// Writes numbers, one partition after the other.
async fn feed(config: &Config, numbers: std::ops::Range<i32>) {
    let producer = Producer::open(config, ProducerOptions::default(), &Metrics::default()).unwrap();
    for number in numbers {
        let outgoing = Outgoing {
            topic: "in".into(),
            partition: Some(number % PARTITIONS),
            key: None,
            value: Some(number.to_string().into()),
            headers: Vec::new(),
            timestamp_ms: None,
        };
        producer.send(outgoing).await.unwrap();
    }
}

/// Checks that 0..n are there once each, in order within each partition.
fn each_once_and_in_order(found: &[i32], n: i32) {
    for partition in 0..PARTITIONS {
        let found: Vec<i32> =
            found.iter().copied().filter(|number| number % PARTITIONS == partition).collect();
        let expected: Vec<i32> = (0..n).filter(|number| number % PARTITIONS == partition).collect();
        assert_eq!(found, expected, "partition {partition}");
    }
}

/// Splits what was read of a partition where reading went back.
fn readings(read: &[i32], partition: i32) -> Vec<Vec<i32>> {
    let of_partition: Vec<i32> =
        read.iter().copied().filter(|number| number % PARTITIONS == partition).collect();
    of_partition.chunk_by(|one, next| one < next).map(<[i32]>::to_vec).collect()
}

/// Checks that reading passed over nothing and went back once at most in each partition.
fn read_in_order_and_set_back_once(read: &[i32]) {
    for partition in 0..PARTITIONS {
        let readings = readings(read, partition);
        assert!(readings.len() <= 2, "partition {partition}: {readings:?}");
        for reading in readings {
            let step = |pair: &[i32]| pair[1] - pair[0] == PARTITIONS;
            assert!(reading.windows(2).all(step), "partition {partition}: {reading:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_cannot_abort_is_replaced_and_what_was_open_comes_again_in_order() {
    const SLOTS: usize = 3;
    const FIRST: i32 = 48;
    const ALL: i32 = 120;
    let (broker, config) = embedded();
    feed(&config, 0..FIRST).await;
    let (read, rolled_back) =
        (Arc::<Mutex<Vec<i32>>>::default(), Arc::<Mutex<Vec<usize>>>::default());
    let (rolled, reading) = (rolled_back.clone(), read.clone());
    let told = Arc::new(move |transaction: &kafka_io::Transaction| {
        if !transaction.committed {
            rolled.lock().push(transaction.inputs);
        }
    });
    let open = Arc::new(AtomicBool::new(false));
    let opened = open.clone();
    let options = TransactOptions { slots: SLOTS, batch_records: 10, told, ..options(0) };
    let run = start(&config, options, move |record, _| {
        while number(record) >= FIRST && !opened.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        reading.lock().push(number(record));
        Done::Copy
    });
    until("the first are committed", PATIENCE, || run.committed() >= FIRST as usize).await;
    feed(&config, FIRST..ALL).await;
    broker.count_requests().unwrap();
    // Late enough for the other slots to have a transaction open behind the one that fails.
    let (late, answer) = (Duration::from_millis(1500), [Some(Failure::IllegalGeneration)]);
    broker.delay_next(Request::TransactionOffsetCommit, late, &answer).unwrap();
    broker.fail_next(Request::EndTransaction, &[Failure::InvalidTransactionState]).unwrap();
    open.store(true, Ordering::SeqCst);
    until("the rest is committed", PATIENCE, || run.committed() >= ALL as usize).await;
    run.engine.stop(STOP).await.unwrap();

    let rolled_back = rolled_back.lock().clone();
    assert!((2..=SLOTS).contains(&rolled_back.len()), "one round of roll-backs: {rolled_back:?}");
    let replaced = broker.requests(Request::InitProducerId).unwrap();
    assert_eq!(replaced, 1, "the producer that could not abort, and no other");
    each_once_and_in_order(&run.numbers(), ALL);
    let read = read.lock().clone();
    let again = read.len() - ALL as usize;
    assert!(again >= rolled_back.iter().sum(), "{again} read again, rolled back {rolled_back:?}");
    read_in_order_and_set_back_once(&read);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_never_answered_are_left_behind_and_nothing_is_lost_or_doubled() {
    // Three that were noticed as standing still only would outlast the patience.
    const DEATHS: usize = 3;
    let (broker, config) = embedded();
    broker.form_groups_within(Duration::from_millis(100)).unwrap();
    feed(&config, 0..200).await;
    // Who feeds has a producer id of its own.
    broker.count_requests().unwrap();
    broker.delay_next(Request::TransactionOffsetCommit, NEVER, &[None; DEATHS]).unwrap();
    let options = options(0);
    let slots = options.slots;
    let run = copying(&config, options);
    until("all is committed", PATIENCE, || run.committed() >= 200).await;
    let producers = broker.requests(Request::InitProducerId).unwrap();
    assert_eq!(producers, slots * (DEATHS + 1), "each life has new ones");
    feed(&config, 200..240).await;
    until("it goes on", PATIENCE, || run.committed() >= 240).await;
    run.engine.stop(STOP).await.unwrap();
    each_once_and_in_order(&run.numbers(), 240);
}

/// Threads of this process with that name.
#[cfg(target_os = "linux")]
fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let named = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.ok()?.path().join("comm");
        // A thread may end between the two looks.
        Some(std::fs::read_to_string(path).ok()?.trim_end() == name)
    };
    tasks.filter_map(named).filter(|named| *named).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_whose_calls_hang_again_and_again_ends_before_their_threads_are_many() {
    const BORNE: usize = 8;
    // Nine lives of a hanging call's 4 s and of beginning, on a busy machine.
    const ENDS_WITHIN: Duration = Duration::from_secs(150);
    let (broker, config) = embedded();
    broker.form_groups_within(Duration::from_millis(100)).unwrap();
    feed(&config, 0..20).await;
    broker.count_requests().unwrap();
    // A tenth would be answered.
    broker.delay_next(Request::TransactionOffsetCommit, NEVER, &[None; BORNE + 1]).unwrap();
    // The client gives a call up shortly before the transaction's time is over.
    let options = || TransactOptions { slots: 1, transaction_timeout: NEVER, ..options(0) };
    let run = copying(&config, options());
    let ended = tokio::time::timeout(ENDS_WITHIN, run.engine.ended()).await.unwrap();
    let Err(EngineError::LeftBehind { threads }) = ended else { panic!("{ended:?}") };
    assert_eq!(threads, BORNE + 1);
    assert_eq!(broker.requests(Request::InitProducerId).unwrap(), BORNE + 1);
    #[cfg(target_os = "linux")]
    assert_eq!(threads_named("transform-0-0"), BORNE + 1, "no life has left more behind");
    assert_eq!(run.committed(), 0);

    let next = copying(&config, options());
    until("its successor commits all", PATIENCE, || next.committed() >= 20).await;
    next.engine.stop(STOP).await.unwrap();
    each_once_and_in_order(&next.numbers(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_remembers_positions_too() {
    let (_broker, config) = embedded();
    feed(&config, 0..100).await;
    let run = copying(&config, options(0));
    until("all is committed", PATIENCE, || run.committed() == 100).await;
    run.engine.stop(STOP).await.unwrap();
    feed(&config, 100..140).await;
    let run = copying(&config, options(0));
    until("the rest is committed", PATIENCE, || run.committed() >= 40).await;
    run.engine.stop(STOP).await.unwrap();
    let expected: Vec<i32> = (100..140).collect();
    let mut found = run.numbers();
    found.sort_unstable();
    assert_eq!(found, expected, "a restart goes on where the last one ended");
}
