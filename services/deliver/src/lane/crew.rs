//! The hands of a lane: its steps as futures, which its task waits for.
//!
//! It decides nothing.

use std::{future::Future, sync::Arc, time::Instant};

use domain::{dead_letter::Reason, time::UnixMillis};
use futures::{future::BoxFuture, stream::FuturesUnordered};
use kafka_io::{Acks, Partition, Record};
use registry_io::DecodeError;
use wire::Delivery;

use super::{Hands, Step, Todo, handing, steps};
use crate::{fallback::Rule, held::Held, shared::Place, story::Story};

/// The steps of one lane that are under way.
pub(super) struct Crew {
    place: Place,
    acks: Acks,
    pub(super) steps: FuturesUnordered<BoxFuture<'static, Step>>,
}

impl Crew {
    pub(super) fn new(place: Place, acks: Acks) -> Self {
        Self { place, acks, steps: FuturesUnordered::new() }
    }

    pub(super) fn tell_left(&self, partition: &Partition) {
        if !self.steps.is_empty() {
            tracing::warn!(
                topic = &*partition.topic,
                partition = partition.partition,
                requests = self.steps.len(),
                "requests cut off, they are tried again"
            );
        }
    }

    fn step(&mut self, step: impl Future<Output = Step> + Send + 'static) {
        self.steps.push(Box::pin(step));
    }
}

impl Hands for Crew {
    fn now(&self) -> UnixMillis {
        self.place.shared.now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn decode(&self, record: &Record) -> Result<Delivery, DecodeError> {
        let value = record.value.as_deref().unwrap_or_default();
        self.place.shared.registry.decode_cached::<Delivery>(value)
    }

    fn story(&self, record: &Record) -> Story {
        Story::begin(&self.place.shared, &self.place.gate, record)
    }

    fn fallback(&self, held: &Held, reason: Reason) -> Option<Arc<Rule>> {
        self.place.shared.fallbacks.of(held, reason)
    }

    fn gone(&self, event_id: &str, begun: UnixMillis) {
        let Place { shared, gate, .. } = &self.place;
        shared.control.gone(gate, event_id, begun, shared.now());
    }

    fn hit(&self, point: &'static str) {
        self.place.shared.hook.hit(point);
    }

    fn begin(&mut self, todo: Todo) {
        let place = self.place.clone();
        match todo {
            Todo::Read(taken) => self.step(steps::read(place, taken)),
            Todo::Slot => self.step(steps::slot(place, self.acks.clone())),
            Todo::Attempt(held, slot) => self.step(steps::attempt(place, held, slot)),
            Todo::Wait { held, at, receipt } => self.step(steps::wait(place, held, at, receipt)),
            Todo::Settle { held, receipt, effect } => {
                self.step(steps::settle(place, held, receipt, effect));
            }
            Todo::GiveUp { held, why, receipt } => {
                self.step(steps::give_up(place, held, why, receipt));
            }
            Todo::HandOver { held, why, receipt, rule } => {
                let acks = self.acks.clone();
                self.step(handing::hand_over(place, held, why, receipt, rule, acks));
            }
            Todo::TellHanded { held, why, receipt, to } => {
                self.step(handing::record(place, held, why, receipt, to));
            }
            Todo::TurnAway { held, why } => self.step(steps::turn_away(place, held, why)),
            Todo::Bury { record, story, why } => self.step(steps::bury(place, record, story, why)),
        }
    }
}
