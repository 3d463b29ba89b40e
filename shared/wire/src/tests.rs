//! Promises about bytes: they read back, old ones for ever, newer ones as far as they are known.

mod evolution;
mod golden;

use proptest::prelude::*;

use crate::*;

/// One delivery with every field set to something of its own.
fn sample_delivery() -> Delivery {
    Delivery {
        delivery_id: "mr_00112233445566778899aabbccddeeff".into(),
        event_id: "evt_1".into(),
        source: "payments".into(),
        event_type: "charge.succeeded".into(),
        route: "charge-to-crm".into(),
        destination: "crm".into(),
        correlation_id: "c-1".into(),
        event_time_ms: 1_700_000_000_000,
        received_ms: 1_700_000_000_100,
        created_ms: 1_700_000_000_200,
        mapping_version: "0123456789ab".into(),
        split_index: 3,
        order: Order::None,
        fallback: Some(Fallback {
            to: "spare".into(),
            mapping_version: "ba9876543210".into(),
            key: Some("7".into()),
            error: Some("none".into()),
            request: Some(Request {
                method: "POST".into(),
                path: "notes".into(),
                query: vec![pair("of", "7")],
                headers: vec![pair("x-b", "a")],
                content_type: "text/plain".into(),
                body: b"contact 7".to_vec(),
            }),
        }),
        request: Request {
            method: "PUT".into(),
            path: "contacts/7".into(),
            query: vec![pair("dry", "no")],
            headers: vec![pair("x-a", "b"), pair("x-a", "c")],
            content_type: "application/json".into(),
            body: b"{\"name\":\"\xc3\xa4\"}".to_vec(),
        },
    }
}

fn sample_envelope() -> Envelope {
    Envelope {
        event_id: "evt_1".into(),
        source: "payments".into(),
        event_type: "charge.succeeded".into(),
        subject: Some("ch_1".into()),
        time_ms: 1_700_000_000_000,
        received_ms: 1_700_000_000_100,
        correlation_id: "c-1".into(),
        causation_id: None,
        content_type: "application/json".into(),
        http_headers: vec![pair("user-agent", "Stripe/1.0")],
        body: vec![0, 255, b'{', b'}'],
    }
}

fn sample_receipt() -> Receipt {
    Receipt {
        delivery_id: "mr_00112233445566778899aabbccddeeff".into(),
        event_id: "evt_1".into(),
        source: "payments".into(),
        event_type: "charge.succeeded".into(),
        route: "charge-to-crm".into(),
        destination: "crm".into(),
        correlation_id: "c-1".into(),
        at_ms: 1_700_000_001_000,
        attempt_number: 2,
        outcome: Outcome::Retryable,
        settled: false,
        status: Some(503),
        error: None,
        latency: Latency {
            dns_ms: Some(0.25),
            connect_ms: None,
            tls_ms: Some(12.5),
            first_byte_ms: Some(80.0),
            total_ms: Some(81.5),
        },
        response_headers: vec![pair("retry-after", "1")],
        response_body: Some(b"busy".to_vec()),
        response_truncated: true,
        provider_request_id: Some("req_9".into()),
        idempotency_key: "mr_00112233445566778899aabbccddeeff".into(),
        next_attempt_ms: Some(1_700_000_002_000),
        dead_letter_reason: None,
        handed_over: Some(HandedOver {
            destination: "spare".into(),
            delivery_id: "mr_ffeeddccbbaa99887766554433221100".into(),
            reason: "budget_spent".into(),
        }),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        breaker: Breaker::HalfOpen,
    }
}

fn pair(name: &str, value: &str) -> Header {
    Header { name: name.into(), value: value.into() }
}

fn decoded<T: Recorded>(bytes: &[u8], writer_schema: &str) -> Result<T, DecodeError> {
    let (_, datum) = schema_id(bytes)?;
    Decoder::new(writer_schema)?.decode(datum)
}

