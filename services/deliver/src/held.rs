//! A record on its way, and what an attempt at it came to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::{dead_letter::Reason, offset_map::Head, time::UnixMillis};
use kafka_io::Record;
use wire::{Delivery, Order, Receipt};

use crate::{keys::Turn, story::Story};

/// How far the wall clock may be off before it counts as one that has stepped.
const STEP_MS: u64 = 1_000;

/// The time by both clocks: the one that tells others when, and the one that never steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall: UnixMillis,
    pub(crate) steady: Instant,
}

/// A record whose delivery was read and is not settled.
pub(crate) struct Held {
    pub(crate) record: Record,
    /// Without its body, which is beside it, and what its fallback would send, which few need.
    pub(crate) delivery: Delivery,
    pub(crate) body: Bytes,
    pub(crate) turn: Turn,
    pub(crate) story: Story,
    first: Option<First>,
    /// Attempts begun.
    pub(crate) attempts: u32,
    still: Still,
}

/// When the first attempt began. Kept with the commit as well, from the first failure on, so that no
/// restart extends the budget.
#[derive(Debug, Clone, Copy)]
struct First {
    at: UnixMillis,
    /// How long ago that was at a time of the steady clock.
    age: Duration,
    as_of: Instant,
}

/// How long a record's budget stood still.
#[derive(Debug, Clone, Copy)]
struct Still {
    /// By the last commit of another life.
    before: Duration,
    /// What the destination's standstill clock said at the first attempt of this life, or when the
    /// record was taken.
    from: Duration,
}

/// An attempt that is over.
pub(crate) struct Tried {
    pub(crate) held: Box<Held>,
    pub(crate) end: End,
}

/// What an attempt came to.
pub(crate) enum End {
    Delivered(Box<Receipt>),
    Again {
        at: UnixMillis,
        receipt: Box<Receipt>,
    },
    GivenUp {
        why: GivenUp,
        receipt: Box<Receipt>,
    },
    /// The destination is gone; the attempt that says so began at this time.
    Gone {
        begun: UnixMillis,
        receipt: Box<Receipt>,
    },
}

/// Why a delivery is given up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) reason: Reason,
    /// The error's class in one word.
    pub(crate) error_type: String,
    pub(crate) message: String,
}

impl Held {
    /// `head` is how far the record had come when that was committed; `still` is what the
    /// destination's standstill clock says.
    pub(crate) fn new(
        record: Record,
        mut delivery: Delivery,
        story: Story,
        head: Option<Head>,
        (now, still): (Now, Duration),
    ) -> Self {
        let body = body(&record, std::mem::take(&mut delivery.request.body));
        delivery.fallback = None;
        let turn = match (delivery.order, &record.key) {
            (Order::None, _) | (Order::Strict, None) => Turn::Free,
            (Order::Strict, Some(key)) => Turn::Key(key.clone()),
        };
        let first = head.map(|head| First::since(head.first_attempt_at, now));
        let attempts = head.map_or(0, |head| head.attempts_made);
        let before = head.map_or(Duration::ZERO, |head| head.stood_still);
        let still = Still { before, from: still };
        Self { record, delivery, body, turn, story, first, attempts, still }
    }

    /// Takes note that an attempt begins. The budget counts from the first one, and what stood still
    /// before that is none of it.
    pub(crate) fn begin(&mut self, now: Now, still: Duration) {
        if self.first.is_none() {
            self.first = Some(First::since(now.wall, now));
            self.still.from = still;
        }
        self.attempts += 1;
    }

    /// Says whether an attempt was made, in this life or an earlier one.
    pub(crate) fn has_begun(&self) -> bool {
        self.first.is_some()
    }

    /// Returns how far the record has come, after an attempt that failed; `still` is what the
    /// destination's standstill clock says. Its first attempt is as long ago as it is, however the wall
    /// clock has stepped since: a step spends no budget and extends none.
    pub(crate) fn head(&self, now: Now, still: Duration) -> Head {
        let Still { before, from } = self.still;
        Head {
            first_attempt_at: self.first.map_or(now.wall, |first| first.at(now)),
            attempts_made: self.attempts,
            stood_still: before.saturating_add(still.saturating_sub(from)),
        }
    }
}

