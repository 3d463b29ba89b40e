//! The tracker against a model: whatever the order of completion, the position is what is complete without a gap, and
//! a restart repeats what was not complete and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::time::UnixMillis;
use proptest::prelude::*;

use super::*;

fn partition(epoch: u64) -> Partition {
    Partition { topic: "t".into(), partition: 0, epoch }
}

fn head(attempts_made: u32) -> Head {
    let first_attempt_at = UnixMillis(1_764_000_000_000);
    Head { first_attempt_at, attempts_made, stood_still: Duration::ZERO }
}

fn begun(epoch: u64, at: i64) -> (Tracker, Partition) {
    let (mut tracker, p) = (Tracker::default(), partition(epoch));
    tracker.begin(&p, OffsetMap::new(at));
    (tracker, p)
}

fn position(tracker: &Tracker) -> Option<i64> {
    tracker.uncommitted().first().map(|position| position.next)
}

fn commit(tracker: &mut Tracker) -> Option<(i64, String)> {
    let position = tracker.uncommitted().pop()?;
    tracker.committed(&position);
    Some((position.next, position.metadata))
}

#[test]
fn a_partition_is_committed_whatever_others_have_to_commit() {
    let (mut tracker, p) = begun(1, 0);
    let other = Partition { partition: 1, ..partition(1) };
    tracker.begin(&other, OffsetMap::new(0));
    for of in [&p, &other] {
        tracker.delivered(of, 0, 10);
    }
    tracker.completed(&other, 0);
    assert!(tracker.are_committed([&p]));
    assert!(!tracker.are_committed([&p, &other]));
    tracker.end(&other);
    assert!(tracker.are_committed([&p, &other]), "nothing of an ended epoch can be committed");
}

#[test]
fn a_restart_with_a_full_map_reads_what_is_open_in_it_and_nothing_new() {
    let (mut tracker, p) = begun(1, 0);
    for offset in [0, 800_000] {
        tracker.delivered(&p, offset, 10);
    }
    tracker.completed(&p, 800_000);
    assert_eq!(tracker.room(&p, 10), 0, "it lies too far behind the first one");
    let (next, metadata) = commit(&mut tracker).unwrap();
    let p = partition(2);
    tracker.begin(&p, OffsetMap::decode(next, &metadata).unwrap());
    assert_eq!(tracker.room(&p, 10), 10);
    assert_eq!(tracker.delivered(&p, 0, 10), Delivered::Open(None));
    assert_eq!(tracker.delivered(&p, 800_000, 10), Delivered::Done);
    assert_eq!(tracker.room(&p, 10), 0, "as before the restart");
    tracker.completed(&p, 0);
    assert_eq!(tracker.room(&p, 10), 10);
}

#[test]
fn a_position_is_after_the_last_record_that_is_complete_without_a_gap() {
    let (mut tracker, p) = begun(1, 8);
    for offset in [10, 12, 17] {
        assert_eq!(tracker.delivered(&p, offset, 5), Delivered::Open(None));
    }
    assert_eq!(position(&tracker), None, "nothing completed");
    tracker.completed(&p, 12);
    assert_eq!(position(&tracker), Some(8), "a gap before it");
    tracker.completed(&p, 10);
    assert_eq!(position(&tracker), Some(13), "10, what is no record, and 12");
    tracker.completed(&p, 17);
    assert_eq!(commit(&mut tracker), Some((18, String::new())));
    assert_eq!(position(&tracker), None, "committed");
    tracker.committed(&Position::plain(p.clone(), 21));
    tracker.delivered(&p, 22, 5);
    tracker.delivered(&p, 23, 5);
    tracker.completed(&p, 23);
    assert_eq!(position(&tracker), Some(21), "never before what is committed");
}

