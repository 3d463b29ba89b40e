//! How much is in hand at a time: requests, and bytes of their bodies. What is above is refused, not kept waiting.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The bounds, and what is in hand now.
#[derive(Debug)]
pub(crate) struct Limits {
    requests_max: usize,
    bytes_max: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// A request's place; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'l> {
    limits: &'l Limits,
    bytes: usize,
}

impl Limits {
    pub(crate) fn new(requests_max: usize, bytes_max: usize) -> Self {
        Self { requests_max, bytes_max, requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Takes a place for a request, if there is one.
    pub(crate) fn enter(&self) -> Option<Held<'_>> {
        // Lazily: a place that was not had must not be given back.
        take(&self.requests, 1, self.requests_max).then(|| Held { limits: self, bytes: 0 })
    }
}

impl Held<'_> {
    /// Takes room for more bytes of the request's body; false where there is none.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let taken = take(&self.limits.bytes, bytes, self.limits.bytes_max);
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.limits.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.limits.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take(of: &AtomicUsize, more: usize, max: usize) -> bool {
    let before = of.fetch_add(more, Ordering::Relaxed);
    let fits = before + more <= max;
    if !fits {
        of.fetch_sub(more, Ordering::Relaxed);
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_requests_are_in_hand_than_allowed() {
        let limits = Limits::new(2, 10);
        let first = limits.enter();
        let second = limits.enter();
        assert!(first.is_some() && second.is_some());
        assert!(limits.enter().is_none() && limits.enter().is_none());
        drop(first);
        assert!(limits.enter().is_some());
    }

    #[test]
    fn bytes_are_given_back_with_their_request() {
        let limits = Limits::new(9, 10);
        let mut first = limits.enter().expect("there is a place");
        let mut second = limits.enter().expect("there is a place");
        assert!(first.take(6) && !second.take(5) && second.take(4) && !first.take(1));
        drop(first);
        assert!(second.take(6));
    }
}
