//! A record as it was read, and a record to be written, owned and free of librdkafka's memory.
//!
//! What the bytes mean is not known here.

use std::sync::Arc;

use bytes::Bytes;
use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    /// The assignment under which it was read; see [`Partition`](crate::Partition).
    pub epoch: u64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// In their order; a header without a value has an empty one.
    pub headers: Vec<(String, Bytes)>,
    /// Milliseconds since 1970, 0 where the record carries no time.
    pub timestamp_ms: i64,
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub topic: Arc<str>,
    /// `None` leaves it to the key (murmur2, as Java clients do), or to chance without a key.
    pub partition: Option<i32>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Bytes)>,
    /// Milliseconds since 1970; `None` is the time of sending.
    pub timestamp_ms: Option<i64>,
}

/// Bytes a record costs beside its key, value and headers, in Kafka's format and in our memory.
const OVERHEAD: usize = 100;

impl Record {
    /// Copies a message, so that librdkafka's own can be dropped at once.
    pub(crate) fn from_message(message: &impl Message, topic: Arc<str>, epoch: u64) -> Self {
        // One allocation holds key, value and header values together.
        let key = message.key().unwrap_or_default();
        let value = message.payload().unwrap_or_default();
        let headers = message.headers();
        let header_bytes: usize = headers
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| header.value.map_or(0, <[u8]>::len))
            .sum();
        let mut bytes = Vec::with_capacity(key.len() + value.len() + header_bytes);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        let mut ends = Vec::with_capacity(headers.map_or(0, |headers| headers.count()));
        for header in headers.into_iter().flat_map(|headers| headers.iter()) {
            bytes.extend_from_slice(header.value.unwrap_or_default());
            ends.push((header.key.to_owned(), bytes.len()));
        }
        let bytes = Bytes::from(bytes);
        let mut start = key.len() + value.len();
        let headers = ends.into_iter().map(|(name, end)| {
            let value = bytes.slice(start..end);
            start = end;
            (name, value)
        });
        Self {
            headers: headers.collect(),
            key: message.key().map(|key| bytes.slice(..key.len())),
            value: message.payload().map(|value| bytes.slice(key.len()..key.len() + value.len())),
            topic,
            partition: message.partition(),
            offset: message.offset(),
            epoch,
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
        }
    }

    /// Bytes this record holds, within a few.
    pub fn bytes(&self) -> usize {
        size(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

impl Outgoing {
    /// Bytes this record takes on the wire and in the window, within a few.
    pub fn bytes(&self) -> usize {
        size(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }

    /// Returns the headers in librdkafka's form, or `None` when there are none.
    pub(crate) fn native_headers(&self) -> Option<OwnedHeaders> {
        if self.headers.is_empty() {
            return None;
        }
        let mut native = OwnedHeaders::new_with_capacity(self.headers.len());
        for (key, value) in &self.headers {
            native = native.insert(Header { key, value: Some(value.as_ref()) });
        }
        Some(native)
    }
}

fn size(key: Option<&Bytes>, value: Option<&Bytes>, headers: &[(String, Bytes)]) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    OVERHEAD + key.map_or(0, Bytes::len) + value.map_or(0, Bytes::len) + headers
}
