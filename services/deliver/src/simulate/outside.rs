//! The world outside of the processes: time, the cluster, the third parties, and who judges it all.

use std::{
    collections::BinaryHeap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chassis::Metrics;
use kafka_io::simulation::Position;

use super::{
    chance::Chance,
    group::{Group, Life, Told},
    hand::{self, Known},
    history::{Commits, History, Mood, Setting, What, Written},
    mutant::Mutant,
    tally::{Seen, Tally},
    truth::Truth,
    watch::Watch,
};
use crate::{clock::Clock, series::Families};

pub(super) const MS: u64 = 1_000_000;
/// The clocks' readings at the beginning; not zero, so that there is a time before.
const BEGAN: u64 = 10_000_000 * MS;
const WALL_BEGAN_MS: i64 = 1_700_000_000_000;

/// What draws are about, beside records.
const DRAWS: u64 = 1 << 40;

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Happening {
    /// By its place in the history.
    Planned(usize),
    To(Life, Inner),
    /// Sent as a member, or as a former one.
    Commit(Life, Option<usize>, Vec<Position>),
    /// The group has not heard of the process for a session.
    SessionOver(Life),
    Resumed(Life),
    Reunited(Life),
    /// Somebody enables the destination again.
    Enabled(usize),
    /// All faults are over.
    Calm,
    /// All should be done.
    Limit,
}

/// Something that happens to a process.
#[derive(Debug)]
pub(super) enum Inner {
    /// A lane's task is over.
    Task {
        lane: u32,
        task: usize,
        stamp: u32,
    },
    /// The time is over that a lane had to drain.
    CutOff {
        lane: u32,
    },
    /// A destination may be asked.
    Ask {
        destination: usize,
    },
    /// Something may be due.
    Look,
    Committed {
        stands: bool,
    },
    Told(Told),
    /// What operators say is read.
    Obey {
        destination: usize,
    },
    Stop,
}

/// Orders the queue: the earliest first, and those of one time as they were put in.
#[derive(Debug)]
struct Next {
    at: u64,
    sequence: u64,
    what: Happening,
}

/// What is made once and used for one history after the other.
pub(super) struct Tools {
    clock: &'static AtomicU64,
    pub(super) families: Families,
    began: Instant,
}

pub(super) struct Outside<'a> {
    pub(super) tools: &'a Tools,
    pub(super) setting: &'a Setting,
    pub(super) known: Rc<Known>,
    pub(super) mutant: Option<Mutant>,
    pub(super) now: u64,
    queue: BinaryHeap<Next>,
    sequence: u64,
    chance: Chance,
    /// By how much the wall clock has stepped.
    pub(super) stepped_ms: i64,
    pub(super) group: Group,
    /// By partition: how many were to be repeated when its last lane began.
    pub(super) to_repeat: Vec<usize>,
    pub(super) truth: Truth,
    pub(super) tally: Tally,
    pub(super) watches: Vec<Watch>,
    pub(super) moods: Vec<Mood>,
    pub(super) held: Vec<bool>,
    /// When a destination was enabled last.
    pub(super) enabled_at: Vec<i64>,
    /// Receipts are not acknowledged before.
    pub(super) receipts_from: u64,
    pub(super) commits: Commits,
    pub(super) topics: Vec<Arc<str>>,
    /// Lanes that there ever were.
    pub(super) lanes: u32,
}

impl Tools {
    pub(super) fn new() -> Self {
        Self {
            // As long as the process: a clock is copied about.
            clock: Box::leak(Box::new(AtomicU64::new(BEGAN))),
            families: Families::new(&Metrics::default()),
            began: Instant::now(),
        }
    }

    pub(super) fn clock(&self) -> Clock {
        Clock::Set(self.clock)
    }

    /// Sets the clock apart from the time that goes on.
    pub(super) fn set_clock(&self, now: u64) {
        self.clock.store(now, Ordering::Relaxed);
    }
}

