//! The time between the opening and the closing of one consumer: fills lanes, commits, answers rebalances.
//!
//! Nothing here waits for a lane: one that is to be let go is looked at again and again while the others flow on.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Lane;
use super::driver::Driver;
use super::lane::{Feed, Taken, lane};
use super::ledger::{COMMIT_AGAIN, Ledger};
use crate::consumer::{Event, Group, GroupError, Partition, Position};
use crate::tracker::Delivered;

/// Records that one lane is given before the next has its turn.
const TURN: usize = 256;
/// Limit of a commit that is waited for.
const COMMIT: Duration = Duration::from_secs(5);
/// Kept of the time to stop for the last commit and for leaving the group.
const LEAVING: Duration = Duration::from_millis(1500);
const IDLE: Duration = Duration::from_secs(1);

pub(super) enum End {
    Stopped(Result<(), GroupError>),
    /// A new consumer may do better.
    Again,
}

/// Partitions that are let go as soon as their lanes are dropped, or at the deadline.
struct Leaving {
    partitions: Vec<Partition>,
    deadline: Instant,
}

pub(super) struct Session<'a> {
    group: Group,
    driver: &'a mut Driver,
    feeds: BTreeMap<Partition, Feed>,
    /// Lanes for which the service has not made room yet.
    unclaimed: VecDeque<Lane>,
    leaving: Option<Leaving>,
    /// Rebalances that came while partitions were being let go.
    events: VecDeque<Event>,
    ledger: Ledger,
    window_bytes: usize,
}

impl<'a> Session<'a> {
    pub(super) fn new(group: Group, driver: &'a mut Driver) -> Self {
        let window_bytes = group.lane_bytes();
        let ledger = Ledger::of(driver.shared.clone(), &driver.options);
        Self {
            group,
            driver,
            feeds: BTreeMap::new(),
            unclaimed: VecDeque::new(),
            leaving: None,
            events: VecDeque::new(),
            ledger,
            window_bytes,
        }
    }

    pub(super) fn run(mut self) -> End {
        loop {
            if let Some(deadline) = self.driver.shared.stop_by() {
                return End::Stopped(self.stop(deadline));
            }
            if let Some(topics) = self.driver.shared.new_topics() {
                self.driver.group.topics.clone_from(&topics);
                if let Err(why) = self.group.set_topics(topics) {
                    tracing::error!(%why, "topics not changed");
                }
            }
            let busy = match self.step() {
                Ok(busy) => busy,
                Err(_) => return self.give_up(),
            };
            if !busy {
                self.group.wait(self.patience());
            }
        }
    }

    /// Does what can be done now; true when there may be more at once.
    fn step(&mut self) -> Result<bool, GroupError> {
        self.listen()?;
        self.let_go_when_drained(false)?;
        self.hand_out_lanes();
        let busy = self.fill()?;
        self.note_commits();
        self.commit_when_due();
        Ok(busy)
    }

    fn listen(&mut self) -> Result<(), GroupError> {
        let event = self.group.event();
        let now = match event {
            Event::Nothing => None,
            Event::Broken(why) => return Err(why),
            Event::Lost(_) => Some(event),
            _ if self.leaving.is_some() || !self.events.is_empty() => {
                self.events.push_back(event);
                None
            }
            _ => Some(event),
        };
        let next =
            now.or_else(|| if self.leaving.is_none() { self.events.pop_front() } else { None });
        match next {
            Some(Event::Assigned(partitions)) => self.begin(&partitions),
            Some(Event::Revoked(partitions)) => {
                self.begin_to_leave(partitions);
                Ok(())
            }
            Some(Event::Lost(partitions)) => self.lose(&partitions),
            Some(Event::Broken(why)) => Err(why),
            Some(Event::Nothing | Event::Record(_)) | None => Ok(()),
        }
    }

    fn begin(&mut self, partitions: &[Partition]) -> Result<(), GroupError> {
        let begun = self.group.assign(partitions)?;
        self.window_bytes = self.group.lane_bytes();
        for (partition, map) in begun {
            self.ledger.begin(&partition, map);
            let (feed, lane) =
                lane(&partition, self.driver.options.window_records, &self.driver.shared.wake);
            self.feeds.insert(partition, feed);
            self.unclaimed.push_back(lane);
        }
        Ok(())
    }

