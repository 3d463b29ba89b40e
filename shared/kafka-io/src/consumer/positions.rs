//! What is committed of the partitions of a group: where they are begun, what is set back, what is written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::offset_map::OffsetMap;
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::Offset;

use super::committer::Committed;
use super::native::Commit;
use super::{Group, GroupError, Loss, Partition, Position, QUESTION, TRIES, native, start};

impl Group {
    /// Finds where each partition is read from and what is complete beyond, and counts what is gone before it was
    /// read.
    pub(super) fn starts(
        &self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, OffsetMap)>, GroupError> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let pairs: Vec<(&str, i32)> = partitions.iter().map(|p| (&*p.topic, p.partition)).collect();
        let committed = self.insist(|| native::committed(&self.consumer, &pairs, QUESTION))?;
        let lowest =
            self.insist(|| native::ends(&self.consumer, &pairs, Offset::Beginning, QUESTION))?;
        let mut beyond = self.options.memory.beyond.lock();
        let (mut starts, mut firsts) = (Vec::with_capacity(partitions.len()), Vec::new());
        for partition in partitions {
            let key = (partition.topic.clone(), partition.partition);
            let low = lowest.get(&key).copied().flatten().unwrap_or(0);
            let commit = committed.get(&key);
            let before = commit.map(|commit| commit.next);
            let start = start::decide(before, low, beyond.remove(&key));
            let map = match commit {
                Some(commit) if !start.from_new_log => self.map(partition, commit, start.from),
                Some(_) | None => OffsetMap::new(start.from),
            };
            let loss = start.loss(partition);
            if before.is_none() || loss.is_some() {
                firsts.push(Position::of(partition.clone(), &map));
            }
            if let Some(loss) = loss {
                self.lost(loss);
            }
            if start.from_new_log {
                tracing::warn!(%partition, from = start.from, "committed offset lies beyond the log's end, the topic was made anew: read from its start");
            }
            starts.push((partition.clone(), map));
        }
        // Without a position, records removed before the first commit would be missed by nobody; without the new one,
        // a loss would be told again at every start.
        if !firsts.is_empty()
            && let Err(why) = self.commit(firsts)
        {
            tracing::warn!(%why, "the start of reading is not committed");
        }
        Ok(starts)
    }

    fn lost(&self, loss: Loss) {
        tracing::error!(
            topic = &*loss.topic,
            partition = loss.partition,
            from = loss.from,
            to = loss.to,
            "records removed from the log before they were read"
        );
        self.metrics
            .records_lost
            .with_label_values(&[&*loss.topic])
            .inc_by(loss.records().unsigned_abs());
        self.status.send_modify(|status| status.has_lost(loss));
    }

    /// Reads what is complete beyond a commit. Another program's text is no map: everything beyond is repeated then.
    fn map(&self, partition: &Partition, commit: &Commit, from: i64) -> OffsetMap {
        let mut map = OffsetMap::decode(commit.next, &commit.metadata).unwrap_or_else(|why| {
            tracing::warn!(%partition, %why, "what was completed beyond the commit is repeated");
            self.metrics.maps_unreadable.with_label_values(&[&*partition.topic]).inc();
            OffsetMap::new(commit.next)
        });
        map.advance(from);
        map
    }

    /// Sets partitions back to what is committed, or to where they were begun when nothing is.
    ///
    /// # Errors
    /// When the committed offsets cannot be found in time, or the fetcher does not follow; may be tried again.
    pub(crate) fn seek_committed(
        &mut self,
        partitions: &BTreeSet<(Arc<str>, i32)>,
    ) -> Result<(), GroupError> {
        let owned: Vec<Partition> = partitions
            .iter()
            .filter_map(|key| self.owners.at(key).map(|owned| owned.partition.clone()))
            .collect();
        if owned.is_empty() {
            return Ok(());
        }
        let pairs: Vec<(&str, i32)> = owned.iter().map(|p| (&*p.topic, p.partition)).collect();
        let committed = native::committed(&self.consumer, &pairs, QUESTION)?;
        for partition in &owned {
            let key = (partition.topic.clone(), partition.partition);
            let Some(owned) = self.owners.get_mut(partition) else { continue };
            let to = committed.get(&key).map_or(owned.began, |commit| commit.next);
            self.consumer
                .seek(&partition.topic, partition.partition, Offset::Offset(to), QUESTION)
                .map_err(|why| GroupError::new("set a partition back", why))?;
            owned.set_back(to);
        }
        Ok(())
    }

    /// Says that every record of the partition before `next` is completed, and its offset committed.
    pub(crate) fn settled(&mut self, topic: &str, partition: i32, next: i64) {
        if let Some(owned) = self.owners.at_mut(topic, partition) {
            owned.settled(next);
        }
    }

    /// Has positions committed; what becomes of it comes back by [`note_commits`](Self::note_commits).
    pub(crate) fn commit(&self, positions: Vec<Position>) -> Result<(), GroupError> {
        self.consumer.context().commit_begins();
        if self.committer.commit(positions) {
            return Ok(());
        }
        self.consumer.context().commit_refused();
        Err(GroupError::new("commit offsets", "the commits before it are not answered yet"))
    }

    /// Number of commits that the brokers have not answered.
    pub(crate) fn commits_open(&self) -> usize {
        self.consumer.context().commits_open()
    }

    /// Takes note of the commits answered since the last call, and returns them.
    pub(crate) fn note_commits(&mut self) -> Vec<Committed> {
        let ended = Vec::from(self.consumer.context().commits_ended());
        for commit in &ended {
            let error = commit.failure.as_ref().map_or("", |_| "commit_failed");
            let took = self.metrics.commits(&self.options.group_id, error);
            took.observe(commit.took.as_secs_f64());
            for Position { partition, next, .. } in &commit.positions {
                self.settled(&partition.topic, partition.partition, *next);
            }
        }
        ended
    }

    /// Waits until every commit is answered; false when that takes longer. Rebalances are kept for later.
    pub(crate) fn await_commits(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.commits_open() > 0 {
            if Instant::now() > deadline {
                return false;
            }
            if let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(10)) {
                self.owners.stash(&message);
            }
        }
        true
    }

    fn insist<T>(&self, ask: impl Fn() -> Result<T, GroupError>) -> Result<T, GroupError> {
        let mut answer = ask();
        for _ in 1..TRIES {
            if answer.is_ok() {
                break;
            }
            answer = ask();
        }
        answer
    }
}
