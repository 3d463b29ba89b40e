//! What comes back when something comes back.

use domain::catalog::Protocol;
use http::Version;
use testkit::{
    Receiver,
    receiver::{Answer, Rule},
};

use crate::{AMPLE, client, post, post_within};

#[tokio::test]
async fn an_answer_tells_its_steps_and_a_second_one_needs_no_connection() {
    let (receiver, client) = (Receiver::start().await, client());
    receiver.fail("/", Answer::body(201, "text/plain", "made"));
    let first = post(&client, &receiver.url("/a")).await.unwrap();
    assert_eq!((first.status.as_u16(), &first.body[..]), (201, &b"made"[..]));
    assert!(!first.truncated);
    assert!(first.latency.connect.is_some() && first.latency.dns.is_none());
    assert!(first.latency.first_byte <= first.latency.total);
    let second = post(&client, &receiver.url("/a")).await.unwrap();
    assert!(second.latency.connect.is_none() && second.latency.total.is_some());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (receiver, client) = (Receiver::start().await, client());
    let headers = vec![("location", receiver.url("/elsewhere"))];
    receiver.fail("/moved", Answer::Full { status: 307, headers, body: "".into() });
    let answer = post(&client, &receiver.url("/moved")).await.unwrap();
    assert_eq!(answer.status.as_u16(), 307);
    assert_eq!(receiver.arrivals().len(), 1);
}

#[tokio::test]
async fn a_long_body_is_kept_in_part_and_its_connection_is_used_again() {
    let (receiver, client) = (Receiver::start().await, client());
    receiver.fail("/long", Answer::body(200, "text/plain", vec![b'a'; 100_000]));
    let answer = post(&client, &receiver.url("/long")).await.unwrap();
    assert_eq!((answer.body.len(), answer.truncated), (16 * 1024, true));
    let next = post(&client, &receiver.url("/")).await.unwrap();
    assert!(next.latency.connect.is_none(), "the connection was not used again");
}

#[tokio::test]
async fn a_body_of_exactly_what_is_kept_is_whole() {
    let (receiver, client) = (Receiver::start().await, client());
    receiver.fail("/", Answer::body(200, "text/plain", vec![b'a'; 16 * 1024]));
    let answer = post(&client, &receiver.url("/")).await.unwrap();
    assert_eq!((answer.body.len(), answer.truncated), (16 * 1024, false));
}

#[tokio::test]
async fn an_endless_body_is_cut_and_does_not_hang() {
    let (receiver, client) = (Receiver::start().await, client());
    receiver.fail("/", Answer::Endless);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let answer = post_within(&client, &receiver.url("/"), protocol, AMPLE).await.unwrap();
        assert_eq!((answer.body.len(), answer.truncated), (16 * 1024, true), "{protocol:?}");
        assert!(answer.latency.total < Some(AMPLE / 2));
    }
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_in_time_with_what_has_come_of_it() {
    let (receiver, client) = (Receiver::start().await, client());
    receiver.fail("/", Answer::Drip);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let answer = post_within(&client, &receiver.url("/"), protocol, AMPLE).await.unwrap();
        assert!(answer.truncated && (1..100).contains(&answer.body.len()), "{protocol:?}");
        assert!(answer.latency.total < Some(AMPLE / 2));
    }
}

#[tokio::test]
async fn both_versions_are_spoken_in_clear_text() {
    let (receiver, client) = (Receiver::start().await, client());
    receiver.on(Rule::any());
    for protocol in [Protocol::Http1, Protocol::Http2, Protocol::Auto] {
        let answer = post_within(&client, &receiver.url("/"), protocol, AMPLE).await.unwrap();
        assert_eq!(answer.status.as_u16(), 200, "{protocol:?}");
    }
    let by_name = receiver.arrivals().iter().filter(|a| a.headers.contains_key("host")).count();
    assert_eq!(by_name, 2, "HTTP/2 names the host in a field of its own: {:?}", Version::HTTP_2);
}