    /// Closes lanes that another member gets; they are let go when what is in flight is done.
    fn begin_to_leave(&mut self, partitions: Vec<Partition>) {
        (self.driver.group.hook)("kafka.during_revoke");
        self.close(&partitions);
        let deadline = Instant::now() + self.driver.group.drain_budget();
        self.leaving = Some(Leaving { partitions, deadline });
    }

    fn close(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(feed) = self.feeds.get_mut(partition) {
                feed.close();
            }
            self.unclaimed.retain(|lane| lane.partition != *partition);
        }
    }

    /// Lets partitions go that another member owns already: nothing of theirs can be committed.
    fn lose(&mut self, partitions: &[Partition]) -> Result<(), GroupError> {
        self.close(partitions);
        self.end(partitions);
        if let Some(leaving) = &mut self.leaving {
            leaving.partitions.retain(|partition| !partitions.contains(partition));
            if leaving.partitions.is_empty() {
                self.leaving = None;
            }
        }
        self.group.unassign(partitions)
    }

    /// Passes over whatever completes from now on.
    fn end(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.ledger.end(partition);
            self.feeds.remove(partition);
        }
    }

    /// Commits and lets go what is drained, or what has had its time; all of it at once when `now`.
    fn let_go_when_drained(&mut self, now: bool) -> Result<(), GroupError> {
        let Some(leaving) = self.leaving.take() else { return Ok(()) };
        let late = now || Instant::now() >= leaving.deadline;
        let in_flight =
            leaving.partitions.iter().filter(|partition| !self.is_drained(partition)).count();
        if in_flight > 0 && !late {
            self.leaving = Some(leaving);
            return Ok(());
        }
        if in_flight > 0 {
            tracing::warn!(
                in_flight,
                "partitions let go with records in flight; another member repeats them"
            );
        }
        let committed = self.commit_and_wait(&leaving.partitions, COMMIT);
        if !committed {
            tracing::warn!(
                "positions not committed in time; another member repeats what was completed"
            );
        }
        (self.driver.group.hook)("kafka.after_revoke_commit");
        self.end(&leaving.partitions);
        self.group.unassign(&leaving.partitions)
    }

    fn is_drained(&self, partition: &Partition) -> bool {
        self.feeds.get(partition).is_none_or(Feed::is_gone)
    }

    fn hand_out_lanes(&mut self) {
        while let Some(lane) = self.unclaimed.pop_front() {
            if let Err(back) = self.driver.lanes.try_send(lane) {
                self.unclaimed.push_front(back.into_inner());
                break;
            }
        }
    }

    /// Gives every lane with room what its partition holds; true when one may have more.
    fn fill(&mut self) -> Result<bool, GroupError> {
        let (mut more, mut full) = (false, false);
        for feed in self.feeds.values().filter(|feed| feed.is_open()) {
            match fill_one(&mut self.group, &self.ledger, feed, self.window_bytes)? {
                Filled::Turn => more = true,
                Filled::Full => full = true,
                Filled::Empty => {}
            }
        }
        // Room that was made before the wish to hear of it would be missed, so there is another look.
        let look_again = full && self.ledger.wake_on_room();
        Ok(more || look_again)
    }

    fn note_commits(&mut self) {
        let ended = self.group.note_commits();
        if ended.is_empty() {
            return;
        }
        for why in ended.iter().filter_map(|commit| commit.failure.as_ref()) {
            tracing::warn!(why, "offsets not committed, trying again");
        }
        let has_failed = ended.iter().any(|commit| commit.failure.is_some());
        self.ledger.answered(has_failed, self.group.commits_open(), Instant::now());
        ended.iter().for_each(|commit| self.ledger.stand(&commit.positions));
    }

    fn commit_when_due(&mut self) {
        if let Some(positions) = self.ledger.due(self.group.commits_open(), Instant::now()) {
            self.commit(positions);
        }
    }

    fn commit(&mut self, positions: Vec<Position>) {
        (self.driver.group.hook)("kafka.before_commit");
        if let Err(why) = self.group.commit(positions) {
            tracing::warn!(%why, "offsets not committed, trying again");
            self.ledger.refused(Instant::now());
        }
    }

    /// Commits what is completed of these partitions; false when that was not possible in time. Others may complete more
    /// meanwhile, which is not waited for.
    fn commit_and_wait(&mut self, partitions: &[Partition], limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answered = self.group.await_commits(left);
            self.note_commits();
            if self.ledger.are_committed(partitions) {
                return true;
            }
            if !answered || left.is_zero() {
                return false;
            }
            if let Some(positions) = self.ledger.commit(Instant::now()) {
                self.commit(positions);
            }
            if self.group.commits_open() == 0 {
                self.driver.shared.wake.wait(COMMIT_AGAIN.min(left));
            }
        }
    }

    /// Time until something is due.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let commit = self.ledger.next_at(self.group.commits_open());
        let dues = [commit, self.leaving.as_ref().map(|leaving| leaving.deadline)];
        let next = dues.into_iter().flatten().min();
        next.map_or(IDLE, |next| next.saturating_duration_since(now).min(IDLE))
    }

    /// Drains all lanes, commits, and leaves the group, before `deadline` where it can.
    fn stop(mut self, deadline: Instant) -> Result<(), GroupError> {
        let all: Vec<Partition> = self.feeds.keys().cloned().collect();
        self.unclaimed.clear();
        self.close(&all);
        let drained_by = deadline.checked_sub(LEAVING).unwrap_or(deadline);
        while all.iter().any(|partition| !self.is_drained(partition)) && Instant::now() < drained_by
        {
            if let Event::Lost(partitions) = self.group.event() {
                self.end(&partitions);
            }
            self.note_commits();
            self.commit_when_due();
            self.group
                .wait(self.patience().min(drained_by.saturating_duration_since(Instant::now())));
        }
        let in_flight = all.iter().filter(|partition| !self.is_drained(partition)).count();
        let left = deadline.saturating_duration_since(Instant::now());
        let committed = self.commit_and_wait(&all, left.min(COMMIT));
        self.end(&all);
        let closed = self.group.close(deadline.saturating_duration_since(Instant::now()));
        match (in_flight, committed) {
            (0, true) => closed,
            (0, false) => Err(GroupError::new(
                "commit the last offsets",
                "no answer in time; they are repeated",
            )),
            _ => Err(GroupError::new(
                "drain",
                format!("{in_flight} partitions had records in flight; they are repeated"),
            )),
        }
    }

    /// Leaves a consumer that is of no more use. What completed is committed if the group still takes it.
    fn give_up(mut self) -> End {
        let all: Vec<Partition> = self.feeds.keys().cloned().collect();
        self.unclaimed.clear();
        self.close(&all);
        self.commit_and_wait(&all, COMMIT / 2);
        self.end(&all);
        if let Err(why) = self.group.close(COMMIT) {
            tracing::warn!(%why, "broken consumer not closed");
        }
        End::Again
    }
}

