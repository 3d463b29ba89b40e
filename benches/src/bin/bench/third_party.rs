//! A third party that costs next to nothing and does what it is told, so that it bounds no measurement:
//! it reads requests as bytes, keeps no log, and its delays are exact to a tenth of a millisecond.
//! Where what was received matters, testkit's receiver serves.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::interval,
};

use crate::watch::Watch;

/// Connections that wait to be accepted: as many as the system lets wait.
const BACKLOG: u32 = 4096;
/// How often a body without end goes on: a slow network, so that sending it does not fill the machine.
const PIECE_EVERY: Duration = Duration::from_millis(250);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const DRIPPING: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const CHUNK_BYTES: usize = 16 * 1024;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// 200, so long after the request.
    After(Duration),
    /// This status at once.
    Status(u16),
    /// Not at all.
    Hang,
    /// 200, and a body of which a byte comes now and then.
    Drip,
    /// 200, and a body without end.
    Endless,
}

/// One that runs; dropping it closes its port and all connections.
#[derive(Debug)]
pub(crate) struct ThirdParty {
    address: SocketAddr,
    desk: Arc<Desk>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Desk {
    conduct: Conduct,
    begun: AtomicU64,
    taken: AtomicU64,
    watch: RwLock<Option<Arc<Watch>>>,
    clock: mpsc::Sender<Alarm>,
}

/// When to wake somebody.
type Alarm = (Instant, oneshot::Sender<()>);

impl ThirdParty {
    /// Starts one on any port.
    pub(crate) fn start(conduct: Conduct) -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), conduct)
    }

    /// Starts one where it is expected.
    pub(crate) fn at(address: SocketAddr, conduct: Conduct) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(BACKLOG).unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            conduct,
            begun: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            watch: RwLock::default(),
            clock: clock(),
        });
        let accepting = tokio::spawn(accept(listener, desk.clone()));
        Self { address, desk, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have come.
    pub(crate) fn begun(&self) -> u64 {
        self.desk.begun.load(Ordering::Relaxed)
    }

    /// How many requests were answered after their delay.
    pub(crate) fn taken(&self) -> u64 {
        self.desk.taken.load(Ordering::Relaxed)
    }

    /// Tells this watch of every request from now on, and no other.
    pub(crate) fn watched_by(&self, watch: &Arc<Watch>) {
        *self.desk.watch.write().unwrap() = Some(watch.clone());
    }
}

impl Drop for ThirdParty {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, desk.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers requests until the connection ends.
async fn serve(mut stream: TcpStream, desk: Arc<Desk>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut bytes = Vec::with_capacity(16 * 1024);
    loop {
        read_request(&mut stream, &mut bytes, &desk).await?;
        desk.answer(&mut stream).await?;
    }
}

/// Reads one request to its end; nobody sends the next one before the answer.
async fn read_request(stream: &mut TcpStream, bytes: &mut Vec<u8>, desk: &Desk) -> Option<()> {
    bytes.clear();
    let head = loop {
        more(stream, bytes).await?;
        if let Some(end) = after(bytes, b"\r\n\r\n") {
            break end;
        }
    };
    desk.arrived(&bytes[..head]);
    let length: usize = digits(&bytes[..head], b"content-length: ", 10)?.try_into().ok()?;
    while bytes.len() < head + length {
        more(stream, bytes).await?;
    }
    Some(())
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(bytes).await.ok()?;
    (read > 0).then_some(())
}

impl Desk {
    fn arrived(&self, head: &[u8]) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if let Some(watch) = &*self.watch.read().unwrap()
            && let Some(number) = digits(head, b"\r\nwebhook-id: mr_", 16)
        {
            watch.came(number);
        }
    }

    /// `None` where the connection is of no use afterwards.
    async fn answer(&self, stream: &mut TcpStream) -> Option<()> {
        match self.conduct {
            Conduct::After(delay) => {
                self.wait(delay).await;
                self.taken.fetch_add(1, Ordering::Relaxed);
                stream.write_all(OK).await.ok()
            }
            Conduct::Status(status) => {
                let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.ok()
            }
            Conduct::Hang => more(stream, &mut Vec::new()).await,
            Conduct::Drip => trickle(stream, DRIPPING, b".").await,
            Conduct::Endless => trickle(stream, ENDLESS, &chunk()).await,
        }
    }

    async fn wait(&self, delay: Duration) {
        if delay.is_zero() {
            return;
        }
        let (wake, woken) = oneshot::channel();
        if self.clock.send((Instant::now() + delay, wake)).is_ok() {
            // Who is told nothing was waiting when everything ended.
            let _ended = woken.await;
        }
    }
}

/// Sends a body of which another piece comes now and then, for as long as somebody listens.
async fn trickle(stream: &mut TcpStream, head: &[u8], piece: &[u8]) -> Option<()> {
    stream.write_all(head).await.ok()?;
    let mut ticks = interval(PIECE_EVERY);
    loop {
        ticks.tick().await;
        stream.write_all(piece).await.ok()?;
    }
}

fn chunk() -> Vec<u8> {
    let mut chunk = format!("{CHUNK_BYTES:x}\r\n").into_bytes();
    chunk.resize(chunk.len() + CHUNK_BYTES, b'.');
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// Starts a thread that wakes everybody in the order in which they asked, all after the same delay: tokio's
/// timer counts whole milliseconds, which at 10 ms are a tenth of what is measured.
fn clock() -> mpsc::Sender<Alarm> {
    let (sender, alarms) = mpsc::channel::<Alarm>();
    thread::spawn(move || {
        for (at, wake) in alarms {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            // A connection that was closed is not woken.
            let _closed = wake.send(());
        }
    });
    sender
}

/// The place after the first occurrence.
fn after(bytes: &[u8], part: &[u8]) -> Option<usize> {
    let mut places = bytes.windows(part.len());
    places.position(|place| place[0] == part[0] && place == part).map(|at| at + part.len())
}

/// The number that follows a text.
fn digits(bytes: &[u8], text: &[u8], radix: u32) -> Option<u64> {
    let rest = &bytes[after(bytes, text)?..];
    let length = rest.iter().position(|byte| *byte == b'\r')?;
    u64::from_str_radix(std::str::from_utf8(&rest[..length]).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;
    use testkit::{Reply, request};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    async fn post(to: &ThirdParty, number: u64) -> Option<Reply> {
        let post = Request::post("/").header("webhook-id", format!("mr_{number:032x}"));
        request(to.address(), post.body(Full::new(Bytes::from("body"))).unwrap(), SOON).await.ok()
    }

    #[tokio::test]
    async fn an_answer_comes_after_its_delay_and_the_watch_is_told() {
        let party = ThirdParty::start(Conduct::After(Duration::from_millis(30)));
        let watch = Watch::new(&(250..260));
        party.watched_by(&watch);
        let begun = Instant::now();
        assert_eq!(post(&party, 255).await.unwrap().status, 200);
        assert!(begun.elapsed() >= Duration::from_millis(30));
        assert_eq!((party.begun(), party.taken(), watch.count()), (1, 1, 1));
    }

    #[tokio::test]
    async fn a_status_is_given_and_counts_as_not_taken() {
        let party = ThirdParty::start(Conduct::Status(429));
        assert_eq!(post(&party, 1).await.unwrap().status, 429);
        assert_eq!((party.begun(), party.taken()), (1, 0));
    }
}
