//! A record on its way, and what an attempt at it came to.

use std::time::Duration;

use bytes::Bytes;
use domain::{dead_letter::Reason, offset_map::Head, time::UnixMillis};
use kafka_io::Record;
use wire::{Delivery, Order, Receipt};

use crate::{keys::Turn, story::Story};

/// A record whose delivery was read and is not settled.
pub(crate) struct Held {
    pub(crate) record: Record,
    /// Without its body, which is beside it, and what its fallback would send, which few need.
    pub(crate) delivery: Delivery,
    pub(crate) body: Bytes,
    pub(crate) turn: Turn,
    pub(crate) story: Story,
    /// Kept with the commit as well, from the first failure on, so that no restart extends the budget.
    pub(crate) first_attempt_at: Option<UnixMillis>,
    /// Attempts begun.
    pub(crate) attempts: u32,
    still: Still,
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
        still: Duration,
    ) -> Self {
        let body = body(&record, std::mem::take(&mut delivery.request.body));
        delivery.fallback = None;
        let turn = match (delivery.order, &record.key) {
            (Order::None, _) | (Order::Strict, None) => Turn::Free,
            (Order::Strict, Some(key)) => Turn::Key(key.clone()),
        };
        let first_attempt_at = head.map(|head| head.first_attempt_at);
        let attempts = head.map_or(0, |head| head.attempts_made);
        let before = head.map_or(Duration::ZERO, |head| head.stood_still);
        let still = Still { before, from: still };
        Self { record, delivery, body, turn, story, first_attempt_at, attempts, still }
    }

    /// Takes note that an attempt begins. The budget counts from the first one, and what stood still
    /// before that is none of it.
    pub(crate) fn begin(&mut self, now: UnixMillis, still: Duration) {
        if self.first_attempt_at.is_none() {
            self.first_attempt_at = Some(now);
            self.still.from = still;
        }
        self.attempts += 1;
    }

    /// Returns how far the record has come, after an attempt that failed; `still` is what the
    /// destination's standstill clock says.
    pub(crate) fn head(&self, now: UnixMillis, still: Duration) -> Head {
        let Still { before, from } = self.still;
        Head {
            first_attempt_at: self.first_attempt_at.unwrap_or(now),
            attempts_made: self.attempts,
            stood_still: before.saturating_add(still.saturating_sub(from)),
        }
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

    fn held(head: Option<Head>, still: Duration) -> Held {
        let process = Tracer::disabled().span("", chassis::Kind::Consumer, None);
        Held::new(record("x"), delivery(), Story { process, starting: None }, head, still)
    }

    #[test]
    fn a_standstill_counts_from_the_first_attempt_on() {
        let mut held = held(None, 5 * SECOND);
        held.begin(UnixMillis(1), 9 * SECOND);
        assert_eq!(held.head(UnixMillis(2), 9 * SECOND).stood_still, Duration::ZERO);
        held.begin(UnixMillis(3), 20 * SECOND);
        let head = held.head(UnixMillis(4), 21 * SECOND);
        assert_eq!((head.first_attempt_at, head.attempts_made), (UnixMillis(1), 2));
        assert_eq!(head.stood_still, 12 * SECOND);
    }

    #[test]
    fn a_restart_adds_to_the_standstill_there_was() {
        let stood_still = 30 * SECOND;
        let before = Head { first_attempt_at: UnixMillis(1), attempts_made: 3, stood_still };
        let mut held = held(Some(before), 5 * SECOND);
        held.begin(UnixMillis(9), 7 * SECOND);
        let head = held.head(UnixMillis(9), 8 * SECOND);
        assert_eq!((head.first_attempt_at, head.attempts_made), (UnixMillis(1), 4));
        assert_eq!(head.stood_still, 33 * SECOND);
    }
}
