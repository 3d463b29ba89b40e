//! A page by the time of the failure, the newest first, over all partitions.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::ControlFlow,
};

use kafka_io::reader::{Ended, Range};
use wire::headers::Origin;

use super::{Part, Search};
use crate::{Error, LetterId, Summary, cluster::part, letter::Letter, seen::Seen};

/// Records of the first window of a partition, at least.
const WINDOW_MIN: i64 = 256;
/// How much larger each window is than the one before.
const GROWTH: i64 = 4;
/// How much later than its neighbours a letter may have been written, in milliseconds. One that was
/// later still comes on a later page, out of its order.
const DISORDER_MS: i64 = 10_000;

/// What was found in one partition, the newest first, and down to where it was searched.
struct Found {
    letters: Vec<Summary>,
    down_to: i64,
    /// The time of the oldest letter that was looked at, wanted or not.
    oldest_ms: i64,
}

/// What a read of a partition's window found, oldest first.
#[derive(Default)]
struct Window {
    letters: VecDeque<Summary>,
    oldest_ms: Option<i64>,
}

pub(super) fn page(search: &Search<'_>, parts: &mut [Part]) -> Result<Vec<Summary>, Error> {
    let mut seen = passed(search, parts)?;
    let mut found: Vec<Found> = parts
        .iter()
        .map(|part| Found { letters: Vec::new(), down_to: part.at, oldest_ms: i64::MAX })
        .collect();
    let limit = i64::try_from(search.limit).unwrap_or(i64::MAX);
    let mut window = limit.saturating_mul(2).max(WINDOW_MIN);
    while look_back(search, parts, &mut found, window, &mut seen)? {
        window = window.saturating_mul(GROWTH);
    }
    Ok(merge(search.limit, parts, found))
}

/// Remembers the origins on the pages before this one.
fn passed(search: &Search<'_>, parts: &[Part]) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    let behind = parts.iter().filter(|p| p.at < p.range.to);
    let ranges: Vec<Range> = behind.map(|p| part(&p.range, p.at, p.range.to)).collect();
    let ended = search.reader.read(&ranges, search.deadline, |view| {
        let letter = Letter::of(view, &search.cluster.names);
        if search.filter.wants(&letter)
            && let Some(origin) = letter.origin()
        {
            seen.insert(origin);
        }
        ControlFlow::Continue(())
    })?;
    in_time(&ended).map(|()| seen)
}

/// Reads one more window of each partition that has too few letters; false once none is left.
fn look_back(
    search: &Search<'_>,
    parts: &[Part],
    found: &mut [Found],
    window: i64,
    seen: &mut Seen,
) -> Result<bool, Error> {
    let mut ranges = Vec::new();
    let enough_ms = enough(search.limit, found);
    for (part_of, found) in parts.iter().zip(found.iter()) {
        let is_enough = enough_ms.is_some_and(|ms| found.oldest_ms < ms);
        let is_full = found.letters.len() == search.limit;
        if !is_full && !is_enough && found.down_to > part_of.range.from {
            let from = part_of.range.from.max(found.down_to - window);
            ranges.push(part(&part_of.range, from, found.down_to));
        }
    }
    if ranges.is_empty() {
        return Ok(false);
    }
    let mut newest = read(search, &ranges)?;
    for range in ranges {
        let place = parts.iter().position(|part| {
            part.range.partition == range.partition && part.range.topic == range.topic
        });
        let found = &mut found[place.expect("each range is a part's")];
        found.down_to = range.from;
        let window = newest.remove(&(range.topic, range.partition)).unwrap_or_default();
        found.oldest_ms = found.oldest_ms.min(window.oldest_ms.unwrap_or(i64::MAX));
        for letter in window.letters.into_iter().rev() {
            let new = letter.origin.as_ref().is_none_or(|origin| seen.insert(borrowed(origin)));
            if new && found.letters.len() < search.limit {
                found.letters.push(letter);
            }
        }
        // What a full page left unread in the window is read again for the next.
        if found.letters.len() == search.limit {
            found.down_to = found.letters.last().map_or(range.from, |letter| letter.id.offset);
        }
    }
    Ok(true)
}

