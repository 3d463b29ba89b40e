//! A simulated process: the production's gates and ledger, its lanes, and what the consumer's thread
//! does with them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use catalog_io::Catalog;
use domain::rate::Share;
use kafka_io::{
    LaneOptions, Partition,
    simulation::{Ledger, Position},
};
use wire::topics::Names;

use super::{
    group::{Life, Told},
    kit::{Kit, Line},
    lane::{Lane, Waiting, saw_breaker},
    mutant::Mutant,
    outside::{Happening, Inner, MS, Outside},
    positions,
    tally::Seen,
    truth::Fault,
};
use crate::{
    flow::{Hold, Why},
    gate::{Gates, Owned},
};

/// The longest that a commit is waited for.
const COMMIT: u64 = 5_000 * MS;
const HOUR: u64 = 3_600_000 * MS;

pub(super) struct Process {
    kit: Kit,
    _gates: Gates,
    lanes: BTreeMap<u32, Lane>,
    /// What it owns, as it believes.
    owned: BTreeMap<usize, Partition>,
    epochs: u64,
    /// The commit that is not answered yet.
    open: Option<Vec<Position>>,
    look_at: Option<u64>,
    leaving: Option<Leaving>,
    /// What it was told while it let partitions go.
    told: VecDeque<Told>,
    pub(super) is_over: bool,
}

/// Partitions that are let go.
struct Leaving {
    partitions: Vec<usize>,
    until: u64,
    is_committing: bool,
    /// Its time to drain was used up.
    is_late: bool,
    /// The process leaves with them.
    is_last: bool,
}

impl Process {
    pub(super) fn new(life: Life, out: &mut Outside<'_>) -> Self {
        let setting = out.setting;
        let options = LaneOptions {
            window_records: setting.lane_records,
            commit_every: Duration::from_millis(setting.commit_every_ms),
            commit_completions: setting.commit_completions,
            repeats_max: match out.mutant {
                Some(Mutant::RepeatAny) => usize::MAX,
                _ => setting.repeats_max,
            },
            lease: (out.mutant != Some(Mutant::NoLease))
                .then(|| Duration::from_millis(setting.session_ms * 3 / 4)),
        };
        let ledger = Ledger::new(&options);
        let gates = gates(out);
        let line = |(place, name): (usize, &String)| Line::new(place, gates.of(name));
        let mut lines: Vec<Line> = out.known.names.iter().enumerate().map(line).collect();
        for line in &mut lines {
            line.obey(out.held[line.place], out);
        }
        Self {
            kit: Kit::new(life, ledger, lines, out.now),
            _gates: gates,
            lanes: BTreeMap::new(),
            owned: BTreeMap::new(),
            epochs: 0,
            open: None,
            look_at: None,
            leaving: None,
            told: VecDeque::new(),
            is_over: false,
        }
    }

    /// Says whether all that it knows is committed.
    pub(super) fn is_committed(&self) -> bool {
        self.open.is_none() && self.kit.ledger.is_committed()
    }

    /// Takes note that it did nothing for a while.
    pub(super) fn wakes(&mut self, out: &mut Outside<'_>) {
        self.kit.awake_since = out.now;
        for lane in self.lanes.values_mut() {
            lane.take_in(&mut self.kit, out);
        }
        self.settle(out);
    }

    /// Reads on, since a log has more.
    pub(super) fn has_more(&mut self, partition: usize, out: &mut Outside<'_>) {
        let lane = self.lanes.values_mut().find(|lane| lane.place == partition && lane.is_open());
        if let Some(lane) = lane {
            lane.take_in(&mut self.kit, out);
        }
        self.settle(out);
    }