/// Why a lane is given no more for now.
enum Filled {
    /// It had its turn.
    Turn,
    /// Its window is full.
    Full,
    /// Its partition holds nothing.
    Empty,
}

fn fill_one(
    group: &mut Group,
    ledger: &Ledger,
    feed: &Feed,
    window_bytes: usize,
) -> Result<Filled, GroupError> {
    let dropped = || {
        GroupError::new("hand out records", format!("the lane of {} was dropped", feed.partition))
    };
    if feed.is_gone() {
        return Err(dropped());
    }
    let (mut room, held) = ledger.room(&feed.partition);
    let reads_again = ledger.reads_again(&feed.partition);
    let mut bytes = held.bytes;
    let mut taken = 0;
    while group.is_ready(&feed.partition) {
        if room == 0 || bytes >= window_bytes {
            return Ok(Filled::Full);
        }
        if taken == TURN || (reads_again && !ledger.reads_again(&feed.partition)) {
            return Ok(Filled::Turn);
        }
        let Some(record) = group.take(&feed.partition) else { continue };
        taken += 1;
        let Delivered::Open(head) =
            ledger.delivered(&feed.partition, record.offset, record.bytes())
        else {
            continue;
        };
        room -= 1;
        bytes += record.bytes();
        if !feed.send(Taken { record, head }) {
            return Err(dropped());
        }
    }
    Ok(Filled::Empty)
}
