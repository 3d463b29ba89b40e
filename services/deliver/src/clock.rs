//! The clock that breakers, rates and limits are told the time by: it never steps.

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use domain::time::MonoNanos;

/// A point that all of the process' times count from; copies agree.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    Since(Instant),
    /// Tells what it was set to.
    #[cfg(test)]
    Set(&'static AtomicU64),
}

impl Clock {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self::Since(Instant::now())
    }

    pub(crate) fn now(self) -> MonoNanos {
        match self {
            Self::Since(begun) => MonoNanos(0).plus(begun.elapsed()),
            #[cfg(test)]
            Self::Set(nanos) => MonoNanos(nanos.load(Ordering::Relaxed)),
        }
    }
}
