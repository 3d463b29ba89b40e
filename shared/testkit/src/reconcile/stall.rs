//! The longest time something stood still although nothing was dead on purpose: all keys together,
//! or one key among many.

use std::collections::HashMap;

use super::{Down, Run, Taken};

/// A stretch of time, by its end and its length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stall<'a> {
    pub(super) ms: u64,
    pub(super) ended_ms: u64,
    /// The key that stood still; `None` where nothing at all was taken.
    pub(super) key: Option<&'a str>,
}

/// The longest time in which nothing at all was taken.
pub(super) fn of_all(run: &Run) -> Stall<'_> {
    gaps(&run.taken, &run.down).into_iter().max_by_key(|stall| stall.ms).unwrap_or_default()
}

/// The longest time for which one key's head was not taken.
pub(super) fn of_a_key(run: &Run) -> Stall<'_> {
    of_keys(run).max_by_key(|stall| stall.ms).unwrap_or_default()
}

/// The gaps between takes, whatever their keys: these are seen also while nothing is accepted.
fn gaps<'a>(taken: &[Taken], down: &[Down]) -> Vec<Stall<'a>> {
    let mut times: Vec<u64> = taken.iter().map(|taken| taken.at_ms).collect();
    times.sort_unstable();
    let stall =
        |pair: &[u64]| Stall { ms: awake_ms(pair[0], pair[1], down), ended_ms: pair[1], key: None };
    times.windows(2).map(stall).collect()
}

/// How long each head of a key waited: from when it was accepted and what goes before it was taken.
///
/// What became a dead letter waits for whoever replays it. What is never taken is lost, not late.
fn of_keys(run: &Run) -> impl Iterator<Item = Stall<'_>> {
    let mut first_takes: HashMap<&str, u64> = HashMap::new();
    for taken in &run.taken {
        let at_ms = first_takes.entry(&taken.id).or_insert(taken.at_ms);
        *at_ms = (*at_ms).min(taken.at_ms);
    }
    let mut free_since: HashMap<&str, u64> = HashMap::new();
    let down = [run.down.as_slice(), &run.keys_down].concat();
    let live = run.accepted.iter().filter(|promise| !run.dead_lettered.contains(&promise.id));
    live.filter_map(move |promise| {
        // Removed, so that an id accepted twice counts from the first time.
        let taken_ms = first_takes.remove(promise.id.as_str())?;
        let free_ms = free_since.entry(&promise.key).or_default();
        let ms = awake_ms(promise.accepted_ms.max(*free_ms), taken_ms, &down);
        *free_ms = (*free_ms).max(taken_ms);
        Some(Stall { ms, ended_ms: taken_ms, key: Some(&promise.key) })
    })
}

