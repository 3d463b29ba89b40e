//! From an event and a route's result to deliveries: pure.

use bytes::Bytes;
use domain::{catalog::Order, ids::IdempotencyKey, time::UnixMillis};
use mapping::Request;
use wire::{Delivery, Envelope, Header};

use crate::plan::{Lane, Route};

/// Makes the delivery of an event to one destination of a route.
pub(crate) fn build(
    envelope: &Envelope,
    route: &Route,
    lane: &Lane,
    request: wire::Request,
    now: UnixMillis,
) -> Delivery {
    let rule = &route.catalog.rule;
    let (name, destination) = (rule.name.as_str(), lane.destination.as_str());
    let id = IdempotencyKey::of(&envelope.source, &envelope.event_id, name, destination, 0);
    Delivery {
        delivery_id: id.as_str().to_owned(),
        event_id: envelope.event_id.clone(),
        source: envelope.source.clone(),
        event_type: envelope.event_type.clone(),
        route: name.to_owned(),
        destination: destination.to_owned(),
        correlation_id: envelope.correlation_id.clone(),
        event_time_ms: envelope.time_ms,
        received_ms: envelope.received_ms,
        created_ms: now.0,
        mapping_version: route.catalog.mapping_version().to_owned(),
        split_index: 0,
        order: match rule.order {
            Order::Strict => wire::Order::Strict,
            Order::None => wire::Order::None,
        },
        request,
    }
}

/// The request of a route without a mapping: the body as it came.
pub(crate) fn unchanged(content_type: &str, body: Bytes) -> Request {
    Request { content_type: content_type.to_owned(), body, ..Request::default() }
}

/// Takes a mapping's request into the record's form.
pub(crate) fn recorded(request: Request) -> wire::Request {
    let pairs = |list: Vec<(String, String)>| {
        list.into_iter().map(|(name, value)| Header { name, value }).collect()
    };
    wire::Request {
        method: request.method.unwrap_or_default(),
        path: request.path,
        query: pairs(request.query),
        headers: pairs(request.headers),
        content_type: request.content_type,
        body: request.body.into(),
    }
}
