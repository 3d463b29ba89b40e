//! What is completed above a partition's commit point, and how its retrying heads stand.
//!
//! Kept beside the commit (as its metadata), so that a restart repeats only what had no recorded
//! outcome. It holds no records, tracks no deliveries and commits nothing: its owner keeps one per
//! partition and assignment epoch, and reads the log again from the commit point.
//!
//! Offsets have gaps (markers of transactions, compaction). A completion therefore names a range: a
//! record and the gap before it, which no reader will be given any more.

mod bits;
mod codec;

use std::{collections::BTreeMap, ops::Range, time::Duration};

use crate::time::UnixMillis;

pub use codec::{BYTES_MAX, DecodeError, Encoded};

/// The part of what fits at which the owner parks, or takes nothing more in.
pub const HIGH: f64 = 0.75;

/// How far a record has come that failed and is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// When its first attempt began; the retry budget counts from here.
    pub first_attempt_at: UnixMillis,
    /// Finished attempts.
    pub attempts_made: u32,
    /// How long the budget has stood still since, in whole milliseconds.
    pub stood_still: Duration,
}

/// The completions above a commit point. The offset at the commit point itself is never completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetMap {
    commit_point: i64,
    /// First offset of a run to the offset after its last; no two touch.
    runs: BTreeMap<i64, i64>,
    heads: BTreeMap<i64, Head>,
}

/// How full a map is. 1.0 is full; more is possible and means that something is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Of what the commit's metadata can hold.
    pub bytes: f64,
    /// The same, if what is open now were completed in the worst order; without further heads.
    pub bytes_at_worst: f64,
    /// Of the offsets that are read again, at most, after a restart.
    pub span: f64,
}

impl Usage {
    /// Says whether it is time to park, or to take nothing more in.
    pub fn is_high(self) -> bool {
        self.bytes >= HIGH || self.span >= HIGH
    }

    /// Says whether nothing is left out of the metadata.
    pub fn fits(self) -> bool {
        self.bytes <= 1.0
    }
}

impl OffsetMap {
    /// Begins at a commit point, with nothing completed above it. A negative one counts as 0.
    pub fn new(commit_point: i64) -> Self {
        Self { commit_point: commit_point.max(0), runs: BTreeMap::new(), heads: BTreeMap::new() }
    }

    /// Returns the offset to commit: everything below it is done with.
    pub fn commit_point(&self) -> i64 {
        self.commit_point
    }

    /// Takes note that offsets are done with: a record, and the gap before it.
    ///
    /// A gap begins at the offset after the record that was delivered before, or at the commit point.
    /// What is done with already changes nothing. Returns whether the commit point moved.
    pub fn complete(&mut self, done: Range<i64>) -> bool {
        let (first, after) = (done.start.max(self.commit_point), done.end);
        if first >= after {
            return false;
        }
        let (first, after) = self.joined(first, after);
        remove_range(&mut self.heads, first..after);
        if first > self.commit_point {
            self.runs.insert(first, after);
            return false;
        }
        self.commit_point = after;
        true
    }

    /// Moves the commit point up to `offset`, and over what is completed from there.
    ///
    /// For a log that begins later than what was committed. A lower offset changes nothing.
    pub fn advance(&mut self, offset: i64) -> bool {
        self.complete(self.commit_point..offset)
    }

    /// Takes note that a record failed and is tried again; ignored if it is done with.
    pub fn retrying(&mut self, offset: i64, head: Head) {
        if !self.is_done(offset) {
            self.heads.insert(offset, head);
        }
    }

    /// Says whether a record has a recorded outcome and must not be delivered again.
    pub fn is_done(&self, offset: i64) -> bool {
        offset < self.commit_point
            || self.runs.range(..=offset).next_back().is_some_and(|(_, after)| offset < *after)
    }

    /// Returns how far a retrying record has come.
    pub fn head(&self, offset: i64) -> Option<Head> {
        self.heads.get(&offset).copied()
    }

    /// Returns how many records are retrying.
    pub fn heads(&self) -> usize {
        self.heads.len()
    }

    /// Returns the completed runs above the commit point, in order.
    pub fn runs(&self) -> impl Iterator<Item = Range<i64>> {
        self.runs.iter().map(|(first, after)| *first..*after)
    }

    /// Returns the offset after the last that it says something of.
    pub fn end(&self) -> i64 {
        let run = self.runs.last_key_value().map(|(_, after)| *after);
        let head = self.heads.last_key_value().map(|(offset, _)| offset + 1);
        run.max(head).unwrap_or(self.commit_point)
    }

    /// Returns how full the map is.
    ///
    /// `after_last` is the offset after the last delivered record; `span_max` is how many offsets may
    /// lie between it and the commit point. While no more than 3,000 of them are open, a map that
    /// stops growing at [`HIGH`] never leaves a completion out: an open offset adds 2 bits at most.
    pub fn usage(&self, after_last: i64, span_max: u64) -> Usage {
        let end = self.runs.last_key_value().map_or(self.commit_point, |(_, after)| *after);
        let span = after_last.max(end).abs_diff(self.commit_point);
        let done: u64 = self.runs.iter().map(|(first, after)| after.abs_diff(*first)).sum();
        let (bits, open) = (codec::bits(self), span - done);
        let of_bytes = |bits: u64| bits as f64 / codec::BITS_MAX as f64;
        Usage {
            bytes: of_bytes(bits),
            bytes_at_worst: of_bytes(bits.saturating_add(open.saturating_mul(2))),
            span: span as f64 / span_max.max(1) as f64,
        }
    }

    /// Takes out the runs that touch a range, and returns the range that covers all of them.
    fn joined(&mut self, mut first: i64, mut after: i64) -> (i64, i64) {
        if let Some((begin, end)) = self.runs.range(..first).next_back()
            && *end >= first
        {
            (first, after) = (*begin, after.max(*end));
        }
        while let Some((begin, end)) = self.runs.range(first..=after).next() {
            let (begin, end) = (*begin, *end);
            self.runs.remove(&begin);
            after = after.max(end);
        }
        (first, after)
    }
}

fn remove_range<V>(map: &mut BTreeMap<i64, V>, range: Range<i64>) {
    while let Some((offset, _)) = map.range(range.clone()).next() {
        let offset = *offset;
        map.remove(&offset);
    }
}

#[cfg(test)]
mod tests;
