//! A record as it lies in the client's memory: looked at without copying.

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};

use crate::record::Record;

/// A record that lives only as long as the callback that was given it.
pub struct BorrowedView<'a> {
    message: &'a BorrowedMessage<'a>,
}

impl<'a> BorrowedView<'a> {
    pub(super) fn new(message: &'a BorrowedMessage<'a>) -> Self {
        Self { message }
    }

    pub fn topic(&self) -> &str {
        self.message.topic()
    }

    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// Milliseconds since 1970, 0 where the record carries no time.
    pub fn timestamp_ms(&self) -> i64 {
        self.message.timestamp().to_millis().unwrap_or(0)
    }

    pub fn key(&self) -> Option<&[u8]> {
        self.message.key()
    }

    pub fn value(&self) -> Option<&[u8]> {
        self.message.payload()
    }

    /// Returns the value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Returns all headers in their order; one without a value gives an empty one.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let headers = self.message.headers().into_iter().flat_map(|headers| headers.iter());
        headers.map(|header| (header.key, header.value.unwrap_or_default()))
    }

    /// Copies the record.
    pub fn to_record(&self) -> Record {
        Record::from_message(self.message, self.topic().into(), 0)
    }
}
