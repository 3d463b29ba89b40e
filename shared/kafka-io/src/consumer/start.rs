//! Where a partition's reading begins. Pure.

use super::status::{Loss, Partition};

/// A decision about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) from: i64,
    /// The committed offset, where it lies below the log's start.
    missed_from: Option<i64>,
    /// The committed offset belongs to an earlier topic of the same name.
    pub(super) from_new_log: bool,
}

/// `refused` says that the broker refused the position as outside of the log.
///
/// Without a commit everything in the log is read. A committed offset above the end is kept unless the broker has
/// refused it: a new leader may not yet know its own end.
pub(super) fn decide(committed: Option<i64>, low: i64, refused: bool) -> Start {
    let start = |from, missed_from, from_new_log| Start { from, missed_from, from_new_log };
    match committed {
        None => start(low, None, false),
        Some(committed) if committed < low => start(low, Some(committed), false),
        Some(_) if refused => start(low, None, true),
        Some(committed) => start(committed, None, false),
    }
}

impl Start {
    pub(super) fn loss(&self, partition: &Partition) -> Option<Loss> {
        let from = self.missed_from?;
        Some(Loss {
            topic: partition.topic.clone(),
            partition: partition.partition,
            from,
            to: self.from,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_at_the_commit_or_at_the_logs_start_and_a_gap_is_told() {
        let cases = [
            (None, 0, false, (0, 0, false), "nothing committed"),
            (
                None,
                7,
                false,
                (7, 0, false),
                "nothing committed, old records removed: nothing of ours is lost",
            ),
            (Some(0), 0, false, (0, 0, false), "committed at the start"),
            (Some(9), 3, false, (9, 0, false), "committed inside the log or above its end"),
            (Some(3), 9, false, (9, 6, false), "committed below the start"),
            (Some(3), 9, true, (9, 6, false), "refused because it is below the start"),
            (Some(9), 3, true, (3, 0, true), "refused although above the start: another log"),
        ];
        let partition = Partition { topic: "t".into(), partition: 0, epoch: 1 };
        for (committed, low, refused, expected, why) in cases {
            let start = decide(committed, low, refused);
            let lost = start.loss(&partition).map_or(0, |loss| loss.records());
            assert_eq!((start.from, lost, start.from_new_log), expected, "{why}");
        }
    }
}
