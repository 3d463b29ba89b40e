//! How much a destination is asked, and whether at all: its breaker, rate, limit and an operator's hold
//! as one state.
//!
//! Pure: it is given `now` and says whether an attempt may start, or for what it has to wait. All that
//! an attempt needs it gets at once, or nothing is taken. It wakes nobody, holds no record and knows
//! nothing of the other members of the group but its share.

use std::time::Duration;

use domain::{
    breaker::{self, Breaker, Change, State},
    catalog::Destination,
    limit::{self, Limit},
    rate::{self, Bucket, Rate, Share},
    time::MonoNanos,
};

use crate::verdict::Signals;

/// A process' that owns none of the destination's partitions.
const NO_SHARE: Share = Share { owned: 0, total: 1 };

/// What the catalog allows the whole group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) rate: Rate,
    pub(crate) breaker: breaker::Policy,
    /// How many in flight stay allowed however slow it is, and the most.
    pub(crate) floor: u32,
    pub(crate) ceiling: u32,
}

/// Why an operator keeps everything back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Paused,
    Disabled,
}

/// Leave for one attempt, to be handed back with [`Flow::ended`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "one that is not handed back counts as in flight for ever"]
pub(crate) struct Permit(breaker::Permit);

/// What stands in the way of the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) why: Why,
    /// When to ask again; `None`: when an attempt has ended, or something was set.
    pub(crate) until: Option<MonoNanos>,
}

/// Why an attempt has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// An operator said so.
    Held,
    /// The breaker is open, or waits for its probe.
    Breaker,
    /// As many are in flight as it bears.
    Concurrency,
    /// The destination asked for it.
    Asked,
    /// The rate is used up.
    Rate,
    /// The rate that it shares with other destinations is used up.
    SharedRate,
}

/// A destination's state, one per process; it outlives the catalog's changes.
#[derive(Debug)]
pub(crate) struct Flow {
    numbers: Numbers,
    share: Share,
    breaker: Breaker,
    bucket: Bucket,
    limit: Limit,
    in_flight: u32,
    hold: Option<Hold>,
    still: Standstill,
}

/// A clock that goes while nothing may start for a reason that is no delivery's own.
#[derive(Debug, Default)]
struct Standstill {
    before: Duration,
    since: Option<MonoNanos>,
}

impl Numbers {
    /// Of a destination that the catalog says nothing of yet.
    pub(crate) fn unlisted() -> Self {
        let limit::Policy { floor, ceiling, .. } = limit::Policy::default();
        Self { rate: Rate::UNLIMITED, breaker: breaker::Policy::default(), floor, ceiling }
    }

    pub(crate) fn of(destination: &Destination) -> Self {
        Self {
            rate: destination.rate,
            breaker: destination.breaker,
            floor: destination.concurrency_min,
            ceiling: destination.concurrency,
        }
    }
}

impl Permit {
    /// Says whether the attempt decides alone if the destination is asked again.
    pub(crate) fn is_probe(&self) -> bool {
        self.0.is_probe
    }
}

impl Why {
    /// Returns the word used in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Breaker => "breaker",
            Self::Concurrency => "concurrency",
            Self::Asked => "asked",
            Self::Rate => "rate",
            Self::SharedRate => "shared_rate",
        }
    }
}

impl Flow {
    /// Begins with nothing in flight, no token, a closed breaker, and no share yet.
    pub(crate) fn new(numbers: Numbers, now: MonoNanos) -> Self {
        let Numbers { rate, breaker, floor, ceiling } = numbers;
        Self {
            numbers,
            share: NO_SHARE,
            breaker: Breaker::new(breaker),
            bucket: Bucket::new(rate, NO_SHARE, now),
            limit: Limit::new(limit::Policy { floor, ceiling, ..limit::Policy::default() }),
            in_flight: 0,
            hold: None,
            still: Standstill::default(),
        }
    }

