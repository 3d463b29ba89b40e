//! Finds the record that spoils its transaction, and keeps it until it is dealt with. Pure.
//!
//! Kafka names the record at fault only sometimes. Where it does not, batches are halved until one holds a
//! single input record; that one is at fault.

use std::collections::HashMap;

use super::Refusal;
use super::batch::{Coordinate, Position};

/// What is known of records that Kafka refuses.
#[derive(Debug)]
pub(crate) struct Suspects {
    limit: usize,
    cap: usize,
    refused: HashMap<Coordinate, Refusal>,
}

impl Suspects {
    /// `limit` is the number of input records of a batch when nothing is suspected.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), cap: limit.max(1), refused: HashMap::new() }
    }

    /// Returns how many input records a batch may hold now.
    pub(crate) fn batch_records_max(&self) -> usize {
        self.cap
    }

    /// Returns why this record was refused, if it was.
    pub(crate) fn refusal(&self, record: &Coordinate) -> Option<&Refusal> {
        self.refused.get(record)
    }

    /// Takes note of a batch of `inputs` records that Kafka refused because of `culprit`, where it is known.
    pub(crate) fn refused(&mut self, culprit: Option<Coordinate>, inputs: usize, why: &str) {
        let Some(culprit) = culprit else {
            self.cap = (inputs.min(self.cap) / 2).max(1);
            return;
        };
        let refusal = self.refused.entry(culprit).or_default();
        refusal.times = refusal.times.saturating_add(1);
        why.clone_into(&mut refusal.why);
    }

    /// Takes note of a committed batch: what lies before its positions needs no more care.
    pub(crate) fn committed(&mut self, positions: &[Position]) {
        self.cap = self.cap.saturating_mul(2).min(self.limit);
        if self.refused.is_empty() {
            return;
        }
        let passed = |record: &Coordinate, p: &Position| {
            p.topic == record.topic && p.partition == record.partition && record.offset < p.next
        };
        self.refused.retain(|record, _| !positions.iter().any(|position| passed(record, position)));
    }

    /// Forgets what belongs to a partition that is no longer ours.
    pub(crate) fn forget(&mut self, topic: &str, partition: i32) {
        self.refused.retain(|record, _| record.partition != partition || *record.topic != *topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Coordinate {
        Coordinate { topic: "raw.a".into(), partition: 0, offset }
    }

    /// Runs batches over records 0..n of which `bad` is refused until known; returns the number of rounds.
    fn rounds_until_all_pass(n: i64, bad: i64, limit: usize) -> usize {
        let mut suspects = Suspects::new(limit);
        let (mut next, mut rounds) = (0, 0);
        while next < n {
            rounds += 1;
            assert!(rounds < 30_000, "the partition is blocked");
            let end = n.min(next + i64::try_from(suspects.batch_records_max()).unwrap_or(i64::MAX));
            let known = suspects.refusal(&at(bad)).is_some();
            if (next..end).contains(&bad) && !known {
                let single = (end - next == 1).then(|| at(next));
                suspects.refused(single, usize::try_from(end - next).unwrap_or(0), "too large");
            } else {
                let position = Position { topic: "raw.a".into(), partition: 0, next: end };
                suspects.committed(&[position]);
                next = end;
            }
        }
        assert!(suspects.refused.is_empty(), "nothing is kept for ever");
        assert_eq!(suspects.batch_records_max(), limit);
        rounds
    }

    #[test]
    fn the_record_at_fault_is_found_by_halving_and_the_others_pass() {
        for (limit, bad) in [(1000, 0), (1000, 999), (1000, 517), (7, 3), (1, 0)] {
            let rounds = rounds_until_all_pass(1000 + 20 * 1000, bad, limit);
            assert!(
                rounds < 60 + 21_000 / limit,
                "{rounds} rounds for record {bad}, limit {limit}"
            );
        }
    }

    #[test]
    fn a_record_refused_again_counts_its_times() {
        let mut suspects = Suspects::new(10);
        suspects.refused(Some(at(3)), 10, "first");
        suspects.refused(Some(at(3)), 10, "second");
        let expected = Refusal { why: "second".to_owned(), times: 2 };
        assert_eq!(suspects.refusal(&at(3)), Some(&expected));
        assert_eq!(suspects.batch_records_max(), 10, "a known record needs no halving");
        suspects.forget("raw.a", 0);
        assert_eq!(suspects.refusal(&at(3)), None);
    }
}
