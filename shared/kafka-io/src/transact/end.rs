//! How a session ends, and what is done about each cause.

use std::time::Duration;

use super::EngineError;
use super::session::PAUSE_MIN;
use super::slot::SlotEnd;
use crate::consumer::GroupError;
use crate::transactional_producer::{Class, TransactionError};

/// Time for another process with our ids to notice that it is one too many.
const PAUSE_FENCED: Duration = Duration::from_secs(5);

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    Stopped,
    /// A new consumer and new producers may do better, after the pause.
    Again {
        why: String,
        pause: Duration,
    },
    /// The same, but a call of librdkafka's hangs that nobody waits for any more.
    Hung {
        why: &'static str,
    },
    Dead(EngineError),
}

pub(super) fn consumer_failed(why: &GroupError) -> End {
    End::Again { why: why.to_string(), pause: PAUSE_MIN * 10 }
}

pub(super) fn again(error: &TransactionError) -> End {
    let (why, pause) = match error.class {
        Class::Fenced => {
            let why = format!(
                "{error}: another process has the same transactional id, or a transaction took too long; give each instance its own ordinal"
            );
            (why, PAUSE_FENCED)
        }
        Class::Retriable | Class::Abortable | Class::Fatal => (error.to_string(), PAUSE_MIN * 10),
    };
    End::Again { why, pause }
}

pub(super) fn slot_end(end: SlotEnd) -> End {
    match end {
        SlotEnd::Failed(error) => again(&error),
        SlotEnd::Panicked(why) => End::Dead(EngineError::Slot { why }),
    }
}
