//! A destination as its lanes see it: what the catalog says now, ready for use, and leave to start.
//!
//! A catalog that changes changes what is here; the next attempt uses it. It starts nothing.

mod line;
mod pool;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use base64::Engine as _;
use catalog_io::{Auth, Catalog, Destination};
use domain::{catalog::SharedRate, rate::Share};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use http_io::redact::Secrets;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use url::Url;
use wire::topics::Names;

use crate::{
    clock::Clock,
    flow::{Hold, Numbers},
    series::Series,
};

use line::{Leave, Line};
use pool::Pool;

/// All destinations that have or had lanes.
pub(crate) struct Gates {
    names: Names,
    series: crate::series::Families,
    clock: Clock,
    by_name: Mutex<HashMap<String, Arc<Gate>>>,
    /// By the names of the shared rates.
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

/// One destination; it outlives the catalog's changes.
pub(crate) struct Gate {
    pub(crate) name: String,
    /// `out.<destination>`, as spans name it.
    pub(crate) topic: String,
    pub(crate) dead_letters: Arc<str>,
    pub(crate) series: Series,
    now: watch::Sender<Option<Arc<Prepared>>>,
    line: Arc<Line>,
    partitions: Mutex<Partitions>,
    /// The rate it shares with others.
    pool: Mutex<Option<Arc<Pool>>>,
}

/// How many partitions a destination has, replays included, and how many of them are lanes here.
#[derive(Debug, Default)]
struct Partitions {
    /// By the catalog.
    listed: u32,
    /// In the cluster, when it was asked last.
    found: u32,
    owned: u32,
}

/// A lane that counts as owned until this is dropped.
pub(crate) struct Owned(Arc<Gate>);

/// Leave for one request, by what the catalog says.
pub(crate) struct Slot {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) leave: Leave,
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
}

impl Gates {
    pub(crate) fn new(names: Names, series: crate::series::Families) -> Self {
        Self {
            names,
            series,
            clock: Clock::new(),
            by_name: Mutex::default(),
            pools: Mutex::default(),
        }
    }

    /// Counts time by another clock; before any gate is made.
    #[cfg(test)]
    pub(crate) fn timed_by(self, clock: Clock) -> Self {
        Self { clock, ..self }
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
            line: Line::new(name, Numbers::unlisted(), self.clock, self.series.pace.of(name)),
            partitions: Mutex::default(),
            pool: Mutex::default(),
        });
        gates.insert(name.to_owned(), gate.clone());
        gate
    }

    /// Takes what a catalog says; what it does not name is shut.
    pub(crate) fn adopt(&self, catalog: &Catalog) {
        for (name, destination) in &catalog.destinations {
            let pool = destination.shared_rate.as_ref().map(|shared| self.pool(shared));
            self.of(name.as_str()).adopt(destination, pool);
        }
        for gate in self.by_name.lock().values() {
            if !catalog.destinations.contains_key(gate.name.as_str()) {
                gate.now.send_replace(None);
                gate.share_rate(None);
            }
        }
    }

    /// Returns a shared rate, as the catalog says it now.
    fn pool(&self, shared: &SharedRate) -> Arc<Pool> {
        let mut pools = self.pools.lock();
        let new = || Arc::new(Pool::new(shared.rate, self.clock));
        let pool = pools.entry(shared.name.clone()).or_insert_with(new).clone();
        pool.set_rate(shared.rate);
        pool
    }

    /// Takes how many partitions each destination was found to have, replays included.
    pub(crate) fn found(&self, partitions: &BTreeMap<String, u32>) {
        for (name, found) in partitions {
            self.of(name).repartition(|partitions| partitions.found = *found);
        }
    }
}

impl Gate {
    /// Returns a slot if the destination is in the catalog, bears another request now and nobody
    /// waits for one.
    pub(crate) fn try_slot(&self) -> Option<Slot> {
        let prepared = self.now.borrow().clone()?;
        let leave = self.line.try_leave()?;
        Some(Slot { prepared, leave })
    }

    #[cfg(test)]
    pub(crate) fn stand(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        self.line.stand()
    }

    /// Asks as the first of those who wait does.
    #[cfg(test)]
    pub(crate) fn ask(&self) -> Result<Slot, crate::flow::Wait> {
        let prepared = self.now.borrow().clone().expect("the catalog has it");
        self.line.ask().map(|leave| Slot { prepared, leave })
    }

