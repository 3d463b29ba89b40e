//! Which takes came again for no reason: no crash before them had left their id unfinished, and its
//! sender did not come again.

use std::collections::{BTreeMap, HashMap};

use super::Run;

/// The id of each take that nothing explains; each reason explains one take.
pub(super) fn unexplained(run: &Run) -> Vec<&str> {
    let mut takes: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for taken in &run.taken {
        takes.entry(&taken.id).or_default().push(taken.at_ms);
    }
    let mut reasons = reasons(run);
    let mut unexplained = Vec::new();
    for (id, mut takes) in takes.into_iter().filter(|(_, takes)| takes.len() > 1) {
        takes.sort_unstable();
        let mut reasons = reasons.remove(id).unwrap_or_default();
        reasons.sort_unstable();
        let mut reasons = reasons.into_iter().peekable();
        for again_ms in &takes[1..] {
            if reasons.next_if(|since_ms| since_ms <= again_ms).is_none() {
                unexplained.push(id);
            }
        }
    }
    unexplained
}

/// From when on each id may be taken once more; a sender's repeat may come at any time.
fn reasons(run: &Run) -> HashMap<&str, Vec<u64>> {
    let mut reasons: HashMap<&str, Vec<u64>> = HashMap::new();
    for crash in &run.crashes {
        for id in &crash.may_repeat {
            reasons.entry(id).or_default().push(crash.at_ms);
        }
    }
    for (id, times) in &run.resent {
        reasons.entry(id).or_default().extend((0..*times).map(|_| 0));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::{Crash, Taken};

    fn crash(at_ms: u64, may_repeat: &[&str]) -> Crash {
        let may_repeat: Vec<String> = may_repeat.iter().map(|id| id.to_string()).collect();
        Crash { at_ms, left: may_repeat.len() as u64, may_repeat }
    }

    #[test]
    fn a_double_is_explained_by_a_crash_before_it_that_had_left_it_or_by_its_sender() {
        let of_a = |at_ms| [crash(at_ms, &["a"])].to_vec();
        for (what, takes, crashes, resent, wanted) in [
            ("none", &[("a", 1), ("b", 2)][..], vec![], 0, &[][..]),
            ("no reason", &[("a", 1), ("a", 2)], vec![], 0, &["a"]),
            ("left by a crash", &[("a", 1), ("a", 9)], of_a(5), 0, &[]),
            ("with the crash", &[("a", 1), ("a", 5)], of_a(5), 0, &[]),
            ("before the crash", &[("a", 1), ("a", 4)], of_a(5), 0, &["a"]),
            ("another's crash", &[("b", 1), ("b", 9)], of_a(5), 0, &["b"]),
            ("twice for one crash", &[("a", 1), ("a", 8), ("a", 9)], of_a(5), 0, &["a"]),
            (
                "once for each crash",
                &[("a", 1), ("a", 6), ("a", 9)],
                [of_a(5), of_a(8)].concat(),
                0,
                &[],
            ),
            (
                "twice between two crashes",
                &[("a", 1), ("a", 6), ("a", 7)],
                [of_a(5), of_a(8)].concat(),
                0,
                &["a"],
            ),
            (
                "two records of one id",
                &[("a", 1), ("a", 6), ("a", 7)],
                vec![crash(5, &["a", "a"])],
                0,
                &[],
            ),
            ("sent again", &[("a", 1), ("a", 4)], vec![], 1, &[]),
            ("sent again and left", &[("a", 1), ("a", 4), ("a", 6)], of_a(5), 1, &[]),
            ("in any order", &[("a", 9), ("a", 1)], of_a(5), 0, &[]),
        ] {
            let taken = |(id, at_ms): &(&str, u64)| Taken { id: id.to_string(), at_ms: *at_ms };
            let run = Run {
                taken: takes.iter().map(taken).collect(),
                crashes,
                resent: HashMap::from([("a".to_owned(), resent)]),
                ..Run::default()
            };
            assert_eq!(unexplained(&run), wanted, "{what}");
        }
    }
}
