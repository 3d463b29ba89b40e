//! Keeps the catalog fresh: reads the folder again when it changes, swaps it whole or not at all.
//!
//! Polling instead of file-system notices: a ConfigMap's symbolic links and network folders change
//! without notices, and two seconds are soon enough.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use domain::ids::DestinationName;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use crate::{
    Catalog, Problems,
    adopt::{Adoption, Next, Seen},
    folder,
    secret::Environment,
};

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The catalog as it is now, and word of each new one.
#[derive(Clone)]
pub struct Catalogs {
    now: Arc<ArcSwap<Catalog>>,
    changed: channel::Receiver<String>,
}

impl Catalogs {
    /// Makes a catalog that never changes, for commands and tests.
    pub fn fixed(catalog: Catalog) -> Self {
        let (_sender, changed) = channel::channel(catalog.version.clone());
        Self { now: Arc::new(ArcSwap::from_pointee(catalog)), changed }
    }

    /// Returns the catalog as it is now.
    pub fn current(&self) -> Arc<Catalog> {
        self.now.load_full()
    }

    /// Waits until there is another catalog than the one last seen by this clone.
    ///
    /// Never returns once the watch has ended.
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a look at the folder came to, told to the caller for its metrics and logs.
#[derive(Debug)]
pub enum Reload {
    /// The folder's catalog is in force: a new one, or after a refusal the one that went on.
    Taken { version: String },
    /// The folder is wrong, or its catalog may not be taken; the old catalog goes on.
    Refused(Problems),
}

/// Gives the catalog and a future that keeps it fresh until `stop`; `tell` hears each change.
pub fn watch(
    first: Catalog,
    folder: PathBuf,
    stop: CancellationToken,
    tell: impl FnMut(Reload) + Send + 'static,
) -> (Catalogs, impl Future<Output = ()> + Send) {
    let nobody = |_removed: Vec<DestinationName>| std::future::ready(Ok(()));
    watch_asking(first, folder, stop, nobody, tell)
}

/// As [`watch`], and `ask` says whether the destinations may go that a new catalog does not have.
///
/// What it refuses is refused like a mistake, and asked again every 10 s. It limits its own time:
/// the folder is not read while it is asked.
pub fn watch_asking<Answer>(
    first: Catalog,
    folder: PathBuf,
    stop: CancellationToken,
    ask: impl Fn(Vec<DestinationName>) -> Answer + Send + 'static,
    tell: impl FnMut(Reload) + Send + 'static,
) -> (Catalogs, impl Future<Output = ()> + Send)
where
    Answer: Future<Output = Result<(), Problems>> + Send + 'static,
{
    let (sender, changed) = channel::channel(first.version.clone());
    let now = Arc::new(ArcSwap::from_pointee(first));
    let catalogs = Catalogs { now: now.clone(), changed };
    let mut watch = Watch { now, sender, folder, ask, tell, adoption: Adoption::default() };
    let keep = async move {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            if stop.run_until_cancelled(watch.look()).await.is_none() {
                return;
            }
        }
    };
    (catalogs, keep)
}

struct Watch<Ask, Tell> {
    now: Arc<ArcSwap<Catalog>>,
    sender: channel::Sender<String>,
    folder: PathBuf,
    ask: Ask,
    tell: Tell,
    adoption: Adoption,
}

impl<Ask, Answer, Tell> Watch<Ask, Tell>
where
    Ask: Fn(Vec<DestinationName>) -> Answer,
    Answer: Future<Output = Result<(), Problems>>,
    Tell: FnMut(Reload),
{
    async fn look(&mut self) {
        let folder = self.folder.clone();
        let load = move || folder::load(&folder, &Environment::of_process());
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(catalog)) => self.consider(catalog).await,
            Ok(Err(problems)) => self.refuse(None, problems),
            Err(panic) => tracing::error!(%panic, "catalog reload ended"),
        }
    }

    async fn consider(&mut self, catalog: Catalog) {
        let (in_force, read) = (Seen::of(&self.now.load()), Seen::of(&catalog));
        match self.adoption.next(&in_force, &read, Instant::now()) {
            Next::Keep => {}
            Next::Return => {
                self.adoption.settle();
                (self.tell)(Reload::Taken { version: read.version });
            }
            Next::Take => self.take(catalog),
            Next::Ask(removed) => {
                let answer = (self.ask)(removed);
                match answer.await {
                    Ok(()) => self.take(catalog),
                    Err(problems) => self.refuse(Some(read.version), problems),
                }
            }
        }
    }

    fn take(&mut self, catalog: Catalog) {
        let version = catalog.version.clone();
        self.adoption.settle();
        self.now.store(Arc::new(catalog));
        self.sender.send_replace(version.clone());
        (self.tell)(Reload::Taken { version });
    }

    fn refuse(&mut self, version: Option<String>, problems: Problems) {
        if self.adoption.refuse(version, &problems, Instant::now()) {
            (self.tell)(Reload::Refused(problems));
        }
    }
}
