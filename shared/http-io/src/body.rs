//! Reads an answer's body: keeps its beginning, reads a bounded rest, never waits for an end that
//! does not come.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// How much of a body is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) kept: usize,
    /// Beyond what is kept; then the connection is given up instead of read on.
    pub(crate) drained: usize,
    /// For all of it: a body that drips is given up like one that is too long.
    pub(crate) time: Duration,
}

/// A body's beginning.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    pub(crate) truncated: bool,
}

/// What has come of a body, up to a little more than is kept.
#[derive(Default)]
struct Beginning {
    /// Most answers are one frame: those are kept without a copy.
    first: Bytes,
    more: BytesMut,
}

/// Reads until the end, or as far as the bounds go.
///
/// # Errors
/// Why the body broke off before its end, within the bounds and before as much as is kept had come.
///
/// # Cancellation
/// Safe: the connection is closed.
pub(crate) async fn read(mut body: Incoming, bounds: Bounds) -> Result<Kept, hyper::Error> {
    if body.is_end_stream() {
        return Ok(Kept::default());
    }
    let mut beginning = Beginning::default();
    let reading = beginning.read(&mut body, bounds);
    // Running out of time is as good as reaching the bound: the connection is closed.
    let is_cut_off = match tokio::time::timeout(bounds.time, reading).await {
        Ok(ended) => ended.map(|()| false)?,
        Err(_) => true,
    };
    let Kept { bytes, truncated } = beginning.kept(bounds.kept);
    Ok(Kept { bytes, truncated: truncated || is_cut_off })
}

impl Beginning {
    /// Reads what is kept, and then the rest, so that the connection can be used again; one with too much
    /// rest is dropped.
    async fn read(&mut self, body: &mut Incoming, bounds: Bounds) -> Result<(), hyper::Error> {
        while self.len() <= bounds.kept {
            let Some(frame) = body.frame().await else { return Ok(()) };
            if let Ok(data) = frame?.into_data() {
                self.take(data);
            }
        }
        let mut left = bounds.drained.saturating_sub(self.len() - bounds.kept);
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            if length > left {
                break;
            }
            left -= length;
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.first.len().max(self.more.len())
    }

    fn take(&mut self, data: Bytes) {
        if self.first.is_empty() && self.more.is_empty() {
            self.first = data;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.first);
        }
        self.more.extend_from_slice(&data);
    }

    fn kept(self, limit: usize) -> Kept {
        let mut bytes = if self.more.is_empty() { self.first } else { self.more.freeze() };
        let truncated = bytes.len() > limit;
        if truncated {
            // A copy, so that a small beginning does not hold a large buffer.
            bytes = Bytes::copy_from_slice(&bytes[..limit]);
        }
        Kept { bytes, truncated }
    }
}
