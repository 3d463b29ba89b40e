//! How often each transition was seen, so that a simulation which stops reaching one is noticed.

macro_rules! transitions {
    ($($name:ident $text:literal,)*) => {
        /// A transition of the engine, or a fault of the world around it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Seen { $($name,)* }

        const TEXTS: &[&str] = &[$($text,)*];
    };
}

transitions! {
    LaneBegun "lane: begun",
    LaneRevoked "lane: revoked",
    LaneLost "lane: lost",
    LaneStopped "lane: stopped with its process",
    LaneDrained "lane: ended, drained",
    LaneCutOff "lane: ended, requests cut off",
    LaneWaited "lane: drained, waits until others have less in flight",
    LetGoOverShare "lane: let go with more in flight than is left",
    LaneFull "lane: full",
    LaneShut "lane: waits, its destination is shut",
    Taken "record: taken",
    SchemaFetched "record: schema fetched",
    Undecodable "record: undecodable",
    TurnedAway "record: turned away",
    Sent "record: sent",
    SentAfterWait "record: sent after a wait",
    WaitedForRoom "record: waited until fewer would be repeated",
    WaitedForLease "record: waited for a word of the group",
    Delivered "record: delivered",
    Retried "record: to be tried again",
    Gone "record: kept, its destination is gone",
    BudgetSpent "record: given up, budget spent",
    AttemptsSpent "record: given up, attempts spent",
    Permanent "record: given up, permanent",
    Left "record: left to the next owner between attempts",
    Recorded "record: recorded",
    TrackerOpen "tracker: opened",
    TrackerResumed "tracker: opened, with attempts made before",
    TrackerDone "tracker: passed over, done before",
    TrackerLate "tracker: completion after the epoch's end",
    TrackerFullOpen "tracker: full, by open records",
    TrackerFullMap "tracker: full, by the map or its span",
    Committed "tracker: committed",
    CommittedMap "tracker: committed with a map",
    CommittedHeads "tracker: committed with retrying heads",
    CommitFailed "tracker: commit failed",
    CommitUnheard "tracker: committed, answer lost",
    CommitRefused "tracker: commit of a former owner refused",
    MapDamaged "tracker: map unreadable",
    BreakerOpened "breaker: closed to open",
    BreakerProbed "breaker: open to half open",
    BreakerReopened "breaker: half open to open",
    BreakerReturned "breaker: half open to open, no word",
    BreakerClosed "breaker: half open to closed",
    WaitHeld "flow: waits, held",
    WaitBreaker "flow: waits, breaker",
    WaitConcurrency "flow: waits, concurrency",
    WaitAsked "flow: waits, asked",
    WaitRate "flow: waits, rate",
    Held "flow: held by an operator",
    Released "flow: released",
    Resized "flow: share changed",
    AnswerServed "world: answered 2xx",
    AnswerRefused "world: answered 4xx",
    AnswerFaulty "world: answered 5xx",
    AnswerTooMany "world: answered 429",
    AnswerBusy "world: answered 503 with Retry-After",
    AnswerLost "world: took it, answer lost",
    NoConnection "world: no connection",
    Twice "world: taken twice by the destination",
    Joined "world: process started",
    Stopped "world: process stopped",
    Killed "world: process killed",
    CutOff "world: process cut off from the group",
    Paused "world: process paused",
    Expelled "world: process expelled from the group",
    ClockAhead "world: clock stepped ahead",
    ClockBack "world: clock stepped back",
}

/// Counts of what was seen.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    counts: [u64; TEXTS.len()],
    /// Deliveries that the destinations took.
    pub(super) deliveries: u64,
    pub(super) attempts: u64,
    pub(super) steps: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: [0; TEXTS.len()], deliveries: 0, attempts: 0, steps: 0 }
    }
}

impl Tally {
    pub(super) fn saw(&mut self, what: Seen) {
        self.counts[what as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.deliveries += other.deliveries;
        self.attempts += other.attempts;
        self.steps += other.steps;
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TEXTS.iter().copied().zip(self.counts)
    }

    /// Returns what was seen less often than `least`.
    pub(super) fn rarer_than(&self, least: u64) -> Vec<(&'static str, u64)> {
        self.all().filter(|(_, count)| *count < least).collect()
    }
}
