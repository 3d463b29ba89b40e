//! The longest time nothing was taken although nothing was dead on purpose.

use super::{Down, Taken};

/// A stretch of time, by its end and its length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stall {
    pub(super) ms: u64,
    pub(super) ended_ms: u64,
}

pub(super) fn longest(taken: &[Taken], down: &[Down]) -> Stall {
    let mut times: Vec<u64> = taken.iter().map(|taken| taken.at_ms).collect();
    times.sort_unstable();
    let stalls = times
        .windows(2)
        .map(|pair| Stall { ms: awake_ms(pair[0], pair[1], down), ended_ms: pair[1] });
    stalls.max_by_key(|stall| stall.ms).unwrap_or_default()
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
    use super::*;

    fn longest_ms(at: &[u64], down: &[(u64, u64)]) -> u64 {
        let taken: Vec<_> =
            at.iter().map(|at_ms| Taken { id: String::new(), at_ms: *at_ms }).collect();
        let down: Vec<_> =
            down.iter().map(|(from_ms, to_ms)| Down { from_ms: *from_ms, to_ms: *to_ms }).collect();
        longest(&taken, &down).ms
    }

    #[test]
    fn a_stall_is_the_longest_gap_that_is_not_down_time() {
        assert_eq!(longest_ms(&[], &[]), 0);
        assert_eq!(longest_ms(&[5], &[]), 0);
        assert_eq!(longest_ms(&[0, 10, 40, 45], &[]), 30);
        assert_eq!(longest_ms(&[40, 0, 45, 10], &[]), 30, "times need not be sorted");
        assert_eq!(longest_ms(&[0, 100], &[(10, 60)]), 40, "from the restart on");
        assert_eq!(longest_ms(&[0, 100], &[(70, 90)]), 70, "up to the kill");
        assert_eq!(longest_ms(&[0, 100], &[(60, 90), (10, 70)]), 10, "two overlap");
        assert_eq!(longest_ms(&[0, 100], &[(0, 200)]), 0);
        assert_eq!(longest_ms(&[0, 100], &[(200, 300)]), 100);
    }

    #[test]
    fn a_stall_says_when_it_ended() {
        let taken = [0, 10, 40, 45].map(|at_ms| Taken { id: String::new(), at_ms });
        assert_eq!(longest(&taken, &[]), Stall { ms: 30, ended_ms: 40 });
    }
}
