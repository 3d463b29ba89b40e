//! Room for records that wait for their acknowledgement: so many, and so many bytes.
//!
//! Those who wait are served in their order.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus::{IntCounter, IntGauge};
use tokio::sync::{Notify, Semaphore};

use super::Queue;
use crate::metrics::Metrics;

/// Bytes are counted in units, since a semaphore's counts are 32 bits at a time.
const UNIT: usize = 256;

pub(super) struct Window {
    records: Semaphore,
    units: Semaphore,
    limit_records: usize,
    limit_bytes: usize,
    waiting_records: AtomicUsize,
    waiting_bytes: AtomicUsize,
    emptied: Notify,
    possibly_written: AtomicU64,
    shown: Shown,
}

struct Shown {
    records: IntGauge,
    bytes: IntGauge,
    limit_bytes: IntGauge,
    possibly_written: IntCounter,
}

impl Window {
    pub(super) fn new(records: usize, bytes: usize, metrics: &Metrics) -> Self {
        let shown = Shown {
            records: metrics.queue_records.clone(),
            bytes: metrics.queue_bytes.clone(),
            limit_bytes: metrics.queue_limit_bytes.clone(),
            possibly_written: metrics.possibly_written.clone(),
        };
        shown.limit_bytes.add(as_gauge(bytes));
        Self {
            records: Semaphore::new(records.max(1)),
            units: Semaphore::new((bytes / UNIT).clamp(1, u32::MAX as usize)),
            limit_records: records.max(1),
            limit_bytes: bytes,
            waiting_records: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            emptied: Notify::new(),
            possibly_written: AtomicU64::new(0),
            shown,
        }
    }

    /// Waits for room and takes it. Dropping the future takes nothing.
    pub(super) async fn wait_for(&self, bytes: usize) {
        // Neither is ever closed, so an error cannot happen; without room nothing would be taken.
        let Ok(record) = self.records.acquire().await else { return };
        let Ok(units) = self.units.acquire_many(self.units_of(bytes)).await else { return };
        record.forget();
        units.forget();
        self.took(bytes);
    }

    /// Takes room if there is some.
    pub(super) fn try_take(&self, bytes: usize) -> bool {
        let Ok(record) = self.records.try_acquire() else { return false };
        let Ok(units) = self.units.try_acquire_many(self.units_of(bytes)) else { return false };
        record.forget();
        units.forget();
        self.took(bytes);
        true
    }

    /// Gives room back.
    pub(super) fn give_back(&self, bytes: usize) {
        self.shown.records.dec();
        self.shown.bytes.sub(as_gauge(bytes));
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.units.add_permits(self.units_of(bytes) as usize);
        self.records.add_permits(1);
        if self.waiting_records.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }

    pub(super) async fn wait_until_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.waiting_records.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn possibly_wrote(&self) {
        self.possibly_written.fetch_add(1, Ordering::Relaxed);
        self.shown.possibly_written.inc();
    }

    pub(super) fn queue(&self) -> Queue {
        Queue {
            records: self.waiting_records.load(Ordering::Relaxed),
            bytes: self.waiting_bytes.load(Ordering::Relaxed),
            limit_records: self.limit_records,
            limit_bytes: self.limit_bytes,
            possibly_written: self.possibly_written.load(Ordering::Relaxed),
        }
    }

    fn took(&self, bytes: usize) {
        self.waiting_records.fetch_add(1, Ordering::AcqRel);
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shown.records.inc();
        self.shown.bytes.add(as_gauge(bytes));
    }

    /// A record larger than the whole window takes all of it.
    fn units_of(&self, bytes: usize) -> u32 {
        let all = (self.limit_bytes / UNIT).clamp(1, u32::MAX as usize);
        u32::try_from(bytes.div_ceil(UNIT).clamp(1, all)).unwrap_or(u32::MAX)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.shown.limit_bytes.sub(as_gauge(self.limit_bytes));
    }
}

fn as_gauge(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(records: usize, bytes: usize) -> Window {
        Window::new(records, bytes, &Metrics::default())
    }

    #[test]
    fn a_full_window_takes_nothing_until_room_is_given_back() {
        let window = window(2, 1024);
        assert!(window.try_take(100) && window.try_take(100));
        assert!(!window.try_take(1), "two records are the limit");
        window.give_back(100);
        assert!(window.try_take(500), "512 of 1024 bytes");
        assert_eq!(window.queue().records, 2);
    }

    #[test]
    fn bytes_bound_as_well_and_a_record_above_the_limit_takes_all() {
        let window = window(100, 1024);
        assert!(window.try_take(5000));
        assert!(!window.try_take(1));
        window.give_back(5000);
        assert!(window.try_take(1000));
        assert!(!window.try_take(300));
    }

    #[tokio::test]
    async fn who_waits_gets_room_and_an_empty_window_is_noticed() {
        let window = window(1, 1024);
        window.wait_for(10).await;
        let (mut second, mut empty) =
            (Box::pin(window.wait_for(10)), Box::pin(window.wait_until_empty()));
        assert!(
            futures::poll!(&mut second).is_pending() && futures::poll!(&mut empty).is_pending()
        );
        window.give_back(10);
        assert!(futures::poll!(&mut second).is_ready());
        assert_eq!(window.queue().records, 1);
        window.give_back(10);
        empty.await;
    }

    #[tokio::test]
    async fn who_stops_waiting_takes_nothing() {
        let window = window(2, 1024);
        assert!(window.try_take(1000));
        let mut waiting = Box::pin(window.wait_for(1000));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(waiting);
        window.give_back(1000);
        assert!(window.try_take(1000) && window.queue().records == 1);
    }
}
