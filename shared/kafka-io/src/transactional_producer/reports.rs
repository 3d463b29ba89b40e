//! Delivery reports of one transaction: how many are missing, and the first failure.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

use crate::context::ClientHooks;

/// Bits of a report's tag that hold the record's number; the rest holds the round.
const NUMBER_BITS: u32 = 32;

/// What librdkafka calls back, from its own threads.
pub(super) struct Reports {
    pub(super) hooks: ClientHooks,
    pub(super) outstanding: Arc<Outstanding>,
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = ClientHooks::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.hooks.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.hooks.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hooks.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.hooks.generate_oauth_token(config)
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let failure = result.as_ref().err().map(|(error, _)| error.clone());
        self.outstanding.reported(tag, failure);
    }
}

/// Counts records that wait for their delivery report, and keeps the first failure.
#[derive(Default)]
pub(super) struct Outstanding {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Tells the reports of this transaction from late ones of an aborted one.
    round: usize,
    records: usize,
    window_full: bool,
    failure: Option<KafkaError>,
}

impl Outstanding {
    pub(super) fn begin_round(&self) {
        let mut state = self.state.lock();
        let round = state.round.wrapping_add(1) & (usize::MAX >> NUMBER_BITS);
        *state = Waiting { round, ..Waiting::default() };
    }

    /// Takes note of a record to be sent; returns the tag that its report carries.
    pub(super) fn add(&self, number: usize) -> usize {
        let mut state = self.state.lock();
        state.records += 1;
        state.round << NUMBER_BITS | number
    }

    /// Takes back the last [`add`](Self::add): the record was not sent.
    pub(super) fn remove(&self) {
        let mut state = self.state.lock();
        state.records = state.records.saturating_sub(1);
    }

    fn reported(&self, tag: usize, failure: Option<KafkaError>) {
        let mut state = self.state.lock();
        if tag >> NUMBER_BITS != state.round {
            return;
        }
        state.records = state.records.saturating_sub(1);
        if let (None, Some(error)) = (&state.failure, failure) {
            state.failure = Some(error);
        }
        // A wake-up per record would cost more than the record.
        if state.records == 0 || state.window_full || state.failure.is_some() {
            state.window_full = false;
            self.changed.notify_all();
        }
    }

    /// Waits for a report that makes room; false when none came in time.
    pub(super) fn wait_for_one(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        if state.records <= 1 {
            // Only the record that is to be sent: all others were reported meanwhile.
            return Instant::now() < deadline;
        }
        state.window_full = true;
        !self.changed.wait_until(&mut state, deadline).timed_out()
    }

    /// Waits until all are reported or one has failed; false when that did not happen in time.
    pub(super) fn wait_for_all(&self, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while state.records > 0 && state.failure.is_none() {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return state.records == 0 || state.failure.is_some();
            }
        }
        true
    }

    /// Says whether every record of the transaction is acknowledged.
    pub(super) fn are_all_written(&self) -> bool {
        let state = self.state.lock();
        state.records == 0 && state.failure.is_none()
    }

    pub(super) fn first_failure(&self) -> Option<KafkaError> {
        self.state.lock().failure.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::error::RDKafkaErrorCode;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(10)
    }

    #[test]
    fn all_reports_or_the_first_failure_end_the_wait() {
        let reports = Outstanding::default();
        reports.begin_round();
        let tags = [reports.add(0), reports.add(1)];
        assert!(!reports.wait_for_all(soon()) && !reports.are_all_written());
        reports.reported(tags[0], None);
        reports.reported(tags[1], None);
        assert!(reports.wait_for_all(soon()) && reports.first_failure().is_none());
        assert!(reports.are_all_written());

        let tags = [reports.add(2), reports.add(3)];
        let failure = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
        reports.reported(tags[1], Some(failure.clone()));
        assert!(reports.wait_for_all(soon()) && !reports.are_all_written());
        assert_eq!(reports.first_failure(), Some(failure));
    }

    #[test]
    fn late_reports_of_an_aborted_transaction_do_not_count() {
        let reports = Outstanding::default();
        reports.begin_round();
        let late = reports.add(0);
        reports.begin_round();
        let _own = reports.add(0);
        reports.reported(late, Some(KafkaError::Canceled));
        assert!(reports.first_failure().is_none());
        assert!(!reports.wait_for_all(soon()), "its own record is still missing");
    }
}
