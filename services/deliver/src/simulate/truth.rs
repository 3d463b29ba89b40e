//! What is true of every record, and what must never be: judged by what the destinations, the receipts
//! and the committed offsets say, not by what the engine believes.

use std::{collections::HashMap, fmt};

use domain::offset_map::{BYTES_MAX, OffsetMap};

use super::{
    group::Log,
    history::{Kind, Written},
};

/// What was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// A commit says that a record is done of which no outcome is recorded.
    Lost,
    /// A commit says nothing of a record that its owner had recorded, or leaves out what it could hold.
    LeftOut,
    /// An attempt started that was a former owner's.
    Zombie,
    /// A record of a key was tried before an earlier one had its end.
    Order,
    /// A completion of an earlier assignment was counted.
    Epoch,
    /// A record was tried though its owner knew that it was done.
    Repeated,
    /// More would be repeated after a crash than is allowed.
    RepeatsMany,
    /// Attempts made, or the time of the first one, were forgotten.
    Attempts,
    /// More is held than is allowed.
    Bounds,
    /// More attempts started in a second than the rate allows.
    Rate,
    /// More were in flight than is allowed.
    Concurrency,
    /// More of the whole group were in flight than is allowed.
    GroupConcurrency,
    /// An attempt started though the destination had asked to wait.
    Asked,
    /// An attempt started though the destination only failed.
    Breaker,
    /// An attempt started though an operator held the destination.
    Held,
    /// A lane of a healthy destination waited too long.
    Starved,
    /// Not all records came to an end after all faults were over.
    Stuck,
    /// A record was given up on without an attempt.
    Untried,
}

/// The first thing that was broken.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) at_ms: u64,
    pub(super) what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} ms: {}", self.fault, self.at_ms, self.what)
    }
}

/// What came of a record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fate {
    pub(super) offset: i64,
    /// The record of the same key before it.
    previous: Option<usize>,
    /// The lane in which its owner last learned of its end.
    concluded_in: Option<u32>,
    /// The lane that last said that it is complete.
    completed_in: Option<u32>,
    /// Its owner has learned that it is delivered.
    pub(super) is_delivered: bool,
    pub(super) is_recorded: bool,
    pub(super) attempts: u32,
    /// How often a destination took it.
    pub(super) taken: u32,
}

#[derive(Debug, Default)]
pub(super) struct Truth {
    fates: Vec<Fate>,
    /// The last record of a key, by partition and key.
    last: HashMap<(usize, u8), usize>,
    pub(super) now_ms: u64,
    pub(super) unrecorded: usize,
    pub(super) failure: Option<Failure>,
}

/// An attempt, as it starts.
pub(super) struct Start<'a> {
    pub(super) id: usize,
    /// The lane's own number, among all that there ever were.
    pub(super) lane: u32,
    /// What was committed when the lane began.
    pub(super) begun: &'a OffsetMap,
    pub(super) attempts: u32,
}

impl Truth {
    pub(super) fn new(records: usize) -> Self {
        Self { fates: vec![Fate::default(); records], ..Self::default() }
    }

    pub(super) fn fails(&mut self, fault: Fault, what: impl FnOnce() -> String) {
        if self.failure.is_none() {
            self.failure = Some(Failure { fault, at_ms: self.now_ms, what: what() });
        }
    }

    pub(super) fn of(&mut self, id: usize) -> &mut Fate {
        &mut self.fates[id]
    }

    pub(super) fn wrote(&mut self, written: &Written, offset: i64) {
        self.unrecorded += 1;
        let is_usual = matches!(written.kind, Kind::Usual | Kind::NewSchema);
        let key = written.key.filter(|_| is_usual).map(|key| (written.partition, key));
        let previous = key.and_then(|key| self.last.insert(key, written.id));
        self.fates[written.id] = Fate { offset, previous, ..Fate::default() };
    }

