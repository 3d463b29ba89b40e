//! What can go wrong, by what the caller does about it.

use kafka_io::{TransactionError, reader::ReadError, topics::AdminError};

use crate::{JobId, LetterId};

/// Looking at dead letters or replaying them failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense; the text says what to change.
    #[error("{0}")]
    Asked(String),
    /// There is none at this coordinate, or none any more.
    #[error(
        "no dead letter {0}: it has expired, or was never there; `millrace dlq list` shows those there are"
    )]
    NoSuchLetter(LetterId),
    /// No job of this id is recorded.
    #[error("no replay job {0}: `GET /v1/replays` lists those there are")]
    NoSuchJob(JobId),
    /// How far the job was is no longer known; going on could double what it has replayed.
    #[error(
        "the position of replay job {0} has expired: start a new one, which leaves out what this one may have replayed"
    )]
    PositionLost(JobId),
    /// The cluster lacks a topic that is ours.
    #[error("topic {0} is missing; `millrace topics apply` makes it")]
    NoTopic(String),
    /// Reading did not end in time.
    #[error("could not {0} in time; narrow what is asked, or check the brokers' load")]
    TooSlow(&'static str),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("replay: {0}; the job goes on by itself when kafka answers again")]
    Write(#[from] TransactionError),
    #[error(transparent)]
    Topics(#[from] AdminError),
    /// The service can't start.
    #[error("{0}")]
    Start(String),
    /// A task of ours ended before it was done.
    #[error("{0} was cut off")]
    CutOff(&'static str),
}
