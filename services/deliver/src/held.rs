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
    /// Without its body, which is beside it.
    pub(crate) delivery: Delivery,
    pub(crate) body: Bytes,
    pub(crate) turn: Turn,
    pub(crate) story: Story,
    /// Kept with the commit as well, from the first failure on, so that no restart extends the budget.
    pub(crate) first_attempt_at: Option<UnixMillis>,
    /// Attempts begun.
    pub(crate) attempts: u32,
}

/// An attempt that is over.
pub(crate) struct Tried {
    pub(crate) held: Box<Held>,
    pub(crate) end: End,
}

/// What an attempt came to.
pub(crate) enum End {
    Delivered(Box<Receipt>),
    Again { at: UnixMillis, receipt: Box<Receipt> },
    GivenUp { why: GivenUp, receipt: Box<Receipt> },
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
    /// `head` is how far the record had come when that was committed.
    pub(crate) fn new(
        record: Record,
        mut delivery: Delivery,
        story: Story,
        head: Option<Head>,
    ) -> Self {
        let body = body(&record, std::mem::take(&mut delivery.request.body));
        let turn = match (delivery.order, &record.key) {
            (Order::None, _) | (Order::Strict, None) => Turn::Free,
            (Order::Strict, Some(key)) => Turn::Key(key.clone()),
        };
        let first_attempt_at = head.map(|head| head.first_attempt_at);
        let attempts = head.map_or(0, |head| head.attempts_made);
        Self { record, delivery, body, turn, story, first_attempt_at, attempts }
    }

    /// Returns how far the record has come, after an attempt that failed.
    pub(crate) fn head(&self, now: UnixMillis) -> Head {
        Head {
            first_attempt_at: self.first_attempt_at.unwrap_or(now),
            attempts_made: self.attempts,
            stood_still: Duration::ZERO,
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