    /// Judges an attempt by the partition's owner.
    pub(super) fn starts(&mut self, start: &Start<'_>) {
        let fate = self.fates[start.id];
        if fate.concluded_in == Some(start.lane) {
            self.fails(Fault::Repeated, || format!("record {} is tried after its end", start.id));
        }
        if start.begun.is_done(fate.offset) {
            let what = || format!("record {} was done when its lane began", start.id);
            self.fails(Fault::Repeated, what);
        }
        let before = start.begun.head(fate.offset).map_or(0, |head| head.attempts_made);
        if start.attempts <= before {
            let what = || {
                format!("record {} had {before} attempts, and is at {}", start.id, start.attempts)
            };
            self.fails(Fault::Attempts, what);
        }
        let Some(previous) = fate.previous else { return };
        let earlier = self.fates[previous];
        if earlier.concluded_in != Some(start.lane) && !start.begun.is_done(earlier.offset) {
            let what = || format!("record {} is tried before {previous} of its key", start.id);
            self.fails(Fault::Order, what);
        }
    }

    /// Takes note that the record's lane has learned of its end.
    pub(super) fn concluded(&mut self, id: usize, lane: u32, is_delivered: bool) {
        let fate = &mut self.fates[id];
        // Of two lanes the later one is the owner's.
        fate.concluded_in = fate.concluded_in.max(Some(lane));
        fate.is_delivered |= is_delivered;
    }

    /// Takes note that its receipt or dead letter is acknowledged.
    pub(super) fn recorded(&mut self, id: usize) {
        let fate = &mut self.fates[id];
        self.unrecorded -= usize::from(!fate.is_recorded);
        fate.is_recorded = true;
    }

    /// Takes note that its lane says that it is complete.
    pub(super) fn completed(&mut self, id: usize, lane: u32) {
        let fate = &mut self.fates[id];
        fate.completed_in = fate.completed_in.max(Some(lane));
    }

    /// Judges what a lane is about to commit: it says of everything complete that it is.
    pub(super) fn covers(&mut self, log: &Log, lane: u32, (next, text): (i64, &str)) {
        let Ok(map) = OffsetMap::decode(next, text) else { return };
        let open = &log.entries[log.from(next)..];
        let left_out = open.iter().find(|entry| {
            self.fates[entry.id].completed_in == Some(lane) && !map.is_done(entry.offset)
        });
        if let Some(entry) = left_out {
            let what = || format!("the map at {next} leaves out record {}", entry.id);
            self.fails(Fault::LeftOut, what);
        }
    }

    /// Judges what is committed now of a partition, after `before` was.
    pub(super) fn committed(&mut self, log: &Log, before: i64) {
        let Some((next, text)) = &log.committed else { return };
        if text.len() > BYTES_MAX {
            self.fails(Fault::Bounds, || format!("a map takes {} bytes", text.len()));
        }
        let done = self.first_unrecorded(log, before, *next);
        if let Some(id) = done {
            self.fails(Fault::Lost, || format!("the commit of {next} passes over record {id}"));
        }
        let Ok(map) = OffsetMap::decode(*next, text) else { return };
        for run in map.runs() {
            if let Some(id) = self.first_unrecorded(log, run.start, run.end) {
                let what = || format!("the map at {next} has {run:?}, with record {id}");
                self.fails(Fault::Lost, what);
            }
        }
    }

    /// Returns how many records were delivered of which a commit does not say so.
    pub(super) fn to_repeat(&self, log: &Log, map: &OffsetMap) -> usize {
        let open = &log.entries[log.from(map.commit_point())..];
        let is_repeated = |id: usize| self.fates[id].is_delivered;
        open.iter().filter(|entry| !map.is_done(entry.offset) && is_repeated(entry.id)).count()
    }

    fn first_unrecorded(&self, log: &Log, from: i64, to: i64) -> Option<usize> {
        let (first, last) = (log.from(from), log.from(to));
        let entries = &log.entries[first..last.max(first)];
        entries.iter().map(|entry| entry.id).find(|id| !self.fates[*id].is_recorded)
    }
}
