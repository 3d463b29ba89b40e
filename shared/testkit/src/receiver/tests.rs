//! Each answer seen from a client, and the log that is kept of it.

use http_body_util::Full;

use super::*;
use crate::{Reply, request};

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);

async fn send(
    to: &Receiver,
    path: &str,
    id: &str,
    key: &str,
    timeout: Duration,
) -> std::io::Result<Reply> {
    let post = Request::post(path)
        .header("webhook-id", id)
        .header("x-key", key)
        .body(Full::from("hello"))
        .unwrap();
    request(to.address(), post, timeout).await
}

async fn status(to: &Receiver, path: &str, id: &str, key: &str) -> u16 {
    send(to, path, id, key, SOON).await.unwrap().status.as_u16()
}

#[tokio::test]
async fn every_request_is_written_down() {
    let receiver = Receiver::start().await;
    assert_eq!(status(&receiver, "/crm?a=1", "d1", "k1").await, 200);
    let arrivals = receiver.arrivals();
    let [one] = arrivals.as_slice() else { panic!("one request was sent: {arrivals:?}") };
    assert_eq!((one.id.as_deref(), one.key.as_deref()), (Some("d1"), Some("k1")));
    assert_eq!((one.path.as_str(), one.query.as_deref()), ("/crm", Some("a=1")));
    assert_eq!((&one.body[..], one.header("x-key")), (&b"hello"[..], Some("k1")));
    assert!(one.is_taken() && one.ended.unwrap() >= one.begun);
}

#[tokio::test]
async fn a_sequence_goes_on_with_its_last_answer() {
    let receiver = Receiver::start().await;
    receiver.on(Rule::path("/a").statuses([500, 429, 201]));
    let mut seen = Vec::new();
    for id in ["d1", "d2", "d3", "d4"] {
        seen.push(status(&receiver, "/a", id, "k").await);
    }
    assert_eq!(seen, [500, 429, 201, 201]);
    assert_eq!((status(&receiver, "/b", "d5", "k").await, receiver.taken()), (200, 3));
}

#[tokio::test]
async fn each_id_fails_first_when_counted_per_id() {
    let receiver = Receiver::start().await;
    let rule = Rule::any().counting(Counting::PerId);
    receiver.on(rule.fails_first(1, Answer::retry_after(503, 7)));
    let first = send(&receiver, "/", "d1", "k", SOON).await.unwrap();
    assert_eq!((first.status.as_u16(), first.headers["retry-after"].to_str().unwrap()), (503, "7"));
    assert_eq!(status(&receiver, "/", "d2", "k").await, 503);
    assert_eq!(status(&receiver, "/", "d1", "k").await, 200);
}

#[tokio::test]
async fn a_key_fails_alone_and_heals() {
    let receiver = Receiver::start().await;
    receiver.on(Rule::any().key("bad").statuses([500]));
    assert_eq!(status(&receiver, "/", "d1", "bad").await, 500);
    assert_eq!(status(&receiver, "/", "d2", "good").await, 200);
    receiver.heal();
    assert_eq!(status(&receiver, "/", "d1", "bad").await, 200);
}

#[tokio::test]
async fn nasty_answers_are_no_answers() {
    let receiver = Receiver::start().await;
    for (answer, timeout) in [
        (Answer::Hang, SHORT),
        (Answer::Reset, SOON),
        (Answer::Half, SOON),
        (Answer::Endless, SHORT),
        (Answer::Drip, SHORT * 4),
    ] {
        receiver.fail("/", answer.clone());
        let begun = Instant::now();
        assert!(send(&receiver, "/", "d1", "k", timeout).await.is_err(), "{answer:?}");
        assert!(begun.elapsed() < SOON / 2, "{answer:?} ends at once or at the timeout");
    }
    assert_eq!(receiver.arrivals().len(), 5);
}

#[tokio::test]
async fn a_request_is_open_until_it_is_answered_or_its_sender_leaves() {
    let receiver = Receiver::start().await;
    receiver.on(Rule::any().answers([Answer::Hang, Answer::Status(200)]));
    assert!(send(&receiver, "/", "d1", "k", SHORT).await.is_err());
    wait::until("the receiver to see it leave", SOON, || receiver.arrivals()[0].left.is_some())
        .await;
    assert_eq!(status(&receiver, "/", "d2", "k").await, 200);
    let arrivals = receiver.arrivals();
    assert!(arrivals[0].left.unwrap() > arrivals[0].begun && arrivals[0].ended.is_none());
    assert!(arrivals[1].ended.is_some() && arrivals[1].left.is_none());
    assert_eq!(most_open(&arrivals).count, 1);
}

#[tokio::test]
async fn a_late_answer_is_late() {
    let receiver = Receiver::start().await;
    receiver.fail("/", Answer::Status(204).after(SHORT));
    let begun = Instant::now();
    assert_eq!(status(&receiver, "/", "d1", "k").await, 204);
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn the_lies_are_told() {
    let cases = [
        (Fault::SwallowOne(2), vec!["d1", "d3"]),
        (Fault::DoubleOne(2), vec!["d1", "d2", "d3", "d2"]),
        (Fault::SwapTwo(1), vec!["d3", "d2", "d1"]),
    ];
    for (fault, wanted) in cases {
        let options = Options { fault: Some(fault), ..Options::default() };
        let receiver = Receiver::with(options).await;
        for (id, key) in [("d1", "k1"), ("d2", "k2"), ("d3", "k1")] {
            status(&receiver, "/", id, key).await;
        }
        let shown: Vec<_> = receiver.arrivals().into_iter().filter_map(|a| a.id).collect();
        assert_eq!(shown, wanted);
    }
}
