//! The consumer's thread: one session after the other, until it is to stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::acks::Shared;
use super::session::{End, Session};
use super::{Lane, LaneOptions};
use crate::config::Config;
use crate::consumer::{Group, GroupError, GroupOptions, Status};
use crate::metrics::Metrics;

/// Pause before a consumer is opened again; it doubles up to the longest while nothing lasts.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A session of this length was a good one.
const LASTING: Duration = Duration::from_secs(60);

pub(super) struct Driver {
    pub(super) config: Config,
    pub(super) group: GroupOptions,
    pub(super) options: LaneOptions,
    pub(super) metrics: Metrics,
    pub(super) status: watch::Sender<Status>,
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: mpsc::Sender<Lane>,
}

impl Driver {
    pub(super) fn run(mut self) -> Result<(), GroupError> {
        let mut pause = PAUSE_MIN;
        while self.shared.stop_by().is_none() {
            if let Some(topics) = self.shared.new_topics() {
                self.group.topics = topics;
            }
            let begun = Instant::now();
            match self.open() {
                Ok(group) => match Session::new(group, &mut self).run() {
                    End::Stopped(result) => return result,
                    End::Again => {}
                },
                // The cause may pass, a file that is not there yet for example.
                Err(why) => {
                    tracing::error!(%why, "consumer not opened, trying again");
                    self.status.send_modify(|status| status.problem = Some(why.to_string()));
                }
            }
            pause = if begun.elapsed() > LASTING { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
            self.pause(pause);
        }
        Ok(())
    }

    fn open(&self) -> Result<Group, GroupError> {
        Group::open_waking(
            &self.config,
            &self.group,
            &self.metrics,
            &self.status,
            self.shared.wake.clone(),
        )
    }

    fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while self.shared.stop_by().is_none() && Instant::now() < end {
            self.shared.wake.wait(end.saturating_duration_since(Instant::now()));
        }
    }
}
