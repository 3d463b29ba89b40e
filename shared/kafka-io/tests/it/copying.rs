//! An engine that copies each record from `in` to `out`, and what it committed.

use std::sync::Arc;
use std::time::Duration;

use kafka_io::{
    Batch, Config, Engine, GroupOptions, Metrics, Outgoing, Processor, Record, Refusal,
    TransactOptions, transact,
};
use parking_lot::Mutex;

pub(crate) const GROUP: &str = "millrace-transform";
pub(crate) const STOP: Duration = Duration::from_secs(20);
pub(crate) const PARTITIONS: i32 = 4;

type Each = Box<dyn FnMut(&Record, &mut Batch) -> Done + Send>;

/// Copies each record; a hook may change what happens to one.
struct Copy {
    each: Each,
    committed: Arc<Mutex<Vec<i32>>>,
}

pub(crate) enum Done {
    Copy,
    Itself,
}

impl Processor for Copy {
    fn process(&mut self, record: &Record, batch: &mut Batch) {
        if let Done::Copy = (self.each)(record, batch) {
            batch.send(outgoing("out", record)).unwrap();
            let (committed, number) = (self.committed.clone(), number(record));
            batch.on_commit(move || committed.lock().push(number));
        }
    }

    fn refused(&mut self, record: &Record, refusal: &Refusal, batch: &mut Batch) {
        let reason = vec![("reason".to_owned(), refusal.why.clone().into())];
        batch.send(Outgoing { headers: reason, ..outgoing("dlq", record) }).unwrap();
    }
}

pub(crate) fn outgoing(topic: &str, record: &Record) -> Outgoing {
    Outgoing {
        topic: topic.into(),
        partition: None,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

/// Every record's value is a number.
pub(crate) fn number(record: &Record) -> i32 {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap()
}

pub(crate) struct Run {
    pub(crate) engine: Engine,
    committed: Arc<Mutex<Vec<i32>>>,
}

pub(crate) fn options(ordinal: u32) -> TransactOptions {
    TransactOptions { batch_records: 100, ..TransactOptions::new("transform", ordinal) }
}

pub(crate) fn start(
    config: &Config,
    options: TransactOptions,
    each: impl FnMut(&Record, &mut Batch) -> Done + Send + 'static,
) -> Run {
    let committed = Arc::<Mutex<Vec<i32>>>::default();
    let group = GroupOptions::new(GROUP, vec!["in".to_owned()]);
    let processor = Copy { each: Box::new(each), committed: committed.clone() };
    let engine = transact(config, &group, options, &Metrics::default(), processor).unwrap();
    Run { engine, committed }
}

pub(crate) fn copying(config: &Config, options: TransactOptions) -> Run {
    start(config, options, |_, _| Done::Copy)
}

impl Run {
    /// How many records it committed.
    pub(crate) fn committed(&self) -> usize {
        self.committed.lock().len()
    }

    /// Which, in the order in which it committed them.
    pub(crate) fn numbers(&self) -> Vec<i32> {
        self.committed.lock().clone()
    }
}
