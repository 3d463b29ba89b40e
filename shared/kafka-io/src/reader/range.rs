//! How far a range has been read. Pure.

use super::{Range, Watermarks};

/// What the end of a partition means for its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eof {
    /// The range is read.
    Done,
    /// The log ends before the range does: more is to come.
    Wait,
    /// Look again from here.
    Confirm { from: i64 },
}

/// A range under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) partition: i32,
    /// The lowest offset not yet seen.
    pub(super) next: i64,
    to: i64,
    confirming: bool,
    done: bool,
}

impl Active {
    /// Fits a range into the log; `None` when nothing of it is there.
    pub(super) fn within(range: &Range, marks: Watermarks) -> Option<Self> {
        let (next, to) = (range.from.max(marks.low), range.to.min(marks.high));
        (next < to).then_some(Self {
            partition: range.partition,
            next,
            to,
            confirming: false,
            done: false,
        })
    }

    pub(super) fn open(&self) -> bool {
        !self.done
    }

    /// Tells whether a record belongs to the range and is new.
    pub(super) fn admits(&self, offset: i64) -> bool {
        !self.done && offset >= self.next && offset < self.to
    }

    /// Takes note of a record; true when the range is read with it.
    pub(super) fn saw(&mut self, offset: i64) -> bool {
        if self.done {
            return false;
        }
        self.next = self.next.max(offset.saturating_add(1));
        self.done = self.next >= self.to;
        self.done
    }

    /// Takes note of the end of the partition, the leader having named `high` as the end since.
    pub(super) fn met_end(&mut self, high: i64) -> Eof {
        if self.done || high < self.to {
            return Eof::Wait;
        }
        if self.confirming {
            self.done = true;
            return Eof::Done;
        }
        self.confirming = true;
        Eof::Confirm { from: self.next }
    }

    /// Leaves out what lies before the log's start; returns where to go on.
    pub(super) fn skip_to(&mut self, low: i64) -> i64 {
        self.next = self.next.max(low);
        self.next
    }

    /// Returns what is still to be read.
    pub(super) fn left(&self, topic: &str) -> Option<Range> {
        let range = Range {
            topic: topic.to_owned(),
            partition: self.partition,
            from: self.next,
            to: self.to,
        };
        self.open().then_some(range)
    }
}

pub(super) fn find(active: &mut [Active], partition: i32) -> Option<&mut Active> {
    active.iter_mut().find(|range| range.partition == partition && range.open())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn active(from: i64, to: i64, low: i64, high: i64) -> Option<Active> {
        let range = Range { topic: "t".to_owned(), partition: 0, from, to };
        Active::within(&range, Watermarks { low, high })
    }

    #[test]
    fn a_range_is_fitted_into_the_log() {
        let cases = [
            ((0, i64::MAX, 5, 10), Some((5, 10))),
            ((6, 8, 5, 10), Some((6, 8))),
            ((0, 5, 5, 10), None),
            ((10, i64::MAX, 5, 10), None),
            ((7, 7, 5, 10), None),
            ((0, i64::MAX, 0, 0), None),
        ];
        for ((from, to, low, high), expected) in cases {
            let found = active(from, to, low, high).map(|range| (range.next, range.to));
            assert_eq!(found, expected, "{from}..{to} in {low}..{high}");
        }
    }

    #[test]
    fn a_range_ends_with_its_last_record_or_with_a_later_one() {
        let mut range = active(0, 3, 0, 10).unwrap();
        assert!(!range.saw(0));
        assert!(range.admits(2) && !range.admits(3) && !range.admits(0));
        assert!(range.saw(7), "offset 3 to 6 were markers");
        assert!(!range.saw(8), "counted once");
    }

    #[test]
    fn a_range_that_ends_with_markers_ends_when_the_end_is_met_twice() {
        let mut range = active(0, 3, 0, 3).unwrap();
        range.saw(1);
        assert_eq!(range.met_end(2), Eof::Wait, "an old leader's end");
        assert_eq!(range.met_end(3), Eof::Confirm { from: 2 });
        assert_eq!(range.met_end(3), Eof::Done);
        assert_eq!(range.left("t"), None);
    }

    #[test]
    fn what_was_not_read_is_left() {
        let mut range = active(0, 9, 0, 9).unwrap();
        range.saw(4);
        assert_eq!(
            range.left("t"),
            Some(Range { topic: "t".to_owned(), partition: 0, from: 5, to: 9 })
        );
    }
}
