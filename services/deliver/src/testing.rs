//! What unit tests are made of.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use catalog_io::{Auth, Destination};
use domain::{
    breaker,
    catalog::{self as rules, Protocol},
    outcome::Overrides,
    rate::Rate,
    retry::Policy,
    time::UnixMillis,
};
use kafka_io::Record;
use wire::{Delivery, Header, Order, Request};

use crate::{gate::Prepared, held::Now};

pub(crate) fn destination(url: &str) -> Destination {
    let spec = rules::Destination {
        name: "crm".parse().expect("it is a name"),
        url: url.to_owned(),
        method: "POST".to_owned(),
        headers: vec![("x-from".to_owned(), "catalog".to_owned())],
        timeout: Duration::from_secs(30),
        rate: Rate::UNLIMITED,
        concurrency: 8,
        concurrency_min: 1,
        breaker: breaker::Policy::default(),
        protocol: Protocol::Auto,
        retry: Policy::default(),
        outcomes: Overrides::default(),
        propagate_trace: false,
        probe: rules::Probe::default(),
    };
    Destination { spec, signing: Vec::new(), auth: Auth::None, shared_rate: None, partitions: 1 }
}

pub(crate) fn prepared(destination: Destination) -> Prepared {
    Prepared::new(Arc::new(destination))
}

pub(crate) fn delivery() -> Delivery {
    Delivery {
        delivery_id: "mr_1".to_owned(),
        event_id: "evt_1".to_owned(),
        source: "shop".to_owned(),
        event_type: "order.paid".to_owned(),
        route: "shop-to-crm".to_owned(),
        destination: "crm".to_owned(),
        correlation_id: "cor_1".to_owned(),
        event_time_ms: 1,
        received_ms: 2,
        created_ms: 3,
        mapping_version: "none".to_owned(),
        split_index: 0,
        order: Order::Strict,
        fallback: None,
        request: Request {
            method: String::new(),
            path: String::new(),
            query: Vec::new(),
            headers: Vec::new(),
            content_type: "application/json".to_owned(),
            body: b"{\"a\":1}".to_vec(),
        },
    }
}

pub(crate) fn pair(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: value.to_owned() }
}

pub(crate) fn record(value: impl Into<Bytes>) -> Record {
    Record {
        topic: "out.crm".into(),
        partition: 2,
        offset: 41,
        epoch: 1,
        key: Some(Bytes::from_static(b"customer-7")),
        value: Some(value.into()),
        headers: vec![("ce_id".to_owned(), Bytes::from_static(b"evt_1"))],
        timestamp_ms: 1_700_000_000_000,
    }
}

/// Now, by both clocks.
pub(crate) fn both() -> Now {
    Now { wall: UnixMillis(9), steady: Instant::now() }
}
