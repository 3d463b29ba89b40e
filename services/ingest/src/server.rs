//! Accepts connections, serves HTTP/1.1 and HTTP/2 on each, and ends them without cutting a request short.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    request::{self, Desk},
};

/// The most bytes of a connection that are read ahead; a request's head has to fit in.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
const HEAD_BYTES_MAX: u32 = 32 * 1024;
const STREAMS_MAX: u32 = 256;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How often a silent HTTP/2 connection is asked whether it lives, and how long it may think.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WITHIN: Duration = Duration::from_secs(10);
/// How long accepting rests when the process can't have another connection.
const REST: Duration = Duration::from_millis(100);

/// Accepts and serves; clones of its parts go to each connection.
pub(crate) struct Server {
    desk: Arc<Desk>,
    builder: auto::Builder<Tasks>,
    tasks: Tasks,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    head_within: Duration,
    drain_within: Duration,
}

/// Owns every connection and every HTTP/2 stream; cuts off what does not end.
#[derive(Clone, Default)]
struct Tasks {
    running: TaskTracker,
    cut: CancellationToken,
}

impl Server {
    pub(crate) fn new(config: &Config, desk: Desk, stop: CancellationToken) -> Self {
        let tasks = Tasks::default();
        Self {
            desk: Arc::new(desk),
            builder: builder(config, tasks.clone()),
            tasks,
            slots: Arc::new(Semaphore::new(config.connections_max)),
            stop,
            head_within: config.head_within,
            drain_within: config.drain_within,
        }
    }

    /// Serves until the process stops and what was in flight is answered or cut off.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let server = Arc::new(self);
        while let Some((stream, slot)) = server.accept(&listener).await {
            let connection = server.clone().connection(stream, slot);
            server.tasks.execute(connection);
        }
        drop(listener);
        server.drain().await;
    }

    /// Waits for a connection and its slot; `None` when the process stops.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let slot = self.slots.clone().acquire_owned();
        let slot = self.stop.run_until_cancelled(slot).await?.ok()?;
        loop {
            match self.stop.run_until_cancelled(listener.accept()).await? {
                Ok((stream, _)) => return Some((stream, slot)),
                Err(error) => {
                    tracing::warn!(error.message = %error, "connection not accepted");
                    self.stop.run_until_cancelled(tokio::time::sleep(REST)).await?;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, _slot: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error.message = %error, "connection ended at once");
            return;
        }
        let begun = Arc::new(AtomicBool::new(false));
        let service = {
            let (desk, begun) = (self.desk.clone(), begun.clone());
            service_fn(move |request| {
                begun.store(true, Ordering::Relaxed);
                let desk = desk.clone();
                async move { Ok::<_, Infallible>(request::answer(&desk, request).await) }
            })
        };
        let mut serving = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut silence = pin!(tokio::time::sleep(self.head_within));
        let mut stop = pin!(self.stop.cancelled());
        let (mut is_watched, mut is_stopping) = (true, false);
        loop {
            tokio::select! {
                biased;
                ended = &mut serving => {
                    if let Err(error) = ended {
                        tracing::debug!(error.message = %error, "connection ended");
                    }
                    return;
                }
                // Before its first bytes nobody else has a clock on the connection.
                () = &mut silence, if is_watched => {
                    if !begun.load(Ordering::Relaxed) {
                        return;
                    }
                    is_watched = false;
                }
                () = &mut stop, if !is_stopping => {
                    serving.as_mut().graceful_shutdown();
                    is_stopping = true;
                }
            }
        }
    }

    async fn drain(&self) {
        self.tasks.running.close();
        let drained = tokio::time::timeout(self.drain_within, self.tasks.running.wait()).await;
        if drained.is_err() {
            let connections = self.tasks.running.len();
            tracing::warn!(connections, "requests were cut off: they did not end in time");
            self.tasks.cut.cancel();
            self.tasks.running.wait().await;
        }
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let cut = self.cut.clone();
        // Whether it ended or was cut off is the same to us.
        self.running.spawn(async move { drop(cut.run_until_cancelled_owned(task).await) });
    }
}

fn builder(config: &Config, tasks: Tasks) -> auto::Builder<Tasks> {
    let mut builder = auto::Builder::new(tasks);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_within)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN);
    builder
}
