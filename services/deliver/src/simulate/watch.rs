//! What a destination sees of the whole group, held against what it was promised.

use std::collections::{HashMap, VecDeque};

use domain::rate::Share;

use super::{
    group::Life,
    history::Target,
    truth::{Fault, Truth},
};

const SECOND: u64 = 1_000_000_000;

/// One destination's view.
#[derive(Debug, Default)]
pub(super) struct Watch {
    place: usize,
    rate: Option<f64>,
    burst: f64,
    concurrency: usize,
    attempts_min: usize,
    window: u64,
    /// When attempts of owners started, within the last second.
    starts: VecDeque<(u64, Life)>,
    by_life: HashMap<Life, Of>,
    /// Counts the times when what was in flight was more than what may be.
    generation: u64,
}

/// What it sees of one process.
#[derive(Debug, Default)]
struct Of {
    in_flight: usize,
    asked_until: u64,
    /// When it answered as a healthy one, within the breaker's window and a little more.
    healthy: VecDeque<u64>,
    /// When the last attempts failed, with no other end between.
    failures: VecDeque<u64>,
    /// In flight that began when all of the window had failed.
    probes: usize,
    /// When it took its first partition of the destination, or took one again after it had none.
    fresh_at: u64,
    fresh_starts: u64,
    /// In flight that began since the last of these times, and which one that was.
    since_change: (u64, usize),
}

/// An attempt in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) destination: usize,
    pub(super) is_probe: bool,
    begun: u64,
    generation: u64,
}

impl Watch {
    pub(super) fn new(place: usize, target: &Target) -> Self {
        let rules = &target.rules;
        Self {
            place,
            rate: target.rate,
            burst: rules.rate.burst(),
            concurrency: rules.concurrency as usize,
            attempts_min: rules.breaker.attempts_min as usize,
            window: rules.breaker.window.as_nanos() as u64,
            ..Self::default()
        }
    }

    /// Judges an attempt that starts; of one by a former owner only what its process knows.
    pub(super) fn starts(
        &mut self,
        life: Life,
        is_owner: bool,
        now: u64,
        truth: &mut Truth,
    ) -> Flight {
        let place = self.place;
        let of = self.by_life.entry(life).or_default();
        of.in_flight += 1;
        if now < of.asked_until {
            let ms = (of.asked_until - now) / 1_000_000;
            truth.fails(Fault::Asked, || format!("destination {place} asked for {ms} ms more"));
        }
        // The same as the breaker knows, or less: it opened when the last of these ended.
        let is_recent = |at: &u64| now < at + self.window / 2;
        let is_failing = of.failures.len() >= self.attempts_min.max(of.healthy.len())
            && of.failures.front().is_some_and(is_recent);
        if is_failing && of.probes > 0 {
            truth.fails(Fault::Breaker, || format!("destination {place} only fails"));
        }
        of.probes += usize::from(is_failing);
        if of.in_flight > self.concurrency {
            let (count, most) = (of.in_flight, self.concurrency);
            let what = || format!("{count} of one process in flight at {place}, at most {most}");
            truth.fails(Fault::Concurrency, what);
        }
        // A former owner's is none of the group's.
        let generation = if is_owner { self.generation } else { u64::MAX };
        if is_owner {
            self.judge_group(life, truth);
            self.judge_fresh(life, now, truth);
            self.judge_rate(life, now, truth);
        }
        Flight { destination: place, is_probe: is_failing, begun: now, generation }
    }

    /// Takes note that the process owns a partition of the destination where it had none.
    pub(super) fn is_fresh(&mut self, life: Life, now: u64) {
        let of = self.by_life.entry(life).or_default();
        (of.fresh_at, of.fresh_starts) = (now, 0);
    }

    /// Takes note that a partition gets another owner though its former one has more in flight than its
    /// share: that ends by itself.
    pub(super) fn changes_hands(&mut self) {
        self.generation += 1;
    }

    /// Says whether no more of a process' is in flight than a share allows.
    pub(super) fn is_within(&self, life: Life, share: Share) -> bool {
        let in_flight = self.by_life.get(&life).map_or(0, |of| of.in_flight);
        in_flight <= share.of_count(self.concurrency as u32) as usize
    }

