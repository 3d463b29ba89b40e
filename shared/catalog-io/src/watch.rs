//! Keeps the catalog fresh: reads the folder again when it changes, swaps it whole or not at all.
//!
//! Polling instead of file-system notices: a ConfigMap's symbolic links and network folders change
//! without notices, and two seconds are soon enough.

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use crate::{Catalog, Problems, folder, secret::Environment};

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
    /// A new catalog is in force.
    Taken { version: String },
    /// The folder is wrong; the old catalog goes on.
    Refused(Problems),
}

/// Gives the catalog and a future that keeps it fresh until `stop`; `tell` hears each change.
pub fn watch(
    first: Catalog,
    folder: PathBuf,
    stop: CancellationToken,
    tell: impl Fn(Reload) + Send + 'static,
) -> (Catalogs, impl Future<Output = ()> + Send) {
    let (sender, changed) = channel::channel(first.version.clone());
    let now = Arc::new(ArcSwap::from_pointee(first));
    let catalogs = Catalogs { now: now.clone(), changed };
    let keep = async move {
        let mut refused = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let folder = folder.clone();
            let look = move || folder::load(&folder, &Environment::of_process());
            match tokio::task::spawn_blocking(look).await {
                Ok(Ok(catalog)) => {
                    refused = None;
                    if catalog.version != now.load().version {
                        let version = catalog.version.clone();
                        now.store(Arc::new(catalog));
                        sender.send_replace(version.clone());
                        tell(Reload::Taken { version });
                    }
                }
                Ok(Err(problems)) if refused.as_ref() != Some(&problems) => {
                    refused = Some(problems.clone());
                    tell(Reload::Refused(problems));
                }
                Ok(Err(_)) => {}
                Err(panic) => tracing::error!(%panic, "catalog reload ended"),
            }
        }
    };
    (catalogs, keep)
}