/// The longest stretch between `from` and `to` that no down time touches.
fn awake_ms(from: u64, to: u64, down: &[Down]) -> u64 {
    let mut times: Vec<&Down> =
        down.iter().filter(|down| down.from_ms < to && down.to_ms > from).collect();
    times.sort_unstable_by_key(|down| down.from_ms);
    let (mut awake_since, mut longest) = (from, 0);
    for down in times {
        longest = longest.max(down.from_ms.saturating_sub(awake_since));
        awake_since = awake_since.max(down.to_ms);
    }
    longest.max(to.saturating_sub(awake_since))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::reconcile::Promise;

    fn downs(down: &[(u64, u64)]) -> Vec<Down> {
        down.iter().map(|(from_ms, to_ms)| Down { from_ms: *from_ms, to_ms: *to_ms }).collect()
    }

    /// Takes of nobody's promise, so that only the gaps between any two count.
    fn longest_gap_ms(at: &[u64], down: &[(u64, u64)]) -> u64 {
        let taken = at.iter().map(|at_ms| Taken { id: String::new(), at_ms: *at_ms }).collect();
        of_all(&Run { taken, down: downs(down), ..Run::default() }).ms
    }

    #[test]
    fn a_stall_is_the_longest_gap_that_is_not_down_time() {
        assert_eq!(longest_gap_ms(&[], &[]), 0);
        assert_eq!(longest_gap_ms(&[5], &[]), 0);
        assert_eq!(longest_gap_ms(&[0, 10, 40, 45], &[]), 30);
        assert_eq!(longest_gap_ms(&[40, 0, 45, 10], &[]), 30, "times need not be sorted");
        assert_eq!(longest_gap_ms(&[0, 100], &[(10, 60)]), 40, "from the restart on");
        assert_eq!(longest_gap_ms(&[0, 100], &[(70, 90)]), 70, "up to the kill");
        assert_eq!(longest_gap_ms(&[0, 100], &[(60, 90), (10, 70)]), 10, "two overlap");
        assert_eq!(longest_gap_ms(&[0, 100], &[(10, 90), (20, 30)]), 10, "one in another");
        assert_eq!(longest_gap_ms(&[0, 100], &[(50, 60), (70, 80)]), 50, "before both");
        assert_eq!(longest_gap_ms(&[0, 100], &[(0, 200)]), 0);
        assert_eq!(longest_gap_ms(&[0, 100], &[(200, 300)]), 100);
    }

    #[test]
    fn a_stall_says_when_it_ended() {
        let taken = [0, 10, 40, 45].map(|at_ms| Taken { id: String::new(), at_ms }).to_vec();
        let run = Run { taken, ..Run::default() };
        assert_eq!(of_all(&run), Stall { ms: 30, ended_ms: 40, key: None });
    }

    /// A run of `(id, accepted, taken)`, in the order of acceptance, in which `b` is taken every
    /// 10 ms: so only one key can stand still.
    fn beside_a_flow(events: &[(&str, u64, u64)], down: &[(u64, u64)]) -> Run {
        let flow: Vec<(String, u64)> = (0..=20).map(|n| (format!("b{n}"), n * 10)).collect();
        let promise = |id: &str, accepted_ms| Promise {
            id: id.to_owned(),
            key: id[..1].to_owned(),
            accepted_ms,
        };
        let flowing = flow.iter().map(|(id, at_ms)| promise(id, *at_ms));
        let taken = |id: &str, at_ms| Taken { id: id.to_owned(), at_ms };
        Run {
            accepted: events.iter().map(|(id, at, _)| promise(id, *at)).chain(flowing).collect(),
            taken: events
                .iter()
                .map(|(id, _, at)| taken(id, *at))
                .chain(flow.iter().map(|(id, at_ms)| taken(id, *at_ms)))
                .collect(),
            down: downs(down),
            ..Run::default()
        }
    }

    #[test]
    fn one_key_that_stands_still_is_seen_while_others_flow() {
        let none: &[(u64, u64)] = &[];
        for (what, events, down, stall) in [
            ("hardly waits", &[("a1", 50, 55)][..], none, (5, Some("a"))),
            ("from its acceptance", &[("a1", 50, 195)], none, (145, Some("a"))),
            ("from the take before", &[("a1", 0, 90), ("a2", 5, 185)], none, (95, Some("a"))),
            ("not behind itself", &[("a1", 0, 90), ("a2", 5, 40)], none, (90, Some("a"))),
            ("taken before its answer", &[("a1", 190, 20)], none, (0, None)),
            ("from the first take", &[("a1", 0, 20), ("a1", 0, 190)], none, (20, Some("a"))),
            ("whatever their order", &[("a1", 0, 190), ("a1", 0, 20)], none, (20, Some("a"))),
            (
                "from the latest of those before",
                &[("a1", 0, 90), ("a2", 5, 40), ("a3", 5, 185)],
                none,
                (95, Some("a")),
            ),
            ("from the restart", &[("a1", 0, 195)], &[(20, 60)], (135, Some("a"))),
            ("up to the kill", &[("a1", 0, 195)], &[(120, 190)], (120, Some("a"))),
            ("another key", &[("a1", 0, 90), ("c1", 0, 140)], none, (140, Some("c"))),
        ] {
            let run = beside_a_flow(events, down);
            let found = of_a_key(&run);
            let key = found.key.filter(|_| found.ms > 0);
            assert_eq!((found.ms, key), stall, "{what}");
            let is_end = events.iter().any(|(_, _, taken_ms)| *taken_ms == found.ended_ms);
            assert!(is_end || found.ms == 0, "{what}: {found:?}");
            assert!(of_all(&run).ms <= 10, "{what}: others are taken all the time");
        }
    }

    #[test]
    fn a_key_may_stand_still_with_its_member_and_everything_may_not() {
        let mut run = beside_a_flow(&[("a1", 0, 190)], &[]);
        run.keys_down = downs(&[(20, 120)]);
        assert_eq!(of_a_key(&run).ms, 70);
        run.taken.retain(|taken| taken.id == "a1" || !(25..115).contains(&taken.at_ms));
        assert_eq!(of_all(&run).ms, 100, "nobody's is taken for so long");
    }

    #[test]
    fn a_dead_letter_waits_for_who_replays_it() {
        let mut run = beside_a_flow(&[("a1", 0, 190)], &[]);
        assert_eq!(of_a_key(&run).ms, 190);
        run.dead_lettered = HashSet::from(["a1".to_owned()]);
        assert_eq!(of_a_key(&run).ms, 0);
    }

    #[test]
    fn a_key_whose_head_is_never_taken_has_no_wait() {
        let mut run = beside_a_flow(&[("a1", 0, 0), ("a2", 5, 40)], &[]);
        run.taken.retain(|taken| taken.id != "a1");
        assert_eq!(of_a_key(&run).ms, 35);
    }
}
