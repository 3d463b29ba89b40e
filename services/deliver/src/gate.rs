//! A destination as its lanes see it: what the catalog says now, ready for use.
//!
//! A catalog that changes changes what is here; the next attempt uses it. It starts nothing.

use std::{collections::HashMap, sync::Arc};

use base64::Engine as _;
use catalog_io::{Auth, Catalog, Destination};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use http_io::redact::Secrets;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use url::Url;
use wire::topics::Names;

use crate::series::Series;

/// All destinations that have or had lanes.
pub(crate) struct Gates {
    names: Names,
    series: crate::series::Families,
    by_name: Mutex<HashMap<String, Arc<Gate>>>,
}

/// One destination; it outlives the catalog's changes.
pub(crate) struct Gate {
    pub(crate) name: String,
    /// `out.<destination>`, as spans name it.
    pub(crate) topic: String,
    pub(crate) dead_letters: Arc<str>,
    pub(crate) series: Series,
    now: watch::Sender<Option<Arc<Prepared>>>,
}

/// Leave for one request, by what the catalog says.
pub(crate) struct Slot {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) permit: OwnedSemaphorePermit,
}

/// What the catalog says of a destination, and what is computed from it once.
pub(crate) struct Prepared {
    pub(crate) destination: Arc<Destination>,
    /// The headers of every request, beneath what a mapping sets.
    pub(crate) headers: HeaderMap,
    /// How the destination knows us, above what a mapping sets.
    pub(crate) auth: Option<(HeaderName, HeaderValue)>,
    /// What must not be written down, should an answer hold it.
    pub(crate) secrets: Secrets,
    /// Where a delivery goes that has no path and no query of its own.
    pub(crate) address: Option<Uri>,
    /// The most attempts in flight at a time.
    pub(crate) slots: Arc<Semaphore>,
}

impl Gates {
    pub(crate) fn new(names: Names, series: crate::series::Families) -> Self {
        Self { names, series, by_name: Mutex::default() }
    }

    /// Returns a destination's gate; one that the catalog does not have is shut.
    pub(crate) fn of(&self, name: &str) -> Arc<Gate> {
        let mut gates = self.by_name.lock();
        if let Some(gate) = gates.get(name) {
            return gate.clone();
        }
        let gate = Arc::new(Gate {
            name: name.to_owned(),
            topic: self.names.out(name),
            dead_letters: self.names.dlq("deliver", name).into(),
            series: self.series.of(name),
            now: watch::Sender::new(None),
        });
        gates.insert(name.to_owned(), gate.clone());
        gate
    }

    /// Takes what a catalog says; what it does not name is shut.
    pub(crate) fn adopt(&self, catalog: &Catalog) {
        for (name, destination) in &catalog.destinations {
            self.of(name.as_str()).adopt(destination);
        }
        for gate in self.by_name.lock().values() {
            if !catalog.destinations.contains_key(gate.name.as_str()) {
                gate.now.send_replace(None);
            }
        }
    }
}

impl Gate {
    /// Returns a slot if the destination is in the catalog, fewer than allowed are in flight and
    /// nobody waits for one.
    pub(crate) fn try_slot(&self) -> Option<Slot> {
        let prepared = self.now.borrow().clone()?;
        let permit = prepared.slots.clone().try_acquire_owned().ok()?;
        Some(Slot { prepared, permit })
    }

    /// Waits until the destination is in the catalog and fewer than allowed are in flight.
    pub(crate) async fn slot(&self) -> Slot {
        loop {
            let prepared = self.open().await;
            // The semaphore is never closed; were it, the loop would take the gate's next one.
            if let Ok(permit) = prepared.slots.clone().acquire_owned().await {
                // What the catalog says may have changed in the meantime.
                return Slot { prepared: self.open().await, permit };
            }
        }
    }

    /// Returns what the catalog says now, waiting while it says nothing of this destination.
    async fn open(&self) -> Arc<Prepared> {
        if let Some(prepared) = self.now.borrow().as_ref() {
            return prepared.clone();
        }
        let mut changes = self.now.subscribe();
        match changes.wait_for(Option::is_some).await.map(|found| found.clone()) {
            Ok(Some(prepared)) => prepared,
            // The sender is ours, and the condition says that there is one.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    fn adopt(&self, destination: &Arc<Destination>) {
        let before = self.now.borrow().clone();
        if before.as_ref().is_some_and(|b| Arc::ptr_eq(&b.destination, destination)) {
            return;
        }
        let concurrency = destination.spec.concurrency;
        let slots = match before {
            Some(before) if before.destination.spec.concurrency == concurrency => {
                before.slots.clone()
            }
            // What is in flight by the old number ends by itself.
            Some(_) | None => Arc::new(Semaphore::new(concurrency as usize)),
        };
        self.now.send_replace(Some(Arc::new(Prepared::new(destination.clone(), slots))));
    }
}

impl Prepared {
    pub(crate) fn new(destination: Arc<Destination>, slots: Arc<Semaphore>) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(header::USER_AGENT, HeaderValue::from_static("millrace"));
        for (name, value) in &destination.spec.headers {
            // The catalog's check has refused what is no header.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::try_from(value))
            {
                headers.insert(name, value);
            }
        }
        let auth = authorization(&destination.auth);
        let secrets = Secrets::new(&secrets(&destination));
        let address = Url::parse(&destination.spec.url).ok();
        let address = address.and_then(|url| url.as_str().parse().ok());
        Self { destination, headers, auth, secrets, address, slots }
    }
}

fn authorization(auth: &Auth) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = match auth {
        Auth::None => return None,
        Auth::Bearer(token) => (header::AUTHORIZATION, format!("Bearer {}", token.expose_secret())),
        Auth::Basic { user, password } => {
            (header::AUTHORIZATION, format!("Basic {}", basic(user, password)))
        }
        Auth::Header { name, value } => {
            (HeaderName::try_from(name).ok()?, value.expose_secret().to_owned())
        }
    };
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

fn basic(user: &str, password: &SecretString) -> String {
    let pair = format!("{user}:{}", password.expose_secret());
    base64::engine::general_purpose::STANDARD.encode(pair)
}

/// Every form in which an answer may give our secrets back.
fn secrets(destination: &Destination) -> Vec<SecretString> {
    let mut secrets: Vec<SecretString> = destination.signing.clone();
    for key in &destination.signing {
        secrets.extend(key.expose_secret().strip_prefix("whsec_").map(SecretString::from));
    }
    match &destination.auth {
        Auth::None => {}
        Auth::Bearer(secret) | Auth::Header { value: secret, .. } => secrets.push(secret.clone()),
        Auth::Basic { user, password } => {
            secrets.push(password.clone());
            secrets.push(basic(user, password).into());
        }
    }
    secrets
}
