//! Follows `ctl.state`, and writes to it what was found here.
//!
//! While the log can't be read, what was read of it last is obeyed, and the readiness says so. Before
//! it was read for the first time nothing is sent.

use std::{convert::Infallible, time::Duration};

use chassis::{Process, Readiness};
use tokio_util::sync::CancellationToken;
use wire::topics::Names;

use super::log::{Log, LogError};
use crate::{World, shared::Shared};

/// Whether what operators say is known, as readiness names it.
const CONTROL: &str = "control";
/// How often the log's end is looked at: all replicas obey within 2 s.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long after a record was not taken it is written anew.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// Reads what operators say.
pub(crate) struct Follower {
    kafka: kafka_io::Config,
    names: Names,
    ready: Readiness,
    stop: CancellationToken,
    /// `None` until it was opened, and while it is being read.
    log: Option<Log>,
}

impl Follower {
    pub(crate) fn new(world: &World, process: &Process) -> Self {
        let unread = format!("topic {} has not been read yet", world.names.state());
        process.ready.set(CONTROL, Err(unread));
        Self {
            kafka: world.kafka.clone(),
            names: world.names.clone(),
            ready: process.ready.clone(),
            stop: process.stop.clone(),
            log: None,
        }
    }

    /// Waits until the log was read to its end once; `None` when stopped.
    pub(crate) async fn first(&mut self, shared: &Shared) -> Option<()> {
        let stop = self.stop.clone();
        loop {
            match stop.run_until_cancelled(self.look(shared)).await? {
                Ok(()) => {
                    self.ready.set(CONTROL, Ok(()));
                    return Some(());
                }
                Err(why) => {
                    self.ready.set(CONTROL, Err(format!("{why}; nothing is sent before")));
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await?;
        }
    }

    async fn follow(&mut self, shared: &Shared) -> Infallible {
        let mut known = true;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let looked = self.look(shared).await;
            if looked.is_ok() != known {
                known = looked.is_ok();
                match &looked {
                    Ok(()) => tracing::info!("what operators say is read again"),
                    Err(why) => {
                        tracing::warn!(error.message = %why, "what operators say is not read")
                    }
                }
            }
            let told = looked.map_err(|why| format!("{why}; what was read last is obeyed"));
            self.ready.set(CONTROL, told);
        }
    }

    /// Looks once, within the limits of the log, and obeys what it says.
    ///
    /// # Cancellation
    /// The next look reads the log from its start.
    async fn look(&mut self, shared: &Shared) -> Result<(), LogError> {
        let (log, kafka, names) = (self.log.take(), self.kafka.clone(), self.names.clone());
        let looking = tokio::task::spawn_blocking(move || -> Result<_, LogError> {
            let mut log = match log {
                Some(log) => log,
                None => Log::open(&kafka, &names)?,
            };
            let looked = log.look();
            Ok((log, looked))
        });
        let looked = looking.await.map_err(|_| LogError::Defect(self.names.state()))?;
        let (log, looked) = looked?;
        let log = self.log.insert(log);
        if looked? {
            shared.control.obey(&shared.gates, log.said().clone(), log.next(), shared.now());
        }
        Ok(())
    }
}

/// Obeys what operators say, and writes what was found here. It never returns; drop it to end it.
pub(crate) async fn keep(mut follower: Follower, shared: &Shared) -> Infallible {
    tokio::select! {
        never = follower.follow(shared) => never,
        never = write(shared) => never,
        never = audit(shared) => never,
    }
}

/// Tells the log which destinations answered 410, each until that is acknowledged.
async fn write(shared: &Shared) -> Infallible {
    let mut news = shared.control.news.subscribe();
    loop {
        while let Some((destination, record)) = shared.control.unwritten() {
            match shared.outbox.control(&record).await {
                Ok(written) => shared.control.written(&destination, written),
                Err(why) => {
                    tracing::warn!(destination, error.message = %why, "that it is disabled is not written yet");
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        }
        // The sender is the control's, which lives as long.
        let _ = news.changed().await;
    }
}

/// Tells the audit the same, for which nothing else waits.
async fn audit(shared: &Shared) -> Infallible {
    let mut news = shared.control.news.subscribe();
    loop {
        while let Some(record) = shared.control.unaudited() {
            match shared.outbox.control(&record).await {
                Ok(_) => shared.control.audited(),
                Err(why) => {
                    tracing::warn!(error.message = %why, "a disabled destination is not in the audit yet");
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        }
        // As above.
        let _ = news.changed().await;
    }
}