impl First {
    /// `at` by the wall clock as it goes now.
    fn since(at: UnixMillis, now: Now) -> Self {
        Self { at, age: now.wall.since(at), as_of: now.steady }
    }

    /// Returns when it was by the wall clock as it goes now.
    fn at(&self, now: Now) -> UnixMillis {
        let age = self.age + now.steady.saturating_duration_since(self.as_of);
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let by_age = now.wall.0.saturating_sub(age_ms);
        if by_age.abs_diff(self.at.0) < STEP_MS { self.at } else { UnixMillis(by_age) }
    }
}

/// The body lies at the end of the record's value: sharing it there saves a second copy in memory.
fn body(record: &Record, body: Vec<u8>) -> Bytes {
    match &record.value {
        Some(value) if value.ends_with(&body) => value.slice(value.len() - body.len()..),
        Some(_) | None => body.into(),
    }
}

#[cfg(test)]
mod tests {
    use chassis::Tracer;

    use super::*;
    use crate::testing::{delivery, record};

    const SECOND: Duration = Duration::from_secs(1);

    fn held(head: Option<Head>, now: Now, still: Duration) -> Held {
        let process = Tracer::disabled().span("", chassis::Kind::Consumer, None);
        Held::new(record("x"), delivery(), Story { process, starting: None }, head, (now, still))
    }

    fn now(wall_ms: i64, steady: Instant) -> Now {
        Now { wall: UnixMillis(wall_ms), steady }
    }

    #[test]
    fn a_standstill_counts_from_the_first_attempt_on() {
        let start = Instant::now();
        let mut held = held(None, now(0, start), 5 * SECOND);
        held.begin(now(1, start), 9 * SECOND);
        assert_eq!(held.head(now(2, start), 9 * SECOND).stood_still, Duration::ZERO);
        held.begin(now(3, start), 20 * SECOND);
        let head = held.head(now(4, start), 21 * SECOND);
        assert_eq!((head.first_attempt_at, head.attempts_made), (UnixMillis(1), 2));
        assert_eq!(head.stood_still, 12 * SECOND);
    }

    #[test]
    fn a_restart_adds_to_the_standstill_there_was() {
        let stood_still = 30 * SECOND;
        let before = Head { first_attempt_at: UnixMillis(1), attempts_made: 3, stood_still };
        let start = Instant::now();
        let mut held = held(Some(before), now(9, start), 5 * SECOND);
        held.begin(now(9, start), 7 * SECOND);
        let head = held.head(now(9, start), 8 * SECOND);
        assert_eq!((head.first_attempt_at, head.attempts_made), (UnixMillis(1), 4));
        assert_eq!(head.stood_still, 33 * SECOND);
    }

    #[test]
    fn a_clock_that_steps_leaves_the_first_attempt_as_long_ago_as_it_is() {
        const HOUR_MS: i64 = 3_600_000;
        let (began_ms, start) = (10 * HOUR_MS, Instant::now());
        let mut fresh = held(None, now(began_ms, start), Duration::ZERO);
        fresh.begin(now(began_ms, start), Duration::ZERO);
        let before = Head {
            first_attempt_at: UnixMillis(began_ms - 60_000),
            attempts_made: 3,
            stood_still: Duration::ZERO,
        };
        let resumed = held(Some(before), now(began_ms, start), Duration::ZERO);
        let later = start + 5 * SECOND;
        for step_ms in [0, HOUR_MS, -HOUR_MS] {
            let wall_ms = began_ms + 5_000 + step_ms;
            for (held, age_ms) in [(&fresh, 5_000), (&resumed, 65_000)] {
                let head = held.head(now(wall_ms, later), Duration::ZERO);
                assert_eq!(head.first_attempt_at, UnixMillis(wall_ms - age_ms), "{step_ms}");
            }
        }
        let slewed = fresh.head(now(began_ms + 5_003, later), Duration::ZERO);
        assert_eq!(slewed.first_attempt_at, UnixMillis(began_ms), "no step: it stays the same");
    }
}
