//! An offset map as the metadata of a commit: versioned, checked, at most 4 KiB of ASCII.
//!
//! base64 (standard alphabet, no padding) of: version, 1 byte; CRC-32 (IEEE), 4 bytes, over commit
//! point, version and body, so that a map is never taken for that of another offset; the body, bits:
//!
//! ```text
//! runs 16 · heads 16 · for each run: gamma(offsets open before it) gamma(offsets in it)
//! if heads > 0:  earliest first attempt 64 · its width 7 · width of the standstill 7
//! for each head: gamma(offsets since the last head + 1) gamma(attempts + 1)
//!                milliseconds after the earliest, standstill in milliseconds, in those widths
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use std::time::Duration;

use super::{
    Head, OffsetMap,
    bits::{Reader, Writer, gamma_bits},
};
use crate::time::UnixMillis;

/// The most bytes of metadata: what a broker takes by default (`offset.metadata.max.bytes`).
pub const BYTES_MAX: usize = 4096;

/// Bits of the body: three quarters of the text's bytes are data, five of them say what it is.
pub(super) const BITS_MAX: u64 = (BYTES_MAX as u64 / 4 * 3 - CHECK as u64 - 1) * 8;

const VERSION: u8 = 1;
const CHECK: usize = 4;
const COUNTS_BITS: u64 = 2 * COUNT as u64;
const COUNT: u32 = 16;
const HEADS_BITS: u64 = 64 + 2 * WIDTH as u64;
const WIDTH: u32 = 7;

/// A map as text, as far as it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The metadata of the commit at the map's commit point; empty for an empty map.
    pub text: String,
    /// Runs that did not fit, the furthest ones; a restart repeats their records.
    pub runs_left_out: usize,
    /// Retrying records that did not fit; a restart counts their attempts anew.
    pub heads_left_out: usize,
}

/// Why metadata is no map. Everything after the commit point is then to be repeated, and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More than a map ever has.
    #[error("the offset map is {0} bytes long, more than {BYTES_MAX}")]
    TooLong(usize),
    /// Another program's, or cut off.
    #[error("the offset map is no base64 of at least 5 bytes")]
    NotText,
    /// Written by a later Millrace.
    #[error("the offset map has version {0}, known is {VERSION}")]
    UnknownVersion(u8),
    /// Changed since it was written, or written for another commit point.
    #[error("the offset map's checksum does not fit its commit point")]
    Damaged,
    /// The checksum fits, what it covers makes no map.
    #[error("the offset map contradicts itself")]
    Malformed,
}

/// The range of the heads' times, which they are written relative to.
struct Frame {
    earliest: i64,
    failed_width: u32,
    stood_width: u32,
}

impl OffsetMap {
    /// Writes the map as the metadata of a commit at [`OffsetMap::commit_point`].
    ///
    /// Never longer than [`BYTES_MAX`]: what does not fit is left out, heads first, because a run
    /// left out is delivered twice after a restart.
    pub fn encode(&self) -> Encoded {
        if self.runs.is_empty() && self.heads.is_empty() {
            return Encoded { text: String::new(), runs_left_out: 0, heads_left_out: 0 };
        }
        let frame = Frame::of(self.heads.values());
        let mut room = BITS_MAX - COUNTS_BITS;
        let runs = fitting(run_costs(self), &mut room);
        room = room.saturating_sub(HEADS_BITS);
        let heads = fitting(head_costs(self, &frame), &mut room);
        Encoded {
            text: seal(self.commit_point, VERSION, &write(self, runs, heads)),
            runs_left_out: self.runs.len() - runs,
            heads_left_out: self.heads.len() - heads,
        }
    }

    /// Reads the metadata of a commit at `commit_point`; none at all is an empty map.
    ///
    /// # Errors
    /// Whatever is not a map of this very commit point. Nothing after it may be taken as done then.
    pub fn decode(commit_point: i64, text: &str) -> Result<Self, DecodeError> {
        let mut map = Self::new(commit_point);
        if text.is_empty() {
            return Ok(map);
        }
        if text.len() > BYTES_MAX {
            return Err(DecodeError::TooLong(text.len()));
        }
        let bytes = BASE64.decode(text).map_err(|_| DecodeError::NotText)?;
        let (version, rest) = bytes.split_first().ok_or(DecodeError::NotText)?;
        if *version != VERSION {
            return Err(DecodeError::UnknownVersion(*version));
        }
        let (check, body) = rest.split_first_chunk::<CHECK>().ok_or(DecodeError::NotText)?;
        if *check != checksum(map.commit_point, *version, body) {
            return Err(DecodeError::Damaged);
        }
        read(&mut map, body).ok_or(DecodeError::Malformed)?;
        Ok(map)
    }
}

/// Returns how many bits the body needs if nothing is left out.
pub(super) fn bits(map: &OffsetMap) -> u64 {
    let runs: u64 = run_costs(map).sum();
    if map.heads.is_empty() {
        return COUNTS_BITS + runs;
    }
    let frame = Frame::of(map.heads.values());
    COUNTS_BITS + runs + HEADS_BITS + head_costs(map, &frame).sum::<u64>()
}

