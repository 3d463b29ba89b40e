//! Draws a history from a seed.

use std::time::Duration;

use domain::{
    breaker,
    rate::Rate,
    retry::{Delays, Policy},
};

use super::{Commits, Event, History, Kind, Mood, Setting, Target, What, Written};
use crate::simulate::chance::Chance;

/// Of one seed's draws, so that more of one leaves the others as they are.
const SETTING: u64 = 1;
const RECORDS: u64 = 2;
const FAULTS: u64 = 3;

/// Draws a history with so many records.
pub(in crate::simulate) fn generate(seed: u64, records: usize) -> History {
    let chance = Chance::of(seed);
    let setting = setting(chance.about(SETTING));
    let mut draw = chance.about(RECORDS);
    let lasts_ms = draw.between(2_000, 30_000);
    let mut events = writes(&setting, records, lasts_ms, draw);
    events.extend(faults(&setting, lasts_ms, chance.about(FAULTS)));
    events.sort_by_key(|event| event.at_ms);
    History { seed, setting, events }
}

fn setting(mut draw: Chance) -> Setting {
    let destinations = (0..draw.between(1, 3)).map(|place| target(place, &mut draw)).collect();
    let is_small = draw.one_in(2);
    Setting {
        destinations,
        processes: draw.between(1, 3) as usize,
        lane_records: if is_small { draw.between(1, 40) as usize } else { 1000 },
        lane_bytes: if draw.one_in(4) { 4_000 } else { 1 << 20 },
        window_bytes: if draw.one_in(4) { 6_000 } else { 1 << 20 },
        repeats_max: draw.among(&[5, 30, 100, 500]),
        commit_every_ms: draw.among(&[5, 20, 20, 200]),
        commit_completions: draw.among(&[1, 20, 500, 500]),
        drain_ms: {
            let most = draw.among(&[150, 5_000]);
            draw.between(50, most)
        },
        session_ms: draw.between(500, 6_000),
    }
}

fn target(place: u64, draw: &mut Chance) -> Target {
    let mut rules = crate::testing::destination("https://crm.example").spec;
    rules.name = format!("d{place}").parse().expect("it is a name");
    let is_steady = place == 0 && draw.one_in(2);
    let rate = (!is_steady && draw.one_in(3)).then(|| draw.between(20, 400) as f64);
    rules.rate = rate.and_then(Rate::per_second).unwrap_or(Rate::UNLIMITED);
    if let Some(burst) = rate.filter(|_| draw.one_in(2)).map(|rate| rate / 4.0) {
        rules.rate = rules.rate.with_burst(burst).expect("it is a burst");
    }
    rules.concurrency = draw.between(1, 64) as u32;
    let fewest = if draw.one_in(2) { u64::from(rules.concurrency) } else { 1 };
    rules.concurrency_min = draw.between(fewest, u64::from(rules.concurrency)) as u32;
    rules.timeout = Duration::from_millis(draw.between(200, 3_000));
    rules.breaker = breaker::Policy {
        window: Duration::from_millis(draw.between(1_000, 10_000)),
        attempts_min: if draw.one_in(3) { 1_000_000 } else { draw.between(3, 20) as u32 },
        error_ratio: 0.5,
        open: Duration::from_millis(draw.between(100, 1_000)),
        open_max: Duration::from_millis(draw.between(1_000, 5_000)),
    };
    rules.retry = retry(draw);
    Target { rules, rate, partitions: 2 * draw.between(1, 2) as usize, is_steady }
}

fn retry(draw: &mut Chance) -> Policy {
    let ms = |most, draw: &mut Chance| Duration::from_millis(draw.between(10, most));
    let delays = if draw.one_in(3) {
        Delays::Fixed((0..draw.between(1, 6)).map(|_| ms(2_000, draw)).collect())
    } else {
        Delays::Doubling { base: ms(500, draw), cap: ms(5_000, draw) }
    };
    Policy {
        delays,
        budget: Duration::from_millis(draw.between(1_000, 60_000)),
        max_age: Duration::from_secs(7 * 24 * 3600),
        attempts_max: if draw.one_in(3) { draw.between(1, 8) as u32 } else { 0 },
        retry_after_max: Duration::from_secs(draw.between(1, 10)),
    }
}

