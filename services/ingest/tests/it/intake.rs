//! What is accepted: how it is answered, and what of it lies in the log.

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ingest::Config;
use tokio::net::TcpStream;
use wire::headers::{self, text};

use crate::world::{Bench, SOURCES, Setup};

const BODY: &[u8] = br#"{"id":"evt_1","type":"order.placed","repository":"acme/shop","n":1}"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_each_scheme_is_answered_with_its_ids_and_logged_as_it_came() {
    let mut bench = Bench::ready().await;
    for source in SOURCES {
        let mut request = bench.signed(source, "evt_1", BODY);
        request.headers_mut().insert("x-correlation-id", HeaderValue::from_static("corr-1"));
        request.headers_mut().insert("authorization", HeaderValue::from_static("Bearer planted"));
        request.headers_mut().insert("cookie", HeaderValue::from_static("planted"));
        request.headers_mut().insert("x-api-token", HeaderValue::from_static("planted"));
        let reply = bench.send(request).await;
        assert_eq!(reply.status, 200, "{source}: {}", reply.text());
        let answer = reply.json();
        assert_eq!(
            (&answer["event_id"], &answer["correlation_id"]),
            (&"evt_1".into(), &"corr-1".into())
        );
        assert_eq!(reply.headers["x-event-id"], "evt_1");
        assert_eq!(reply.headers["x-correlation-id"], "corr-1");

        let told = bench.told.recv().await.unwrap();
        assert_eq!((told.source.as_str(), told.event_id.as_str()), (source, "evt_1"));
        let logged = bench.logged(source).await;
        assert_eq!((logged.len(), logged[0].offset), (1, told.offset));
        let key = if source == "code" { "acme/shop" } else { "evt_1" };
        assert_eq!(logged[0].key.as_deref(), Some(key.as_bytes()), "{source}");
        for (name, value) in [
            (headers::CE_ID, "evt_1"),
            (headers::CE_SOURCE, source),
            (headers::CE_CORRELATIONID, "corr-1"),
            (headers::CE_SPECVERSION, "1.0"),
        ] {
            assert_eq!(text(&logged[0].headers, name), Some(value));
        }
        let began = headers::context(&logged[0].headers, headers::CE_TRACEPARENT);
        assert!(
            began.is_some() && headers::context(&logged[0].headers, headers::TRACEPARENT).is_some()
        );

        let envelope = bench.envelope(&logged[0]);
        assert_eq!((envelope.source.as_str(), envelope.body.as_slice()), (source, BODY));
        assert_eq!(envelope.content_type, "application/json");
        let kept: Vec<&str> = envelope.http_headers.iter().map(|h| h.name.as_str()).collect();
        assert!(kept.contains(&"x-correlation-id"));
        let secret = ["authorization", "cookie", "x-api-token", "x-shop-proof"];
        assert!(
            !kept.iter().any(|name| secret.contains(name) || name.contains("signature")),
            "{kept:?}"
        );
        let counted = bench.counted(
            "millrace_ingest_events_total",
            &[("source", source), ("outcome", "accepted")],
        );
        assert_eq!(counted, 1);
    }
    let labels = [("http_response_status_code", "200"), ("http_route", "/v1/events/{source}")];
    assert_eq!(bench.counted("http_server_request_duration_seconds", &labels), 4);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_body_that_is_not_json_is_kept_byte_for_byte() {
    let bench = Bench::ready().await;
    let bodies: [&[u8]; 3] = [b"\x1f\x8b\x00\xff\xfe plain bytes", b"", &[b'x'; 40_000]];
    for (number, body) in bodies.into_iter().enumerate() {
        let mut request = bench.signed("shop", &format!("e{number}"), body);
        let kind = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert("content-type", kind);
        request.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
        let reply = bench.send(request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let logged = bench.logged("shop").await;
    let kept: Vec<Vec<u8>> = logged.iter().map(|r| bench.envelope(r).body).collect();
    assert_eq!(kept, bodies.map(<[u8]>::to_vec));
    assert_eq!(bench.envelope(&logged[0]).content_type, "application/octet-stream");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_signed_request_gets_its_200() {
    let bench = Bench::ready().await;
    let request = || bench.signed_at("pay", "evt_9", BODY, crate::world::now_unix() - 100);
    let (first, second) = (bench.send(request()).await, bench.send(request()).await);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_eq!(first.json()["event_id"], second.json()["event_id"]);
    assert_ne!(first.json()["correlation_id"], second.json()["correlation_id"]);
    assert_eq!(bench.logged("pay").await.len(), 2);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_trace_is_not_continued_and_a_trusted_one_is() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for trust_traceparent in [false, true] {
        let config = Config { trust_traceparent, ..Config::default() };
        let bench = Bench::ready_with(Setup { config, ..Setup::default() }).await;
        let mut request = bench.signed("shop", "e", BODY);
        request.headers_mut().insert("traceparent", HeaderValue::from_static(PARENT));
        assert_eq!(bench.send(request).await.status, 200);
        let logged = bench.logged("shop").await;
        let began = headers::context(&logged[0].headers, headers::CE_TRACEPARENT).unwrap();
        assert_eq!(began.trace_id_text() == PARENT[3..35], trust_traceparent);
        bench.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_on_the_same_port() {
    let bench = Bench::ready().await;
    let stream = TokioIo::new(TcpStream::connect(bench.address).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    for number in 0..3 {
        let mut request = bench.signed("shop", &format!("e{number}"), BODY);
        let path = request.uri().path().to_owned();
        *request.uri_mut() = format!("http://{}{path}", bench.address).parse().unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body: Bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["event_id"], format!("e{number}"));
    }
    assert_eq!(bench.logged("shop").await.len(), 3);
    bench.stop().await;
}