    #[cfg(test)]
    pub(crate) fn breaker(&self) -> domain::breaker::State {
        self.line.breaker()
    }

    /// Waits until the destination is in the catalog and bears another request.
    pub(crate) async fn slot(&self) -> Slot {
        loop {
            self.open().await;
            let leave = self.line.leave().await;
            // What the catalog says may have changed in the meantime; without it, the leave goes back.
            if let Some(prepared) = self.now.borrow().clone() {
                return Slot { prepared, leave };
            }
        }
    }

    /// Counts a lane of this destination, which takes its share of what the group may do.
    pub(crate) fn own(self: &Arc<Self>) -> Owned {
        self.repartition(|partitions| partitions.owned += 1);
        Owned(self.clone())
    }

    /// Returns once no more is in flight than this process' share allows: what a lane that goes to another
    /// process waits for, so that both together never have more than the destination bears.
    pub(crate) async fn within_share(&self) {
        self.line.within_share().await;
    }

    #[cfg(test)]
    pub(crate) fn is_within_share(&self) -> bool {
        self.line.is_within_share()
    }

    /// Keeps every attempt back from now on, or no longer. What is in flight ends by itself.
    pub(crate) fn hold(&self, hold: Option<Hold>) {
        self.line.hold(hold);
    }

    /// Says whether nothing at all may start now: held, the breaker open, or asked to wait.
    pub(crate) fn is_shut(&self) -> bool {
        self.line.is_shut()
    }

    /// Returns how long the destination has stood still in all; budgets are read against it.
    pub(crate) fn stood_still(&self) -> Duration {
        self.line.stood_still()
    }

    /// Returns once the catalog says something of this destination.
    async fn open(&self) {
        // The sender is ours, so that there is always an answer.
        let _ = self.now.subscribe().wait_for(Option::is_some).await;
    }

    fn adopt(&self, destination: &Arc<Destination>, pool: Option<Arc<Pool>>) {
        let before = self.now.borrow().clone();
        if before.as_ref().is_some_and(|b| Arc::ptr_eq(&b.destination, destination)) {
            return;
        }
        self.line.set_numbers(Numbers::of(&destination.spec));
        let listed = u32::try_from(destination.partitions).unwrap_or(0).saturating_mul(2);
        self.repartition(|partitions| partitions.listed = listed);
        self.share_rate(pool);
        self.now.send_replace(Some(Arc::new(Prepared::new(destination.clone()))));
    }

    /// Takes the rate that it shares from now on, and leaves the one it shared.
    fn share_rate(&self, pool: Option<Arc<Pool>>) {
        let partitions = self.partitions.lock();
        let before = std::mem::replace(&mut *self.pool.lock(), pool.clone());
        if let Some(before) = before.filter(|b| !pool.as_ref().is_some_and(|p| Arc::ptr_eq(b, p))) {
            before.set_share(&self.name, None);
        }
        if let Some(pool) = &pool {
            pool.set_share(&self.name, Some(partitions.share()));
        }
        self.line.set_pool(pool);
    }

    fn repartition(&self, change: impl FnOnce(&mut Partitions)) {
        let mut partitions = self.partitions.lock();
        let before = partitions.share();
        change(&mut partitions);
        let share = partitions.share();
        if share != before {
            // Under the lock, so that the last share told is the last that there was.
            self.line.set_share(share);
            if let Some(pool) = &*self.pool.lock() {
                pool.set_share(&self.name, Some(share));
            }
        }
    }
}

impl Partitions {
    /// Where the catalog and the cluster differ, the larger number counts: too little is sent, not too
    /// much, until `millrace topics apply` has made them equal.
    fn share(&self) -> Share {
        let total = self.listed.max(self.found).max(self.owned).max(1);
        Share { owned: self.owned, total }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.repartition(|partitions| partitions.owned = partitions.owned.saturating_sub(1));
    }
}

