//! Runs a history: one thing after the other, judged after each.

use super::{
    group::{Life, Told},
    history::{Commits, History, Mood, What},
    mutant::Mutant,
    outside::{Happening, Inner, MS, Outside, Tools},
    process::Process,
    tally::{Seen, Tally},
    truth::{Failure, Fault},
    watch::Watch,
};
use domain::offset_map::OffsetMap;
use kafka_io::simulation::Position;

/// By when all has to be done after the last fault.
const CALM: u64 = 600_000 * MS;
/// More steps than any history takes.
const STEPS_MAX: u64 = 20_000_000;

pub(super) struct World<'a> {
    history: &'a History,
    out: Outside<'a>,
    places: Vec<Place>,
    is_calm: bool,
}

/// Where a process runs, or ran.
#[derive(Default)]
struct Place {
    process: Option<Process>,
    lives: u32,
    is_cut_off: bool,
    /// When a commit of its arrived last.
    heard_at: u64,
    /// What the group says meanwhile.
    unheard: Vec<Told>,
    /// What happens to it while it is paused.
    paused: Option<Vec<Inner>>,
}

/// Runs a history to its end, or to the first thing that must not be.
pub(super) fn run(
    tools: &Tools,
    history: &History,
    mutant: Option<Mutant>,
) -> (Tally, Option<Failure>) {
    let mut world = World {
        history,
        out: Outside::new(tools, history, mutant),
        places: (0..history.setting.processes).map(|_| Place::default()).collect(),
        is_calm: false,
    };
    world.plan();
    while world.out.truth.failure.is_none() && !world.is_done() {
        match world.out.advance() {
            Some(what) => world.happens(what),
            None => world.out.truth.fails(Fault::Stuck, || "nothing happens any more".to_owned()),
        }
        if world.out.tally.steps > STEPS_MAX {
            world.out.truth.fails(Fault::Stuck, || "it goes on and on".to_owned());
        }
    }
    (world.out.tally, world.out.truth.failure)
}

