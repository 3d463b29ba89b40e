//! Bodies that end well, half-way or never.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Interval, interval};

const ANNOUNCED: u64 = 64;
const DRIPS_EVERY: Duration = Duration::from_millis(100);
static FILLER: [u8; 16 * 1024] = [b'.'; 16 * 1024];

/// The body of an answer.
#[derive(Debug)]
pub(super) struct ReplyBody {
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Whole(Option<Bytes>),
    Half(Option<Bytes>),
    /// The half is on its way: an error at once would overtake it, and the answer's head with it.
    Sending,
    Broken,
    Endless,
    Drip(Interval),
}

impl ReplyBody {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self { rest: Rest::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())) }
    }

    pub(super) fn half() -> Self {
        Self { rest: Rest::Half(Some(Bytes::from_static(&FILLER[..ANNOUNCED as usize / 2]))) }
    }

    pub(super) fn endless() -> Self {
        Self { rest: Rest::Endless }
    }

    /// Wants a runtime around it.
    pub(super) fn drip() -> Self {
        Self { rest: Rest::Drip(interval(DRIPS_EVERY)) }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(match &mut self.rest {
            Rest::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Rest::Half(bytes) => {
                let half = bytes.take().map(|bytes| Ok(Frame::data(bytes)));
                self.rest = Rest::Sending;
                half
            }
            Rest::Sending => {
                self.rest = Rest::Broken;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Rest::Broken => Some(Err(Broken)),
            Rest::Endless => Some(Ok(Frame::data(Bytes::from_static(&FILLER)))),
            Rest::Drip(turns) => {
                ready!(turns.poll_tick(cx));
                Some(Ok(Frame::data(Bytes::from_static(&FILLER[..1]))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.rest, Rest::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Rest::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Rest::Half(_) | Rest::Sending | Rest::Broken => SizeHint::with_exact(ANNOUNCED),
            Rest::Endless | Rest::Drip(_) => SizeHint::new(),
        }
    }
}

/// The reason a half body ends with.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken off on purpose")
    }
}

impl std::error::Error for Broken {}