impl Prepared {
    pub(crate) fn new(destination: Arc<Destination>) -> Self {
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
        Self { destination, headers, auth, secrets, address }
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

#[cfg(test)]
mod tests {
    use catalog_io::Catalog;
    use chassis::Metrics;
    use domain::{rate::Rate, time::MonoNanos};

    use super::*;
    use crate::{series::Families, testing};

    fn gates() -> Gates {
        Gates::new(Names::new(""), Families::new(&Metrics::default()))
    }

    fn catalog(concurrency: u32) -> Catalog {
        let mut crm = testing::destination("https://crm.example");
        crm.spec.concurrency = concurrency;
        crm.spec.concurrency_min = concurrency;
        let destinations = BTreeMap::from([(crm.spec.name.clone(), Arc::new(crm))]);
        let (version, sources) = ("1".to_owned(), BTreeMap::new());
        Catalog { version, sources, routes: Vec::new(), destinations }
    }

    fn slots(gate: &Gate) -> Vec<Slot> {
        std::iter::from_fn(|| gate.try_slot()).collect()
    }

    #[test]
    fn a_destination_is_shut_until_the_catalog_has_it_and_again_afterwards() {
        let gates = gates();
        let gate = gates.of("crm");
        let _lanes = [gate.own(), gate.own()];
        assert!(gate.try_slot().is_none());
        gates.adopt(&catalog(3));
        assert_eq!(slots(&gate).len(), 3);
        gates.adopt(&Catalog { destinations: BTreeMap::new(), ..catalog(3) });
        assert!(gate.try_slot().is_none());
    }

    #[test]
    fn a_changed_number_counts_what_is_in_flight_already() {
        let gates = gates();
        gates.adopt(&catalog(4));
        let gate = gates.of("crm");
        let _lanes = [gate.own(), gate.own()];
        let before = slots(&gate);
        gates.adopt(&catalog(6));
        assert_eq!((before.len(), slots(&gate).len()), (4, 2));
        gates.adopt(&catalog(2));
        assert!(gate.try_slot().is_none());
        drop(before);
        assert_eq!(slots(&gate).len(), 2);
    }

    #[test]
    fn each_process_has_the_part_of_the_numbers_that_it_has_of_the_partitions() {
        let gates = gates();
        gates.adopt(&catalog(12));
        let gate = gates.of("crm");
        gates.found(&BTreeMap::from([("crm".to_owned(), 6)]));
        let first = gate.own();
        assert_eq!(slots(&gate).len(), 2);
        let second = gate.own();
        assert_eq!(slots(&gate).len(), 4);
        drop((first, second));
        let _lanes = [(); 6].map(|()| gate.own());
        assert_eq!(slots(&gate).len(), 12);
    }

    #[tokio::test]
    async fn a_shared_rate_is_one_for_its_destinations_and_shared_out_by_all_their_partitions() {
        let gates = gates();
        let sharing = |name: &str| {
            let mut destination = testing::destination("https://x.example");
            destination.spec.name = name.parse().expect("it is a name");
            let rate = Rate::per_second(0.001).expect("it is a rate");
            destination.shared_rate = Some(SharedRate { name: "app".to_owned(), rate });
            (destination.spec.name.clone(), Arc::new(destination))
        };
        let destinations = BTreeMap::from([sharing("crm"), sharing("mail")]);
        gates.adopt(&Catalog { destinations, ..catalog(1) });
        let (crm, mail) = (gates.of("crm"), gates.of("mail"));
        let _lanes = [crm.own(), crm.own(), mail.own(), mail.own()];
        assert!(crm.try_slot().is_none() && mail.try_slot().is_none(), "it begins empty");
        let pool = crm.pool.lock().clone().expect("it shares a rate");
        assert!(mail.pool.lock().as_ref().is_some_and(|other| Arc::ptr_eq(other, &pool)));
        let late = MonoNanos(u64::MAX);
        assert!(pool.bucket().take(late), "all four partitions are here");
        // What the catalog says no longer is no limit any longer.
        gates.adopt(&Catalog { version: "2".to_owned(), ..catalog(1) });
        assert!(crm.pool.lock().is_none() && mail.pool.lock().is_none());
        assert!(crm.try_slot().is_some());
    }

    #[test]
    fn an_operators_hold_shuts_a_destination() {
        let gates = gates();
        gates.adopt(&catalog(1));
        let gate = gates.of("crm");
        let _lanes = [gate.own(), gate.own()];
        gate.hold(Some(Hold::Paused));
        assert!(gate.is_shut() && gate.try_slot().is_none());
        gate.hold(None);
        assert!(!gate.is_shut() && gate.try_slot().is_some());
    }
}