    /// What began before more was in flight than may be is counted apart.
    fn judge_group(&mut self, life: Life, truth: &mut Truth) {
        let (generation, place) = (self.generation, self.place);
        if let Some(of) = self.by_life.get_mut(&life) {
            let (at, count) = of.since_change;
            of.since_change = (generation, if at == generation { count + 1 } else { 1 });
        }
        let current = self.by_life.values().filter(|of| of.since_change.0 == generation);
        let counts = current.map(|of| of.since_change.1).filter(|count| *count > 0);
        let (lives, in_flight) =
            counts.fold((0, 0), |(lives, all), count| (lives + 1, all + count));
        if in_flight > self.concurrency.max(lives) {
            let most = self.concurrency;
            let what = || format!("{in_flight} of {lives} processes at {place}, at most {most}");
            truth.fails(Fault::GroupConcurrency, what);
        }
    }

    /// Nobody knows what a predecessor has just sent, so that nobody begins with a burst.
    fn judge_fresh(&mut self, life: Life, now: u64, truth: &mut Truth) {
        let (Some(rate), Some(of)) = (self.rate, self.by_life.get_mut(&life)) else { return };
        of.fresh_starts += 1;
        let since = now - of.fresh_at;
        let most = rate * since as f64 / SECOND as f64 + 2.0;
        if since < SECOND && of.fresh_starts as f64 > most {
            let (count, place) = (of.fresh_starts, self.place);
            let what = || format!("{count} started at {place} soon after a share was taken");
            truth.fails(Fault::Rate, what);
        }
    }

    fn judge_rate(&mut self, life: Life, now: u64, truth: &mut Truth) {
        let Some(rate) = self.rate else { return };
        self.starts.push_back((now, life));
        while self.starts.front().is_some_and(|(at, _)| at + SECOND <= now) {
            self.starts.pop_front();
        }
        let mut lives: Vec<Life> = self.starts.iter().map(|(_, life)| *life).collect();
        lives.sort_unstable();
        lives.dedup();
        // Each process may begin with one token, and all of them share the burst.
        let most = rate + self.burst + lives.len() as f64;
        if self.starts.len() as f64 > most {
            let (count, place) = (self.starts.len(), self.place);
            let what = || format!("{count} started in a second at {place}, at most {most}");
            truth.fails(Fault::Rate, what);
        }
    }

    /// Takes note of an answer: whether it failed as a destination, and how long it asks to wait.
    pub(super) fn ended(&mut self, life: Life, flight: Flight, ended: End, now: u64) {
        let Some(of) = self.by_life.get_mut(&life) else { return };
        of.in_flight = of.in_flight.saturating_sub(1);
        of.probes = of.probes.saturating_sub(usize::from(flight.is_probe));
        if of.since_change.0 == flight.generation {
            of.since_change.1 = of.since_change.1.saturating_sub(1);
        }
        if let Some(asked) = ended.asked {
            of.asked_until = of.asked_until.max(now + asked);
        }
        match ended.has_failed {
            // What began before it was healthy says nothing of how it is since.
            Some(true) if of.healthy.back().is_none_or(|at| flight.begun >= *at) => {
                of.failures.push_back(now);
            }
            Some(true) => {}
            Some(false) => {
                of.healthy.push_back(now);
                of.failures.clear();
            }
            None => {}
        }
        let (window, longer) = (self.window / 2, self.window + self.window / 5);
        prune(&mut of.failures, now, window);
        prune(&mut of.healthy, now, longer);
    }

    pub(super) fn forget(&mut self, life: Life) {
        self.by_life.remove(&life);
    }
}

fn prune(times: &mut VecDeque<u64>, now: u64, longest: u64) {
    while times.front().is_some_and(|at| at + longest < now) {
        times.pop_front();
    }
}

/// How an attempt ended, as the destination means it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct End {
    /// `None` says nothing.
    pub(super) has_failed: Option<bool>,
    /// In nanoseconds.
    pub(super) asked: Option<u64>,
}
