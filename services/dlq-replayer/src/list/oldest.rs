//! A page by topic, partition and offset.

use std::ops::ControlFlow;

use kafka_io::reader::Ended;

use super::{Part, Search};
use crate::{Error, Summary, cluster::part, letter::Letter, seen::Seen};

pub(super) fn page(search: &Search<'_>, parts: &mut [Part]) -> Result<Vec<Summary>, Error> {
    let mut letters = Vec::new();
    for at in parts {
        if letters.len() < search.limit && at.at < at.range.to {
            fill(search, at, &mut letters)?;
        }
    }
    Ok(letters)
}

/// Takes letters of one partition until the page is full or the partition ends.
fn fill(search: &Search<'_>, at: &mut Part, letters: &mut Vec<Summary>) -> Result<(), Error> {
    let mut seen = Seen::default();
    let from = at.at;
    let mut next = at.range.to;
    let names = &search.cluster.names;
    let whole = [part(&at.range, at.range.from, at.range.to)];
    let ended = search.reader.read(&whole, search.deadline, |view| {
        let letter = Letter::of(view, names);
        if !search.filter.wants(&letter) {
            return ControlFlow::Continue(());
        }
        let new = letter.origin().is_none_or(|origin| seen.insert(origin));
        if letter.offset < from || !new {
            return ControlFlow::Continue(());
        }
        if letters.len() == search.limit {
            next = letter.offset;
            return ControlFlow::Break(());
        }
        letters.push(letter.summary(search.history.replayed_by(&letter).cloned()));
        ControlFlow::Continue(())
    })?;
    match ended {
        Ended::Complete | Ended::Stopped => {
            at.at = next;
            Ok(())
        }
        Ended::Deadline { .. } => Err(Error::TooSlow("list the dead letters")),
    }
}
