//! Reads a request's body under a limit of bytes and of time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::refusal::Refusal;

/// Reads the whole body.
///
/// # Errors
/// `TooLarge` without reading further, for a declared length as for a chunked body; `Incomplete`
/// if it ends early or takes longer than `within`.
/// # Cancellation
/// Safe: nothing is kept.
pub(crate) async fn read<B>(body: B, bytes_max: usize, within: Duration) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let too_large = Refusal::TooLarge { bytes_max };
    let declared = body.size_hint();
    if declared.lower() > bytes_max as u64 {
        return Err(too_large);
    }
    let reading = collect(body, bytes_max, declared.lower() as usize);
    match tokio::time::timeout(within, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Stopped::TooLarge)) => Err(too_large),
        Ok(Err(Stopped::Broken)) | Err(_) => Err(Refusal::Incomplete),
    }
}

enum Stopped {
    TooLarge,
    Broken,
}

async fn collect<B>(mut body: B, bytes_max: usize, expected: usize) -> Result<Bytes, Stopped>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Stopped::Broken)?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = if rest.is_empty() { first.as_ref().map_or(0, Bytes::len) } else { rest.len() };
        if so_far + data.len() > bytes_max {
            return Err(Stopped::TooLarge);
        }
        match first.take() {
            // Most bodies come in one frame, which is then kept without a copy.
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(head) => {
                rest.reserve(expected.clamp(head.len() + data.len(), bytes_max));
                rest.extend_from_slice(&head);
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    fn chunked(chunks: &[&'static str]) -> impl Body<Data = Bytes> + Unpin {
        let frames: Vec<Result<Frame<Bytes>, Infallible>> =
            chunks.iter().map(|c| Ok(Frame::data(Bytes::from_static(c.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_the_same_in_one_frame_or_in_many() {
        let whole = Full::new(Bytes::from_static(b"abcdef"));
        assert_eq!(read(whole, 6, WITHIN).await.unwrap(), "abcdef");
        assert_eq!(read(chunked(&["ab", "", "cd", "ef"]), 6, WITHIN).await.unwrap(), "abcdef");
        assert_eq!(read(chunked(&[]), 6, WITHIN).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_declared_or_chunked() {
        let too_large = Refusal::TooLarge { bytes_max: 5 };
        let whole = Full::new(Bytes::from_static(b"abcdef"));
        assert_eq!(read(whole, 5, WITHIN).await, Err(too_large.clone()));
        assert_eq!(read(chunked(&["abc", "def"]), 5, WITHIN).await, Err(too_large.clone()));
        assert_eq!(read(chunked(&["ab", "cd", "ef"]), 5, WITHIN).await, Err(too_large));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up_on() {
        let never = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        assert_eq!(read(never, 5, WITHIN).await, Err(Refusal::Incomplete));
    }
}
