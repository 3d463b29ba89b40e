//! What is refused: each reason with its status, and nothing of it in the log.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;

use crate::world::{Bench, SOURCES, assert_refused, now_unix, read_to_end};

const BODY: &[u8] = br#"{"id":"evt_1","type":"order.placed"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_can_not_be_believed_is_refused_with_401() {
    let bench = Bench::ready().await;
    for source in SOURCES {
        let mut unsigned = bench.signed(source, "e", BODY);
        unsigned.headers_mut().clear();
        let mut changed = bench.signed(source, "e", BODY);
        *changed.body_mut() = Full::new(Bytes::from_static(b"{\"id\":\"evt_2\"}"));
        for request in [unsigned, changed] {
            let reply = bench.send(request).await;
            assert_refused(&reply, 401);
            assert!(reply.headers.contains_key("www-authenticate"));
        }
    }
    for source in ["pay", "standard", "shop"] {
        assert_refused(
            &bench.send(bench.signed_at(source, "e", BODY, now_unix() - 400)).await,
            401,
        );
    }
    for (source, header) in [("standard", "webhook-timestamp"), ("shop", "x-shop-time")] {
        let mut changed = bench.signed_at(source, "e", BODY, now_unix() - 400);
        changed.headers_mut().insert(header, now_unix().into());
        assert_refused(&bench.send(changed).await, 401);
    }
    let mut changed = bench.signed_at("pay", "e", BODY, now_unix() - 400);
    let signature = changed.headers()["stripe-signature"].to_str().unwrap();
    let (_, rest) = signature.split_once(',').unwrap();
    let signature = format!("t={},{rest}", now_unix());
    changed.headers_mut().insert("stripe-signature", signature.parse().unwrap());
    assert_refused(&bench.send(changed).await, 401);
    for source in SOURCES {
        assert_eq!(bench.logged(source).await.len(), 0);
        let labels = [("source", source), ("outcome", "rejected"), ("reason", "auth")];
        assert!(bench.counted("millrace_ingest_events_total", &labels) >= 2);
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_refused_with_400_and_what_is_no_json_as_its_source_says() {
    let bench = Bench::ready().await;
    let mut malformed = bench.signed("code", "e", BODY);
    let digest = HeaderValue::from_static("sha256=XYZ");
    malformed.headers_mut().insert("x-hub-signature-256", digest);
    assert_refused(&bench.send(malformed).await, 400);
    let mut twice = bench.signed("code", "e", BODY);
    let again = twice.headers()["x-hub-signature-256"].clone();
    twice.headers_mut().append("x-hub-signature-256", again);
    assert_refused(&bench.send(twice).await, 400);

    assert_refused(&bench.send(bench.signed("code", "e", b"{\"a\":")).await, 400);
    for (header, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let mut declared = bench.signed("code", "e", BODY);
        declared.headers_mut().insert(header, HeaderValue::from_static(value));
        assert_refused(&bench.send(declared).await, 415);
    }
    for kind in ["application/json; charset=utf-8", "application/vnd.acme+json", "APPLICATION/JSON"]
    {
        let mut declared = bench.signed("code", "e", BODY);
        declared.headers_mut().insert("content-type", HeaderValue::from_static(kind));
        assert_eq!(bench.send(declared).await.status, 200, "{kind}");
    }
    assert_eq!(bench.logged("code").await.len(), 3);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_place_or_method_is_refused() {
    let bench = Bench::ready().await;
    for path in ["/", "/v1/events", "/v1/events/", "/v1/events/shop/x", "/v1/events/nobody"] {
        let mut request = bench.signed("shop", "e", BODY);
        *request.uri_mut() = path.parse().unwrap();
        assert_refused(&bench.send(request).await, 404);
    }
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let request = Request::builder().method(method).uri("/v1/events/shop");
        let reply = bench.send(request.body(Full::default()).unwrap()).await;
        assert_refused(&reply, 405);
        assert_eq!(reply.headers["allow"], "POST");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_refused_declared_or_chunked() {
    let bench = Bench::ready().await;
    let at_the_limit = vec![b'x'; 64 * 1024];
    assert_eq!(bench.send(bench.signed("shop", "e", &at_the_limit)).await.status, 200);
    for more in [1, 4 << 20] {
        let over = vec![b'x'; 64 * 1024 + more];
        assert_refused(&bench.send(bench.signed("shop", "e", &over)).await, 413);
    }

    let head = "POST /v1/events/shop HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let mut chunked = head.as_bytes().to_vec();
    for _ in 0..5 {
        chunked.extend_from_slice(b"4000\r\n");
        chunked.resize(chunked.len() + 0x4000, b'x');
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = read_to_end(&mut bench.open(&chunked).await).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let expects = "POST /v1/events/shop HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
                   content-length: 9999999\r\n\r\n";
    let answer = read_to_end(&mut bench.open(expects.as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("connection: close"), "{answer}");
    let labels = [("source", "shop"), ("reason", "size")];
    assert_eq!(bench.counted("millrace_ingest_events_total", &labels), 4);
    bench.stop().await;
}
