//! A simulated lane: the production's [`Work`], and what its steps wait for.

use std::{collections::VecDeque, sync::Arc};

use domain::{breaker::State, offset_map::OffsetMap, time::UnixMillis};
use kafka_io::{Effect, Partition, Taken, simulation::Delivered};
use tokio_util::sync::CancellationToken;
use wire::Receipt;

use super::{
    group::Life,
    hand::{self, Hand},
    history::Kind,
    kit::Kit,
    mutant::Mutant,
    outside::{Happening, Inner, MS, Outside},
    receiver::Reply,
    tally::Seen,
    tasks::{Flying, Task, Tasks},
    truth::{Fault, Start},
    watch::End as Ended,
};
use crate::{
    gate::{Gate, Owned, Slot},
    held::{End, Held, Now, Tried},
    lane::{Bounds, Step, Todo, Work},
    receipts,
    verdict::{self, Next, Verdict},
};
use domain::{breaker::Ended as Health, dead_letter::Reason};

pub(super) struct Lane {
    /// Its own number, among all that there ever were.
    pub(super) id: u32,
    pub(super) partition: Partition,
    pub(super) place: usize,
    pub(super) destination: usize,
    work: Work<Hand>,
    gate: Arc<Gate>,
    /// Until it begins to end.
    owned: Option<Owned>,
    /// Handed out, and not taken by the work.
    feed: VecDeque<Taken>,
    /// The next record of the log.
    next: usize,
    is_open: bool,
    /// Its assignment is over, also where the partition has come back since.
    pub(super) is_ended: bool,
    begun: OffsetMap,
    tasks: Tasks,
    pub(super) waiting: Waiting,
    pub(super) waits_since: u64,
}

/// What the lane's next request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    No,
    /// Until a crash would repeat fewer.
    Room,
    InLine,
}

impl Lane {
    pub(super) fn begin(
        (partition, place): (Partition, usize),
        (begun, map): (OffsetMap, &OffsetMap),
        gate: Arc<Gate>,
        kit: &Kit,
        out: &mut Outside<'_>,
    ) -> Self {
        out.lanes += 1;
        let bounds = Bounds { records: out.setting.lane_records, bytes: out.setting.lane_bytes };
        let (hand, intake) = (Hand::new(out.known.clone()), CancellationToken::new());
        let at = (gate.clone(), intake);
        let work = Work::with(hand, partition.clone(), bounds, at, kit.acks.clone());
        Self {
            id: out.lanes,
            partition,
            place,
            destination: out.known.destinations[place],
            work,
            owned: Some(gate.own()),
            gate,
            feed: VecDeque::new(),
            next: out.group.logs[place].from(map.commit_point()),
            is_open: true,
            is_ended: false,
            begun,
            tasks: Tasks::default(),
            waiting: Waiting::No,
            waits_since: 0,
        }
    }

