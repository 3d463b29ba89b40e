//! Who may start the next attempt at a destination: the flow's leave, given in turn.
//!
//! Those who wait stand in a line, and only its first asks: woken when an attempt has ended or
//! something was set, and when the flow says that it is time. Nobody asks again and again, and no
//! lane overtakes another. Where destinations share a rate, the first ones of their lines stand in the
//! line of that rate in the same way.

use std::{pin::pin, sync::Arc, time::Duration};

use domain::{
    breaker::{Change, State},
    rate::Share,
    time::MonoNanos,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    flow::{Flow, Hold, Numbers, Permit, Wait, Why},
    gate::pool::Pool,
    series::Pace,
    verdict::Signals,
};

/// The longest sleep without another look: a timer need not reach further.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// A destination's flow, and those who wait for it.
pub(crate) struct Line {
    destination: String,
    clock: Clock,
    flow: Mutex<Flow>,
    /// Held by the first of those who wait; the mutex is fair.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// For the first: there may be leave now.
    news: Notify,
    /// For those who wait until no more is in flight than the share allows.
    fewer: Notify,
    /// The rate that it shares with other destinations.
    pool: Mutex<Option<Arc<Pool>>>,
    pace: Pace,
}

/// Leave for one attempt. Dropped without [`Leave::ended`], it tells that the attempt told nothing, so
/// that one which is cut off keeps no place and no probe.
pub(crate) struct Leave {
    line: Arc<Line>,
    permit: Option<Permit>,
    breaker: State,
}

impl Line {
    pub(crate) fn new(destination: &str, numbers: Numbers, clock: Clock, pace: Pace) -> Arc<Self> {
        let flow = Flow::new(numbers, clock.now());
        pace.show(flow.breaker(), flow.allowed());
        Arc::new(Self {
            destination: destination.to_owned(),
            clock,
            flow: Mutex::new(flow),
            turn: Arc::default(),
            news: Notify::new(),
            fewer: Notify::new(),
            pool: Mutex::default(),
            pace,
        })
    }

    /// Returns leave if there is some now and nobody waits for it.
    pub(crate) fn try_leave(self: &Arc<Self>) -> Option<Leave> {
        let _first = self.turn.try_lock().ok()?;
        self.admit().ok()
    }

    /// Waits for leave, behind those who have waited longer.
    ///
    /// # Cancellation
    /// Safe: the place in the line is given up.
    pub(crate) async fn leave(self: &Arc<Self>) -> Leave {
        let _first = self.turn.lock().await;
        let mut has_waited = false;
        loop {
            let wait = match self.admit() {
                Ok(leave) => return leave,
                Err(wait) => wait,
            };
            if !std::mem::replace(&mut has_waited, true) {
                self.pace.waited(wait.why);
            }
            if wait.why == Why::SharedRate {
                match self.leave_of_pool().await {
                    Some(leave) => return leave,
                    None => continue,
                }
            }
            // What happens between the look and here leaves its mark in the notification.
            let _woken = tokio::time::timeout(self.rest(wait), self.news.notified()).await;
        }
    }

    /// Returns once no more is in flight than this process' share allows, which for who has no share is
    /// nothing.
    pub(crate) async fn within_share(&self) {
        let mut fewer = pin!(self.fewer.notified());
        loop {
            // Before the look, so that an end in between is heard of.
            fewer.as_mut().enable();
            if self.is_within_share() {
                return;
            }
            fewer.as_mut().await;
            fewer.set(self.fewer.notified());
        }
    }

    pub(crate) fn is_within_share(&self) -> bool {
        self.flow.lock().is_within_share()
    }

    /// Takes the place of the first of those who wait, for who waits without a task.
    #[cfg(test)]
    pub(crate) fn stand(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        self.turn.clone().try_lock_owned().ok()
    }

    #[cfg(test)]
    pub(crate) fn ask(self: &Arc<Self>) -> Result<Leave, Wait> {
        self.admit()
    }

    #[cfg(test)]
    pub(crate) fn breaker(&self) -> domain::breaker::State {
        self.flow.lock().breaker()
    }

    /// Returns how long the destination has stood still in all.
    pub(crate) fn stood_still(&self) -> Duration {
        self.flow.lock().stood_still(self.clock.now())
    }

    /// Says whether nothing at all may start now.
    pub(crate) fn is_shut(&self) -> bool {
        self.flow.lock().is_shut(self.clock.now())
    }

    pub(crate) fn set_numbers(&self, numbers: Numbers) {
        self.set(|flow| flow.set_numbers(numbers, self.clock.now()));
    }