#[test]
fn what_completes_late_from_an_earlier_epoch_is_dropped() {
    let (mut tracker, old) = begun(1, 0);
    let new = partition(2);
    tracker.delivered(&old, 5, 1);
    let late = Position { changes: 9, ..Position::plain(old.clone(), 100) };
    tracker.end(&old);
    assert_eq!(tracker.completed(&old, 5), Completed::Stale);
    tracker.begin(&new, OffsetMap::new(0));
    tracker.delivered(&new, 5, 1);
    tracker.end(&old);
    assert_eq!(tracker.completed(&old, 5), Completed::Stale, "an old end does not touch the new");
    assert!(!tracker.retrying(&old, 5, head(1)));
    tracker.committed(&late);
    assert_eq!(tracker.completed(&new, 5), Completed::Done);
    assert_eq!(position(&tracker), Some(6));
}

#[test]
fn a_record_completes_once_and_an_unknown_one_not_at_all() {
    let (mut tracker, p) = begun(1, 3);
    tracker.delivered(&p, 3, 7);
    tracker.delivered(&p, 4, 7);
    assert_eq!(tracker.completed(&p, 4), Completed::Done);
    assert_eq!(tracker.completed(&p, 4), Completed::Stale);
    assert_eq!(tracker.completed(&p, 9), Completed::Stale);
    assert!(!tracker.retrying(&p, 4, head(1)), "it is done with");
    assert_eq!(tracker.held(&p), Held { records: 1, bytes: 7 }, "what is complete is not held");
    assert_eq!(tracker.completed(&p, 3), Completed::Done);
    assert_eq!(tracker.held(&p), Held::default());
}

#[test]
fn a_restart_goes_on_with_what_is_open_and_how_far_it_had_come() {
    let (mut tracker, p) = begun(1, 0);
    for offset in 0..6 {
        tracker.delivered(&p, offset, 1);
    }
    for offset in [1, 2, 4] {
        tracker.completed(&p, offset);
    }
    assert!(tracker.retrying(&p, 3, head(7)));
    let (next, metadata) = commit(&mut tracker).expect("something changed");
    let (mut tracker, p) = (Tracker::default(), partition(2));
    tracker.begin(&p, OffsetMap::decode(next, &metadata).expect("its own text"));
    let came: Vec<_> = (0..6).map(|offset| tracker.delivered(&p, offset, 1)).collect();
    let open = Delivered::Open(None);
    let expected = [
        open,
        Delivered::Done,
        Delivered::Done,
        Delivered::Open(Some(head(7))),
        Delivered::Done,
        open,
    ];
    assert_eq!(came, expected);
    assert!(tracker.is_committed(), "nothing new was learned");
    tracker.completed(&p, 0);
    assert_eq!(position(&tracker), Some(3), "over what was complete before");
}

#[test]
fn a_stuck_record_holds_up_others_only_when_its_map_is_nearly_full() {
    let (mut tracker, p) = begun(1, 0);
    tracker.delivered(&p, 0, 1);
    assert_eq!(tracker.room(&p, 10), 9);
    for offset in 1..700_000 {
        tracker.delivered(&p, offset, 1);
        tracker.completed(&p, offset);
    }
    assert_eq!((tracker.room(&p, 10), tracker.held(&p).records), (9, 1), "700,000 behind it");
    for offset in 700_000..760_000 {
        tracker.delivered(&p, offset, 1);
        tracker.completed(&p, offset);
    }
    assert_eq!(tracker.room(&p, 10), 0, "a restart would read too far");
    tracker.completed(&p, 0);
    assert_eq!(tracker.room(&p, 10), 10);
}

#[derive(Clone, Debug)]
enum Step {
    /// A record comes; its offset is this much above the last.
    Deliver(i64),
    /// One of the delivered records completes, chosen by this number; maybe one that has completed before.
    Complete(usize),
    /// One of the delivered records fails and is tried again.
    Retry(usize, u32),
    /// The positions are committed.
    Commit,
    /// The partition goes away and comes back as it was committed; the log is read again.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1i64..4).prop_map(Step::Deliver),
        5 => any::<usize>().prop_map(Step::Complete),
        2 => (any::<usize>(), 1u32..9).prop_map(|(at, made)| Step::Retry(at, made)),
        2 => Just(Step::Commit),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..200)
}

