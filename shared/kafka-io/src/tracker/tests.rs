//! The tracker against a model: whatever the order of completion, only the contiguous part counts.

use proptest::prelude::*;

use super::*;

fn partition(epoch: u64) -> Partition {
    Partition { topic: "t".into(), partition: 0, epoch }
}

fn position(tracker: &Tracker) -> Option<i64> {
    tracker.uncommitted().first().map(|(_, position)| *position)
}

#[test]
fn a_position_is_the_offset_of_the_first_record_that_is_not_completed() {
    let (mut tracker, p) = (Tracker::default(), partition(1));
    tracker.begin(&p);
    assert_eq!(position(&tracker), None);
    for offset in [10, 12, 17] {
        tracker.delivered(&p, offset, 5);
    }
    assert_eq!(position(&tracker), None, "nothing completed");
    tracker.completed(&p, 12);
    assert_eq!(position(&tracker), None, "a gap before it");
    tracker.completed(&p, 10);
    assert_eq!(position(&tracker), Some(17), "taken from the delivered record, not 13");
    tracker.completed(&p, 17);
    assert_eq!(position(&tracker), Some(18), "nothing behind it");
    tracker.committed(&p, 18);
    assert_eq!(position(&tracker), None);
}

#[test]
fn what_completes_late_from_an_earlier_epoch_is_dropped() {
    let mut tracker = Tracker::default();
    let (old, new) = (partition(1), partition(2));
    tracker.begin(&old);
    tracker.delivered(&old, 5, 1);
    tracker.end(&old);
    assert_eq!(tracker.completed(&old, 5), Completed::Stale);
    tracker.begin(&new);
    tracker.delivered(&new, 5, 1);
    tracker.end(&old);
    assert_eq!(
        tracker.completed(&old, 5),
        Completed::Stale,
        "an old end does not touch the new epoch"
    );
    tracker.committed(&old, 100);
    assert_eq!(tracker.completed(&new, 5), Completed::Freed { records: 1 });
    assert_eq!(position(&tracker), Some(6));
}

#[test]
fn a_record_completes_once_and_an_unknown_one_not_at_all() {
    let (mut tracker, p) = (Tracker::default(), partition(1));
    tracker.begin(&p);
    tracker.delivered(&p, 3, 7);
    tracker.delivered(&p, 4, 7);
    assert_eq!(tracker.completed(&p, 4), Completed::Freed { records: 0 });
    assert_eq!(tracker.completed(&p, 4), Completed::Stale);
    assert_eq!(tracker.completed(&p, 9), Completed::Stale);
    assert_eq!(tracker.held(&p), Held { records: 2, bytes: 14 });
    assert_eq!(tracker.completed(&p, 3), Completed::Freed { records: 2 });
    assert_eq!(tracker.completed(&p, 3), Completed::Stale);
    assert_eq!(tracker.held(&p), Held::default());
}

#[derive(Clone, Debug)]
enum Step {
    /// A record comes; its offset is this much above the last.
    Deliver(i64),
    /// One of the delivered records completes, chosen by this number; maybe one that has completed before.
    Complete(usize),
    /// The positions are committed.
    Commit,
    /// The partition goes away and comes back.
    Reassign,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1i64..4).prop_map(Step::Deliver),
        4 => any::<usize>().prop_map(Step::Complete),
        1 => Just(Step::Commit),
        1 => Just(Step::Reassign),
    ];
    prop::collection::vec(step, 0..200)
}

/// The plainest thing that can be true: lists of what was delivered and what completed.
#[derive(Default)]
struct Model {
    epoch: u64,
    delivered: Vec<i64>,
    completed: Vec<bool>,
    committed: i64,
}

impl Model {
    /// The offset before which every record has completed.
    fn prefix(&self) -> i64 {
        match self.completed.iter().position(|done| !done) {
            Some(first) => self.delivered[first],
            None => self.delivered.last().map_or(self.committed, |last| last + 1),
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_order_of_completion_only_the_part_without_a_gap_is_committed(steps in steps()) {
        let mut tracker = Tracker::default();
        let mut model = Model { epoch: 1, ..Model::default() };
        tracker.begin(&partition(1));
        for step in steps {
            let now = partition(model.epoch);
            match step {
                Step::Deliver(above) => {
                    let offset = model.delivered.last().map_or(model.committed, |last| *last) + above;
                    tracker.delivered(&now, offset, 10);
                    model.delivered.push(offset);
                    model.completed.push(false);
                }
                Step::Complete(number) if !model.delivered.is_empty() => {
                    let at = number % model.delivered.len();
                    let completed = tracker.completed(&now, model.delivered[at]);
                    prop_assert_eq!(completed == Completed::Stale, model.completed[at]);
                    model.completed[at] = true;
                }
                Step::Complete(_) => {}
                Step::Commit => {
                    for (partition, position) in tracker.uncommitted() {
                        prop_assert_eq!(position, model.prefix());
                        tracker.committed(&partition, position);
                        model.committed = position;
                    }
                }
                Step::Reassign => {
                    let late = model.delivered.last().copied();
                    tracker.end(&now);
                    model = Model { epoch: model.epoch + 1, committed: model.committed, ..Model::default() };
                    tracker.begin(&partition(model.epoch));
                    if let Some(offset) = late {
                        prop_assert_eq!(tracker.completed(&now, offset), Completed::Stale);
                    }
                }
            }
            let open = model.completed.iter().position(|done| !done).map_or(0, |first| model.completed.len() - first);
            prop_assert_eq!(tracker.held(&partition(model.epoch)), Held { records: open, bytes: open * 10 });
            for (_, position) in tracker.uncommitted() {
                prop_assert!(position > model.committed, "never back, never twice");
                prop_assert!(position <= model.prefix(), "never past an unfinished record");
            }
        }
    }
}
