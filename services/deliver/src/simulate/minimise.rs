//! Cuts a failing history down to the events that it needs to fail in the same way.

use super::{
    history::{Event, History},
    mutant::Mutant,
    outside::Tools,
    truth::Fault,
    world,
};

/// Runs that may be spent on it.
const RUNS_MAX: usize = 2_000;

/// Returns a history that fails with the same fault, from which no event can be taken, if there were
/// runs enough to find it.
pub(super) fn minimise(
    tools: &Tools,
    history: &History,
    mutant: Option<Mutant>,
    fault: Fault,
) -> History {
    let mut runs = 0;
    let mut fails = |events: &[Event]| {
        runs += 1;
        let History { seed, setting, .. } = history;
        let (seed, setting, events) = (*seed, setting.clone(), events.to_vec());
        let history = History { seed, setting, events };
        let failure = world::run(tools, &history, mutant).1;
        (runs <= RUNS_MAX).then(|| failure.is_some_and(|failure| failure.fault == fault))
    };
    let mut events = history.events.clone();
    let mut chunk = events.len().div_ceil(2);
    while chunk > 0 {
        let before = events.len();
        if take_away(&mut events, chunk, &mut fails).is_none() {
            break;
        }
        let is_last = chunk == 1 && events.len() == before;
        chunk = if is_last { 0 } else { (chunk / 2).max(1) };
    }
    History { events, ..history.clone() }
}

/// Takes away one chunk after the other, those that are not needed; `None` when no runs are left.
fn take_away(
    events: &mut Vec<Event>,
    chunk: usize,
    fails: &mut impl FnMut(&[Event]) -> Option<bool>,
) -> Option<()> {
    let mut from = 0;
    while from < events.len() {
        let to = (from + chunk).min(events.len());
        let fewer = [&events[..from], &events[to..]].concat();
        if fails(&fewer)? {
            *events = fewer;
        } else {
            from = to;
        }
    }
    Some(())
}
