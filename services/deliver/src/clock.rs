//! The clock that breakers, rates and limits are told the time by: it never steps.

use std::time::Instant;

use domain::time::MonoNanos;

/// A point that all of the process' times count from; copies agree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> MonoNanos {
        MonoNanos(0).plus(self.0.elapsed())
    }
}
