//! When a transaction counts as standing still. Pure.
//!
//! librdkafka may wait for a coordinator that died without regard to the limit of the call, so somebody has to lose
//! patience. While nothing commits the patience doubles: brokers that are slow for long are not given up for ever.

use std::time::Duration;

/// Longer than a dead broker takes to be missed.
const MIN: Duration = Duration::from_secs(9);
const MAX: Duration = Duration::from_secs(60);

/// The patience with transactions, kept over sessions.
#[derive(Debug)]
pub(super) struct Standstill {
    limit: Duration,
}

impl Standstill {
    pub(super) fn new() -> Self {
        Self { limit: MIN }
    }

    /// Says whether a transaction of which nothing was heard for `quiet` is to be given up; the next has longer.
    pub(super) fn gives_up(&mut self, quiet: Duration) -> bool {
        let over = quiet > self.limit;
        if over {
            self.limit = (self.limit * 2).min(MAX);
        }
        over
    }

    pub(super) fn committed(&mut self) {
        self.limit = MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_doubles_up_to_a_bound_until_something_commits() {
        let mut standstill = Standstill::new();
        let seconds = Duration::from_secs;
        assert!(!standstill.gives_up(seconds(9)) && standstill.gives_up(seconds(10)));
        assert!(!standstill.gives_up(seconds(18)) && standstill.gives_up(seconds(19)));
        for _ in 0..9 {
            standstill.gives_up(seconds(100));
        }
        assert!(!standstill.gives_up(seconds(60)) && standstill.gives_up(seconds(61)));
        standstill.committed();
        assert!(standstill.gives_up(seconds(10)));
    }
}
