//! The registry's client against a real registry and against the embedded one: the same promises.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use registry_io::{Config, DecodeError, Error, Registry, embedded};
use testkit::Apicurio;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wire::{Envelope, Kind};

fn envelope() -> Envelope {
    Envelope {
        event_id: "evt_1".into(),
        source: "payments".into(),
        event_type: "charge.succeeded".into(),
        subject: None,
        time_ms: 1,
        received_ms: 2,
        correlation_id: "c-1".into(),
        causation_id: None,
        content_type: "application/json".into(),
        http_headers: vec![],
        body: b"{}".to_vec(),
    }
}

fn registry(url: &str) -> Registry {
    Registry::new(&Config { timeout_seconds: 2, ..Config::at(url) }).unwrap()
}

/// Registers a schema as another program would.
async fn post(url: &str, subject: &str, schema: &str) -> u16 {
    let body = serde_json::json!({ "schemaType": "AVRO", "schema": schema }).to_string();
    let rest = url.strip_prefix("http://").unwrap();
    let (address, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = http::Request::post(format!("{base}/subjects/{subject}/versions"))
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(body.into())
        .unwrap();
    let limit = Duration::from_secs(20);
    let reply = testkit::request(address.parse().unwrap(), request, limit).await;
    reply.unwrap().status.as_u16()
}

/// What every registry has to do; returns the id of the envelope's schema.
async fn keeps_its_promises(url: &str) -> u32 {
    let (writer, reader) = (registry(url), registry(url));
    let id = writer.register("raw.payments-value", Kind::Envelope).await.unwrap();
    assert_eq!(writer.register("raw.payments-value", Kind::Envelope).await, Ok(id));
    assert_eq!(reader.register("raw.payments-value", Kind::Envelope).await, Ok(id));
    assert_eq!(writer.check("raw.payments-value", Kind::Envelope).await, Ok(()));
    assert_eq!(writer.check("none-value", Kind::Envelope).await, Ok(()));

    let value = wire::encode(&envelope(), id).unwrap();
    let fresh = registry(url);
    assert_eq!(fresh.decode_cached::<Envelope>(&value), Err(DecodeError::Unknown(id)));
    assert_eq!(fresh.decode::<Envelope>(&value).await, Ok(envelope()));
    assert_eq!(fresh.decode_cached::<Envelope>(&value), Ok(envelope()));

    let absent = wire::encode(&envelope(), 4_000_000).unwrap();
    let told = fresh.decode::<Envelope>(&absent).await;
    assert!(matches!(told, Err(DecodeError::Undecodable(_))), "{told:?}");

    refuses_what_not_every_version_can_read(url).await;
    id
}

async fn refuses_what_not_every_version_can_read(url: &str) {
    let ours = registry(url);
    let subject = "out.crm-value";
    ours.register(subject, Kind::Delivery).await.unwrap();
    let told = ours.register(subject, Kind::Envelope).await;
    let Err(Error::Incompatible { .. }) = &told else { panic!("{told:?}") };
    let text = told.unwrap_err().to_string();
    assert!(text.contains(subject) && text.contains("adding fields with defaults"), "{text}");
    assert!(matches!(ours.check(subject, Kind::Envelope).await, Err(Error::Incompatible { .. })));

    let mut schema: serde_json::Value = serde_json::from_str(Kind::Delivery.schema()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.push(serde_json::json!({ "name": "must", "type": "int" }));
    assert_eq!(post(url, subject, &schema.to_string()).await, 409);
    schema["fields"].as_array_mut().unwrap().last_mut().unwrap()["default"] = 0.into();
    assert_eq!(post(url, subject, &schema.to_string()).await, 200);
    // The earlier version of a rolling update registers again, and is still welcome.
    registry(url).register(subject, Kind::Delivery).await.unwrap();
}

/// What holds while a registry does not answer.
async fn carries_on_without(url: &str, id: u32, known: &Registry) {
    let value = wire::encode(&envelope(), id).unwrap();
    assert_eq!(known.decode::<Envelope>(&value).await, Ok(envelope()));
    assert_eq!(known.register("raw.payments-value", Kind::Envelope).await, Ok(id));
    let unknown = wire::encode(&envelope(), id + 1_000).unwrap();
    let told = known.decode::<Envelope>(&unknown).await;
    assert!(matches!(told, Err(DecodeError::Unavailable(_))), "{told:?}");
    let told = registry(url).register("raw.payments-value", Kind::Envelope).await.unwrap_err();
    assert!(told.may_pass(), "{told}");
    assert!(told.to_string().contains(url), "{told}");
}

#[tokio::test]
async fn a_real_registry_gives_the_same_ids_after_it_was_killed() {
    let apicurio = Apicurio::start().await;
    let url = apicurio.url();
    let id = keeps_its_promises(&url).await;
    let known = registry(&url);
    assert_eq!(known.register("raw.payments-value", Kind::Envelope).await, Ok(id));
    apicurio.kill9();
    carries_on_without(&url, id, &known).await;
    apicurio.restart().await;
    let after = registry(&url);
    assert_eq!(after.register("raw.payments-value", Kind::Envelope).await, Ok(id));
    let value = wire::encode(&envelope(), id).unwrap();
    assert_eq!(registry(&url).decode::<Envelope>(&value).await, Ok(envelope()));
}

#[tokio::test]
async fn the_embedded_registry_does_as_a_real_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(embedded::serve(listener, stop.clone()));
    let id = keeps_its_promises(&url).await;
    let known = registry(&url);
    assert_eq!(known.register("raw.payments-value", Kind::Envelope).await, Ok(id));
    stop.cancel();
    serving.await.unwrap().unwrap();
    carries_on_without(&url, id, &known).await;
}

#[tokio::test]
async fn a_thread_without_a_runtime_decodes_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(embedded::serve(listener, stop.clone()));
    let id = registry(&url).register("raw.payments-value", Kind::Envelope).await.unwrap();
    let (fresh, runtime) = (registry(&url), tokio::runtime::Handle::current());
    let value = wire::encode(&envelope(), id).unwrap();
    let decode = move || fresh.decode_blocking::<Envelope>(&runtime, &value);
    let decoded = tokio::task::spawn_blocking(move || std::thread::spawn(decode).join().unwrap());
    assert_eq!(decoded.await.unwrap(), Ok(envelope()));
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[test]
fn a_wrong_address_or_file_is_named_by_its_key() {
    let told = Registry::new(&Config::at("nowhere")).unwrap_err().to_string();
    assert!(told.starts_with("registry.url"), "{told}");
    let config = Config { password_file: "/nowhere".into(), ..Config::at("http://a") };
    let told = Registry::new(&config).unwrap_err().to_string();
    assert!(told.starts_with("registry.password_file: /nowhere"), "{told}");
}
