//! The real broker and registry: they start, are killed, come back as they were.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use testkit::{Apicurio, Kafka, get, request};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(20);

async fn accepts(address: &str) -> bool {
    TcpStream::connect(address).await.is_ok()
}

#[tokio::test]
async fn one_node_starts_and_dies_with_its_handle() {
    let kafka = Kafka::one().await;
    let address = kafka.bootstrap();
    assert!(accepts(&address).await, "{}", kafka.log(0));
    drop(kafka);
    assert!(!accepts(&address).await);
}

#[tokio::test]
async fn of_three_nodes_one_is_killed_and_comes_back() {
    let kafka = Kafka::three().await;
    let addresses: Vec<String> = kafka.bootstrap().split(',').map(str::to_owned).collect();
    assert_eq!(addresses.len(), 3);
    kafka.kill9(1);
    assert!(!accepts(&addresses[1]).await && accepts(&addresses[0]).await);
    kafka.restart(1).await;
    assert!(accepts(&addresses[1]).await && kafka.pid(1).is_some());
}

fn address(registry: &Apicurio) -> SocketAddr {
    registry.url()["http://".len()..].split('/').next().unwrap().parse().unwrap()
}

async fn register(registry: &Apicurio, name: &str) -> u64 {
    let schema = format!(r#"{{"type":"record","name":"{name}","fields":[]}}"#);
    let body = serde_json::json!({ "schema": schema }).to_string();
    let post = Request::post(format!("/apis/ccompat/v7/subjects/{name}-value/versions"))
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(Full::<Bytes>::from(body))
        .unwrap();
    request(address(registry), post, SOON).await.unwrap().json()["id"].as_u64().unwrap()
}

#[tokio::test]
async fn a_killed_registry_gives_the_same_ids() {
    let registry = Apicurio::start().await;
    let (one, two) = (register(&registry, "one").await, register(&registry, "two").await);
    registry.kill9(); // straight after the answer: the id must be on disk by then
    registry.restart().await;
    assert_eq!((register(&registry, "two").await, register(&registry, "one").await), (two, one));
    let path = format!("/apis/ccompat/v7/schemas/ids/{two}");
    assert!(get(address(&registry), &path, SOON).await.unwrap().text().contains("two"));
}