fn writes(setting: &Setting, records: usize, lasts_ms: u64, mut draw: Chance) -> Vec<Event> {
    let partitions = setting.partitions().len() as u64;
    let keys = draw.among(&[1, 5, 30, 200]);
    let unordered = draw.among(&[0, 0, 3, 10]);
    // One partition may get nearly all, or all of it come at once.
    let is_uneven = draw.one_in(4);
    let within_ms = if draw.one_in(4) { 1 } else { lasts_ms };
    let is_wide = draw.one_in(8);
    let mut write = |id| {
        let partition = if is_uneven && !draw.one_in(10) { 0 } else { draw.below(partitions) };
        let is_free = draw.below(10) < unordered;
        let written = Written {
            id,
            partition: partition as usize,
            key: (!is_free).then(|| draw.below(keys) as u8),
            gap: gap(is_wide, &mut draw),
            bytes: draw.between(50, 300) as usize,
            kind: kind(&mut draw),
        };
        Event { at_ms: draw.below(within_ms), what: What::Write(written) }
    };
    (0..records).map(&mut write).collect()
}

/// What compaction and transactions leave; where much was removed, few records fill a map's span.
fn gap(is_wide: bool, draw: &mut Chance) -> i64 {
    if is_wide && draw.one_in(40) {
        return draw.between(1, 200_000) as i64;
    }
    match draw.below(400) {
        0 => draw.between(1, 200_000) as i64,
        1..=20 => draw.between(1, 20) as i64,
        21..=80 => 1,
        _ => 0,
    }
}

fn kind(draw: &mut Chance) -> Kind {
    match draw.below(300) {
        0 => Kind::Undecodable,
        1 => Kind::Stranger,
        2 => Kind::NewSchema,
        _ => Kind::Usual,
    }
}

fn faults(setting: &Setting, lasts_ms: u64, mut draw: Chance) -> Vec<Event> {
    let start = |process| Event { at_ms: 0, what: What::Start { process } };
    let mut events: Vec<Event> = (0..setting.processes).map(start).collect();
    for (destination, target) in setting.destinations.iter().enumerate() {
        let mood = Mood::Well { most_ms: draw.among(&[1, 10, 100]) };
        events.push(Event { at_ms: 0, what: What::Answers { destination, mood } });
        if target.is_steady {
            continue;
        }
        for _ in 0..draw.below(12) {
            let what = What::Answers { destination, mood: mood_of(&mut draw) };
            events.push(Event { at_ms: draw.below(lasts_ms), what });
        }
        if draw.one_in(4) {
            let from = draw.below(lasts_ms);
            let until = from + draw.below(5_000);
            for (at_ms, is_held) in [(from, true), (until, false)] {
                events.push(Event { at_ms, what: What::Hold { destination, is_held } });
            }
        }
    }
    for _ in 0..draw.below(24) {
        let at_ms = draw.below(lasts_ms);
        fault(setting, at_ms, &mut draw, &mut events);
    }
    events
}

fn mood_of(draw: &mut Chance) -> Mood {
    match draw.below(12) {
        0 => Mood::Faulty,
        1 => Mood::TooMany { after_s: draw.between(1, 8) },
        2 => Mood::Busy { after_s: draw.between(1, 8) },
        3 => Mood::Silent,
        4 => Mood::Away,
        5 => Mood::Gone,
        6 | 7 => Mood::Well { most_ms: draw.among(&[1, 20, 500]) },
        _ => Mood::Mixed { failing: draw.among(&[20, 100, 300, 700]) },
    }
}

/// Adds one fault, and its end where it has one.
fn fault(setting: &Setting, at_ms: u64, draw: &mut Chance, events: &mut Vec<Event>) {
    let process = draw.below(setting.processes as u64) as usize;
    let later_ms = at_ms + draw.between(1, 6_000);
    let mut add = |at_ms, what| events.push(Event { at_ms, what });
    match draw.below(12) {
        0 | 1 => {
            add(at_ms, What::Kill { process });
            add(later_ms, What::Start { process });
        }
        2 => {
            add(at_ms, What::Stop { process });
            add(later_ms, What::Start { process });
        }
        3 => add(at_ms, What::CutOff { process, for_ms: draw.between(100, 10_000) }),
        4 => add(at_ms, What::Pause { process, for_ms: draw.between(100, 10_000) }),
        5 | 6 => add(at_ms, What::Rebalance),
        7 => {
            let by_ms = draw.among(&[-3_600_000, 3_600_000, -200, 900]);
            add(at_ms, What::ClockSteps { by_ms });
        }
        8 | 9 => {
            let slow = Commits::Slow { ms: draw.between(50, 3_000) };
            let go = draw.among(&[slow, Commits::Failing, Commits::Unheard]);
            add(at_ms, What::Commits { go });
            add(later_ms, What::Commits { go: Commits::Well });
        }
        10 => add(at_ms, What::Receipts { last_ms: draw.between(100, 4_000) }),
        _ => {
            let partition = draw.below(setting.partitions().len() as u64) as usize;
            add(at_ms, What::Damage { partition });
        }
    }
}
