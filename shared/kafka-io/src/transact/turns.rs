//! Whose turn it is: batches pass each stage in the order in which they were formed.
//!
//! Produce in order keeps the records of a key in order across producers. Offsets in order matter as much:
//! the broker keeps the offset whose record lies later in its log, whichever marker comes last.
//! A broken batch ends the turns of every later one; earlier ones go on.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The steps of a transaction that happen in batch order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Produce,
    Offsets,
    Commit,
}

/// Says that an earlier batch failed, or that everything is to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

#[derive(Debug)]
struct State {
    next: [u64; 3],
    broken_from: u64,
}

/// Turns of the batches through the stages. Batches are numbered without gaps from 0 after each reset.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

impl Turns {
    pub(crate) fn new() -> Self {
        let state = State { next: [0; 3], broken_from: u64::MAX };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Blocks until every earlier batch has passed `stage`.
    pub(crate) fn wait(&self, stage: Stage, batch: u64) -> Result<(), Broken> {
        let mut state = self.state.lock();
        loop {
            if batch >= state.broken_from {
                return Err(Broken);
            }
            if state.next[stage as usize] == batch {
                return Ok(());
            }
            // The time is a guard against a lost wake-up only; the loop asks again.
            self.changed.wait_for(&mut state, Duration::from_secs(1));
        }
    }

    /// Lets the next batch into `stage`.
    pub(crate) fn passed(&self, stage: Stage, batch: u64) {
        let mut state = self.state.lock();
        state.next[stage as usize] = batch + 1;
        self.changed.notify_all();
    }

    /// Ends the turns of `batch` and of every later one.
    pub(crate) fn break_from(&self, batch: u64) {
        let mut state = self.state.lock();
        state.broken_from = state.broken_from.min(batch);
        self.changed.notify_all();
    }

    /// Tells whether the turns of `batch` have ended.
    pub(crate) fn is_broken(&self, batch: u64) -> bool {
        batch >= self.state.lock().broken_from
    }

    /// Ends the turns of every batch that has not yet passed its commit.
    pub(crate) fn break_all(&self) {
        self.break_from(0);
    }

    /// Begins anew with batch 0. Only for when no batch is under way.
    pub(crate) fn reset(&self) {
        *self.state.lock() = State { next: [0; 3], broken_from: u64::MAX };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn batches_pass_a_stage_in_order_whatever_the_threads_do() {
        let turns = Arc::new(Turns::new());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..8u64)
            .rev()
            .map(|batch| {
                let (turns, seen) = (turns.clone(), seen.clone());
                thread::spawn(move || {
                    for stage in [Stage::Produce, Stage::Offsets, Stage::Commit] {
                        turns.wait(stage, batch)?;
                        seen.lock().push((stage as usize, batch));
                        turns.passed(stage, batch);
                    }
                    Ok::<(), Broken>(())
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().ok(), Some(Ok(())));
        }
        for stage in 0..3 {
            let order: Vec<u64> =
                seen.lock().iter().filter(|s| s.0 == stage).map(|s| s.1).collect();
            assert_eq!(order, (0..8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_broken_batch_ends_later_ones_and_lets_earlier_ones_finish() {
        let turns = Turns::new();
        turns.passed(Stage::Produce, 0);
        turns.break_from(1);
        assert_eq!(turns.wait(Stage::Produce, 2), Err(Broken));
        assert_eq!(turns.wait(Stage::Commit, 1), Err(Broken));
        assert_eq!(turns.wait(Stage::Commit, 0), Ok(()));
    }

    #[test]
    fn breaking_wakes_who_waits() {
        let turns = Arc::new(Turns::new());
        let waiting = {
            let turns = turns.clone();
            thread::spawn(move || turns.wait(Stage::Commit, 5))
        };
        turns.break_all();
        assert_eq!(waiting.join().ok(), Some(Err(Broken)));
    }

    #[test]
    fn after_a_reset_the_first_batch_has_its_turn() {
        let turns = Turns::new();
        turns.break_all();
        turns.reset();
        assert_eq!(turns.wait(Stage::Produce, 0), Ok(()));
    }
}