    pub(super) fn hears(&mut self, what: Inner, out: &mut Outside<'_>) {
        match what {
            Inner::Task { lane, task, stamp } => {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.done(task, stamp, &mut self.kit, out);
                }
            }
            Inner::CutOff { lane } => self.cut_off(lane, out),
            Inner::Ask { destination } => {
                let line = &mut self.kit.lines[destination];
                (line.ask_at, line.has_news) = (None, true);
            }
            Inner::Look => self.look_at = None,
            Inner::Committed { stands } => self.committed(stands, out),
            Inner::Told(told) => self.is_told(told, out),
            Inner::Obey { destination } => {
                let is_held = out.held[destination];
                self.kit.lines[destination].obey(is_held, out);
            }
            Inner::Stop => self.stop(out),
        }
        self.settle(out);
    }

    fn is_told(&mut self, told: Told, out: &mut Outside<'_>) {
        match told {
            Told::Lost => self.lose(out),
            Told::Assigned(_) | Told::Revoked(_) if self.leaving.is_some() => {
                self.told.push_back(told);
            }
            Told::Assigned(partitions) => self.begin(&partitions, out),
            Told::Revoked(partitions) => {
                let partitions: Vec<usize> =
                    partitions.into_iter().filter(|place| self.owned.contains_key(place)).collect();
                self.close(&partitions, Seen::LaneRevoked, out);
                self.leave(partitions, false, out);
            }
        }
    }

    fn begin(&mut self, partitions: &[usize], out: &mut Outside<'_>) {
        let is_anew = out.mutant == Some(Mutant::RefillTokens) && self.lanes.is_empty();
        // Kept until the lanes have their shares: a bucket holds no more than a share of its burst.
        let _shares = is_anew.then(|| self.refill(partitions, out));
        self.epochs += 1;
        let is_any = out.mutant == Some(Mutant::AnyEpoch);
        let epoch = if is_any { 1 } else { self.epochs };
        for place in partitions {
            // What it was told may be older than its leaving and coming back.
            let is_owner = out.group.owner(*place) == Some(self.kit.life);
            if !is_owner || self.owned.contains_key(place) {
                continue;
            }
            let destination = out.known.destinations[*place];
            let topic = out.topics[destination].clone();
            let partition = Partition { topic, partition: *place as i32, epoch };
            let (begun, map) = positions::begun(*place, self.kit.life, out);
            let gate = self.kit.lines[destination].gate.clone();
            if !self.lanes.values().any(|lane| lane.destination == destination) {
                out.watches[destination].is_fresh(self.kit.life, out.now);
            }
            let at = (partition.clone(), *place);
            let mut lane = Lane::begin(at, (begun, &map), gate, &self.kit, out);
            self.kit.ledger.begin(&partition, map);
            self.owned.insert(*place, partition);
            self.kit.lines[destination].has_news = true;
            out.saw(Seen::LaneBegun);
            out.saw(Seen::Resized);
            lane.take_in(&mut self.kit, out);
            self.lanes.insert(lane.id, lane);
        }
    }

    /// Makes the destinations' states anew, with as many tokens as an hour gives.
    fn refill(&mut self, partitions: &[usize], out: &Outside<'_>) -> Vec<Owned> {
        out.tools.set_clock(out.now - HOUR);
        let gates = gates(out);
        let own = |place: &usize| gates.of(&out.known.names[out.known.destinations[*place]]).own();
        let shares = partitions.iter().map(own).collect();
        for line in &mut self.kit.lines {
            line.gate = gates.of(&out.known.names[line.place]);
            line.turn = None;
            line.gate.hold(line.is_held.then_some(Hold::Paused));
        }
        out.tools.set_clock(out.now);
        self._gates = gates;
        shares
    }

    fn close(&mut self, partitions: &[usize], seen: Seen, out: &mut Outside<'_>) {
        let drain_ms = out.setting.drain_ms;
        for lane in self.lanes.values_mut() {
            if lane.is_open() && partitions.contains(&lane.place) {
                out.saw(seen);
                lane.stop(drain_ms, &mut self.kit, out);
            }
        }
    }

    fn leave(&mut self, partitions: Vec<usize>, is_last: bool, out: &mut Outside<'_>) {
        let until = out.now + out.setting.drain_ms * MS;
        self.leaving =
            Some(Leaving { partitions, until, is_committing: false, is_late: false, is_last });
        out.at(until, Happening::To(self.kit.life, Inner::Look));
    }

    fn lose(&mut self, out: &mut Outside<'_>) {
        let all: Vec<usize> = self.owned.keys().copied().collect();
        self.close(&all, Seen::LaneLost, out);
        for place in all {
            self.end(place);
        }
        self.told.clear();
        self.leaving = self.leaving.take().filter(|leaving| leaving.is_last);
    }

    fn end(&mut self, place: usize) {
        if let Some(partition) = self.owned.remove(&place) {
            self.kit.ledger.end(&partition);
        }
        for lane in self.lanes.values_mut().filter(|lane| lane.place == place) {
            lane.is_ended = true;
        }
    }

    fn stop(&mut self, out: &mut Outside<'_>) {
        let all: Vec<usize> = self.owned.keys().copied().collect();
        self.close(&all, Seen::LaneStopped, out);
        self.told.clear();
        self.leave(all, true, out);
    }

    fn cut_off(&mut self, lane: u32, out: &mut Outside<'_>) {
        let Some(lane) = self.lanes.remove(&lane) else { return };
        out.saw(Seen::LaneCutOff);
        lane.cut_off(&self.kit, out);
        let line = &mut self.kit.lines[lane.destination];
        line.has_news = true;
        let before = line.gate.breaker();
        drop(lane);
        saw_breaker(before, line.gate.breaker(), out);
    }

    /// Judges what is in flight here at the destinations of partitions that are off now, unless their time
    /// was over.
    fn judge_shares(&self, leaving: &Leaving, out: &mut Outside<'_>) {
        let known = out.known.clone();
        let of = |place: &usize| known.destinations[*place];
        let mut destinations: Vec<usize> = leaving.partitions.iter().map(of).collect();
        destinations.dedup();
        for destination in destinations {
            let owned = self.owned.keys().filter(|place| of(place) == destination).count() as u32;
            let total = out.setting.destinations[destination].partitions as u32;
            let watch = &mut out.watches[destination];
            if watch.is_within(self.kit.life, Share { owned, total }) {
                continue;
            }
            if leaving.is_late {
                watch.changes_hands();
                out.saw(Seen::LetGoOverShare);
            } else {
                let what = || format!("{owned} of {total} partitions at {destination} left");
                out.truth.fails(Fault::GroupConcurrency, what);
            }
        }
    }

    fn committed(&mut self, stands: bool, out: &mut Outside<'_>) {
        let Some(positions) = self.open.take() else { return };
        self.kit.ledger.answered(!stands, 0, out.instant());
        if stands {
            self.kit.ledger.stand(&positions);
        } else {
            out.saw(Seen::CommitFailed);
        }
    }

    /// Does all that can be done now.
    fn settle(&mut self, out: &mut Outside<'_>) {
        loop {
            self.commit_when_due(out);
            self.make_room(out);
            let lines = 0..self.kit.lines.len();
            let news: Vec<usize> = lines.filter(|line| self.kit.lines[*line].has_news).collect();
            for destination in &news {
                self.serve(*destination, out);
            }
            let has_ended = self.sweep(out);
            if news.is_empty() && !has_ended {
                break;
            }
        }
        self.commit_when_due(out);
        if !self.kit.rooms.is_empty() && self.kit.has_room(out) {
            out.after(0, Happening::To(self.kit.life, Inner::Look));
        }
        self.let_go(out);
    }

    fn make_room(&mut self, out: &mut Outside<'_>) {
        if self.kit.rooms.is_empty() || !self.kit.has_room(out) {
            return;
        }
        for lane in std::mem::take(&mut self.kit.rooms) {
            if let Some(lane) = self.lanes.get_mut(&lane)
                && lane.waiting == Waiting::Room
            {
                lane.stand_in_line(&mut self.kit, out);
            }
        }
    }

    /// Gives leave to those who wait, in turn.
    fn serve(&mut self, destination: usize, out: &mut Outside<'_>) {
        let line = &mut self.kit.lines[destination];
        line.has_news = false;
        while let Some(first) = self.kit.lines[destination].waiting.front().copied() {
            let line = &mut self.kit.lines[destination];
            let slot = match line.gate.ask() {
                Ok(slot) => slot,
                Err(wait) => {
                    saw_wait(wait.why, out);
                    if let Some(until) = wait.until.map(|until| until.0)
                        && line.ask_at.is_none_or(|at| until < at)
                    {
                        line.ask_at = Some(until);
                        out.at(until, Happening::To(self.kit.life, Inner::Ask { destination }));
                    }
                    break;
                }
            };
            if line.gate.breaker() == domain::breaker::State::HalfOpen {
                out.saw(Seen::BreakerProbed);
            }
            line.waiting.pop_front();
            line.look_for_end();
            let has_room = self.kit.has_room(out);
            if let Some(lane) = self.lanes.get_mut(&first) {
                if has_room {
                    lane.free(slot, &mut self.kit, out);
                } else {
                    drop(slot);
                    lane.wait(&mut self.kit, out);
                }
            }
        }
        self.kit.lines[destination].look_for_end();
    }

    /// Drops the lanes that are over.
    fn sweep(&mut self, out: &mut Outside<'_>) -> bool {
        let over = self.lanes.values().filter_map(|lane| lane.is_over(out).then_some(lane.id));
        let over: Vec<u32> = over.collect();
        for id in &over {
            if let Some(lane) = self.lanes.remove(id) {
                out.saw(Seen::LaneDrained);
                self.kit.lines[lane.destination].has_news = true;
            }
        }
        !over.is_empty()
    }

    fn commit_when_due(&mut self, out: &mut Outside<'_>) {
        let open = usize::from(self.open.is_some());
        if let Some(positions) = self.kit.ledger.due(open, out.instant()) {
            self.commit(positions, out);
        }
        let open = usize::from(self.open.is_some());
        if let Some(at) = self.kit.ledger.next_at(open).map(|at| out.nanos(at))
            && self.look_at.is_none_or(|look| at < look)
        {
            self.look_at = Some(at);
            out.at(at, Happening::To(self.kit.life, Inner::Look));
        }
    }

    fn commit(&mut self, positions: Vec<Position>, out: &mut Outside<'_>) {
        for position in &positions {
            let place = position.partition.partition as usize;
            let lanes = self.lanes.values().filter(|lane| lane.partition == position.partition);
            let log = &out.group.logs[place];
            for lane in lanes {
                out.truth.covers(log, lane.id, (position.next, position.metadata.as_str()));
            }
        }
        let sent = positions::mutated(positions.clone(), out);
        self.open = Some(positions);
        let after = positions::takes(out);
        let membership = out.group.membership(self.kit.life);
        out.after(after, Happening::Commit(self.kit.life, membership, sent));
    }

    /// Goes on with letting partitions go: drain, commit, and off.
    fn let_go(&mut self, out: &mut Outside<'_>) {
        let Some(mut leaving) = self.leaving.take() else { return };
        let is_drained = !self.lanes.values().any(|lane| leaving.partitions.contains(&lane.place));
        if !leaving.is_committing && (is_drained || out.now >= leaving.until) {
            leaving.is_late = out.now >= leaving.until;
            (leaving.is_committing, leaving.until) = (true, out.now + COMMIT);
            out.at(leaving.until, Happening::To(self.kit.life, Inner::Look));
        }
        let is_late = out.now >= leaving.until;
        let owned = leaving.partitions.iter().filter_map(|place| self.owned.get(place));
        let are_committed = self.kit.ledger.are_committed(owned);
        if !leaving.is_committing || (!is_late && !are_committed) {
            self.leaving = Some(leaving);
            return;
        }
        for place in &leaving.partitions {
            self.end(*place);
        }
        if leaving.is_last {
            self.is_over = true;
            let told = out.group.leave(self.kit.life);
            return out.tell(told);
        }
        self.judge_shares(&leaving, out);
        let told = out.group.let_go(self.kit.life, &leaving.partitions);
        out.tell(told);
        while self.leaving.is_none()
            && let Some(told) = self.told.pop_front()
        {
            self.is_told(told, out);
        }
        out.after(0, Happening::To(self.kit.life, Inner::Look));
    }
}

fn gates(out: &Outside<'_>) -> Gates {
    let gates = Gates::new(Names::new(""), out.tools.families.clone()).timed_by(out.tools.clock());
    let destination = |target: &super::history::Target| {
        let mut destination = crate::testing::destination("https://crm.example");
        // Half of them are replays.
        (destination.spec, destination.partitions) =
            (target.rules.clone(), target.partitions as i32 / 2);
        (destination.spec.name.clone(), Arc::new(destination))
    };
    gates.adopt(&Catalog {
        version: "1".to_owned(),
        sources: BTreeMap::new(),
        routes: Vec::new(),
        destinations: out.setting.destinations.iter().map(destination).collect(),
    });
    gates
}

fn saw_wait(why: Why, out: &mut Outside<'_>) {
    out.saw(match why {
        Why::Held => Seen::WaitHeld,
        Why::Breaker => Seen::WaitBreaker,
        Why::Concurrency => Seen::WaitConcurrency,
        Why::Asked => Seen::WaitAsked,
        // No destination of a history shares one.
        Why::Rate | Why::SharedRate => Seen::WaitRate,
    });
}