impl<'a> Outside<'a> {
    pub(super) fn new(tools: &'a Tools, history: &'a History, mutant: Option<Mutant>) -> Self {
        let setting = &history.setting;
        let written = written(history);
        let destinations = setting.partitions();
        let count = setting.destinations.len();
        let watches = setting.destinations.iter().enumerate();
        Self {
            tools,
            setting,
            mutant,
            now: BEGAN,
            queue: BinaryHeap::new(),
            sequence: 0,
            chance: Chance::of(history.seed),
            stepped_ms: 0,
            group: Group::new(destinations.len()),
            to_repeat: vec![0; destinations.len()],
            truth: Truth::new(written.len()),
            tally: Tally::default(),
            watches: watches.map(|(place, target)| Watch::new(place, target)).collect(),
            moods: vec![Mood::Well { most_ms: 1 }; count],
            held: vec![false; count],
            enabled_at: vec![0; count],
            receipts_from: 0,
            commits: Commits::Well,
            topics: (0..count).map(|place| format!("out.d{place}").into()).collect(),
            lanes: 0,
            known: Rc::new(Known {
                written,
                names: (0..count).map(|place| format!("d{place}")).collect(),
                destinations,
                mutant,
                blank: hand::blank(),
                wall: WALL_BEGAN_MS.into(),
                instant: tools.began.into(),
            }),
        }
    }

    pub(super) fn after(&mut self, after: u64, what: Happening) {
        self.at(self.now + after, what);
    }

    pub(super) fn at(&mut self, at: u64, what: Happening) {
        self.sequence += 1;
        self.queue.push(Next { at: at.max(self.now), sequence: self.sequence, what });
    }

    /// Goes on to what happens next.
    pub(super) fn advance(&mut self) -> Option<Happening> {
        let Next { at, what, .. } = self.queue.pop()?;
        self.now = at;
        self.tools.set_clock(at);
        self.truth.now_ms = (at - BEGAN) / MS;
        self.tick();
        self.tally.steps += 1;
        Some(what)
    }

    /// Sets the clocks.
    pub(super) fn tick(&self) {
        self.known.instant.set(self.instant());
        let since = ((self.now - BEGAN) / MS) as i64;
        self.known.wall.set(WALL_BEGAN_MS + since + self.stepped_ms);
    }

    pub(super) fn planned(&mut self, at_ms: u64, place: usize) {
        self.at(BEGAN + at_ms * MS, Happening::Planned(place));
    }

    /// Returns the time as the consumer's thread is told it.
    pub(super) fn instant(&self) -> Instant {
        self.tools.began + Duration::from_nanos(self.now)
    }

    /// Returns the time of an instant.
    pub(super) fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.tools.began).as_nanos() as u64
    }

    /// Returns the draws about one of a record's attempts.
    pub(super) fn chance(&self, id: usize, attempt: u32) -> Chance {
        self.chance.about(id as u64).about(attempt.into())
    }

    /// Draws a time that something small takes, in nanoseconds.
    pub(super) fn small(&mut self, most_us: u64) -> u64 {
        self.sequence += 1;
        self.chance.about(DRAWS + self.sequence).between(50, most_us) * 1000
    }

    /// Returns when a receipt that is written now is acknowledged.
    pub(super) fn acknowledged_after(&mut self) -> u64 {
        let takes = self.small(4_000);
        self.receipts_from.saturating_sub(self.now) + takes
    }

    pub(super) fn tell(&mut self, told: Vec<(Life, Told)>) {
        for (life, told) in told {
            self.after(MS, Happening::To(life, Inner::Told(told)));
        }
    }

    pub(super) fn saw(&mut self, what: Seen) {
        self.tally.saw(what);
    }
}

fn written(history: &History) -> Vec<Option<Written>> {
    let of = |what: &What| if let What::Write(written) = what { Some(*written) } else { None };
    let all: Vec<Written> = history.events.iter().filter_map(|event| of(&event.what)).collect();
    let count = all.iter().map(|written| written.id + 1).max().unwrap_or(0);
    let mut by_id = vec![None; count];
    for written in all {
        by_id[written.id] = Some(written);
    }
    by_id
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}
