//! Which step failed, and so whether the request may have been done.

use std::time::{Duration, Instant};

use domain::catalog::Protocol;
use http_io::{Client, Config, Phase, egress::Rules};
use testkit::{Receiver, receiver::Answer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{AMPLE, client, post, post_within};

#[tokio::test]
async fn each_way_to_fail_after_sending_says_so() {
    let receiver = Receiver::start().await;
    let soon = Duration::from_millis(300);
    let rows = [
        (Answer::Reset, AMPLE, Phase::NoAnswer, "no_answer", None),
        (Answer::Hang, soon, Phase::NoAnswer, "timeout", None),
        (Answer::Half, AMPLE, Phase::AnswerBroken, "answer_broken", Some(200)),
    ];
    for (answer, timeout, phase, error_type, status) in rows {
        receiver.heal();
        receiver.fail("/", answer.clone());
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let url = receiver.url("/");
            let failure = post_within(&client(), &url, protocol, timeout).await.unwrap_err();
            let told =
                (failure.phase(), failure.error_type(), failure.status().map(|s| s.as_u16()));
            assert_eq!(told, (phase, error_type, status), "{answer:?} {protocol:?}: {failure}");
            assert!(failure.sent() && failure.latency().total.is_some());
            assert!(failure.latency().connect.is_some() || protocol == Protocol::Http2);
        }
    }
}

#[tokio::test]
async fn special_addresses_are_refused_by_number_and_by_name() {
    let receiver = Receiver::start().await;
    let client = Client::new(&Config::default(), Rules::default()).unwrap();
    let port = receiver.address().port();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"] {
        let failure = post(&client, &format!("http://{host}:{port}/")).await.unwrap_err();
        assert!(failure.is_refused() && !failure.sent(), "{host}: {failure}");
        assert!(failure.to_string().contains("egress_allow"), "{failure}");
    }
    assert!(receiver.arrivals().is_empty());
}

#[tokio::test]
async fn an_allowed_name_is_reached_through_its_allowed_addresses_only() {
    let receiver = Receiver::start().await;
    let url = format!("http://localhost:{}/", receiver.address().port());
    let answer = post(&client(), &url).await.unwrap();
    assert!(answer.latency.dns.is_some());
}

#[tokio::test]
async fn what_was_never_sent_is_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = post(&client(), &format!("http://{free}/")).await.unwrap_err();
    assert_eq!((refused.phase(), refused.sent()), (Phase::Connect, false), "{refused}");
    let unknown = post(&client(), "http://nowhere.invalid/").await.unwrap_err();
    assert_eq!((unknown.phase(), unknown.sent()), (Phase::Dns, false), "{unknown}");
    assert!(unknown.latency().dns.is_some());
}

#[tokio::test]
async fn a_server_that_does_not_shake_hands_is_given_up_within_the_tls_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let begun = Instant::now();
    let failure = post(&client(), &url).await.unwrap_err();
    assert_eq!((failure.phase(), failure.sent()), (Phase::Tls, false), "{failure}");
    assert!(failure.latency().connect.is_some() && failure.latency().tls.is_some());
    let soon = Duration::from_millis(50);
    let failure = post_within(&client(), &url, Protocol::Auto, soon).await.unwrap_err();
    assert_eq!((failure.phase(), failure.sent()), (Phase::Connect, false), "{failure}");
    assert!(begun.elapsed() < AMPLE / 2);
}

#[tokio::test]
async fn what_is_no_http_is_a_broken_answer() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/secret-path", server.local_addr().unwrap());
    let babble = tokio::spawn(async move {
        let (mut stream, _) = server.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await.unwrap();
    });
    let failure = post(&client(), &url).await.unwrap_err();
    babble.await.unwrap();
    assert_eq!((failure.phase(), failure.sent()), (Phase::AnswerBroken, true), "{failure}");
    assert!(!failure.to_string().contains("secret-path"), "{failure}");
}