impl World<'_> {
    fn plan(&mut self) {
        for (place, event) in self.history.events.iter().enumerate() {
            self.out.planned(event.at_ms, place);
        }
        let last_ms = self.history.events.last().map_or(0, |event| event.at_ms);
        self.out.after((last_ms + 1) * MS, Happening::Calm);
        self.out.after((last_ms + 1) * MS + CALM, Happening::Limit);
    }

    fn is_done(&self) -> bool {
        self.is_calm
            && self.out.truth.unrecorded == 0
            && self.places.iter().flat_map(|place| &place.process).all(Process::is_committed)
            && self.out.group.logs.iter().all(|log| {
                let next = log.committed.as_ref().map_or(0, |(next, _)| *next);
                log.entries.last().is_none_or(|entry| entry.offset < next)
            })
    }

    fn happens(&mut self, what: Happening) {
        match what {
            Happening::Planned(place) => {
                let history = self.history;
                self.planned(&history.events[place].what);
            }
            Happening::To(life, inner) => self.to(life, inner),
            Happening::Commit(life, sent_in, positions) => self.commit(life, sent_in, &positions),
            Happening::SessionOver(life) => self.session_over(life),
            Happening::Resumed(life) => self.resume(life),
            Happening::Reunited(life) => self.reunite(life),
            Happening::Enabled(destination) => {
                self.out.enabled_at[destination] = self.out.known.now().0;
                self.hold(destination, false);
            }
            Happening::Calm => self.calm(),
            Happening::Limit => {
                let left = self.out.truth.unrecorded;
                self.out.truth.fails(Fault::Stuck, || format!("{left} records came to no end"));
            }
        }
    }

    fn planned(&mut self, what: &What) {
        match what {
            What::Write(written) => {
                let log = &mut self.out.group.logs[written.partition];
                let offset = log.append(written.id, written.gap);
                self.out.truth.wrote(written, offset);
                if let Some(life) = self.out.group.owner(written.partition) {
                    self.with(life, |process, out| process.has_more(written.partition, out));
                }
            }
            What::Start { process } => self.start(*process),
            What::Stop { process } => {
                if let Some(life) = self.life(*process) {
                    self.out.saw(Seen::Stopped);
                    self.to(life, Inner::Stop);
                }
            }
            What::Kill { process } => self.kill(*process),
            What::CutOff { process, for_ms } => self.cut_off(*process, *for_ms),
            What::Pause { process, for_ms } => self.pause(*process, *for_ms),
            What::Rebalance => {
                let told = self.out.group.rebalance();
                self.out.tell(told);
            }
            What::ClockSteps { by_ms } => {
                self.out.saw(if *by_ms > 0 { Seen::ClockAhead } else { Seen::ClockBack });
                self.out.stepped_ms += by_ms;
                self.out.tick();
            }
            What::Answers { destination, mood } => self.out.moods[*destination] = *mood,
            What::Hold { destination, is_held } => self.hold(*destination, *is_held),
            What::Commits { go } => self.out.commits = *go,
            What::Receipts { last_ms } => self.out.receipts_from = self.out.now + last_ms * MS,
            What::Damage { partition } => {
                if let Some((_, text)) = &mut self.out.group.logs[*partition].committed {
                    "another program's".clone_into(text);
                }
            }
        }
    }

    /// Returns the life that runs at a place.
    fn life(&self, place: usize) -> Option<Life> {
        let at = &self.places[place];
        at.process.as_ref().map(|_| (place, at.lives))
    }

    fn start(&mut self, place: usize) {
        if self.places[place].process.is_some() {
            return;
        }
        self.out.saw(Seen::Joined);
        let lives = self.places[place].lives + 1;
        let life = (place, lives);
        let process = Some(Process::new(life, &mut self.out));
        self.places[place] = Place { process, lives, ..Place::default() };
        let told = self.out.group.join(life);
        self.out.tell(told);
    }

    fn kill(&mut self, place: usize) {
        let Some(life) = self.life(place) else { return };
        self.out.saw(Seen::Killed);
        self.places[place].process = None;
        self.out.watches.iter_mut().for_each(|watch| watch.forget(life));
        self.falls_silent(life);
    }

    fn cut_off(&mut self, place: usize, for_ms: u64) {
        let Some(life) = self.life(place).filter(|_| !self.places[place].is_cut_off) else {
            return;
        };
        self.out.saw(Seen::CutOff);
        self.places[place].is_cut_off = true;
        self.falls_silent(life);
        self.out.after(for_ms * MS, Happening::Reunited(life));
    }

    fn pause(&mut self, place: usize, for_ms: u64) {
        let Some(life) = self.life(place).filter(|_| self.places[place].paused.is_none()) else {
            return;
        };
        self.out.saw(Seen::Paused);
        self.places[place].paused = Some(Vec::new());
        self.falls_silent(life);
        self.out.after(for_ms * MS, Happening::Resumed(life));
    }

    /// Its last heartbeat, of three in a session, was some time ago.
    fn falls_silent(&mut self, life: Life) {
        let session = self.out.setting.session_ms * MS;
        let heartbeat = self.out.small(self.out.setting.session_ms * 1000 / 3);
        self.out.after(session - heartbeat, Happening::SessionOver(life));
    }

    /// Takes a process out of the group of which nothing was heard for a session.
    fn session_over(&mut self, life: Life) {
        let place = &self.places[life.0];
        let is_silent =
            self.life(life.0) != Some(life) || place.is_cut_off || place.paused.is_some();
        if !is_silent || !self.out.group.has(life) {
            return;
        }
        let heard_until = place.heard_at + self.out.setting.session_ms * MS;
        if place.lives == life.1 && self.out.now < heard_until {
            self.out.at(heard_until, Happening::SessionOver(life));
        } else {
            self.out.saw(Seen::Expelled);
            // It is not asked, so that it goes on until it hears of it.
            self.out.watches.iter_mut().for_each(Watch::changes_hands);
            let told = self.out.group.leave(life);
            self.out.tell(told);
        }
    }

    fn resume(&mut self, life: Life) {
        if self.life(life.0) != Some(life) {
            return;
        }
        let Some(missed) = self.places[life.0].paused.take() else { return };
        self.with(life, |process, out| process.wakes(out));
        // Its own work goes on before it hears that it was expelled.
        missed.into_iter().for_each(|inner| self.to(life, inner));
        self.rejoin(life);
    }

    fn reunite(&mut self, life: Life) {
        if self.life(life.0) != Some(life) || !self.places[life.0].is_cut_off {
            return;
        }
        self.places[life.0].is_cut_off = false;
        let unheard = std::mem::take(&mut self.places[life.0].unheard);
        for told in unheard {
            self.to(life, Inner::Told(told));
        }
        self.rejoin(life);
    }

    fn rejoin(&mut self, life: Life) {
        let place = &self.places[life.0];
        if place.is_cut_off
            || place.paused.is_some()
            || self.out.group.has(life)
            || self.life(life.0).is_none()
        {
            return;
        }
        self.to(life, Inner::Told(Told::Lost));
        // One that was about to stop has stopped now.
        if self.life(life.0) == Some(life) {
            let told = self.out.group.join(life);
            self.out.tell(told);
        }
    }

    fn hold(&mut self, destination: usize, is_held: bool) {
        self.out.held[destination] = is_held;
        for place in 0..self.places.len() {
            if let Some(life) = self.life(place) {
                let after = self.out.small(500_000);
                self.out.after(after, Happening::To(life, Inner::Obey { destination }));
            }
        }
    }

    fn to(&mut self, life: Life, inner: Inner) {
        let place = &mut self.places[life.0];
        if place.lives != life.1 {
            return;
        }
        let inner = match inner {
            // One that is no member any more is told that all is lost.
            Inner::Told(Told::Assigned(_) | Told::Revoked(_)) if !self.out.group.has(life) => {
                return;
            }
            Inner::Told(told @ (Told::Assigned(_) | Told::Revoked(_))) if place.is_cut_off => {
                return place.unheard.push(told);
            }
            inner => inner,
        };
        if let Some(missed) = &mut place.paused {
            missed.push(inner);
            return;
        }
        self.with(life, |process, out| process.hears(inner, out));
    }

    fn with(&mut self, life: Life, act: impl FnOnce(&mut Process, &mut Outside<'_>)) {
        let place = &mut self.places[life.0];
        let Some(process) = place.process.as_mut().filter(|_| place.lives == life.1) else {
            return;
        };
        if place.paused.is_some() {
            return;
        }
        act(process, &mut self.out);
        if process.is_over {
            place.process = None;
            self.out.watches.iter_mut().for_each(|watch| watch.forget(life));
            if self.is_calm {
                self.start(life.0);
            }
        }
    }

    /// Judges a commit that arrives, and answers it.
    fn commit(&mut self, life: Life, sent_in: Option<usize>, positions: &[Position]) {
        let out = &mut self.out;
        let place = &mut self.places[life.0];
        let is_cut_off = place.is_cut_off && place.lives == life.1;
        let before = |position: &Position| {
            let committed = &out.group.logs[position.partition.partition as usize].committed;
            committed.as_ref().map_or(0, |(next, _)| *next)
        };
        let befores: Vec<i64> = positions.iter().map(before).collect();
        // Of one that is cut off, what it sends arrives when others have its partitions already.
        let is_heard = !is_cut_off || !out.group.has(life);
        let arrives = is_heard && out.commits != Commits::Failing;
        let is_member = sent_in.is_some() && sent_in == out.group.membership(life);
        if is_heard && is_member && place.lives == life.1 {
            place.heard_at = out.now;
        }
        let stands = arrives && is_member && out.group.commit(life, positions);
        if arrives && !stands {
            out.saw(Seen::CommitRefused);
        }
        for (position, before) in positions.iter().zip(befores).filter(|_| stands) {
            let partition = position.partition.partition as usize;
            out.truth.committed(&out.group.logs[partition], before);
            out.tally.saw(Seen::Committed);
            if let Ok(map) = OffsetMap::decode(position.next, &position.metadata) {
                if map.runs().next().is_some() {
                    out.tally.saw(Seen::CommittedMap);
                }
                if map.heads() > 0 {
                    out.tally.saw(Seen::CommittedHeads);
                }
            }
        }
        let is_heard = out.commits != Commits::Unheard;
        if stands && !is_heard {
            out.saw(Seen::CommitUnheard);
        }
        let after = if stands && is_heard { out.small(1_000) } else { out.small(500_000) };
        out.after(after, Happening::To(life, Inner::Committed { stands: stands && is_heard }));
    }

    /// Ends all faults: what has not come to its end soon never will.
    fn calm(&mut self) {
        self.is_calm = true;
        (self.out.commits, self.out.receipts_from) = (Commits::Well, self.out.now);
        for destination in 0..self.out.moods.len() {
            self.out.moods[destination] = Mood::Well { most_ms: 1 };
            self.hold(destination, false);
        }
        for place in 0..self.places.len() {
            self.start(place);
            if let Some(life) = self.life(place) {
                self.reunite(life);
                self.resume(life);
            }
        }
    }
}
