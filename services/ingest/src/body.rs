//! Reads a request's body under a limit of bytes and of time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::{limits::Held, refusal::Refusal};

/// Reads the whole body, taking room for it in `held`.
///
/// # Errors
/// `TooLarge` without reading further, for a declared length as for a chunked body; `Overloaded`
/// if there is no room; `Incomplete` if it ends early or takes longer than `within`.
/// # Cancellation
/// Safe: nothing is kept.
pub(crate) async fn read<B>(
    body: &mut B,
    bytes_max: usize,
    within: Duration,
    held: &mut Held<'_>,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = body.size_hint().lower();
    if declared > bytes_max as u64 {
        return Err(Refusal::TooLarge { bytes_max });
    }
    let reading = collect(body, bytes_max, declared as usize, held);
    tokio::time::timeout(within, reading).await.unwrap_or(Err(Refusal::Incomplete))
}

/// Reads on to the end of a body that nobody wants, so that its sender hears the answer; says
/// whether the end was reached.
pub(crate) async fn discard<B>(body: &mut B, bytes_max: usize, within: Duration) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    let reading = async {
        let mut left = bytes_max;
        while let Some(frame) = body.frame().await {
            let bytes = frame.as_ref().map_or(0, |f| f.data_ref().map_or(0, Bytes::len));
            if frame.is_err() || bytes > left {
                return false;
            }
            left -= bytes;
        }
        true
    };
    tokio::time::timeout(within, reading).await.unwrap_or(false)
}

async fn collect<B>(
    body: &mut B,
    bytes_max: usize,
    declared: usize,
    held: &mut Held<'_>,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::Incomplete)?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.len() + whole.len();
        if data.len() > bytes_max - so_far {
            return Err(Refusal::TooLarge { bytes_max });
        }
        if !held.take(data.len()) {
            return Err(Refusal::Overloaded);
        }
        if so_far == 0 {
            // Most bodies come in one frame, which is then kept without a copy.
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(declared.max(first.len() + data.len()));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::limits::Limits;

    const WITHIN: Duration = Duration::from_secs(5);

    fn chunked(chunks: &[&'static str]) -> impl Body<Data = Bytes> + Unpin {
        let frames: Vec<Result<Frame<Bytes>, Infallible>> =
            chunks.iter().map(|c| Ok(Frame::data(Bytes::from_static(c.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    async fn read_of<B>(mut body: B, bytes_max: usize) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let limits = Limits::new(1, 7);
        let mut held = limits.enter().unwrap();
        read(&mut body, bytes_max, WITHIN, &mut held).await
    }

    #[tokio::test]
    async fn a_body_is_the_same_in_one_frame_or_in_many() {
        let whole = Full::new(Bytes::from_static(b"abcdef"));
        assert_eq!(read_of(whole, 6).await.unwrap(), "abcdef");
        assert_eq!(read_of(chunked(&["ab", "", "cd", "ef"]), 6).await.unwrap(), "abcdef");
        assert_eq!(read_of(chunked(&["", "abc"]), 6).await.unwrap(), "abc");
        assert_eq!(read_of(chunked(&[]), 6).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_declared_or_chunked() {
        let too_large = Refusal::TooLarge { bytes_max: 5 };
        let whole = Full::new(Bytes::from_static(b"abcdef"));
        assert_eq!(read_of(whole, 5).await, Err(too_large.clone()));
        assert_eq!(read_of(chunked(&["abc", "def"]), 5).await, Err(too_large.clone()));
        assert_eq!(read_of(chunked(&["ab", "cd", "ef"]), 5).await, Err(too_large));
    }

    #[tokio::test]
    async fn a_body_for_which_there_is_no_room_is_refused() {
        assert_eq!(read_of(chunked(&["abcd", "efgh"]), 9).await, Err(Refusal::Overloaded));
    }

    #[tokio::test]
    async fn a_body_that_stalls_is_given_up_on() {
        let never = || StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let (limits, within) = (Limits::new(1, 7), Duration::from_millis(5));
        let mut held = limits.enter().unwrap();
        let read = read(&mut never(), 5, within, &mut held).await;
        assert_eq!(read, Err(Refusal::Incomplete));
        assert!(!discard(&mut never(), 5, within).await);
    }

    #[tokio::test]
    async fn what_nobody_wants_is_read_up_to_a_bound() {
        assert!(discard(&mut chunked(&["ab", "cd"]), 4, WITHIN).await);
        assert!(!discard(&mut chunked(&["ab", "cde"]), 4, WITHIN).await);
    }
}
