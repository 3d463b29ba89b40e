//! What a receiver can answer, from good to nasty. How it is done is in `receiver`.

use std::time::Duration;

use bytes::Bytes;

/// One answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This status and an empty body.
    Status(u16),
    /// A whole answer.
    Full { status: u16, headers: Vec<(&'static str, String)>, body: Bytes },
    /// Another answer, after a while.
    Late(Duration, Box<Answer>),
    /// None at all; the connection stays open.
    Hang,
    /// The connection is reset after the request was read.
    Reset,
    /// 200 and the first half of the announced body, then the connection ends.
    Half,
    /// 200 and a body without end.
    Endless,
    /// The same, ten bytes a second.
    Drip,
}

impl Answer {
    /// A status with a `Retry-After` header, in seconds or as an HTTP date.
    pub fn retry_after(status: u16, value: impl ToString) -> Self {
        let headers = vec![("retry-after", value.to_string())];
        Self::Full { status, headers, body: Bytes::new() }
    }

    /// A status with a body.
    pub fn body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self::Full { status, headers, body: body.into() }
    }

    /// The same answer, `delay` later.
    pub fn after(self, delay: Duration) -> Self {
        Self::Late(delay, Box::new(self))
    }
}
