//! A time in which deliver lives and can't commit, and what may come again because of it.

use std::collections::HashSet;

use testkit::{
    reconcile::{Crash, repeats_max},
    wait,
};

use super::judge::{CONCURRENCY, now_ms, taken_not_committed, taken_since};
use crate::{
    SOON,
    system::{DELIVER_GROUP, World},
};

/// What was taken and not committed when it began.
pub(super) struct Cut {
    pub(super) at_ms: u64,
    open: Vec<String>,
}

impl Cut {
    /// Looks while the cluster still answers.
    pub(super) async fn begin(world: &World, since_ms: u64) -> Self {
        let open = taken_not_committed(world, since_ms).await;
        Self { at_ms: now_ms(world), open }
    }

    /// How many deliveries it may let come again, once the cluster answers and deliver commits: no more
    /// than a crash may, however late that commit is seen.
    pub(super) async fn left(&self, world: &World) -> u64 {
        let committed = || world.topics.committed_by(DELIVER_GROUP, "out.app");
        let before = committed().await;
        wait::until_some("deliver to commit again", SOON, || async {
            (committed().await != before).then_some(())
        })
        .await;
        (self.may_repeat(world).len() as u64).min(repeats_max(CONCURRENCY))
    }

    /// Waits until the cluster is whole: before that, deliver may lose its partitions at any time.
    pub(super) async fn end(self, world: &World, left: u64) -> Crash {
        wait::until_some("the brokers to be in sync", SOON, || async {
            world.kafka.is_in_sync().await.then_some(())
        })
        .await;
        Crash { at_ms: self.at_ms, left, may_repeat: self.may_repeat(world).into_iter().collect() }
    }

    fn may_repeat(&self, world: &World) -> HashSet<String> {
        self.open.iter().cloned().chain(taken_since(world, self.at_ms)).collect()
    }
}
