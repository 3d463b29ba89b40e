//! Whether a destination may be asked at all: a breaker on the ratio of errors.
//!
//! Pure: it is told how attempts ended and says whether another may start. What counts as an error
//! is its caller's to say; it holds no records and no timer.
//!
//! ```text
//!            ratio of errors too high              open time is over: one probe
//!   Closed ───────────────────────────► Open ─────────────────────────────────► HalfOpen
//!     ▲                                  ▲ └◄─── probe given back: ask again ────┤ │
//!     │                                  └────── probe failed: longer ───────────┘ │
//!     └────────────────────────────────────────── probe succeeded ─────────────────┘
//! ```

mod window;

use std::time::Duration;

use crate::time::MonoNanos;
use window::Window;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// How far back attempts count, in ten steps.
    pub window: Duration,
    /// Attempts in the window below which it never opens; the first error is one.
    pub attempts_min: u32,
    /// Errors among all attempts of the window, from 0 to 1, at which it opens.
    pub error_ratio: f64,
    /// How long it stays open at first; doubles each time it opens again.
    pub open: Duration,
    /// The most the doubled time may be.
    pub open_max: Duration,
}

impl Default for Policy {
    /// Half of at least 20 attempts in 10 s; open for 5 s, then longer, up to a minute.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            attempts_min: 20,
            error_ratio: 0.5,
            open: Duration::from_secs(5),
            open_max: Duration::from_secs(60),
        }
    }
}

/// What the breaker does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Flows.
    Closed,
    /// Refuses until then.
    Open { until: MonoNanos },
    /// Waits for its one probe, and refuses all else.
    HalfOpen,
}

/// Leave for one attempt, to be handed back with [`Breaker::ended`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a probe that is not handed back keeps the breaker half open"]
pub struct Permit {
    turn: u64,
    /// Whether the attempt decides alone if the destination is asked again.
    pub is_probe: bool,
}

/// How an attempt ended, as far as the destination's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It answered; an answer that refuses this one request is one too.
    Healthy,
    /// It failed as a destination: no connection, no answer in time, an error of its own.
    Failed,
    /// It ended without saying anything: never sent, or cut off by us.
    Untold,
}

/// How an end changed the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// From Closed to Open.
    Opened,
    /// From HalfOpen to Open: the probe failed.
    Reopened,
    /// From HalfOpen to Open, with the time already over: the probe said nothing.
    ProbeReturned,
    /// From HalfOpen to Closed.
    Closed,
}

/// A destination's breaker, one per process.
#[derive(Debug, Clone)]
pub struct Breaker {
    policy: Policy,
    state: State,
    /// Counts the states it has been in; the permits of an earlier one are void.
    turn: u64,
    window: Window,
    /// How often it opened in a row.
    openings: u32,
    closed_at: Option<MonoNanos>,
}

impl Breaker {
    /// Begins closed, knowing nothing.
    pub fn new(policy: Policy) -> Self {
        let window = Window::new(policy.window);
        Self { policy, state: State::Closed, turn: 0, window, openings: 0, closed_at: None }
    }

    /// Takes another policy. The state stays, and an open time that runs; a window of another length
    /// begins empty.
    pub fn set_policy(&mut self, policy: Policy) {
        if policy.window != self.policy.window {
            self.window = Window::new(policy.window);
        }
        self.policy = policy;
    }

    /// Returns what it does now.
    pub fn state(&self) -> State {
        self.state
    }

    /// Says whether [`Breaker::admit`] would give leave; it takes nothing.
    pub fn admits(&self, now: MonoNanos) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until } => now >= until,
            State::HalfOpen => false,
        }
    }

    /// Gives leave for an attempt that starts now. Once the open time is over, the first to ask is
    /// the probe, and the breaker is half open until that one ends.
    pub fn admit(&mut self, now: MonoNanos) -> Option<Permit> {
        match self.state {
            State::Closed => Some(Permit { turn: self.turn, is_probe: false }),
            State::Open { until } if now >= until => {
                self.enter(State::HalfOpen);
                Some(Permit { turn: self.turn, is_probe: true })
            }
            State::Open { .. } | State::HalfOpen => None,
        }
    }

    /// Takes note of how an attempt ended. One begun in an earlier state says nothing about this one.
    pub fn ended(&mut self, permit: Permit, ended: Ended, now: MonoNanos) -> Option<Change> {
        if permit.turn != self.turn {
            return None;
        }
        match self.state {
            State::Closed => self.counted(ended, now),
            State::HalfOpen => Some(self.probed(ended, now)),
            // Nothing is admitted while it is open, so no permit is of this turn.
            State::Open { .. } => None,
        }
    }

    /// Ends the open time, as an operator asks: the next attempt is the probe. Says whether it was open.
    pub fn probe_now(&mut self, now: MonoNanos) -> bool {
        match &mut self.state {
            State::Open { until } => {
                *until = now.min(*until);
                true
            }
            State::Closed | State::HalfOpen => false,
        }
    }

    fn counted(&mut self, ended: Ended, now: MonoNanos) -> Option<Change> {
        match ended {
            Ended::Untold => return None,
            Ended::Healthy => {
                self.window.healthy(now);
                return None;
            }
            Ended::Failed => self.window.failed(now),
        }
        let (failed, all) = self.window.totals();
        let high = f64::from(failed) / f64::from(all.max(1)) >= self.policy.error_ratio;
        (all >= self.policy.attempts_min && high).then(|| {
            // One that opens again within a window of closing had not recovered.
            let flapped = |at| now.since(at) < self.policy.window;
            if !self.closed_at.is_some_and(flapped) {
                self.openings = 0;
            }
            self.open(now);
            Change::Opened
        })
    }

    fn probed(&mut self, ended: Ended, now: MonoNanos) -> Change {
        match ended {
            Ended::Healthy => {
                self.window = Window::new(self.policy.window);
                self.closed_at = Some(now);
                self.enter(State::Closed);
                Change::Closed
            }
            Ended::Failed => {
                self.open(now);
                Change::Reopened
            }
            Ended::Untold => {
                self.enter(State::Open { until: now });
                Change::ProbeReturned
            }
        }
    }

    fn open(&mut self, now: MonoNanos) {
        let doubled = self.policy.open.saturating_mul(1 << self.openings.min(31));
        self.openings = self.openings.saturating_add(1);
        self.enter(State::Open { until: now.plus(doubled.min(self.policy.open_max)) });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests;
