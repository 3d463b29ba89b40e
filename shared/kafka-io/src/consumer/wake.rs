//! Wakes the consumer's thread from callbacks, tasks and other threads. A wake-up before the wait is not lost.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// One thread waits, any number wake it.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    pub(crate) fn wake(&self) {
        // librdkafka calls this while it enqueues; it must stay short.
        let mut woken = self.woken.lock();
        if !*woken {
            *woken = true;
            self.changed.notify_one();
        }
    }

    /// Returns after `limit`, or as soon as somebody wakes or has woken.
    pub(crate) fn wait(&self, limit: Duration) {
        let mut woken = self.woken.lock();
        if !*woken {
            self.changed.wait_for(&mut woken, limit);
        }
        *woken = false;
    }
}
