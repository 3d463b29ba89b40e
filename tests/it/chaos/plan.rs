//! What of a scenario is left to chance, and how often its rounds are repeated: by the seed and the
//! minutes that `make chaos` was given.

use std::{
    env,
    time::{Duration, Instant},
};

const SEED: u64 = 1;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
// The load of a run ends by itself after 30 minutes.
const MINUTES_MAX: u64 = 25;

/// Draws from a seed, and counts rounds.
#[derive(Debug)]
pub(super) struct Plan {
    state: u64,
    rounds: usize,
    rounds_least: usize,
    until: Instant,
}

impl Plan {
    /// Reads what was asked for, and says by which seed the same comes again.
    pub(super) fn of(scenario: &str, rounds_least: usize) -> Self {
        let seed = asked("SEED").unwrap_or(SEED);
        let minutes = asked("MINUTES").unwrap_or(0);
        assert!(minutes <= MINUTES_MAX, "MINUTES is at most {MINUTES_MAX}");
        eprintln!("{scenario}: SEED={seed}");
        let until = Instant::now() + Duration::from_secs(minutes * 60);
        Self { state: seed, rounds: 0, rounds_least, until }
    }

    /// Begins another round, and gives its number from 0, until there were enough.
    pub(super) fn round(&mut self) -> Option<usize> {
        let round = self.rounds;
        let is_due = round < self.rounds_least || Instant::now() < self.until;
        self.rounds += usize::from(is_due);
        is_due.then_some(round)
    }

    /// Draws a number from 0 to `bound`, without it.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state) % bound
    }
}

fn asked(name: &str) -> Option<u64> {
    let text = env::var(format!("MILLRACE_CHAOS_{name}")).unwrap_or_default();
    (!text.is_empty()).then(|| text.parse().expect("it is a number"))
}

/// The finaliser of SplitMix64.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
