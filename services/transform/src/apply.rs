//! What the routes of a source make of one event: pure.
//!
//! Routes do not touch each other: what fails for one goes on for the others.

use bytes::Bytes;
use domain::{dead_letter::Reason, time::UnixMillis};
use kafka_io::Outgoing;
use mapping::{Event, Failed, Input, Mapped, Request};
use wire::{Delivery, Envelope};

use crate::{
    deliveries,
    plan::{LOOK_EVERY, Lane, Route},
};

/// What one route made of an event that it wanted.
pub(crate) enum Made {
    /// For each destination, in the route's order.
    Deliveries(Vec<Delivery>),
    /// The mapping ended with `abort`.
    Filtered,
    Failed(Failed),
}

/// A decoded event, its body apart so that routes can share it.
pub(crate) struct Opened {
    pub(crate) envelope: Envelope,
    pub(crate) body: Bytes,
    /// What it is ordered by where a mapping says nothing else.
    pub(crate) key: Bytes,
}

impl Opened {
    /// Takes the envelope apart; a record without a key is ordered by its event's id.
    pub(crate) fn new(mut envelope: Envelope, key: Option<&Bytes>) -> Self {
        let body = Bytes::from(std::mem::take(&mut envelope.body));
        let key = key.cloned().unwrap_or_else(|| Bytes::from(envelope.event_id.clone()));
        Self { envelope, body, key }
    }

    /// Returns the headers as programs see them.
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        let each = self.envelope.http_headers.iter();
        each.map(|header| (header.name.as_str(), header.value.as_str())).collect()
    }

    /// Returns the event as programs see it.
    pub(crate) fn event<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> Event<'a> {
        let envelope = &self.envelope;
        Event {
            id: &envelope.event_id,
            source: &envelope.source,
            event_type: &envelope.event_type,
            subject: envelope.subject.as_deref(),
            time_ms: envelope.time_ms,
            received_ms: envelope.received_ms,
            correlation_id: &envelope.correlation_id,
            content_type: &envelope.content_type,
            headers,
            body: &self.body,
        }
    }
}

/// Applies one route; `None` where its condition does not want the event.
///
/// The second value is what the deliveries are ordered by.
pub(crate) fn apply(
    route: &Route,
    opened: &Opened,
    input: &Input<'_>,
    now: UnixMillis,
) -> Option<(Made, Bytes)> {
    let nothing = || opened.key.clone();
    match route.catalog.when.as_ref().map(|when| when.matches(input)) {
        Some(Ok(false)) => return None,
        Some(Err(failed)) => return Some((Made::Failed(failed), nothing())),
        Some(Ok(true)) | None => {}
    }
    let request = match route.catalog.map.as_ref().map(|map| map.map(input)) {
        Some(Ok(Mapped::Request(request))) => request,
        Some(Ok(Mapped::Filtered)) => return Some((Made::Filtered, nothing())),
        Some(Err(failed)) => return Some((Made::Failed(failed), nothing())),
        None => deliveries::unchanged(&opened.envelope.content_type, opened.body.clone()),
    };
    let fallback = route.catalog.fallback.as_ref().and_then(|fallback| {
        let map = fallback.map.as_ref()?;
        Some(deliveries::fallback(fallback.rule.to.as_str(), map, map.map(input)))
    });
    Some(fan_out(route, opened, (request, fallback), now))
}

fn fan_out(
    route: &Route,
    opened: &Opened,
    (mut request, fallback): (Request, Option<wire::Fallback>),
    now: UnixMillis,
) -> (Made, Bytes) {
    let key = request.key.take().map_or_else(|| opened.key.clone(), Bytes::from);
    let sent = (deliveries::recorded(request), fallback);
    let build = |lane: &Lane, sent| deliveries::build(&opened.envelope, route, lane, sent, now);
    let mut made = Vec::with_capacity(route.lanes.len());
    if let Some((last, others)) = route.lanes.split_last() {
        made.extend(others.iter().map(|lane| build(lane, sent.clone())));
        made.push(build(last, sent));
    }
    (Made::Deliveries(made), key)
}