    pub(super) fn is_over(&self, out: &mut Outside<'_>) -> bool {
        let is_done =
            self.work.is_stopping() && self.tasks.is_empty() && self.waiting == Waiting::No;
        if is_done && !self.gate.is_within_share() {
            out.saw(Seen::LaneWaited);
            return out.mutant == Some(Mutant::LeaveOverShare);
        }
        is_done
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Gives the lane what its partition holds, as far as there is room.
    pub(super) fn take_in(&mut self, kit: &mut Kit, out: &mut Outside<'_>) {
        loop {
            self.read(kit, out);
            let before = self.feed.len();
            while self.work.has_room()
                && let Some(taken) = self.feed.pop_front()
            {
                out.saw(Seen::Taken);
                self.work.take(taken);
                self.perform(kit, out);
                self.judge_bounds(out);
            }
            if !self.feed.is_empty() {
                let holds = self.work.holds();
                let is_full = holds.records >= out.setting.lane_records
                    || holds.bytes >= out.setting.lane_bytes;
                out.saw(if is_full { Seen::LaneFull } else { Seen::LaneShut });
            }
            if self.feed.len() == before || !self.feed.is_empty() {
                break;
            }
        }
    }

    /// What the consumer's thread does for one lane.
    fn read(&mut self, kit: &Kit, out: &mut Outside<'_>) {
        let log = &out.group.logs[self.place];
        if !self.is_open || self.next == log.entries.len() {
            return;
        }
        let (mut room, held) = kit.ledger.room(&self.partition);
        let reads_again = kit.ledger.reads_again(&self.partition);
        let mut bytes = held.bytes;
        if out.mutant == Some(Mutant::IgnoreRoom) {
            (room, bytes) = (usize::MAX, 0);
        } else if room == 0 {
            let is_by_map = held.records < out.setting.lane_records;
            out.tally.saw(if is_by_map { Seen::TrackerFullMap } else { Seen::TrackerFullOpen });
        }
        while room > 0
            && bytes < out.setting.window_bytes
            && (!reads_again || kit.ledger.reads_again(&self.partition))
            && let Some(entry) = log.entries.get(self.next)
        {
            self.next += 1;
            let record = out.known.record(&self.partition.topic, entry.offset, entry.id);
            match kit.ledger.delivered(&self.partition, entry.offset, record.bytes()) {
                Delivered::Done => out.tally.saw(Seen::TrackerDone),
                Delivered::Open(head) => {
                    let is_new = head.is_none();
                    let seen = if is_new { Seen::TrackerOpen } else { Seen::TrackerResumed };
                    out.tally.saw(seen);
                    room -= 1;
                    bytes += record.bytes();
                    self.feed.push_back(Taken { record, head });
                }
            }
        }
    }

    fn judge_bounds(&self, out: &mut Outside<'_>) {
        let (holds, setting) = (self.work.holds(), out.setting);
        let is_over = holds.records > setting.lane_records
            || holds.records + self.feed.len() > setting.lane_records
            || holds.bytes > setting.lane_bytes + 1024;
        if is_over {
            let feed = self.feed.len();
            out.truth.fails(Fault::Bounds, || format!("{feed} records and {holds:?} in a lane"));
        }
    }

    /// Begins what the work wants done.
    fn perform(&mut self, kit: &mut Kit, out: &mut Outside<'_>) {
        while let Some(todo) = self.work.hands.todo.pop_front() {
            match todo {
                Todo::Read(taken) => {
                    let after = out.small(50_000);
                    self.task(Task::Read(taken), after, kit.life, out);
                }
                Todo::Slot => self.wait(kit, out),
                Todo::Attempt(held, slot) => self.attempt(held, slot, kit, out),
                Todo::Wait { held, at, .. } => {
                    let due = out.now + at.since(out.known.now()).as_nanos() as u64;
                    let after = out.acknowledged_after();
                    self.task(Task::Receipt(held, due), after, kit.life, out);
                }
                Todo::Settle { held, effect, .. } => {
                    self.record(&held.record, Some(effect), kit, out)
                }
                Todo::GiveUp { held, .. } => {
                    if held.attempts == 0 {
                        let id = hand::id(&held.record);
                        out.truth.fails(Fault::Untried, || format!("record {id} is given up on"));
                    }
                    self.record(&held.record, None, kit, out);
                }
                Todo::HandOver { .. } | Todo::TellHanded { .. } => {
                    unreachable!("no route of a history has a fallback")
                }
                Todo::TurnAway { held, .. } => {
                    out.saw(Seen::TurnedAway);
                    self.record(&held.record, None, kit, out);
                }
                Todo::Bury { record, .. } => {
                    out.saw(Seen::Undecodable);
                    self.record(&record, None, kit, out);
                }
            }
        }
    }

    pub(super) fn wait(&mut self, kit: &mut Kit, out: &mut Outside<'_>) {
        self.waiting = Waiting::Room;
        if kit.has_room(out) {
            self.stand_in_line(kit, out);
        } else {
            let is_leased = kit.acks.is_leased(out.instant());
            out.saw(if is_leased { Seen::WaitedForRoom } else { Seen::WaitedForLease });
            kit.rooms.push(self.id);
        }
    }

    pub(super) fn stand_in_line(&mut self, kit: &mut Kit, out: &Outside<'_>) {
        (self.waiting, self.waits_since) = (Waiting::InLine, out.now);
        kit.lines[self.destination].stand(self.id);
    }

    /// Takes the leave that the lane has waited for.
    pub(super) fn free(&mut self, slot: Slot, kit: &mut Kit, out: &mut Outside<'_>) {
        self.waiting = Waiting::No;
        out.saw(Seen::SentAfterWait);
        let waited_ms = (out.now - self.waits_since.max(kit.awake_since)) / MS;
        if out.setting.destinations[self.destination].is_steady && waited_ms > 5_000 {
            out.truth.fails(Fault::Starved, || format!("a healthy lane waited {waited_ms} ms"));
        }
        self.took(Step::Free(slot), kit, out);
    }

    fn attempt(&mut self, mut held: Box<Held>, slot: Slot, kit: &mut Kit, out: &mut Outside<'_>) {
        let id = hand::id(&held.record);
        let begun = out.known.now();
        held.begin(Now { wall: begun, steady: out.instant() }, self.gate.stood_still());
        let is_owner = out.group.owner(self.place) == Some(kit.life);
        if !is_owner {
            out.truth.fails(Fault::Zombie, || format!("record {id} is tried by a former owner"));
        }
        if is_owner {
            let start = Start { id, lane: self.id, begun: &self.begun, attempts: held.attempts };
            out.truth.starts(&start);
        }
        if kit.lines[self.destination].is_held {
            out.truth.fails(Fault::Held, || format!("record {id} is tried though it is held"));
        }
        let watch = &mut out.watches[self.destination];
        let flight = watch.starts(kit.life, is_owner, out.now, &mut out.truth);
        let fate = out.truth.of(id);
        fate.attempts += 1;
        let attempts = fate.attempts;
        let mood = out.moods[self.destination];
        let timeout = slot.prepared.destination.spec.timeout;
        let reply = Reply::draw(mood, timeout, out.chance(id, attempts));
        out.tally.attempts += 1;
        out.saw(Seen::Sent);
        out.saw(reply.seen());
        if reply.is_taken() {
            let fate = out.truth.of(id);
            fate.taken += 1;
            let is_twice = fate.taken > 1;
            out.tally.deliveries += 1;
            if is_twice {
                out.saw(Seen::Twice);
            }
        }
        let after = reply.after.as_nanos() as u64;
        let flying = Flying { held, slot, reply, flight, begun };
        self.task(Task::Attempt(Box::new(flying)), after, kit.life, out);
    }

    /// Takes note that a task is over.
    pub(super) fn done(&mut self, task: usize, stamp: u32, kit: &mut Kit, out: &mut Outside<'_>) {
        let Some(task) = self.tasks.take(task, stamp) else { return };
        match task {
            Task::Read(taken) => {
                out.saw(Seen::SchemaFetched);
                let written = out.known.of(hand::id(&taken.record));
                let read = Ok(Box::new(out.known.delivery(written)));
                self.took(Step::Read { taken, read }, kit, out);
            }
            Task::Attempt(flying) => self.answered(*flying, kit, out),
            Task::Receipt(held, _) if self.work.is_stopping() => self.left(held, kit, out),
            Task::Receipt(held, due) => {
                let after = due.saturating_sub(out.now);
                self.task(Task::Rest(held), after, kit.life, out);
            }
            Task::Rest(held) => self.took(Step::Due(held), kit, out),
            Task::Record { id, offset, bytes, effect } => {
                out.truth.recorded(id);
                out.saw(Seen::Recorded);
                self.complete(id, Step::Recorded { offset, bytes, effect }, kit, out);
            }
        }
    }

    fn complete(&mut self, id: usize, step: Step, kit: &mut Kit, out: &mut Outside<'_>) {
        let before = kit.ledger.held(&self.partition);
        self.work.took(step);
        if kit.ledger.held(&self.partition) == before {
            out.saw(Seen::TrackerLate);
        } else if self.is_ended {
            let what = || format!("record {id} counts, of an assignment that has ended");
            out.truth.fails(Fault::Epoch, what);
        } else {
            out.truth.completed(id, self.id);
        }
        self.perform(kit, out);
        self.take_in(kit, out);
    }

    fn took(&mut self, step: Step, kit: &mut Kit, out: &mut Outside<'_>) {
        self.work.took(step);
        self.perform(kit, out);
        self.take_in(kit, out);
    }

    fn left(&mut self, held: Box<Held>, kit: &mut Kit, out: &mut Outside<'_>) {
        out.saw(Seen::Left);
        self.took(Step::Left(Some(held)), kit, out);
    }

    fn answered(&mut self, flying: Flying, kit: &mut Kit, out: &mut Outside<'_>) {
        let Flying { held, slot, reply, flight, begun } = flying;
        let Slot { prepared, leave } = slot;
        let (spec, now) = (&prepared.destination.spec, out.known.now());
        let result = reply.result();
        let mut signals = verdict::signals(&result, spec, now);
        match out.mutant {
            Some(Mutant::DropRetryAfter) => signals.asked = None,
            Some(Mutant::BlindBreaker) => signals.health = Health::Healthy,
            _ => {}
        }
        let before = self.gate.breaker();
        if out.mutant == Some(Mutant::LeakLeave) && signals.health == Health::Failed {
            std::mem::forget(leave);
        } else {
            leave.ended(signals);
        }
        saw_breaker(before, self.gate.breaker(), out);
        let end = reply.end(spec.retry.retry_after_max);
        out.watches[flight.destination].ended(kit.life, flight, end, out.now);
        kit.lines[self.destination].has_news = true;
        let both = Now { wall: now, steady: out.instant() };
        let made = held.head(both, self.gate.stood_still());
        let verdict = verdict::judge(&result, spec, made, reply.jitter, now);
        let end = self.end(&held, verdict, begun, kit, out);
        let end = match (end, verdict.next) {
            (None, Next::DeadLetter(reason)) => {
                let why = receipts::given_up(reason, &result);
                End::GivenUp { why, receipt: kit.receipt(&held, now) }
            }
            (Some(end), _) => end,
            (None, _) => return,
        };
        self.took(Step::Tried(Tried { held, end }), kit, out);
        self.look_whether_gone(kit, out);
    }

    /// What the work is told of an attempt, but for one that is given up on.
    fn end(
        &self,
        held: &Held,
        verdict: Verdict,
        begun: UnixMillis,
        kit: &mut Kit,
        out: &mut Outside<'_>,
    ) -> Option<End> {
        let id = hand::id(&held.record);
        let receipt = kit.receipt(held, out.known.now());
        let (seen, end) = match verdict.next {
            Next::Settled => (Seen::Delivered, Some(End::Delivered(receipt))),
            Next::Again { at } => (Seen::Retried, Some(End::Again { at, receipt })),
            Next::Gone => (Seen::Gone, Some(End::Gone { begun, receipt })),
            Next::DeadLetter(Reason::BudgetSpent) => (Seen::BudgetSpent, None),
            Next::DeadLetter(Reason::AttemptsSpent) => (Seen::AttemptsSpent, None),
            Next::DeadLetter(_) => (Seen::Permanent, None),
        };
        out.saw(seen);
        match verdict.next {
            Next::Settled | Next::DeadLetter(_) => {
                // What a former owner delivers is none of the owner's to bound.
                let is_owner = out.group.owner(self.place) == Some(kit.life);
                let is_delivered = verdict.next == Next::Settled && is_owner;
                out.truth.concluded(id, self.id, is_delivered);
            }
            Next::Again { .. } | Next::Gone => {}
        }
        end
    }

    /// Holds a destination that has said that it is gone, here at once and elsewhere soon.
    fn look_whether_gone(&mut self, kit: &mut Kit, out: &mut Outside<'_>) {
        if !self.work.hands.is_gone.take() {
            return;
        }
        let destination = self.destination;
        if out.known.now().0 > out.enabled_at[destination] && !out.held[destination] {
            out.held[destination] = true;
            out.after(3_000 * MS, Happening::Enabled(destination));
        }
        kit.lines[destination].obey(out.held[destination], out);
    }

    fn record(
        &mut self,
        record: &kafka_io::Record,
        effect: Option<Effect>,
        kit: &mut Kit,
        out: &mut Outside<'_>,
    ) {
        let (id, offset, bytes) = (hand::id(record), record.offset, record.bytes());
        if !matches!(out.known.of(id).kind, Kind::Usual | Kind::NewSchema) {
            out.truth.concluded(id, self.id, false);
        }
        if out.mutant == Some(Mutant::CompleteUnrecorded) {
            return self.complete(id, Step::Recorded { offset, bytes, effect }, kit, out);
        }
        let after = out.acknowledged_after();
        self.task(Task::Record { id, offset, bytes, effect }, after, kit.life, out);
    }

    /// Begins to end: takes nothing more in, leaves what rests, and finishes what is in flight until
    /// `drain_ms` are over.
    pub(super) fn stop(&mut self, drain_ms: u64, kit: &mut Kit, out: &mut Outside<'_>) {
        self.is_open = false;
        self.feed.clear();
        if self.work.is_stopping() {
            return;
        }
        self.work.stop();
        if out.mutant != Some(Mutant::KeepShare) {
            self.owned = None;
        }
        if self.waiting != Waiting::No {
            kit.leave_line(self.id, self.destination);
            self.waiting = Waiting::No;
            self.work.took(Step::Left(None));
        }
        for held in self.tasks.resting() {
            self.left(held, kit, out);
        }
        out.after(drain_ms * MS, Happening::To(kit.life, Inner::CutOff { lane: self.id }));
    }

    /// Gives up what is in flight.
    pub(super) fn cut_off(&self, kit: &Kit, out: &mut Outside<'_>) {
        for flying in self.tasks.in_flight() {
            let watch = &mut out.watches[self.destination];
            watch.ended(kit.life, flying.flight, Ended::default(), out.now);
            if out.mutant == Some(Mutant::CompleteCutOff) {
                kit.acks.complete(&self.partition, flying.held.record.offset);
            }
        }
    }

    fn task(&mut self, task: Task, after: u64, life: Life, out: &mut Outside<'_>) {
        let (task, stamp) = self.tasks.put(task);
        out.after(after, Happening::To(life, Inner::Task { lane: self.id, task, stamp }));
    }
}

pub(super) fn saw_breaker(before: State, after: State, out: &mut Outside<'_>) {
    match (before, after) {
        (State::Closed, State::Open { .. }) => out.saw(Seen::BreakerOpened),
        (State::HalfOpen, State::Open { until }) if until.0 <= out.now => {
            out.saw(Seen::BreakerReturned);
        }
        (State::HalfOpen, State::Open { .. }) => out.saw(Seen::BreakerReopened),
        (State::HalfOpen, State::Closed) => out.saw(Seen::BreakerClosed),
        _ => {}
    }
}

/// A receipt that stands for all: what is in it does not matter here.
pub(super) fn receipt(held: &Held, now: UnixMillis) -> Receipt {
    let why = crate::held::GivenUp {
        reason: Reason::Permanent,
        error_type: String::new(),
        message: String::new(),
    };
    receipts::of_unsendable(held, &why, now)
}
