//! The third parties: what they answer, and when.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_io::{Answer, Failure, Latency, Phase};

use super::{chance::Chance, history::Mood, tally::Seen, watch::End};

/// How one attempt will end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) after: Duration,
    what: Reaction,
    pub(super) jitter: f64,
}

#[derive(Debug, Clone, Copy)]
enum Reaction {
    Status(u16),
    /// With a `Retry-After`, in seconds.
    Asking(u16, u64),
    /// It took the request; the answer never comes.
    Silent,
    Broken(u16),
    Unreached(Phase),
    Late(Phase),
}

impl Reply {
    pub(super) fn draw(mood: Mood, timeout: Duration, mut draw: Chance) -> Self {
        let jitter = draw.unit();
        let ms =
            |most: u64, draw: &mut Chance| Duration::from_micros(draw.between(50, most * 1000));
        let (after, what) = match mood {
            Mood::Well { most_ms } => (ms(most_ms, &mut draw), Reaction::Status(200)),
            Mood::Mixed { failing } if draw.below(1000) >= failing => {
                (ms(20, &mut draw), Reaction::Status(draw.among(&[200, 202, 204])))
            }
            Mood::Mixed { .. } => (ms(100, &mut draw), odd(&mut draw)),
            Mood::Faulty => (ms(20, &mut draw), Reaction::Status(500)),
            Mood::TooMany { after_s } => (ms(5, &mut draw), Reaction::Asking(429, after_s)),
            Mood::Busy { after_s } => (ms(5, &mut draw), Reaction::Asking(503, after_s)),
            Mood::Silent => (timeout, Reaction::Silent),
            Mood::Away => {
                let phase = draw.among(&[Phase::Connect, Phase::Connect, Phase::Egress]);
                (ms(5, &mut draw), Reaction::Unreached(phase))
            }
            Mood::Gone => (ms(5, &mut draw), Reaction::Status(410)),
        };
        let after = match what {
            Reaction::Silent | Reaction::Late(_) => timeout,
            _ if after >= timeout => {
                return Self { after: timeout, what: Reaction::Silent, jitter };
            }
            _ => after,
        };
        Self { after, what, jitter }
    }

    /// Says whether the destination took what was sent.
    pub(super) fn is_taken(self) -> bool {
        match self.what {
            Reaction::Status(status) | Reaction::Broken(status) => status < 300,
            Reaction::Silent => true,
            Reaction::Asking(..) | Reaction::Unreached(_) | Reaction::Late(_) => false,
        }
    }

    /// Returns what the client makes of it.
    pub(super) fn result(self) -> Result<Answer, Failure> {
        let failure = |phase| Failure::at(phase, "crm.example:443", "simulated");
        match self.what {
            Reaction::Status(status) => Ok(self.answer(status, None)),
            Reaction::Asking(status, after) => Ok(self.answer(status, Some(after))),
            Reaction::Silent => Err(failure(Phase::NoAnswer).timed_out()),
            Reaction::Late(phase) => Err(failure(phase).timed_out()),
            Reaction::Unreached(phase) => Err(failure(phase)),
            Reaction::Broken(status) => Err(failure(Phase::AnswerBroken).with_status(code(status))),
        }
    }

    fn answer(self, status: u16, retry_after: Option<u64>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(after) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        let latency = Latency { first_byte: Some(self.after), ..Latency::default() };
        Answer { status: code(status), headers, body: Bytes::new(), truncated: false, latency }
    }

    /// Returns what it tells of the destination; `most` is the longest wait that is believed.
    pub(super) fn end(self, most: Duration) -> End {
        let has_failed = match self.what {
            Reaction::Status(status) | Reaction::Asking(status, _) => Some(status >= 500),
            Reaction::Silent | Reaction::Broken(_) | Reaction::Late(_) => Some(true),
            Reaction::Unreached(phase) => (phase != Phase::Egress).then_some(true),
        };
        let asked = match self.what {
            Reaction::Asking(429 | 503, after) => {
                Some(Duration::from_secs(after).min(most).as_nanos() as u64)
            }
            _ => None,
        };
        End { has_failed, asked }
    }

    pub(super) fn seen(self) -> Seen {
        match self.what {
            Reaction::Status(..300) => Seen::AnswerServed,
            Reaction::Status(..500) => Seen::AnswerRefused,
            Reaction::Asking(429, _) => Seen::AnswerTooMany,
            Reaction::Asking(503, _) => Seen::AnswerBusy,
            Reaction::Status(_) | Reaction::Asking(..) => Seen::AnswerFaulty,
            Reaction::Silent | Reaction::Broken(..300) => Seen::AnswerLost,
            Reaction::Broken(_) => Seen::AnswerFaulty,
            Reaction::Unreached(_) | Reaction::Late(_) => Seen::NoConnection,
        }
    }
}

/// One of the ways in which an attempt fails now and then.
fn odd(draw: &mut Chance) -> Reaction {
    match draw.below(16) {
        0 | 1 => Reaction::Status(draw.among(&[500, 502, 504, 501, 408])),
        2 => Reaction::Status(draw.among(&[400, 404, 422])),
        3 => Reaction::Asking(429, draw.between(1, 3)),
        4 => Reaction::Asking(503, draw.between(1, 3)),
        5 => Reaction::Asking(500, draw.between(1, 3)),
        6 => Reaction::Broken(draw.among(&[200, 500])),
        7 => Reaction::Unreached(draw.among(&[Phase::Egress, Phase::Dns])),
        8 => Reaction::Unreached(draw.among(&[Phase::Connect, Phase::Tls])),
        9 => Reaction::Unreached(Phase::NoAnswer),
        10 => Reaction::Late(Phase::Connect),
        11 => Reaction::Silent,
        12 | 13 => Reaction::Unreached(Phase::Egress),
        _ => Reaction::Status(500),
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("it is a status")
}
