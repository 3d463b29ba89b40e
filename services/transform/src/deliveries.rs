//! From an event and a route's result to deliveries: pure.

use bytes::Bytes;
use catalog_io::Route;
use domain::{catalog::Order, ids::IdempotencyKey, time::UnixMillis};
use mapping::Request;
use wire::{Delivery, Envelope, Header};

/// A delivery and what it is ordered by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ordered {
    pub(crate) delivery: Delivery,
    pub(crate) destination: String,
    pub(crate) key: Bytes,
}

/// Makes one delivery for each destination of the route.
///
/// The ordering key is the one the mapping set, else the event's own.
pub(crate) fn build(
    envelope: &Envelope,
    event_key: &Bytes,
    route: &Route,
    request: &Request,
    now: UnixMillis,
) -> Vec<Ordered> {
    let key = request.key.as_ref().map_or_else(|| event_key.clone(), |k| Bytes::from(k.clone()));
    let each = route.rule.to.iter();
    each.map(|destination| {
        let destination = destination.as_str().to_owned();
        let delivery = delivery(envelope, route, request, &destination, now);
        Ordered { delivery, destination, key: key.clone() }
    })
    .collect()
}

/// The request of a route without a mapping: the body as it came.
pub(crate) fn unchanged(envelope: &Envelope) -> Request {
    Request {
        method: None,
        path: String::new(),
        query: Vec::new(),
        headers: Vec::new(),
        content_type: envelope.content_type.clone(),
        body: Bytes::from(envelope.body.clone()),
        key: None,
    }
}

fn delivery(
    envelope: &Envelope,
    route: &Route,
    request: &Request,
    destination: &str,
    now: UnixMillis,
) -> Delivery {
    let name = route.rule.name.as_str();
    let id = IdempotencyKey::of(&envelope.source, &envelope.event_id, name, destination, 0);
    let pairs = |list: &[(String, String)]| {
        list.iter().map(|(n, v)| Header { name: n.clone(), value: v.clone() }).collect::<Vec<_>>()
    };
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
        mapping_version: route.mapping_version().to_owned(),
        split_index: 0,
        order: match route.rule.order {
            Order::Strict => wire::Order::Strict,
            Order::None => wire::Order::None,
        },
        request: wire::Request {
            method: request.method.clone().unwrap_or_default(),
            path: request.path.clone(),
            query: pairs(&request.query),
            headers: pairs(&request.headers),
            content_type: request.content_type.clone(),
            body: request.body.to_vec(),
        },
    }
}
