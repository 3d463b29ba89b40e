//! One consumer for many topics, one lane per partition: a lane that is full stops nobody else.
//!
//! Records of a partition come in order and complete in any order. What is completed is committed soon, also what
//! waits behind a gap, and at the latest when a partition goes to another member. A full lane is not read; nothing is
//! paused. Records may come twice after a crash or a lost session: those in flight, and those completed since the
//! last commit. None is passed over.

mod acks;
mod cadence;
mod driver;
mod lane;
mod lease;
mod ledger;
mod session;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::consumer::{GroupError, GroupOptions, Status};
use crate::metrics::Metrics;

use acks::Shared;
pub use acks::{Acks, Effect};
use driver::Driver;
pub use lane::{Lane, Taken};
pub use ledger::Ledger;

/// Lanes that wait for the service to take them. More wait in the consumer's thread.
const LANES: usize = 256;

/// How lanes are filled and committed.
#[derive(Clone, Debug)]
pub struct LaneOptions {
    /// Records of one partition that are handed out and not completed.
    pub window_records: usize,
    /// Changed positions are committed after this time ...
    pub commit_every: Duration,
    /// ... or after so many completions, whichever is first.
    pub commit_completions: usize,
    /// Records that had their effect of which no commit says so, at most: after a crash no more than these, and what is
    /// in flight, are repeated. [`Acks::has_room`] says whether there are fewer.
    pub repeats_max: usize,
    /// How long after the last commit that stands records may have their effect; less than the session, so that they
    /// stop before another member begins. While partitions are assigned, positions are committed again in time also
    /// where nothing changes. `None`: until the client says that they are lost, which after a pause of the process is
    /// later than another's beginning.
    pub lease: Option<Duration>,
}

impl Default for LaneOptions {
    /// 1,000 records, 20 ms, 500 completions, 500 repeats, no lease.
    fn default() -> Self {
        Self {
            window_records: 1000,
            commit_every: Duration::from_millis(20),
            commit_completions: 500,
            repeats_max: 500,
            lease: None,
        }
    }
}

/// A running consumer with lanes. Dropping it stops it within 5 s.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    status: watch::Receiver<Status>,
    ended: watch::Receiver<Option<Result<(), GroupError>>>,
}

/// Joins a group, and returns its lanes as partitions are assigned.
///
/// # Errors
/// When the thread cannot be started. A cluster that cannot be reached is no error: the status says so, and
/// it is tried until it can.
pub fn lanes(
    config: &Config,
    group: GroupOptions,
    options: LaneOptions,
    metrics: &Metrics,
) -> Result<(Consumer, mpsc::Receiver<Lane>), GroupError> {
    let shared = Arc::new(Shared::new(&options));
    let (status, watched) = watch::channel(Status::default());
    let (sender, lanes) = mpsc::channel(LANES);
    let (result, ended) = watch::channel(None);
    let driver = Driver {
        config: config.clone(),
        group,
        options,
        metrics: metrics.clone(),
        status,
        shared: shared.clone(),
        lanes: sender,
    };
    thread::Builder::new()
        .name("lanes".to_owned())
        .spawn(move || result.send_replace(Some(driver.run())))
        .map_err(|why| GroupError::new("start the consumer's thread", why))?;
    Ok((Consumer { shared, status: watched, ended }, lanes))
}

impl Consumer {
    /// Returns the means to say that records are completed.
    pub fn acks(&self) -> Acks {
        Acks::new(self.shared.clone())
    }

    /// Returns what the consumer is doing, kept up to date.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Reads these topics from now on.
    pub fn set_topics(&self, topics: Vec<String>) {
        self.shared.set_topics(topics);
    }

    /// Closes all lanes, waits until they are dropped, commits, leaves the group; all of that before `deadline`.
    ///
    /// # Errors
    /// What could not be done in time. Everything completed may be repeated then; nothing is lost.
    pub async fn stop(&self, deadline: Duration) -> Result<(), GroupError> {
        self.shared.ask_to_stop(Instant::now() + deadline);
        // A second more than the thread was told, so that it can say what it did not manage.
        match tokio::time::timeout(deadline + Duration::from_secs(1), self.ended()).await {
            Ok(result) => result,
            Err(_) => Err(GroupError::new(
                "stop the consumer",
                format!("not done in {} ms", deadline.as_millis()),
            )),
        }
    }

    /// Returns when the consumer has ended.
    pub async fn ended(&self) -> Result<(), GroupError> {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err(GroupError::new("run the consumer", "its thread ended without a result")),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.ask_to_stop(Instant::now() + Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests;
