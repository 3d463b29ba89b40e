//! The cluster: logs, what is committed, and who owns which partition.

use std::collections::BTreeMap;

use kafka_io::simulation::Position;

/// A process from its start to its end: its place, and which of those that had the place it is.
pub(super) type Life = (usize, u32);

/// A change of what a process owns.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Assigned(Vec<usize>),
    Revoked(Vec<usize>),
    Lost,
}

/// A record in a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) id: usize,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) entries: Vec<Entry>,
    pub(super) end: i64,
    /// The offset and the text beside it.
    pub(super) committed: Option<(i64, String)>,
    owner: Option<Life>,
    target: Option<Life>,
    is_revoked: bool,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) logs: Vec<Log>,
    members: Vec<Life>,
    /// Those that were taken out, as often as they were.
    left: Vec<Life>,
    turn: usize,
}

impl Log {
    pub(super) fn append(&mut self, id: usize, gap: i64) -> i64 {
        let offset = self.end + gap;
        self.entries.push(Entry { offset, id });
        self.end = offset + 1;
        offset
    }

    /// Returns the place of the first record from `offset` on.
    pub(super) fn from(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.offset < offset)
    }
}

impl Group {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            logs: vec![Log::default(); partitions],
            members: Vec::new(),
            left: Vec::new(),
            turn: 0,
        }
    }

    pub(super) fn owner(&self, partition: usize) -> Option<Life> {
        self.logs[partition].owner
    }

    pub(super) fn has(&self, life: Life) -> bool {
        self.members.contains(&life)
    }

    /// Returns which membership a process has: what it sends in one does not count in the next.
    pub(super) fn membership(&self, life: Life) -> Option<usize> {
        self.has(life).then(|| self.left.iter().filter(|left| **left == life).count())
    }

    pub(super) fn join(&mut self, life: Life) -> Vec<(Life, Told)> {
        if !self.has(life) {
            self.members.push(life);
        }
        self.share_out()
    }

    /// Takes a member out; what it owned is free at once.
    pub(super) fn leave(&mut self, life: Life) -> Vec<(Life, Told)> {
        self.members.retain(|member| *member != life);
        self.left.push(life);
        for log in self.logs.iter_mut().filter(|log| log.owner == Some(life)) {
            (log.owner, log.is_revoked) = (None, false);
        }
        self.share_out()
    }

    /// Moves every partition to the next member.
    pub(super) fn rebalance(&mut self) -> Vec<(Life, Told)> {
        self.turn += 1;
        self.share_out()
    }

    /// Shares the partitions out anew; what has to move is asked back first.
    fn share_out(&mut self) -> Vec<(Life, Told)> {
        let mut revoked: BTreeMap<Life, Vec<usize>> = BTreeMap::new();
        for (place, log) in self.logs.iter_mut().enumerate() {
            let count = self.members.len();
            log.target = (count > 0).then(|| self.members[(place + self.turn) % count]);
            match log.owner {
                Some(owner) if log.target != Some(owner) && !log.is_revoked => {
                    log.is_revoked = true;
                    revoked.entry(owner).or_default().push(place);
                }
                Some(_) | None => {}
            }
        }
        let mut told: Vec<(Life, Told)> =
            revoked.into_iter().map(|(life, all)| (life, Told::Revoked(all))).collect();
        told.extend(self.assign());
        told
    }

    pub(super) fn let_go(&mut self, life: Life, partitions: &[usize]) -> Vec<(Life, Told)> {
        for partition in partitions {
            let log = &mut self.logs[*partition];
            if log.owner == Some(life) {
                (log.owner, log.is_revoked) = (None, false);
            }
        }
        self.assign()
    }

    /// Commits, unless one of the positions is not the member's to commit.
    pub(super) fn commit(&mut self, life: Life, positions: &[Position]) -> bool {
        let place = |position: &Position| position.partition.partition as usize;
        if !positions.iter().all(|position| self.logs[place(position)].owner == Some(life)) {
            return false;
        }
        for position in positions {
            self.logs[place(position)].committed = Some((position.next, position.metadata.clone()));
        }
        true
    }

    fn assign(&mut self) -> Vec<(Life, Told)> {
        let mut assigned: BTreeMap<Life, Vec<usize>> = BTreeMap::new();
        for (place, log) in self.logs.iter_mut().enumerate() {
            if let (None, Some(target)) = (log.owner, log.target)
                && self.members.contains(&target)
            {
                log.owner = Some(target);
                assigned.entry(target).or_default().push(place);
            }
        }
        assigned.into_iter().map(|(life, all)| (life, Told::Assigned(all))).collect()
    }
}