/// The plainest thing that can be true: the log's offsets, and what is known of each, now and by the commit.
#[derive(Default)]
struct Model {
    epoch: u64,
    log: Vec<i64>,
    /// How many of the log were delivered in this epoch.
    delivered: usize,
    done: BTreeMap<i64, bool>,
    heads: BTreeMap<i64, Head>,
    committed: (i64, String),
    committed_done: BTreeMap<i64, bool>,
    committed_heads: BTreeMap<i64, Head>,
}

impl Model {
    fn is_done(&self, offset: i64) -> bool {
        self.done.get(&offset).copied().unwrap_or_default()
    }

    /// Whether every record of the log before `offset` is done with.
    fn is_all_done_before(&self, offset: i64) -> bool {
        self.log.iter().filter(|at| **at < offset).all(|at| self.is_done(*at))
    }

    fn expected(&self, offset: i64) -> Delivered {
        match self.is_done(offset) {
            true => Delivered::Done,
            false => Delivered::Open(self.heads.get(&offset).copied()),
        }
    }

    fn open(&self) -> usize {
        self.log[..self.delivered].iter().filter(|at| !self.is_done(**at)).count()
    }
}

proptest! {
    #[test]
    fn whatever_the_order_a_restart_repeats_what_was_open_at_the_commit_and_nothing_else(steps in steps()) {
        let (mut tracker, mut p) = begun(1, 0);
        let mut model = Model { epoch: 1, ..Model::default() };
        for step in steps {
            match step {
                Step::Deliver(above) => {
                    if model.delivered == model.log.len() {
                        model.log.push(model.log.last().map_or(above - 1, |last| last + above));
                    }
                    let offset = model.log[model.delivered];
                    model.delivered += 1;
                    prop_assert_eq!(tracker.delivered(&p, offset, 10), model.expected(offset));
                }
                Step::Complete(number) if model.delivered > 0 => {
                    let offset = model.log[number % model.delivered];
                    let was_done = model.is_done(offset);
                    prop_assert_eq!(tracker.completed(&p, offset) == Completed::Stale, was_done);
                    model.done.insert(offset, true);
                    model.heads.remove(&offset);
                }
                Step::Retry(number, made) if model.delivered > 0 => {
                    let offset = model.log[number % model.delivered];
                    let told = tracker.retrying(&p, offset, head(made));
                    prop_assert_eq!(told, !model.is_done(offset));
                    if told {
                        model.heads.insert(offset, head(made));
                    }
                }
                Step::Complete(_) | Step::Retry(..) => {}
                Step::Commit => {
                    if let Some((next, metadata)) = commit(&mut tracker) {
                        prop_assert!(next >= model.committed.0, "never back");
                        prop_assert!(model.is_all_done_before(next), "never past an open record");
                        model.committed = (next, metadata);
                        model.committed_done = model.done.clone();
                        model.committed_heads = model.heads.clone();
                    }
                    prop_assert!(tracker.is_committed());
                }
                Step::Restart => {
                    let late = model.delivered.checked_sub(1).map(|last| model.log[last]);
                    tracker.end(&p);
                    let old = std::mem::replace(&mut p, partition(model.epoch + 1));
                    model.epoch += 1;
                    model.done = model.committed_done.clone();
                    model.heads = model.committed_heads.clone();
                    let (next, metadata) = &model.committed;
                    tracker.begin(&p, OffsetMap::decode(*next, metadata).unwrap());
                    model.delivered = model.log.iter().filter(|at| *at < next).count();
                    if let Some(offset) = late {
                        prop_assert_eq!(tracker.completed(&old, offset), Completed::Stale);
                    }
                }
            }
            let open = model.open();
            prop_assert_eq!(tracker.held(&p), Held { records: open, bytes: open * 10 });
        }
    }
}
