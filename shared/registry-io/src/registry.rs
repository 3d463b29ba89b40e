//! The registry as services use it: asked once for each id, then answered from memory.
//!
//! Ids and schemas never change, so nothing kept is ever stale; how many there are is bounded by
//! what was registered.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts};
use tokio::{runtime::Handle, sync::Mutex as AsyncMutex, time::timeout};
use wire::{Decoder, Kind, Recorded};

use crate::{
    Config, DecodeError, Error,
    client::{Client, SUBJECT_UNKNOWN},
};

/// How long the registry's word that it has no such id is believed.
const ABSENCE_HOLDS: Duration = Duration::from_secs(5);
/// The most absent ids remembered.
const ABSENT_MAX: usize = 1024;

/// The registry; clones share what they have learnt.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    limit: Duration,
    decoders: ArcSwap<HashMap<u32, Arc<Decoder>>>,
    ids: Mutex<HashMap<(String, Kind), u32>>,
    absent: Mutex<HashMap<u32, Instant>>,
    /// Held while an id is fetched, so that a thousand records of one id ask once.
    fetching: AsyncMutex<()>,
    requests: IntCounterVec,
    cache: IntCounterVec,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("schemas", &self.shared.decoders.load().len()).finish()
    }
}

impl Registry {
    /// Makes the client; nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let shared = Shared {
            client: Client::new(config)?,
            limit: config.timeout() * 2,
            decoders: ArcSwap::default(),
            ids: Mutex::default(),
            absent: Mutex::default(),
            fetching: AsyncMutex::default(),
            requests: counter("millrace_schema_registry_requests_total", "Questions asked."),
            cache: counter("millrace_schema_cache_events_total", "Schemas looked up in memory."),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Shows the counters in a process's metrics.
    ///
    /// # Errors
    /// When they are shown there already.
    pub fn export(&self, metrics: &prometheus::Registry) -> Result<(), prometheus::Error> {
        metrics.register(Box::new(self.shared.requests.clone()))?;
        metrics.register(Box::new(self.shared.cache.clone()))
    }

    /// Registers the schema of `kind` under a subject and returns its id, from memory where it is
    /// known. The subject is protected first, so that the registry itself checks compatibility.
    ///
    /// # Errors
    /// [`Error::Incompatible`] says what to do; [`Error::may_pass`] tells what to try again.
    pub async fn register(&self, subject: &str, kind: Kind) -> Result<u32, Error> {
        let key = (subject.to_owned(), kind);
        if let Some(id) = self.shared.ids.lock().get(&key) {
            return Ok(*id);
        }
        let id = self.counted(self.register_anew(subject, kind)).await?;
        self.shared.ids.lock().insert(key, id);
        if let Ok(decoder) = Decoder::new(kind.schema()) {
            self.shared.keep(id, decoder);
        }
        Ok(id)
    }

    /// Asks whether the schema of `kind` may be registered under a subject; nothing is changed.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub async fn check(&self, subject: &str, kind: Kind) -> Result<(), Error> {
        self.counted(self.shared.client.check(subject, kind)).await
    }

    /// Decodes a value whose schema is known.
    ///
    /// # Errors
    /// [`DecodeError::Unknown`] where it has to be fetched first.
    pub fn decode_cached<T: Recorded>(&self, value: &[u8]) -> Result<T, DecodeError> {
        let (id, datum) = wire::schema_id(value)?;
        let decoders = self.shared.decoders.load();
        let decoder = decoders.get(&id).ok_or(DecodeError::Unknown(id))?;
        Ok(decoder.decode(datum)?)
    }

    /// Decodes a value, fetching its schema where it is not known.
    ///
    /// # Errors
    /// [`DecodeError::Unavailable`] is to be tried again; [`DecodeError::Undecodable`] never helps
    /// to repeat.
    /// # Cancellation
    /// Safe: what was fetched is kept or fetched again.
    pub async fn decode<T: Recorded>(&self, value: &[u8]) -> Result<T, DecodeError> {
        match self.decode_cached(value) {
            Err(DecodeError::Unknown(id)) => {
                self.shared.cache.with_label_values(&["miss"]).inc();
                self.fetch(id).await?;
                self.decode_cached(value)
            }
            decoded => decoded,
        }
    }

    /// Decodes as [`decode`](Self::decode), blocking a thread that is none of `runtime`'s.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    /// # Panics
    /// When called on a thread of an asynchronous runtime.
    pub fn decode_blocking<T: Recorded>(
        &self,
        runtime: &Handle,
        value: &[u8],
    ) -> Result<T, DecodeError> {
        match self.decode_cached(value) {
            Err(DecodeError::Unknown(_)) => runtime.block_on(self.decode(value)),
            decoded => decoded,
        }
    }

    async fn register_anew(&self, subject: &str, kind: Kind) -> Result<u32, Error> {
        let client = &self.shared.client;
        match client.protect(subject).await {
            // Some registries set the level of a subject only once it has a version.
            Err(Error::Refused { code: SUBJECT_UNKNOWN, .. }) => {
                let id = client.register(subject, kind).await?;
                client.protect(subject).await?;
                Ok(id)
            }
            Err(error) => Err(error),
            Ok(()) => client.register(subject, kind).await,
        }
    }

    async fn fetch(&self, id: u32) -> Result<(), DecodeError> {
        let fetched = timeout(self.shared.limit, self.fetch_alone(id)).await;
        fetched.unwrap_or_else(|_| {
            let why = format!("could not fetch schema {id}: the registry did not answer in time");
            Err(DecodeError::Unavailable(why))
        })
    }

    async fn fetch_alone(&self, id: u32) -> Result<(), DecodeError> {
        let _alone = self.shared.fetching.lock().await;
        if self.shared.decoders.load().contains_key(&id) {
            return Ok(());
        }
        if self.shared.is_absent(id, Instant::now()) {
            return Err(absent(id));
        }
        let schema = self.counted(self.shared.client.schema(id)).await;
        match schema.map_err(|error| DecodeError::Unavailable(error.to_string()))? {
            Some(schema) => self.shared.keep(id, Decoder::new(&schema)?),
            None => {
                self.shared.remember_absent(id, Instant::now());
                return Err(absent(id));
            }
        }
        Ok(())
    }

    async fn counted<T>(
        &self,
        question: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let answer = question.await;
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(Error::Unavailable { .. }) => "unavailable",
            Err(Error::Incompatible { .. }) => "incompatible",
            Err(Error::Refused { .. } | Error::Config { .. }) => "refused",
        };
        self.shared.requests.with_label_values(&[outcome]).inc();
        answer
    }
}

impl Shared {
    fn keep(&self, id: u32, decoder: Decoder) {
        let decoder = Arc::new(decoder);
        self.cache.with_label_values(&["kept"]).inc();
        self.decoders.rcu(|decoders| {
            let mut decoders = HashMap::clone(decoders);
            decoders.insert(id, decoder.clone());
            decoders
        });
    }

    fn is_absent(&self, id: u32, now: Instant) -> bool {
        let absent = self.absent.lock();
        absent.get(&id).is_some_and(|since| now.duration_since(*since) < ABSENCE_HOLDS)
    }

    fn remember_absent(&self, id: u32, now: Instant) {
        let mut absent = self.absent.lock();
        if absent.len() >= ABSENT_MAX {
            absent.clear();
        }
        absent.insert(id, now);
    }
}

fn absent(id: u32) -> DecodeError {
    DecodeError::Undecodable(format!("the registry has no schema {id}"))
}

fn counter(name: &str, help: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &["outcome"]).expect("name and label are valid")
}
