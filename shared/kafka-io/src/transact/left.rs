//! Threads of earlier sessions that hang in a call of librdkafka's, and how many of them an engine bears.
//!
//! Nothing ends such a call before its time, which may be minutes; its thread keeps a producer, a batch and a closed
//! consumer. A few cost memory for a while. If they become more and more, only a new process is rid of them.

use std::thread::JoinHandle;
use std::time::Duration;

use super::session::GRACE;

/// Threads that may hang when a new session begins: more than a restart of all brokers, one by one, leaves behind.
const HANGING_MAX: usize = 8;

/// What is to be done before the next session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearing {
    GoOn,
    /// Calls that are no worse than slow end soon.
    Wait,
    TooMany,
}

/// Decides, with `hanging` threads after waiting for them for `waited`.
pub(super) fn bearing(hanging: usize, waited: Duration) -> Bearing {
    match hanging {
        0..=HANGING_MAX => Bearing::GoOn,
        _ if waited < GRACE => Bearing::Wait,
        _ => Bearing::TooMany,
    }
}

/// The threads that were left behind.
#[derive(Debug, Default)]
pub(super) struct Left {
    threads: Vec<JoinHandle<()>>,
}

impl Left {
    pub(super) fn add(&mut self, threads: Vec<JoinHandle<()>>) {
        self.threads.extend(threads);
    }

    /// Counts those that have not ended.
    pub(super) fn hanging(&mut self) -> usize {
        self.threads.retain(|thread| !thread.is_finished());
        self.threads.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    use super::*;

    /// A thread that hangs until its sender is dropped.
    fn hung() -> (Sender<()>, JoinHandle<()>) {
        let (end, ended) = channel::<()>();
        (end, thread::spawn(move || assert!(ended.recv().is_err())))
    }

    #[test]
    fn few_are_borne_and_more_are_waited_for_no_longer_than_slow_calls_take() {
        let just_before = GRACE - Duration::from_millis(1);
        let cases = [
            (0, Duration::ZERO, Bearing::GoOn),
            (8, Duration::ZERO, Bearing::GoOn),
            (8, GRACE * 100, Bearing::GoOn),
            (9, Duration::ZERO, Bearing::Wait),
            (9, just_before, Bearing::Wait),
            (9, GRACE, Bearing::TooMany),
            (100, Duration::ZERO, Bearing::Wait),
        ];
        for (hanging, waited, expected) in cases {
            assert_eq!(bearing(hanging, waited), expected, "{hanging} after {waited:?}");
        }
    }

    #[test]
    fn ten_deaths_in_a_row_are_borne_while_earlier_calls_end_and_not_while_they_hang() {
        for (ends, expected) in [(true, Bearing::GoOn), (false, Bearing::TooMany)] {
            let (mut left, mut calls) = (Left::default(), Vec::new());
            for _death in 0..10 {
                let (call, thread) = hung();
                left.add(vec![thread]);
                calls.push(call);
                if ends && calls.len() > 3 {
                    calls.remove(0);
                    while left.hanging() > 3 {
                        thread::yield_now();
                    }
                }
            }
            assert_eq!(bearing(left.hanging(), GRACE), expected, "earlier calls end: {ends}");
        }
    }
}