#[test]
fn a_record_of_each_kind_reads_back_under_its_schema_id() {
    fn check<T: Recorded + PartialEq + std::fmt::Debug>(record: &T) {
        let bytes = encode(record, 0x0102_0304).expect("it encodes");
        assert_eq!(bytes[..5], [0, 1, 2, 3, 4]);
        assert_eq!(schema_id(&bytes).expect("it has a prefix").0, 0x0102_0304);
        assert_eq!(decoded::<T>(&bytes, T::KIND.schema()).as_ref(), Ok(record));
    }
    check(&sample_envelope());
    check(&sample_delivery());
    check(&sample_receipt());
}

#[test]
fn the_buffer_of_a_usual_record_does_not_grow() {
    let record = sample_delivery();
    let bytes = encode(&record, 1).expect("it encodes");
    assert!(bytes.len() <= 5 + record.size_hint(), "{} bytes", bytes.len());
}

#[test]
fn bytes_that_are_no_record_are_told_apart() {
    let good = encode(&sample_envelope(), 1).expect("it encodes");
    let schema = Kind::Envelope.schema();
    for bad in [&b""[..], b"\0", b"\0\0\0\0", b"{\"a\":1}"] {
        assert!(matches!(decoded::<Envelope>(bad, schema), Err(DecodeError::Prefix { .. })));
    }
    let cut = decoded::<Envelope>(&good[..good.len() - 1], schema);
    assert!(matches!(cut, Err(DecodeError::Datum { .. })), "{cut:?}");
    let longer = [&good[..], b"x"].concat();
    let longer = decoded::<Envelope>(&longer, schema);
    assert!(matches!(longer, Err(DecodeError::Datum { .. })), "{longer:?}");
    let other = decoded::<Delivery>(&good, schema);
    assert!(matches!(other, Err(DecodeError::OtherRecord { .. })), "{other:?}");
    assert!(matches!(Decoder::new("{"), Err(DecodeError::Schema { .. })));
}

#[test]
fn a_schema_told_in_other_white_space_and_words_is_the_same() {
    let mut schema: serde_json::Value =
        serde_json::from_str(Kind::Receipt.schema()).expect("it is JSON");
    schema["doc"] = "other words".into();
    let bytes = encode(&sample_receipt(), 1).expect("it encodes");
    assert_eq!(decoded::<Receipt>(&bytes, &schema.to_string()), Ok(sample_receipt()));
}

#[test]
fn an_event_carries_its_attributes_and_where_its_trace_began() {
    let trace = domain::trace::TraceContext { trace_id: [1; 16], span_id: [2; 8], sampled: true };
    let event = headers::cloud_event(&sample_envelope(), Some(trace));
    let wanted = [
        ("ce_specversion", "1.0"),
        ("ce_id", "evt_1"),
        ("ce_source", "payments"),
        ("ce_type", "charge.succeeded"),
        ("ce_time", "2023-11-14T22:13:20Z"),
        ("ce_recordedtime", "2023-11-14T22:13:20.1Z"),
        ("ce_correlationid", "c-1"),
        ("content-type", "application/avro"),
        ("traceparent", "00-01010101010101010101010101010101-0202020202020202-01"),
        ("ce_traceparent", "00-01010101010101010101010101010101-0202020202020202-01"),
        ("ce_subject", "ch_1"),
    ];
    let told: Vec<(&str, &[u8])> = event.iter().map(|(n, v)| (n.as_str(), v.as_ref())).collect();
    assert_eq!(told, wanted.map(|(name, value)| (name, value.as_bytes())));
    assert_eq!(headers::context(&event, headers::CE_TRACEPARENT), Some(trace));
    assert_eq!(
        headers::unix_millis(headers::text(&event, "ce_recordedtime").unwrap_or("")),
        Some(1_700_000_000_100)
    );
}

