//! The load of a crash run: numbered events whose fate and key follow from their number, sent until
//! enough have followed the last kill.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use testkit::load::{self, Load, Sent};
use tokio::task::JoinHandle;

use crate::{
    events::{is_unwritten, orders},
    system::World,
};

const PER_SECOND: f64 = 150.0;
const KEYS: u64 = 64; // a multiple of the connections, so that a key's events are sent in order
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// What has to become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    Filtered,
    Unrouted,
    /// The mapping fails: a dead letter of transform.
    Unmapped,
    /// The destination refuses it for good: a dead letter of deliver.
    Refused,
    /// The destination refuses it once, and takes it when it is replayed.
    Replayed,
}

/// Which fates the events of a run have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mix {
    /// All but replays, one in fifty of each.
    Usual,
    /// Every fifth event has to be replayed.
    Replays,
}

impl Mix {
    pub(super) fn fate(self, number: u64) -> Fate {
        match (self, number % 50) {
            (Self::Usual, 7) => Fate::Filtered,
            (Self::Usual, 17) => Fate::Unrouted,
            (Self::Usual, 27) => Fate::Unmapped,
            (Self::Usual, 37) => Fate::Refused,
            (Self::Replays, of_fifty) if of_fifty % 5 == 2 => Fate::Replayed,
            (Self::Usual | Self::Replays, _) => Fate::Delivered,
        }
    }

    fn body(self, number: u64) -> Value {
        json!({ "key": key(number), "what": self.fate(number).asked(), "text": "no number" })
    }
}

impl Fate {
    /// Whether the destination has to take it in the end.
    pub(super) fn arrives(self) -> bool {
        match self {
            Self::Delivered | Self::Replayed => true,
            Self::Filtered | Self::Unrouted | Self::Unmapped | Self::Refused => false,
        }
    }

    fn asked(self) -> &'static str {
        match self {
            Self::Delivered => "deliver",
            Self::Filtered => "filter",
            Self::Unrouted => "nothing",
            Self::Unmapped => "fail",
            Self::Refused | Self::Replayed => "refuse",
        }
    }
}

pub(super) fn id(number: u64) -> String {
    format!("e{number}")
}

pub(super) fn key(number: u64) -> String {
    format!("k{}", number % KEYS)
}

/// A load under way.
pub(super) struct Traffic {
    end: Arc<AtomicU64>,
    accepted: Arc<AtomicU64>,
    sending: JoinHandle<Vec<Sent>>,
}

impl Traffic {
    pub(super) fn start(world: &World, mix: Mix) -> Self {
        let load = Load {
            per_second: Some(PER_SECOND),
            resend: true,
            unwritten: is_unwritten,
            deadline: LONGEST,
            ..Load::new(world.ingest(), u64::MAX)
        };
        let (end, accepted) = (load.end.clone(), Arc::new(AtomicU64::new(0)));
        let (source, counter) = (orders(), accepted.clone());
        let request = move |number| source.request(&id(number), "order.placed", &mix.body(number));
        let count = move |_: &Sent| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        let sending = tokio::spawn(async move { load::send(&load, request, count).await });
        Self { end, accepted, sending }
    }

    /// How many events have been answered 2xx.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Lets a fifth of all events and a few more follow what is accepted now, then ends, and gives
    /// how each was answered, in the order of the answers.
    pub(super) async fn finish(self) -> Vec<Sent> {
        self.end.store(self.accepted() * 5 / 4 + KEYS, Ordering::Relaxed);
        self.sending.await.expect("sending does not panic")
    }
}