    pub(crate) fn set_share(&self, share: Share) {
        self.set(|flow| flow.set_share(share, self.clock.now()));
    }

    pub(crate) fn hold(&self, hold: Option<Hold>) {
        self.set(|flow| flow.hold(hold, self.clock.now()));
    }

    fn set(&self, set: impl FnOnce(&mut Flow)) {
        let mut flow = self.flow.lock();
        set(&mut flow);
        self.pace.show(flow.breaker(), flow.allowed());
        drop(flow);
        self.news.notify_one();
        self.fewer.notify_waiters();
    }

    /// Takes the rate that it shares from now on, if any.
    pub(super) fn set_pool(&self, pool: Option<Arc<Pool>>) {
        *self.pool.lock() = pool;
        self.news.notify_one();
    }

    fn admit(self: &Arc<Self>) -> Result<Leave, Wait> {
        let pool = self.pool.lock().clone();
        let Some(pool) = pool else { return self.admitted(Flow::admit) };
        match pool.turn.try_lock() {
            Ok(_turn) => self.admit_of(&pool),
            // Others wait for it: behind them, if nothing of its own stands in the way.
            Err(_) => {
                let own = self.flow.lock().wait(self.clock.now());
                Err(own.unwrap_or(Wait { why: Why::SharedRate, until: None }))
            }
        }
    }

    /// Waits for a token of the shared rate, behind those of other destinations who have waited longer;
    /// `None` when something of its own stands in the way.
    async fn leave_of_pool(self: &Arc<Self>) -> Option<Leave> {
        let pool = self.pool.lock().clone()?;
        let mut turn = pin!(pool.turn.lock());
        let _turn = loop {
            tokio::select! {
                turn = &mut turn => break turn,
                // Its place in the line is kept, unless it shares that rate no longer.
                () = self.news.notified() => if !self.shares(&pool) { return None },
            }
        };
        loop {
            if !self.shares(&pool) {
                return None;
            }
            let wait = match self.admit_of(&pool) {
                Ok(leave) => return Some(leave),
                Err(wait) if wait.why != Why::SharedRate => return None,
                Err(wait) => wait,
            };
            tokio::select! {
                () = tokio::time::sleep(self.rest(wait)) => {}
                () = self.news.notified() => {}
                () = pool.news.notified() => {}
            }
        }
    }

    fn shares(&self, pool: &Arc<Pool>) -> bool {
        self.pool.lock().as_ref().is_some_and(|its| Arc::ptr_eq(its, pool))
    }

    /// Only for who has the pool's turn.
    fn admit_of(self: &Arc<Self>, pool: &Pool) -> Result<Leave, Wait> {
        self.admitted(|flow, now| flow.admit_sharing(&mut pool.bucket(), now))
    }

    fn admitted(
        self: &Arc<Self>,
        admit: impl FnOnce(&mut Flow, MonoNanos) -> Result<Permit, Wait>,
    ) -> Result<Leave, Wait> {
        let mut flow = self.flow.lock();
        let permit = admit(&mut flow, self.clock.now())?;
        if permit.is_probe() {
            self.pace.show(flow.breaker(), flow.allowed());
        }
        Ok(Leave { line: self.clone(), permit: Some(permit), breaker: flow.breaker() })
    }

    fn ended(&self, permit: Permit, signals: Signals) {
        let mut flow = self.flow.lock();
        let change = flow.ended(permit, signals, self.clock.now());
        self.pace.show(flow.breaker(), flow.allowed());
        drop(flow);
        self.news.notify_one();
        self.fewer.notify_waiters();
        if let Some(change) = change {
            self.tell(change);
        }
    }

    fn tell(&self, change: Change) {
        let destination = &self.destination;
        match change {
            Change::Opened => {
                tracing::warn!(%destination, "breaker opened, the destination is left alone");
            }
            Change::Reopened => tracing::debug!(%destination, "breaker opened again after a probe"),
            Change::ProbeReturned => tracing::debug!(%destination, "probe ended without a word"),
            Change::Closed => tracing::info!(%destination, "breaker closed, deliveries go on"),
        }
    }

    fn rest(&self, wait: Wait) -> Duration {
        let until = wait.until.map(|until| until.since(self.clock.now()));
        until.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)
    }
}

impl Leave {
    /// Returns what the breaker did when it gave leave.
    pub(crate) fn breaker(&self) -> State {
        self.breaker
    }

    /// Hands it back with what the attempt's end tells.
    pub(crate) fn ended(mut self, signals: Signals) {
        if let Some(permit) = self.permit.take() {
            self.line.ended(permit, signals);
        }
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.line.ended(permit, Signals::NONE);
        }
    }
}

#[cfg(test)]
mod tests;
