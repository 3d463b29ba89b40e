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
    pub(crate) drain_time: Duration,
}

/// A body's beginning.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    pub(crate) truncated: bool,
}

/// Reads until the end, or as far as the bounds go.
///
/// # Errors
/// Why the body broke off before its end and before as much as is kept had come.
///
/// # Cancellation
/// Safe: the connection is closed.
pub(crate) async fn read(mut body: Incoming, bounds: Bounds) -> Result<Kept, hyper::Error> {
    if body.is_end_stream() {
        return Ok(Kept::default());
    }
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        // Most answers are one frame: those are kept without a copy.
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&data);
        }
        let length = first.len().max(more.len());
        if length > bounds.kept {
            let read = length - bounds.kept;
            drain(body, bounds.drained.saturating_sub(read), bounds.drain_time).await;
            return Ok(kept(first, more, bounds.kept));
        }
    }
    Ok(kept(first, more, bounds.kept))
}

fn kept(first: Bytes, more: BytesMut, limit: usize) -> Kept {
    let mut bytes = if more.is_empty() { first } else { more.freeze() };
    let truncated = bytes.len() > limit;
    if truncated {
        // A copy, so that a small beginning does not hold a large buffer.
        bytes = Bytes::copy_from_slice(&bytes[..limit]);
    }
    Kept { bytes, truncated }
}

/// Reads the rest so that the connection can be used again; one with too much rest is dropped.
async fn drain(mut body: Incoming, mut left: usize, time: Duration) {
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            if length > left {
                break;
            }
            left -= length;
        }
    };
    // Running out of time is as good as reaching the bound: the connection is closed.
    let _ = tokio::time::timeout(time, reading).await;
}