/// Encodes a delivery for its lane; one that its topic would not take is no result. What its fallback
/// would send is left out before that.
pub(crate) fn encode(
    lane: &Lane,
    delivery: &Delivery,
    key: &Bytes,
    headers: wire::headers::Headers,
) -> Result<Outgoing, Failed> {
    let invalid = |message: String| Failed { reason: Reason::InvalidResult, message };
    let value = wire::encode(delivery, lane.schema_id).map_err(|e| invalid(e.to_string()))?;
    let outgoing = Outgoing {
        topic: lane.topic.clone(),
        partition: None,
        key: Some(key.clone()),
        value: Some(value),
        headers,
        timestamp_ms: None,
    };
    let bytes = outgoing.bytes();
    if bytes <= lane.record_bytes_max {
        return Ok(outgoing);
    }
    match &delivery.fallback {
        Some(fallback) if fallback.request.is_some() => {
            let why = too_large(lane, bytes);
            let fallback = Some(deliveries::without_request(fallback.clone(), &why));
            let smaller = Delivery { fallback, ..delivery.clone() };
            encode(lane, &smaller, key, outgoing.headers)
        }
        Some(_) | None => Err(invalid(too_large(lane, bytes))),
    }
}

fn too_large(lane: &Lane, bytes: usize) -> String {
    let (topic, max, every) = (&lane.topic, lane.record_bytes_max, LOOK_EVERY.as_secs());
    format!(
        "the delivery has {bytes} bytes and {topic} takes {max}: make the mapping's result smaller, or raise the topic's max.message.bytes, which transform looks at every {every} s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: usize) -> wire::Request {
        wire::Request {
            method: String::new(),
            path: String::new(),
            query: Vec::new(),
            headers: Vec::new(),
            content_type: String::new(),
            body: vec![b'x'; body],
        }
    }

    fn with_fallback(body: usize, fallback: usize) -> Delivery {
        let (mapping_version, request_of) = (String::new(), Some(request(fallback)));
        let fallback = wire::Fallback {
            to: String::new(),
            mapping_version,
            key: None,
            error: None,
            request: request_of,
        };
        Delivery {
            delivery_id: String::new(),
            event_id: String::new(),
            source: String::new(),
            event_type: String::new(),
            route: String::new(),
            destination: String::new(),
            correlation_id: String::new(),
            event_time_ms: 0,
            received_ms: 0,
            created_ms: 0,
            mapping_version: String::new(),
            split_index: 0,
            order: wire::Order::Strict,
            fallback: Some(fallback),
            request: request(body),
        }
    }

    #[test]
    fn a_fallback_too_large_for_the_topic_is_left_out_before_the_delivery_is() {
        let lane = Lane {
            destination: "crm".into(),
            topic: "out.crm".into(),
            schema_id: 1,
            record_bytes_max: 1000,
            send: "send out.crm".into(),
        };
        let read = |body, fallback| {
            let delivery = with_fallback(body, fallback);
            let record = encode(&lane, &delivery, &Bytes::new(), Vec::new())?;
            let schema = wire::Decoder::new(wire::Kind::Delivery.schema()).expect("it is one");
            let value = record.value.unwrap_or_default();
            Ok::<Delivery, Failed>(schema.decode(&value[5..]).expect("it decodes"))
        };
        assert_eq!(read(100, 400), Ok(with_fallback(100, 400)));
        let smaller = read(100, 1000).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(smaller.request, request(100));
        let fallback = smaller.fallback.expect("it says why there is no request");
        assert!(fallback.request.is_none());
        assert!(fallback.error.is_some_and(|why| why.contains("out.crm takes 1000")));
        assert!(read(1000, 0).is_err_and(|failed| failed.reason == Reason::InvalidResult));
    }

    #[test]
    fn a_delivery_too_large_for_its_topic_says_what_to_do_and_when_it_holds() {
        let lane = Lane {
            destination: "crm".into(),
            topic: "out.crm".into(),
            schema_id: 1,
            record_bytes_max: 10,
            send: "send out.crm".into(),
        };
        let told = too_large(&lane, 11);
        for part in ["11 bytes", "out.crm takes 10", "max.message.bytes", "looks at every 30 s"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
