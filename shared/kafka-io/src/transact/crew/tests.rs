//! A call that hangs, and what becomes of its slot.
#![allow(clippy::unwrap_used)]

use tokio::sync::watch;

use super::super::slot::Outcome;
use super::*;
use crate::consumer::{Group, GroupOptions, Status};
use crate::embedded::{Broker, Failure, Request};
use crate::metrics::Metrics;
use crate::record::{Outgoing, Record};

const PATIENCE: Duration = Duration::from_secs(60);
/// Long after the call is over its time, long before the test is.
const LATE: Duration = Duration::from_secs(10);

#[test]
fn a_call_is_overdue_once_it_has_lasted_longer_than_its_limit() {
    let since = Instant::now();
    let just = Duration::from_millis(1);
    let cases = [
        (None, OFFSETS_MAX * 100, false, "no call under way"),
        (Some(since), Duration::ZERO, false, "begun just now"),
        (Some(since), OFFSETS_SLICE, false, "at the call's own limit"),
        (Some(since), OFFSETS_MAX, false, "at the end of the second for a busy machine"),
        (Some(since), OFFSETS_MAX + just, true, "after it"),
    ];
    for (call, after, expected, why) in cases {
        assert_eq!(is_overdue(call, since + after), expected, "{why}");
    }
    assert!(!is_overdue(Some(since + OFFSETS_MAX), since), "begun after the look");
}

/// One record of `in` that leads to one of `out`.
fn batch(offset: i64) -> Batch {
    let mut batch = Batch::new(1000);
    batch.begin_input(&Record {
        topic: "in".into(),
        partition: 0,
        offset,
        epoch: 1,
        key: None,
        value: None,
        headers: Vec::new(),
        timestamp_ms: 0,
    });
    let sent = batch.send(Outgoing {
        topic: "out".into(),
        partition: Some(0),
        key: None,
        value: Some("v".into()),
        headers: Vec::new(),
        timestamp_ms: None,
    });
    sent.unwrap();
    assert_eq!(batch.end_input(), None);
    batch
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        thread::park_timeout(LOOK_EVERY);
    }
}

#[test]
fn a_slot_that_hangs_is_seen_and_left_behind_and_takes_its_id_back_no_more() {
    let broker = Broker::start(&[("in".to_owned(), 1), ("out".to_owned(), 1)]).unwrap();
    broker.count_requests().unwrap();
    let config = Config::embedded(broker.bootstrap_servers());
    let wake = Arc::new(Wake::default());
    let (status, _status) = watch::channel(Status::default());
    let group = GroupOptions::new("g", vec!["in".to_owned()]);
    let group =
        Group::open_waking(&config, &group, &Metrics::default(), &status, wake.clone()).unwrap();
    let options = TransactOptions { slots: 1, ..TransactOptions::new("t", 0) };
    let mut crew = Crew::hire(&config, &options, &wake).unwrap();
    assert!(crew.ready(|| true).unwrap());

    // One that is answered at once: its call is no longer under way afterwards.
    assert!(crew.dispatch(batch(0), group.consumer()).is_none());
    let mut done = None;
    until("the first is committed", || {
        done = crew.ended(LOOK_EVERY).unwrap();
        done.is_some()
    });
    assert!(matches!(done.unwrap().outcome, Outcome::Committed));
    assert_eq!(*crew.shared.sending_offsets.lock(), None);

    // One whose late answer is that the producer is of no more use: its successor has the id by then.
    let answers = [Some(Failure::InvalidTransactionState)];
    broker.delay_next(Request::TransactionOffsetCommit, LATE, &answers).unwrap();
    let begun = Instant::now();
    assert!(crew.dispatch(batch(1), group.consumer()).is_none());
    until("the call is overdue", || crew.hangs());
    assert!(begun.elapsed() > OFFSETS_MAX, "{:?}", begun.elapsed());
    let left = crew.dismiss(Instant::now() + LOOK_EVERY);
    assert_eq!(left.len(), 1);
    until("the answer ends it", || left.iter().all(JoinHandle::is_finished));
    assert!(begun.elapsed() > LATE, "it hung until the answer: {:?}", begun.elapsed());
    assert_eq!(broker.requests(Request::InitProducerId).unwrap(), 1, "no second producer");
    group.close(PATIENCE).unwrap();
}
