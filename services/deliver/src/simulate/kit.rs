//! What the lanes of a simulated process share, and the lines in which they wait.

use std::{collections::VecDeque, sync::Arc};

use domain::time::UnixMillis;
use kafka_io::{Acks, simulation::Ledger};
use tokio::sync::OwnedMutexGuard;
use wire::Receipt;

use super::{group::Life, lane, outside::Outside, tally::Seen};
use crate::{flow::Hold, gate::Gate, held::Held};

/// What the lanes of a process share.
pub(super) struct Kit {
    pub(super) life: Life,
    pub(super) ledger: Ledger,
    pub(super) acks: Acks,
    /// By destination.
    pub(super) lines: Vec<Line>,
    /// Lanes that wait until a crash would repeat fewer.
    pub(super) rooms: Vec<u32>,
    /// When the process was woken last.
    pub(super) awake_since: u64,
    receipt: Option<Receipt>,
}

/// A destination, and the lanes that wait for it.
pub(super) struct Line {
    pub(super) place: usize,
    pub(super) gate: Arc<Gate>,
    pub(super) waiting: VecDeque<u32>,
    /// Held while somebody waits, so that no one overtakes.
    pub(super) turn: Option<OwnedMutexGuard<()>>,
    pub(super) has_news: bool,
    pub(super) is_held: bool,
    pub(super) ask_at: Option<u64>,
}

impl Kit {
    pub(super) fn new(life: Life, ledger: Ledger, lines: Vec<Line>, awake_since: u64) -> Self {
        let acks = ledger.acks();
        Self { life, ledger, acks, lines, rooms: Vec::new(), awake_since, receipt: None }
    }

    /// Returns a receipt; which one does not matter.
    pub(super) fn receipt(&mut self, held: &Held, now: UnixMillis) -> Box<Receipt> {
        Box::new(self.receipt.get_or_insert_with(|| lane::receipt(held, now)).clone())
    }

    /// Says whether another request may start, as far as the process knows of the group.
    pub(super) fn has_room(&self, out: &Outside<'_>) -> bool {
        self.acks.has_room(out.instant())
    }

    pub(super) fn leave_line(&mut self, lane: u32, destination: usize) {
        self.rooms.retain(|waiting| *waiting != lane);
        let line = &mut self.lines[destination];
        line.waiting.retain(|waiting| *waiting != lane);
        line.has_news = true;
        line.look_for_end();
    }
}

impl Line {
    pub(super) fn new(place: usize, gate: Arc<Gate>) -> Self {
        Self {
            place,
            gate,
            waiting: VecDeque::new(),
            turn: None,
            has_news: false,
            is_held: false,
            ask_at: None,
        }
    }

    pub(super) fn stand(&mut self, lane: u32) {
        self.waiting.push_back(lane);
        if self.turn.is_none() {
            self.turn = self.gate.stand();
            // Who is first asks at once.
            self.has_news = true;
        }
    }

    pub(super) fn look_for_end(&mut self) {
        if self.waiting.is_empty() {
            self.turn = None;
        }
    }

    /// Holds the destination, or no longer, as is said of it.
    pub(super) fn obey(&mut self, is_held: bool, out: &mut Outside<'_>) {
        if is_held != self.is_held {
            out.saw(if is_held { Seen::Held } else { Seen::Released });
        }
        self.is_held = is_held;
        self.gate.hold(is_held.then_some(Hold::Paused));
        self.has_news = true;
    }
}
