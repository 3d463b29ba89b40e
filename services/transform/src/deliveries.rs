//! From an event and a route's result to deliveries: pure.

use bytes::Bytes;
use domain::{catalog::Order, ids::IdempotencyKey, time::UnixMillis};
use mapping::{Failed, Mapped, Program, Request};
use wire::{Delivery, Envelope, Header};

use crate::plan::{Lane, Route};

/// Makes the delivery of an event to one destination of a route.
pub(crate) fn build(
    envelope: &Envelope,
    route: &Route,
    lane: &Lane,
    (request, fallback): (wire::Request, Option<wire::Fallback>),
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
        fallback,
        request,
    }
}

/// What a fallback's own mapping made of the event. Where that is no request the delivery goes on
/// without one: what is wrong with a fallback fails nothing that needs none.
pub(crate) fn fallback(to: &str, map: &Program, made: Result<Mapped, Failed>) -> wire::Fallback {
    let (mapping_version, error) = (map.version().to_owned(), None);
    let to = to.to_owned();
    let nothing = wire::Fallback { to, mapping_version, key: None, error, request: None };
    match made {
        Ok(Mapped::Request(mut request)) => {
            let key = request.key.take();
            wire::Fallback { key, request: Some(recorded(request)), ..nothing }
        }
        Ok(Mapped::Filtered) => without_request(nothing, "its mapping ended with abort"),
        // The message may hold parts of the event, as those of dead letters.
        Err(failed) => without_request(nothing, &failed.to_string()),
    }
}

/// The same fallback without its request, and why.
pub(crate) fn without_request(fallback: wire::Fallback, why: &str) -> wire::Fallback {
    wire::Fallback { error: Some(wire::headers::scrub(why)), request: None, ..fallback }
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