    /// Gives leave for an attempt that starts now, or says what it waits for.
    pub(crate) fn admit(&mut self, now: MonoNanos) -> Result<Permit, Wait> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        if !self.bucket.take(now) {
            return Err(Wait { why: Why::Rate, until: self.bucket.next_at(now) });
        }
        Ok(self.begin(now))
    }

    /// The same where destinations share a rate: a token of each bucket, or of none.
    pub(crate) fn admit_sharing(
        &mut self,
        shared: &mut Bucket,
        now: MonoNanos,
    ) -> Result<Permit, Wait> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        let taken = rate::take_both(&mut self.bucket, shared, now);
        taken.map_err(|until| Wait { why: Why::SharedRate, until })?;
        Ok(self.begin(now))
    }

    /// Takes note of how an attempt ended.
    pub(crate) fn ended(
        &mut self,
        permit: Permit,
        signals: Signals,
        now: MonoNanos,
    ) -> Option<Change> {
        let Signals { health, load, asked } = signals;
        self.limit.ended(load, self.in_flight, now);
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(asked) = asked {
            self.bucket.hold(now.plus(asked));
        }
        let change = self.breaker.ended(permit.0, health, now);
        if change == Some(Change::Closed) {
            self.limit.restart(now);
        }
        self.note_standstill(now);
        change
    }

    /// Takes what the catalog allows now. What is in flight ends by itself, and no token is added.
    pub(crate) fn set_numbers(&mut self, numbers: Numbers, now: MonoNanos) {
        let before = std::mem::replace(&mut self.numbers, numbers);
        if before.breaker != numbers.breaker {
            self.breaker.set_policy(numbers.breaker);
        }
        if before.rate == Rate::UNLIMITED && numbers.rate != Rate::UNLIMITED {
            // What was sent just now is not known, and the tokens there are were no limit's.
            let held_for = self.bucket.held_for(now);
            self.bucket = Bucket::new(numbers.rate, self.share, now);
            self.bucket.hold(now.plus(held_for));
        } else if before.rate != numbers.rate {
            self.bucket.set_rate(numbers.rate, now);
        }
        if (before.floor, before.ceiling) != (numbers.floor, numbers.ceiling) {
            let (floor, ceiling) = self.bounds();
            self.limit.set_bounds(floor, ceiling);
        }
    }

    /// Takes the part of the destination's partitions that this process owns. No token is added.
    pub(crate) fn set_share(&mut self, share: Share, now: MonoNanos) {
        self.share = share;
        self.bucket.set_share(share, now);
        // Without a partition nobody asks; what was found out is kept for the next one.
        if share.owned > 0 {
            let (floor, ceiling) = self.bounds();
            self.limit.rescale(floor, ceiling);
        }
    }

    /// Begins or ends an operator's hold.
    pub(crate) fn hold(&mut self, hold: Option<Hold>, now: MonoNanos) {
        self.hold = hold;
        self.note_standstill(now);
    }

    /// Says whether nothing at all may start now, whoever ends and whatever the rate.
    pub(crate) fn is_shut(&self, now: MonoNanos) -> bool {
        self.shut(now).is_some() || !self.bucket.held_for(now).is_zero()
    }

    /// Returns how long it has stood still in all, held or with the breaker open: a clock that budgets
    /// are read against.
    pub(crate) fn stood_still(&self, now: MonoNanos) -> Duration {
        self.still.read(now)
    }

    /// Returns what the breaker does.
    pub(crate) fn breaker(&self) -> State {
        self.breaker.state()
    }

    /// Returns how many attempts this process may have in flight now.
    pub(crate) fn allowed(&self) -> u32 {
        self.limit.allowed()
    }

    /// Says whether no more is in flight than this process' share allows: none without a share.
    pub(crate) fn is_within_share(&self) -> bool {
        let allowed = if self.share.owned == 0 { 0 } else { self.limit.allowed() };
        self.in_flight <= allowed
    }

    /// Counts an attempt in that nothing stands in the way of.
    fn begin(&mut self, now: MonoNanos) -> Permit {
        let permit = self.breaker.admit(now).expect("nothing changed since it said that it admits");
        self.in_flight += 1;
        Permit(permit)
    }

    /// What of its own stands in the way of an attempt that would start now.
    pub(crate) fn wait(&self, now: MonoNanos) -> Option<Wait> {
        if let Some(wait) = self.shut(now) {
            return Some(wait);
        }
        if self.in_flight >= self.limit.allowed() {
            return Some(Wait { why: Why::Concurrency, until: None });
        }
        let until = self.bucket.next_at(now);
        if until == Some(now) {
            return None;
        }
        let is_asked = !self.bucket.held_for(now).is_zero();
        Some(Wait { why: if is_asked { Why::Asked } else { Why::Rate }, until })
    }

    /// What keeps everything back but the destination's own wish.
    fn shut(&self, now: MonoNanos) -> Option<Wait> {
        if self.hold.is_some() {
            return Some(Wait { why: Why::Held, until: None });
        }
        if self.breaker.admits(now) {
            return None;
        }
        let until = match self.breaker.state() {
            State::Open { until } => Some(until),
            State::Closed | State::HalfOpen => None,
        };
        Some(Wait { why: Why::Breaker, until })
    }

    /// This process' part of the floor and of the ceiling.
    fn bounds(&self) -> (u32, u32) {
        let Numbers { floor, ceiling, .. } = self.numbers;
        let share = if self.share.owned == 0 { Share::WHOLE } else { self.share };
        (share.of_count(floor), share.of_count(ceiling))
    }

    fn note_standstill(&mut self, now: MonoNanos) {
        let is_closed = self.breaker.state() == State::Closed;
        self.still.note(self.hold.is_some() || !is_closed, now);
    }
}

impl Standstill {
    fn note(&mut self, stands: bool, now: MonoNanos) {
        if !stands {
            self.before = self.read(now);
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(now);
        }
    }

    fn read(&self, now: MonoNanos) -> Duration {
        let running = self.since.map(|since| now.since(since)).unwrap_or_default();
        self.before.saturating_add(running)
    }
}

#[cfg(test)]
mod tests;