impl Frame {
    fn of<'a>(heads: impl Iterator<Item = &'a Head> + Clone) -> Self {
        let failed = heads.clone().map(|head| head.first_attempt_at.0);
        let earliest = failed.clone().min().unwrap_or_default();
        let latest = failed.max().unwrap_or_default();
        let stood = heads.map(|head| millis(head.stood_still)).max().unwrap_or_default();
        Self { earliest, failed_width: width(latest.abs_diff(earliest)), stood_width: width(stood) }
    }
}

/// Returns how many of the costs there is room for, and takes them from it.
fn fitting(costs: impl Iterator<Item = u64>, room: &mut u64) -> usize {
    let mut count = 0;
    for cost in costs {
        match room.checked_sub(cost) {
            Some(left) => *room = left,
            None => break,
        }
        count += 1;
    }
    count
}

/// What precedes a run and what is in it.
fn lengths(map: &OffsetMap) -> impl Iterator<Item = (u64, u64)> {
    map.runs.iter().scan(map.commit_point, |at, (first, after)| {
        let open = first.abs_diff(*at);
        *at = *after;
        Some((open, after.abs_diff(*first)))
    })
}

/// How far a head is from the one before it, and the head.
fn steps(map: &OffsetMap) -> impl Iterator<Item = (u64, &Head)> {
    map.heads.iter().scan(map.commit_point, |at, (offset, head)| {
        let step = offset.abs_diff(*at) + 1;
        *at = offset.saturating_add(1);
        Some((step, head))
    })
}

fn run_costs(map: &OffsetMap) -> impl Iterator<Item = u64> {
    lengths(map).map(|(open, done)| gamma_bits(open) + gamma_bits(done))
}

fn head_costs(map: &OffsetMap, frame: &Frame) -> impl Iterator<Item = u64> {
    let times = u64::from(frame.failed_width + frame.stood_width);
    steps(map).map(move |(step, head)| {
        gamma_bits(step) + gamma_bits(u64::from(head.attempts_made) + 1) + times
    })
}

fn write(map: &OffsetMap, runs: usize, heads: usize) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bits(runs as u64, COUNT);
    writer.bits(heads as u64, COUNT);
    for (open, done) in lengths(map).take(runs) {
        writer.gamma(open);
        writer.gamma(done);
    }
    if heads > 0 {
        let frame = Frame::of(map.heads.values().take(heads));
        writer.bits(frame.earliest as u64, 64);
        writer.bits(u64::from(frame.failed_width), WIDTH);
        writer.bits(u64::from(frame.stood_width), WIDTH);
        for (step, head) in steps(map).take(heads) {
            writer.gamma(step);
            writer.gamma(u64::from(head.attempts_made) + 1);
            writer.bits(head.first_attempt_at.0.abs_diff(frame.earliest), frame.failed_width);
            writer.bits(millis(head.stood_still), frame.stood_width);
        }
    }
    writer.into_bytes()
}

fn read(map: &mut OffsetMap, body: &[u8]) -> Option<()> {
    let mut reader = Reader::new(body);
    let (runs, heads) = (reader.bits(COUNT)?, reader.bits(COUNT)?);
    let mut at = map.commit_point;
    for _ in 0..runs {
        let first = at.checked_add_unsigned(reader.gamma()?)?;
        at = first.checked_add_unsigned(reader.gamma()?)?;
        map.runs.insert(first, at);
    }
    if heads > 0 {
        read_heads(map, &mut reader, heads)?;
    }
    reader.is_at_end().then_some(())
}

fn read_heads(map: &mut OffsetMap, reader: &mut Reader<'_>, heads: u64) -> Option<()> {
    let earliest = reader.bits(64)? as i64;
    let (failed_width, stood_width) = (reader.bits(WIDTH)? as u32, reader.bits(WIDTH)? as u32);
    let mut at = map.commit_point;
    for _ in 0..heads {
        let offset = at.checked_add_unsigned(reader.gamma()? - 1)?;
        let attempts_made = u32::try_from(reader.gamma()? - 1).ok()?;
        let failed = earliest.checked_add_unsigned(reader.bits(failed_width)?)?;
        let stood_still = Duration::from_millis(reader.bits(stood_width)?);
        map.retrying(
            offset,
            Head { first_attempt_at: UnixMillis(failed), attempts_made, stood_still },
        );
        at = offset.saturating_add(1);
    }
    Some(())
}

pub(super) fn seal(commit_point: i64, version: u8, body: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(1 + CHECK + body.len());
    bytes.push(version);
    bytes.extend(checksum(commit_point, version, body));
    bytes.extend(body);
    BASE64.encode(bytes)
}

fn checksum(commit_point: i64, version: u8, body: &[u8]) -> [u8; CHECK] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&commit_point.to_be_bytes());
    crc.update(&[version]);
    crc.update(body);
    crc.finalize().to_be_bytes()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns how many bits a number needs, 0 for 0.
fn width(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}
