//! What the owner of a group tells it, and what others may know of it.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;

/// Losses remembered in a status; the counter knows them all.
const LOSSES_MAX: usize = 64;

/// Called by name at places where a crash must do no harm.
pub type Hook = Arc<dyn Fn(&'static str) + Send + Sync>;

/// One assignment of one partition. A partition that comes back later has another epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub topic: Arc<str>,
    pub partition: i32,
    pub epoch: u64,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// Records that were removed from the log before this group had read them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub topic: Arc<str>,
    pub partition: i32,
    /// The first offset that is gone: the committed one.
    pub from: i64,
    /// The offset at which reading went on: the log's start.
    pub to: i64,
}

impl Loss {
    /// Offsets that are gone. Markers of transactions and compacted records are among them.
    pub fn records(&self) -> i64 {
        self.to - self.from
    }
}

/// What a member of a group is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the group has said what this member reads, even if it is nothing.
    pub joined: bool,
    /// Partitions owned.
    pub assigned: usize,
    /// Times the consumer was replaced.
    pub rebuilt: u64,
    /// Offsets lost since the start, and the last of those losses, the newest at the end.
    pub records_lost: u64,
    pub losses: VecDeque<Loss>,
    /// How many losses there were, those no longer remembered included.
    pub losses_counted: u64,
    /// What keeps records from flowing, as far as is known: a missing topic, brokers out of reach, a refused login.
    pub problem: Option<String>,
    pub(super) trouble: Trouble,
}

/// When a problem counts as solved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    /// When a broker is connected.
    #[default]
    Connection,
    /// When every topic is there and may be read.
    Topics,
}

impl Status {
    /// Says whether records can flow, for the readiness.
    ///
    /// # Errors
    /// What keeps them.
    pub fn flows(&self) -> Result<(), String> {
        match &self.problem {
            Some(problem) => Err(problem.clone()),
            None if !self.joined => Err("the consumer group has not been joined yet".to_owned()),
            None => Ok(()),
        }
    }

    /// Says whether every record was read, for the readiness: until the process is restarted by someone who has read
    /// what it says.
    ///
    /// # Errors
    /// What is lost, why, and what to do.
    pub fn is_whole(&self) -> Result<(), String> {
        let Some(last) = self.losses.back() else { return Ok(()) };
        Err(format!(
            "{} records were removed from the log before they were read, the last from {}[{}] between {} and {}: \
             retention is shorter than the standstill was; send them again from their source, then restart",
            self.records_lost, last.topic, last.partition, last.from, last.to
        ))
    }

    /// Returns the losses after the first `told`, as far as they are remembered.
    pub(crate) fn losses_after(&self, told: u64) -> Vec<Loss> {
        let new = usize::try_from(self.losses_counted.saturating_sub(told)).unwrap_or(usize::MAX);
        self.losses.iter().skip(self.losses.len().saturating_sub(new)).cloned().collect()
    }

    pub(super) fn has_assigned(&mut self, assigned: usize) {
        self.joined = true;
        self.assigned = assigned;
        if self.trouble == Trouble::Connection {
            self.problem = None;
        }
    }

    pub(super) fn has_problem(&mut self, trouble: Trouble, problem: String) {
        self.trouble = trouble;
        self.problem = Some(problem);
    }

    /// Forgets a problem of this kind; true when there was one.
    pub(super) fn is_rid_of(&mut self, trouble: Trouble) -> bool {
        let solved = self.problem.is_some() && self.trouble == trouble;
        if solved {
            self.problem = None;
            self.trouble = Trouble::default();
        }
        solved
    }

    pub(super) fn has_lost(&mut self, loss: Loss) {
        self.records_lost += loss.records().unsigned_abs();
        self.losses_counted += 1;
        if self.losses.len() == LOSSES_MAX {
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
    }
}

/// How a group is joined.
#[derive(Clone)]
pub struct GroupOptions {
    pub group_id: String,
    /// Stable over restarts of the instance, different for each: a restart keeps its partitions. With it, a member
    /// that is removed for good leaves them idle until its session ends.
    pub instance_id: Option<String>,
    pub topics: Vec<String>,
    /// Bytes read ahead, over all partitions.
    pub queue_bytes: usize,
    /// A member that is not heard of for this long has left.
    pub session_timeout: Duration,
    /// A member that does not give its partitions up in this time has lost them; a quarter of it is for what is in
    /// flight.
    pub rebalance_timeout: Duration,
    /// A partition that should flow and does not for this long has the consumer replaced.
    pub stall_after: Duration,
    /// Places named: `kafka.before_commit`, `kafka.after_commit`, `kafka.during_revoke`.
    pub hook: Hook,
    pub(crate) memory: Arc<Memory>,
}

/// What a group remembers when its consumer is replaced.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(super) epochs: AtomicU64,
    /// Partitions whose position the broker refused: behind the log's end, unless it is before its start.
    pub(super) beyond: Mutex<HashSet<(Arc<str>, i32)>>,
}

impl GroupOptions {
    /// Returns the defaults: 64 MiB ahead, a session of 8 s, 40 s to let partitions go, 60 s until a stall is one.
    pub fn new(group_id: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            group_id: group_id.into(),
            instance_id: None,
            topics,
            queue_bytes: 64 << 20,
            session_timeout: Duration::from_secs(8),
            rebalance_timeout: Duration::from_secs(40),
            stall_after: Duration::from_secs(60),
            hook: Arc::new(|_| {}),
            memory: Arc::default(),
        }
    }

    /// Time for what is in flight when a partition goes to another member.
    pub fn drain_budget(&self) -> Duration {
        self.rebalance_timeout / 4
    }
}

impl fmt::Debug for GroupOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupOptions")
            .field("group_id", &self.group_id)
            .field("instance_id", &self.instance_id)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(from: i64) -> Loss {
        Loss { topic: "raw.a".into(), partition: 1, from, to: from + 5 }
    }

    #[test]
    fn records_flow_once_the_group_is_joined_and_has_no_problem() {
        let mut status = Status::default();
        assert!(status.flows().is_err());
        status.has_assigned(0);
        assert_eq!(status.flows(), Ok(()));
        status.has_problem(Trouble::Connection, "brokers out of reach".to_owned());
        assert_eq!(status.flows(), Err("brokers out of reach".to_owned()));
    }

    #[test]
    fn losses_are_told_with_their_place_and_each_once() {
        let mut status = Status::default();
        assert_eq!(status.is_whole(), Ok(()));
        status.has_lost(loss(3));
        let said = status.is_whole().expect_err("five are lost");
        assert!(said.contains("5 records") && said.contains("raw.a[1]"), "{said}");
        assert_eq!(status.losses_after(0), [loss(3)]);
        assert_eq!(status.losses_after(1), []);
        for from in 0..200 {
            status.has_lost(loss(from));
        }
        assert_eq!(status.losses_after(199), [loss(198), loss(199)]);
        assert_eq!(status.losses_after(0).len(), LOSSES_MAX, "the counter knows all");
    }
}
