//! What happens to a group of processes, all of it known beforehand: the records, and the faults of
//! the world. How long an answer takes and what it says is drawn while it goes on, for each attempt
//! by itself.

mod generate;

use std::fmt;

use domain::catalog::Destination;

pub(super) use generate::generate;

/// Everything that is given to a simulation.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) seed: u64,
    pub(super) setting: Setting,
    /// By time.
    pub(super) events: Vec<Event>,
}

/// What stays as it is.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) destinations: Vec<Target>,
    pub(super) processes: usize,
    pub(super) lane_records: usize,
    pub(super) lane_bytes: usize,
    pub(super) window_bytes: usize,
    pub(super) repeats_max: usize,
    pub(super) commit_every_ms: u64,
    pub(super) commit_completions: usize,
    pub(super) drain_ms: u64,
    pub(super) session_ms: u64,
}

/// A destination.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) rules: Destination,
    /// Per second, for the whole group; `None` is no limit.
    pub(super) rate: Option<f64>,
    /// Its own and as many of its replays.
    pub(super) partitions: usize,
    /// Nothing ever happens to it.
    pub(super) is_steady: bool,
}

/// Something that happens, so long after the beginning.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) at_ms: u64,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Write(Written),
    /// A process starts, unless it runs.
    Start {
        process: usize,
    },
    /// It is told to stop, and drains.
    Stop {
        process: usize,
    },
    Kill {
        process: usize,
    },
    /// Its heartbeats and commits do not arrive for a while; it goes on.
    CutOff {
        process: usize,
        for_ms: u64,
    },
    /// It does nothing for a while.
    Pause {
        process: usize,
        for_ms: u64,
    },
    /// The partitions are shared out anew.
    Rebalance,
    ClockSteps {
        by_ms: i64,
    },
    Answers {
        destination: usize,
        mood: Mood,
    },
    Hold {
        destination: usize,
        is_held: bool,
    },
    Commits {
        go: Commits,
    },
    Receipts {
        last_ms: u64,
    },
    /// Another program overwrites the map that is committed of a partition.
    Damage {
        partition: usize,
    },
}

/// A record of `out.<destination>`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Its place among all records.
    pub(super) id: usize,
    /// Among the partitions of all destinations.
    pub(super) partition: usize,
    /// `None` where nothing is promised about its order.
    pub(super) key: Option<u8>,
    /// Offsets before it that hold no record.
    pub(super) gap: i64,
    pub(super) bytes: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Usual,
    /// Its schema has to be fetched.
    NewSchema,
    Undecodable,
    /// It is for another destination.
    Stranger,
}

/// How a destination behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers 2xx within so many milliseconds.
    Well { most_ms: u64 },
    /// Fails so many attempts of a thousand, each in its own way.
    Mixed { failing: u64 },
    /// Answers 500 to everything.
    Faulty,
    /// Answers 429 and asks to wait.
    TooMany { after_s: u64 },
    /// Answers 503 and asks to wait.
    Busy { after_s: u64 },
    /// Takes everything and never answers.
    Silent,
    /// Cannot be reached, or may not be.
    Away,
    /// Answers 410.
    Gone,
}

/// How commits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commits {
    Well,
    Slow {
        ms: u64,
    },
    Failing,
    /// They stand, but the answer says otherwise.
    Unheard,
}

impl Setting {
    /// Returns the destination of each partition.
    pub(super) fn partitions(&self) -> Vec<usize> {
        let of = |(place, target): (usize, &Target)| vec![place; target.partitions];
        self.destinations.iter().enumerate().flat_map(of).collect()
    }
}

impl History {
    pub(super) fn records(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.what, What::Write(_))).count()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { destinations, .. } = &self.setting;
        writeln!(f, "seed {}, {:?}", self.seed, Brief(&self.setting))?;
        for (place, Target { rules, rate, partitions, is_steady }) in
            destinations.iter().enumerate()
        {
            let (most, least) = (rules.concurrency, rules.concurrency_min);
            write!(
                f,
                "destination {place}: {partitions} partitions, {least} to {most} at a time, "
            )?;
            writeln!(
                f,
                "rate {rate:?}, steady {is_steady}, {:?}, {:?}",
                rules.retry, rules.breaker
            )?;
        }
        for Event { at_ms, what } in &self.events {
            writeln!(f, "{at_ms:>8} ms  {what:?}")?;
        }
        Ok(())
    }
}

struct Brief<'a>(&'a Setting);

impl fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.0;
        f.debug_struct("Setting")
            .field("processes", &of.processes)
            .field("lane_records", &of.lane_records)
            .field("lane_bytes", &of.lane_bytes)
            .field("repeats_max", &of.repeats_max)
            .field("commit_every_ms", &of.commit_every_ms)
            .field("commit_completions", &of.commit_completions)
            .field("drain_ms", &of.drain_ms)
            .field("session_ms", &of.session_ms)
            .finish()
    }
}
