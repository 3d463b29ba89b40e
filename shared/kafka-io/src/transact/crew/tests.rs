//! Whose turn it is, what a roll-back leaves, and a call that hangs, with what becomes of its slot.
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

fn hire(config: &Config, slots: usize) -> Crew {
    let options = TransactOptions { slots, ..TransactOptions::new("t", 0) };
    Crew::hire(config, &options, &Arc::new(Wake::default())).unwrap()
}

/// A crew that is ready, its broker, and a member of the group whose offsets it sends.
fn hired(slots: usize) -> (Broker, Group, Crew) {
    let broker = Broker::start(&[("in".to_owned(), 1), ("out".to_owned(), 1)]).unwrap();
    broker.count_requests().unwrap();
    let config = Config::embedded(broker.bootstrap_servers());
    let status = watch::Sender::new(Status::default());
    let (group, wake) = (GroupOptions::new("g", vec!["in".to_owned()]), Arc::new(Wake::default()));
    let group = Group::open_waking(&config, &group, &Metrics::default(), &status, wake).unwrap();
    let crew = hire(&config, slots);
    assert!(crew.ready(|| true).unwrap());
    (broker, group, crew)
}

fn await_end(crew: &mut Crew) -> Done {
    let mut done = None;
    until("a batch ends", || {
        done = crew.ended(LOOK_EVERY).unwrap();
        done.is_some()
    });
    done.unwrap()
}

#[test]
fn a_crew_is_waited_for_no_longer_than_its_caller_goes_on() {
    let crew = hire(&Config::embedded("127.0.0.1:1"), 2);
    assert!(!crew.ready(|| false).unwrap(), "there is no broker");
    crew.dismiss(Instant::now());
}

#[test]
fn a_crew_of_none_has_one_slot_and_nobody_is_asked_to_go_on_once_it_is_ready() {
    let broker = Broker::start(&[]).unwrap();
    let crew = hire(&Config::embedded(broker.bootstrap_servers()), 0);
    until("the slot is ready", || crew.ready(|| false).unwrap());
    assert!(crew.has_free());
    crew.dismiss(Instant::now() + PATIENCE);
}

#[test]
fn a_batch_goes_to_the_slot_free_the_longest_and_comes_back_where_none_is() {
    let (_broker, group, mut crew) = hired(2);
    let mut slots = Vec::new();
    for offset in 0..3 {
        assert!(crew.dispatch(batch(offset), group.consumer()).is_none());
        let done = await_end(&mut crew);
        assert!(matches!(done.outcome, Outcome::Committed), "{:?}", done.outcome);
        slots.push(done.slot);
    }
    assert_eq!((slots, crew.under_way()), (vec![0, 1, 0], 0));
    for offset in 3..5 {
        assert!(crew.has_free() && crew.dispatch(batch(offset), group.consumer()).is_none());
    }
    let back = crew.dispatch(batch(5), group.consumer());
    assert_eq!(back.map(|batch| batch.inputs()), Some(1));
    assert_eq!((crew.has_free(), crew.under_way()), (false, 2));
    let mut slots = [(); 2].map(|()| await_end(&mut crew).slot);
    slots.sort_unstable();
    assert_eq!((slots, crew.has_free(), crew.under_way()), ([0, 1], true, 0));
    group.close(PATIENCE).unwrap();
}

#[test]
fn when_all_is_broken_off_nothing_is_committed_until_the_numbers_begin_anew() {
    let (_broker, group, mut crew) = hired(2);
    let outcome_of = |crew: &mut Crew, offset| {
        assert!(crew.dispatch(batch(offset), group.consumer()).is_none());
        await_end(crew).outcome
    };
    assert!(matches!(outcome_of(&mut crew, 0), Outcome::Committed));
    crew.break_all();
    assert!(matches!(outcome_of(&mut crew, 1), Outcome::Behind));
    crew.begin_anew();
    assert!(matches!(outcome_of(&mut crew, 1), Outcome::Committed));
    assert!(matches!(outcome_of(&mut crew, 2), Outcome::Committed));
    group.close(PATIENCE).unwrap();
}

#[test]
fn a_slot_that_hangs_is_seen_and_left_behind_and_takes_its_id_back_no_more() {
    let (broker, group, mut crew) = hired(1);
    // One that is answered at once: its call is no longer under way afterwards.
    assert!(crew.dispatch(batch(0), group.consumer()).is_none());
    assert!(matches!(await_end(&mut crew).outcome, Outcome::Committed));
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
