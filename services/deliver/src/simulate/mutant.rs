//! Defects that an engine could have, each done to the production parts from outside. The simulation
//! must find every one of them.

/// One defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Commits after the highest completed record, whatever is open before it.
    HighestCompleted,
    /// Commits one offset too far.
    OneTooFar,
    /// Takes late completions of an earlier assignment for those of the present one.
    AnyEpoch,
    /// Lets a key's followers run beside their head.
    ForgetFollowers,
    /// Writes the completed runs of the map one offset too far.
    MapOffByOne,
    /// Forgets at a restart how far retrying records had come.
    ForgetHeads,
    /// Begins with full buckets after a rebalance.
    RefillTokens,
    /// Does not hear for how long a destination wants to be left alone.
    DropRetryAfter,
    /// Says that a record is complete before its receipt is acknowledged.
    CompleteUnrecorded,
    /// Says that records whose requests were cut off are complete.
    CompleteCutOff,
    /// Does not hand back the leave of an attempt that failed.
    LeakLeave,
    /// Takes every attempt for a healthy one.
    BlindBreaker,
    /// Takes records in though the map is full, or too many are open.
    IgnoreRoom,
    /// Delivers on however many a crash would repeat.
    RepeatAny,
    /// Starts attempts however long nothing was heard of the group.
    NoLease,
    /// Lets a partition go though its destination has more in flight than the rest may have.
    LeaveOverShare,
    /// Keeps the share of a partition that it lets go until its requests are done.
    KeepShare,
    /// Forgets the map at a restart, and goes by the committed offset alone.
    ForgetMap,
}

impl Mutant {
    pub(super) const ALL: [Self; 18] = [
        Self::HighestCompleted,
        Self::OneTooFar,
        Self::AnyEpoch,
        Self::ForgetFollowers,
        Self::MapOffByOne,
        Self::ForgetHeads,
        Self::RefillTokens,
        Self::DropRetryAfter,
        Self::CompleteUnrecorded,
        Self::CompleteCutOff,
        Self::LeakLeave,
        Self::BlindBreaker,
        Self::IgnoreRoom,
        Self::RepeatAny,
        Self::NoLease,
        Self::LeaveOverShare,
        Self::KeepShare,
        Self::ForgetMap,
    ];
}