/// Returns the time before which nothing can be on the page, once as many letters are found.
fn enough(limit: usize, found: &[Found]) -> Option<i64> {
    let letters = found.iter().flat_map(|found| &found.letters);
    let mut times: Vec<i64> = letters.map(|letter| letter.at_ms).collect();
    let last = limit.checked_sub(1).filter(|last| *last < times.len())?;
    let (_, at_ms, _) = times.select_nth_unstable_by(last, |a, b| b.cmp(a));
    Some(at_ms.saturating_sub(DISORDER_MS))
}

/// Returns the newest wanted letters of each partition's range.
fn read(search: &Search<'_>, ranges: &[Range]) -> Result<HashMap<(String, i32), Window>, Error> {
    let mut newest: BTreeMap<&str, HashMap<i32, Window>> = BTreeMap::new();
    for range in ranges {
        newest.entry(&range.topic).or_default().insert(range.partition, Window::default());
    }
    let ended = search.reader.read(ranges, search.deadline, |view| {
        let letter = Letter::of(view, &search.cluster.names);
        let window =
            newest.get_mut(letter.topic).and_then(|topic| topic.get_mut(&letter.partition));
        if let Some(window) = window {
            let oldest = window.oldest_ms.get_or_insert(letter.at_ms);
            *oldest = letter.at_ms.min(*oldest);
            if search.filter.wants(&letter) {
                let summary = letter.summary(search.history.replayed_by(&letter).cloned());
                remember(&mut window.letters, summary, search.limit);
            }
        }
        ControlFlow::Continue(())
    })?;
    in_time(&ended)?;
    let of_topic = newest.into_iter().flat_map(|(topic, partitions)| {
        partitions.into_iter().map(|(partition, kept)| ((topic.to_owned(), partition), kept))
    });
    Ok(of_topic.collect())
}

/// Keeps the newest letters; of a double the newer one.
fn remember(kept: &mut VecDeque<Summary>, letter: Summary, limit: usize) {
    if let Some(origin) = &letter.origin {
        kept.retain(|other| other.origin.as_ref() != Some(origin));
    }
    if kept.len() == limit {
        kept.pop_front();
    }
    kept.push_back(letter);
}

/// Takes the newest of all partitions and sets where each goes on.
fn merge(limit: usize, parts: &mut [Part], found: Vec<Found>) -> Vec<Summary> {
    let mut page: Vec<Summary> = Vec::with_capacity(limit);
    let mut heads: Vec<_> = found.iter().map(|found| found.letters.iter().peekable()).collect();
    let mut taken: Vec<usize> = vec![0; found.len()];
    while page.len() < limit {
        let newest = (0..heads.len())
            .filter_map(|at| heads[at].peek().map(|letter| (letter.at_ms, at)))
            .max_by_key(|(at_ms, at)| (*at_ms, std::cmp::Reverse(*at)));
        let Some((_, at)) = newest else { break };
        if let Some(letter) = heads[at].next() {
            page.push(letter.clone());
            taken[at] += 1;
        }
    }
    for ((part, found), taken) in parts.iter_mut().zip(&found).zip(taken) {
        part.at = match (taken, found.letters.get(taken)) {
            // The next letter is known: what lies between need not be read again.
            (_, Some(next)) => next.id.offset + 1,
            (_, None) => found.down_to,
        };
    }
    page
}

fn borrowed(id: &LetterId) -> Origin<'_> {
    Origin { topic: &id.topic, partition: id.partition, offset: id.offset }
}

fn in_time(ended: &Ended) -> Result<(), Error> {
    match ended {
        Ended::Complete | Ended::Stopped => Ok(()),
        Ended::Deadline { .. } => Err(Error::TooSlow("list the dead letters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_searched_until_nothing_older_can_be_on_the_page() {
        let letter = |at_ms| Letter { at_ms, ..Letter::default() }.summary(None);
        let found = |times: &[i64]| Found {
            letters: times.iter().copied().map(letter).collect(),
            down_to: 0,
            oldest_ms: 0,
        };
        let both = [found(&[90_000, 70_000]), found(&[80_000, 10_000])];
        assert_eq!(enough(3, &both), Some(60_000));
        assert_eq!(enough(4, &both), Some(0));
        assert_eq!((enough(5, &both), enough(0, &both)), (None, None));
    }
}
