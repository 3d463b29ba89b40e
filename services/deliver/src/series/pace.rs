//! What is shown of how much a destination is asked: its breaker, its limit, and who waits for what.

use chassis::Metrics;
use domain::breaker::State;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use crate::flow::Why;

/// The families; clones are the same.
#[derive(Clone)]
pub(crate) struct Families {
    breaker: IntGaugeVec,
    limit: IntGaugeVec,
    waits: IntCounterVec,
}

/// One destination's.
pub(crate) struct Pace {
    closed: IntGauge,
    open: IntGauge,
    half_open: IntGauge,
    limit: IntGauge,
    waits: IntCounterVec,
    destination: String,
}

impl Families {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            breaker: metrics.gauge_vec(
                "millrace_delivery_breaker_state",
                "1 for the state that a destination's breaker is in.",
                &["destination", "state"],
            ),
            limit: metrics.gauge_vec(
                "millrace_delivery_concurrency_limit",
                "Requests that may be in flight at a time.",
                &["destination"],
            ),
            waits: metrics.counter_vec(
                "millrace_delivery_waits_total",
                "Waits of a lane until another attempt may start, by what stood in the way at first.",
                &["destination", "reason"],
            ),
        }
    }

    pub(crate) fn of(&self, destination: &str) -> Pace {
        let breaker = |state| self.breaker.with_label_values(&[destination, state]);
        Pace {
            closed: breaker("closed"),
            open: breaker("open"),
            half_open: breaker("half_open"),
            limit: self.limit.with_label_values(&[destination]),
            waits: self.waits.clone(),
            destination: destination.to_owned(),
        }
    }
}

impl Pace {
    /// Shows what the breaker does and how many may be in flight.
    pub(crate) fn show(&self, breaker: State, allowed: u32) {
        let (closed, open, half_open) = match breaker {
            State::Closed => (1, 0, 0),
            State::Open { .. } => (0, 1, 0),
            State::HalfOpen => (0, 0, 1),
        };
        self.closed.set(closed);
        self.open.set(open);
        self.half_open.set(half_open);
        self.limit.set(i64::from(allowed));
    }

    /// A lane has begun to wait.
    pub(crate) fn waited(&self, why: Why) {
        self.waits.with_label_values(&[self.destination.as_str(), why.label()]).inc();
    }
}
