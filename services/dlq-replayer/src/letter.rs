//! A dead letter as its headers tell it: looked at where it lies, without decoding or copying.
//!
//! Letters of others (Kafka Connect, Kafka Streams, share groups, Spring) are read as well.

mod foreign;

use domain::dead_letter::Reason;
use kafka_io::{Record, reader::BorrowedView};
use schemars::JsonSchema;
use serde::Serialize;
use wire::{
    headers::{self, Origin},
    topics::{Names, TopicKind},
};

use crate::{JobId, LetterId};

/// What lists and filters look at, borrowed from the record.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Letter<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// When it was given up on; the record's own time where the headers do not say.
    pub(crate) at_ms: i64,
    pub(crate) reason: Option<Reason>,
    pub(crate) error_type: &'a str,
    pub(crate) message: &'a str,
    pub(crate) origin_topic: &'a str,
    pub(crate) origin_partition: Option<i32>,
    pub(crate) origin_offset: Option<i64>,
    pub(crate) event_id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) source: &'a str,
    pub(crate) correlation_id: &'a str,
    pub(crate) delivery_id: &'a str,
    pub(crate) route: &'a str,
    pub(crate) destination: &'a str,
    pub(crate) replay_count: u32,
    /// Nobody reads what it is: there is no lane it could be put into.
    pub(crate) is_stray: bool,
}

/// What a list shows of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    pub id: LetterId,
    /// When it was given up on, in milliseconds since 1970.
    pub at_ms: i64,
    #[schemars(with = "Option<String>")]
    pub reason: Option<Reason>,
    pub error_type: String,
    pub message: String,
    pub event_id: String,
    pub event_type: String,
    pub source: String,
    pub correlation_id: String,
    pub delivery_id: String,
    pub route: String,
    pub destination: String,
    /// Where it lay before, as `topic/partition/offset`.
    pub origin: Option<LetterId>,
    pub replay_count: u32,
    /// The job that has put it through again, if one has.
    pub replayed_by: Option<JobId>,
}

impl<'a> Letter<'a> {
    /// Looks at a record; `names` says what its topic is for.
    pub(crate) fn of(view: &'a BorrowedView<'_>, names: &Names) -> Self {
        let place = (view.topic(), view.partition(), view.offset());
        Self::read(place, view.timestamp_ms(), view.headers(), names)
    }

    /// Looks at a record that was copied.
    pub(crate) fn of_record(record: &'a Record, names: &Names) -> Self {
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
        let place = (&*record.topic, record.partition, record.offset);
        Self::read(place, record.timestamp_ms, headers, names)
    }

    pub(crate) fn read(
        (topic, partition, offset): (&'a str, i32, i64),
        timestamp_ms: i64,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
        names: &Names,
    ) -> Self {
        let mut letter = Self { topic, partition, offset, at_ms: timestamp_ms, ..Self::default() };
        for (name, value) in headers {
            letter.take(name, value);
        }
        letter.complete(names);
        letter
    }

    /// Returns where it lay before, which is what makes two letters one.
    pub(crate) fn origin(&self) -> Option<Origin<'a>> {
        let (partition, offset) = (self.origin_partition?, self.origin_offset?);
        let named = !self.origin_topic.is_empty();
        named.then_some(Origin { topic: self.origin_topic, partition, offset })
    }

    pub(crate) fn id(&self) -> LetterId {
        LetterId { topic: self.topic.to_owned(), partition: self.partition, offset: self.offset }
    }

    pub(crate) fn summary(&self, replayed_by: Option<JobId>) -> Summary {
        let origin = self.origin().map(|origin| LetterId {
            topic: origin.topic.to_owned(),
            partition: origin.partition,
            offset: origin.offset,
        });
        Summary {
            id: self.id(),
            at_ms: self.at_ms,
            reason: self.reason,
            error_type: self.error_type.to_owned(),
            message: self.message.to_owned(),
            event_id: self.event_id.to_owned(),
            event_type: self.event_type.to_owned(),
            source: self.source.to_owned(),
            correlation_id: self.correlation_id.to_owned(),
            delivery_id: self.delivery_id.to_owned(),
            route: self.route.to_owned(),
            destination: self.destination.to_owned(),
            origin,
            replay_count: self.replay_count,
            replayed_by,
        }
    }

    fn take(&mut self, name: &'a str, value: &'a [u8]) {
        let text = || std::str::from_utf8(value).unwrap_or_default();
        match name {
            headers::DLQ_REASON => self.reason = text().parse().ok(),
            headers::DLQ_ERROR_TYPE => self.error_type = text(),
            headers::DLQ_ERROR_MESSAGE => self.message = text(),
            headers::DLQ_AT => {
                self.at_ms = headers::unix_millis(text()).unwrap_or(self.at_ms);
            }
            headers::DLQ_SOURCE_TOPIC => self.origin_topic = text(),
            headers::DLQ_SOURCE_PARTITION => self.origin_partition = text().parse().ok(),
            headers::DLQ_SOURCE_OFFSET => self.origin_offset = text().parse().ok(),
            headers::CE_ID => self.event_id = text(),
            headers::CE_TYPE => self.event_type = text(),
            headers::CE_SOURCE => self.source = text(),
            headers::CE_CORRELATIONID => self.correlation_id = text(),
            headers::DELIVERY_ID => self.delivery_id = text(),
            headers::ROUTE => self.route = text(),
            headers::DESTINATION => self.destination = text(),
            headers::REPLAY_COUNT => self.replay_count = text().parse().unwrap_or(0),
            _ => foreign::take(self, name, value),
        }
    }

    /// Fills in what the topic says where the record's headers are silent.
    fn complete(&mut self, names: &Names) {
        self.is_stray = self.consumer(names).is_none();
        if let Some(TopicKind::DeadLetters { service, stream }) = names.parse(self.topic) {
            let said = if service == "deliver" { &mut self.destination } else { &mut self.source };
            if said.is_empty() {
                *said = stream;
            }
        }
    }

    /// Returns the topic it is replayed into: the lane of the consumer that gave up on it.
    pub(crate) fn lane(&self, names: &Names) -> Option<String> {
        match self.consumer(names)? {
            Consumer::Deliver(destination) => Some(names.out_replay(destination)),
            Consumer::Transform(source) => Some(names.raw_replay(source)),
        }
    }

    fn consumer(&self, names: &Names) -> Option<Consumer<'a>> {
        match names.parse(self.topic)? {
            // A letter in quarantine came from a dead-letter topic, which knows the consumer.
            TopicKind::Quarantine => consumer_of(names, self.origin_topic),
            _ => consumer_of(names, self.topic),
        }
    }
}

/// Who gave up on a letter.
enum Consumer<'a> {
    Deliver(&'a str),
    Transform(&'a str),
}

/// Returns the consumer whose dead letters a topic holds.
fn consumer_of<'a>(names: &Names, topic: &'a str) -> Option<Consumer<'a>> {
    match names.parse(topic)? {
        TopicKind::DeadLetters { service: "deliver", stream } => Some(Consumer::Deliver(stream)),
        TopicKind::DeadLetters { service: "transform", stream } => {
            Some(Consumer::Transform(stream))
        }
        _ => None,
    }
}
