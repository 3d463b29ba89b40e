//! A bounded sender: so many connections, each with one request in flight. It makes no request
//! itself; whoever sends knows how to sign.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep_until, timeout},
};

use crate::{Reply, client};

/// How much to send, how fast, how stubbornly.
#[derive(Debug, Clone)]
pub struct Load {
    pub to: SocketAddr,
    /// How many requests, numbered from 0.
    pub requests: u64,
    /// A lower limit that may be set while the load runs: numbers from it on are not begun.
    pub end: Arc<AtomicU64>,
    /// How many connections. Request `i` goes over connection `i % connections`, each connection in
    /// order: requests whose keys depend on `i % connections` only are sent in order per key.
    pub connections: u64,
    /// Requests per second over all connections; `None` is as fast as it goes.
    pub per_second: Option<f64>,
    /// Whether a request is sent again until it is answered 2xx, or refused with 4xx but 429.
    pub resend: bool,
    /// Which answers with 5xx say that nothing was written.
    pub unwritten: fn(&Reply) -> bool,
    /// How long one try may take.
    pub timeout: Duration,
    /// How long all may take; what is not sent by then is missing in the answers.
    pub deadline: Duration,
}

impl Load {
    /// `requests` over eight connections, as fast as it goes, each tried once.
    pub fn new(to: SocketAddr, requests: u64) -> Self {
        let (timeout, deadline) = (Duration::from_secs(10), Duration::from_secs(300));
        let (connections, per_second, resend) = (8, None, false);
        let end = Arc::new(AtomicU64::new(u64::MAX));
        let unwritten: fn(&Reply) -> bool = |_| false;
        Self { to, requests, end, connections, per_second, resend, unwritten, timeout, deadline }
    }
}

/// How one request ended.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The request's number.
    pub number: u64,
    /// The last answer, or `None` if there was none.
    pub reply: Option<Reply>,
    /// Tries of which nobody knows whether they were accepted: cut off, timed out.
    pub unknown_tries: u32,
    /// Tries answered 5xx: not accepted, but possibly written; those that say otherwise left out.
    pub failed_tries: u32,
    /// The place of the (last) answer in the order of all answers, and when it was there.
    pub place: u64,
    pub ended: std::time::Instant,
    /// The time the last try took.
    pub latency: Duration,
}

impl Sent {
    /// The last answer's status.
    pub fn status(&self) -> Option<StatusCode> {
        self.reply.as_ref().map(|reply| reply.status)
    }

    /// Whether it was answered 2xx.
    pub fn is_accepted(&self) -> bool {
        self.status().is_some_and(|status| status.is_success())
    }
}

/// Sends what `request` makes of each number, and gives how each ended, in the order of answers.
/// `request` is asked again for every try: a signature's time may matter. `each` sees every end.
pub async fn send<R, E>(load: &Load, request: R, each: E) -> Vec<Sent>
where
    R: Fn(u64) -> Request<Full<Bytes>> + Send + Sync + 'static,
    E: Fn(&Sent) + Send + Sync + 'static,
{
    let shared = Arc::new(Sender {
        load: load.clone(),
        begun: Instant::now(),
        places: AtomicU64::new(0),
        all: Mutex::default(),
        request,
        each,
    });
    let mut lanes = JoinSet::new();
    for lane in 0..load.connections {
        lanes.spawn(shared.clone().lane(lane));
    }
    let _ = timeout(load.deadline, async { while lanes.join_next().await.is_some() {} }).await;
    lanes.shutdown().await;
    let mut all = std::mem::take(&mut *shared.all.lock());
    all.sort_unstable_by_key(|sent| sent.place);
    all
}

struct Sender<R, E> {
    load: Load,
    begun: Instant,
    places: AtomicU64,
    all: Mutex<Vec<Sent>>,
    request: R,
    each: E,
}

impl<R, E> Sender<R, E>
where
    R: Fn(u64) -> Request<Full<Bytes>> + Send + Sync + 'static,
    E: Fn(&Sent) + Send + Sync + 'static,
{
    async fn lane(self: Arc<Self>, lane: u64) {
        let mut connection = None;
        let mut number = lane;
        while number < self.load.requests.min(self.load.end.load(Ordering::Relaxed)) {
            if let Some(per_second) = self.load.per_second {
                sleep_until(self.begun + Duration::from_secs_f64(number as f64 / per_second)).await;
            }
            let sent = self.one(number, &mut connection).await;
            (self.each)(&sent);
            self.all.lock().push(sent);
            number += self.load.connections;
        }
    }

    /// Sends one request until its fate is known, or once.
    async fn one(&self, number: u64, connection: &mut Connection) -> Sent {
        let (mut unknown_tries, mut failed_tries) = (0, 0);
        let mut pause = interval(Duration::from_millis(20));
        loop {
            pause.tick().await;
            let begun = Instant::now();
            let reply = timeout(self.load.timeout, self.attempt(number, connection)).await;
            let latency = begun.elapsed();
            let reply = match reply {
                Ok(Attempt::Answered(reply)) => Some(reply),
                Ok(Attempt::NotSent) => None,
                Ok(Attempt::Unknown) | Err(_) => {
                    *connection = None; // an answer may still be on its way
                    unknown_tries += 1;
                    None
                }
            };
            let possibly =
                |reply: &Reply| reply.status.is_server_error() && !(self.load.unwritten)(reply);
            failed_tries += u32::from(reply.as_ref().is_some_and(possibly));
            if !self.load.resend || reply.as_ref().is_some_and(is_final) {
                let place = self.places.fetch_add(1, Ordering::Relaxed);
                let ended = Instant::now().into_std();
                return Sent { number, reply, unknown_tries, failed_tries, place, ended, latency };
            }
        }
    }

    async fn attempt(&self, number: u64, connection: &mut Connection) -> Attempt {
        if connection.as_ref().is_none_or(SendRequest::is_closed) {
            match client::connect(self.load.to).await {
                Ok(new) => *connection = Some(new),
                Err(_) => return Attempt::NotSent,
            }
        }
        let Some(sender) = connection else { return Attempt::NotSent };
        match client::exchange(sender, self.load.to, (self.request)(number)).await {
            Ok(reply) => Attempt::Answered(reply),
            Err(_) => Attempt::Unknown,
        }
    }
}