#[test]
fn a_delivery_and_its_receipt_name_the_event_and_the_delivery() {
    let (first, now) = ([1; 8], [2; 8]);
    let context =
        |span_id| domain::trace::TraceContext { trace_id: [9; 16], span_id, sampled: false };
    let delivery = headers::delivery(&sample_delivery(), Some(context(now)), Some(context(first)));
    let receipt = headers::receipt(&sample_receipt(), Some(context(now)), Some(context(first)));
    for told in [delivery, receipt] {
        assert_eq!(headers::text(&told, "ce_id"), Some("evt_1"));
        assert_eq!(headers::text(&told, "ce_correlationid"), Some("c-1"));
        assert_eq!(headers::text(&told, "millrace-route"), Some("charge-to-crm"));
        assert_eq!(headers::text(&told, "millrace-destination"), Some("crm"));
        let id = Some("mr_00112233445566778899aabbccddeeff");
        assert_eq!(headers::text(&told, "millrace-delivery-id"), id);
        assert_eq!(headers::context(&told, headers::TRACEPARENT), Some(context(now)));
        assert_eq!(headers::context(&told, headers::CE_TRACEPARENT), Some(context(first)));
    }
}

fn headers() -> impl Strategy<Value = Vec<Header>> {
    let one = (".*", ".*").prop_map(|(name, value)| Header { name, value });
    prop::collection::vec(one, 0..4)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

prop_compose! {
    fn envelopes()(
        (event_id, source, event_type, content_type) in (".*", ".*", ".*", ".*"),
        (subject, causation_id) in (prop::option::of(".*"), prop::option::of(".*")),
        (time_ms, received_ms) in any::<(i64, i64)>(),
        (http_headers, body) in (headers(), bytes()),
    ) -> Envelope {
        Envelope {
            event_id, source, event_type, subject, time_ms, received_ms,
            correlation_id: String::new(), causation_id, content_type, http_headers, body,
        }
    }
}

prop_compose! {
    fn deliveries()(
        (split_index, created_ms, strict) in any::<(u32, i64, bool)>(),
        (method, path, route) in (".*", ".*", ".*"),
        (query, headers, body) in (headers(), headers(), bytes()),
    ) -> Delivery {
        let order = if strict { Order::Strict } else { Order::None };
        let content_type = String::new();
        let request = Request { method, path, query, headers, content_type, body };
        Delivery { split_index, created_ms, order, route, request, ..sample_delivery() }
    }
}

prop_compose! {
    fn receipts()(
        (attempt_number, settled, next_attempt_ms) in any::<(i32, bool, Option<i64>)>(),
        (status, total_ms) in (any::<Option<i32>>(), prop::option::of(-1e9..1e9_f64)),
        (error, response_body) in (prop::option::of(".*"), prop::option::of(bytes())),
        outcome in prop::sample::select(vec![
            Outcome::Unspecified, Outcome::Delivered, Outcome::Retryable, Outcome::Permanent,
            Outcome::Unknown,
        ]),
        breaker in prop::sample::select(vec![
            Breaker::Unspecified, Breaker::Closed, Breaker::HalfOpen, Breaker::Open,
        ]),
    ) -> Receipt {
        let latency = Latency { total_ms, ..Latency::default() };
        Receipt {
            attempt_number, outcome, settled, status, error, latency, response_body,
            next_attempt_ms, breaker, ..sample_receipt()
        }
    }
}

proptest! {
    #[test]
    fn any_envelope_reads_back(record in envelopes(), id in any::<u32>()) {
        let bytes = encode(&record, id).expect("it encodes");
        prop_assert_eq!(schema_id(&bytes).expect("it has a prefix").0, id);
        prop_assert_eq!(decoded::<Envelope>(&bytes, Kind::Envelope.schema()), Ok(record));
    }

    #[test]
    fn any_delivery_reads_back(record in deliveries()) {
        let bytes = encode(&record, 1).expect("it encodes");
        prop_assert_eq!(decoded::<Delivery>(&bytes, Kind::Delivery.schema()), Ok(record));
    }

    #[test]
    fn any_receipt_reads_back(record in receipts()) {
        let bytes = encode(&record, 1).expect("it encodes");
        prop_assert_eq!(decoded::<Receipt>(&bytes, Kind::Receipt.schema()), Ok(record));
    }

    #[test]
    fn no_bytes_make_decoding_panic(datum in bytes()) {
        for kind in Kind::ALL {
            let decoder = Decoder::new(kind.schema()).expect("it is our schema");
            let _: Result<Envelope, _> = decoder.decode(&datum);
            let _: Result<Delivery, _> = decoder.decode(&datum);
            let _: Result<Receipt, _> = decoder.decode(&datum);
        }
    }
}