type Connection = Option<SendRequest<Full<Bytes>>>;

enum Attempt {
    Answered(Reply),
    NotSent,
    Unknown,
}

fn is_final(reply: &Reply) -> bool {
    let refused = reply.status.is_client_error() && reply.status != StatusCode::TOO_MANY_REQUESTS;
    reply.status.is_success() || refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::{Answer, Counting, Receiver, Rule};

    fn post(number: u64) -> Request<Full<Bytes>> {
        let request = Request::post("/").header("webhook-id", number).header("x-key", number % 4);
        request.body(Full::from("body")).unwrap()
    }

    fn load(receiver: &Receiver, requests: u64) -> Load {
        Load { connections: 4, ..Load::new(receiver.address(), requests) }
    }

    #[tokio::test]
    async fn every_number_is_sent_once_and_in_order_per_connection() {
        let receiver = Receiver::start().await;
        let sent = send(&load(&receiver, 40), post, |_| {}).await;
        assert!(sent.len() == 40 && sent.iter().all(Sent::is_accepted));
        for key in 0..4_u64 {
            let ids: Vec<u64> = receiver
                .arrivals()
                .iter()
                .filter(|arrival| arrival.key.as_deref() == Some(&key.to_string()))
                .map(|arrival| arrival.id.as_ref().unwrap().parse().unwrap())
                .collect();
            assert_eq!(ids, (0..10).map(|step| key + 4 * step).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_stubborn_sender_comes_again_until_taken() {
        let receiver = Receiver::start().await;
        receiver.on(Rule::any().counting(Counting::PerId).answers([
            Answer::Reset,
            Answer::Status(503),
            Answer::Status(200),
        ]));
        let sent = send(&Load { resend: true, ..load(&receiver, 8) }, post, |_| {}).await;
        let each = |sent: &Sent| (sent.is_accepted(), sent.unknown_tries, sent.failed_tries);
        assert!(sent.iter().all(|sent| each(sent) == (true, 1, 1)));
        assert_eq!((receiver.arrivals().len(), receiver.taken()), (24, 8));
    }

    #[tokio::test]
    async fn an_answer_that_says_nothing_was_written_is_believed() {
        let receiver = Receiver::start().await;
        receiver.on(Rule::any().counting(Counting::PerId).statuses([503, 500, 200]));
        let unwritten = |reply: &Reply| reply.status == StatusCode::SERVICE_UNAVAILABLE;
        let load = Load { resend: true, unwritten, ..load(&receiver, 4) };
        let sent = send(&load, post, |_| {}).await;
        assert!(sent.len() == 4 && sent.iter().all(|sent| sent.failed_tries == 1));
    }

    #[tokio::test]
    async fn a_refusal_ends_it() {
        let receiver = Receiver::start().await;
        receiver.fail("/", Answer::Status(401));
        let sent = send(&Load { resend: true, ..load(&receiver, 4) }, post, |_| {}).await;
        assert_eq!((sent.len(), receiver.arrivals().len()), (4, 4));
    }

    #[tokio::test]
    async fn the_pace_is_kept() {
        let receiver = Receiver::start().await;
        let begun = Instant::now();
        send(&Load { per_second: Some(100.0), ..load(&receiver, 21) }, post, |_| {}).await;
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn the_end_can_come_while_it_runs() {
        let receiver = Receiver::start().await;
        let load = Load { per_second: Some(200.0), ..load(&receiver, u64::MAX) };
        let end = load.end.clone();
        let ending = move |sent: &Sent| {
            if sent.number == 11 {
                end.store(20, Ordering::Relaxed);
            }
        };
        let sent = send(&load, post, ending).await;
        assert!((12..=24).contains(&sent.len()), "{}", sent.len());
    }

    #[tokio::test]
    async fn the_deadline_ends_everything() {
        let receiver = Receiver::start().await;
        receiver.fail("/", Answer::Hang);
        let deadline = Duration::from_millis(100);
        let sent = send(&Load { deadline, ..load(&receiver, 4) }, post, |_| {}).await;
        assert!(sent.is_empty());
    }
}
