//! Whether a delivery that is given up on goes to its route's fallback, and as what.
//!
//! Pure but for the rules it holds: it writes nothing. One step and no further: a delivery that came by
//! a fallback becomes a dead letter, whatever the catalog says by then.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use catalog_io::Catalog;
use domain::{
    dead_letter::Reason, fallback::Fallback, ids::IdempotencyKey, time::UnixMillis,
    trace::TraceContext,
};
use kafka_io::Outgoing;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use wire::{
    Delivery, EncodeError, Request,
    headers::{self, Fallen},
    topics::Names,
};

use crate::held::{GivenUp, Held};

/// How many records are being written into one fallback's topic at a time.
const WRITERS: usize = 64;

/// The fallbacks of the catalog's routes.
pub(crate) struct Fallbacks {
    names: Names,
    by_route: Mutex<HashMap<String, Arc<Rule>>>,
    /// By the fallbacks' topics; they outlive the catalog's changes.
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// One route's fallback.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) fallback: Fallback,
    /// Of the mapping that makes its request, where it has one: transform has put that into the delivery.
    pub(crate) map_version: Option<String>,
    /// For those that write into its topic: one that takes nothing must not use up what all lanes may repeat.
    pub(crate) turns: Arc<Semaphore>,
    /// `out.<its destination>`.
    pub(crate) topic: Arc<str>,
}

/// The delivery that takes another's place, and what it is ordered by.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) delivery: Delivery,
    key: Option<Bytes>,
}

impl Fallbacks {
    pub(crate) fn new(names: Names) -> Self {
        Self { names, by_route: Mutex::default(), turns: Mutex::default() }
    }

    /// Takes what a catalog says; deliveries that were made before follow it too.
    pub(crate) fn adopt(&self, catalog: &Catalog) {
        let mut turns = self.turns.lock();
        let rules = catalog.routes.iter().filter_map(|route| {
            let declared = route.fallback.as_ref()?;
            let topic = self.names.out(declared.rule.to.as_str());
            let new = || Arc::new(Semaphore::new(WRITERS));
            let rule = Rule {
                fallback: declared.rule.clone(),
                map_version: declared.map.as_ref().map(|map| map.version().to_owned()),
                turns: turns.entry(topic.clone()).or_insert_with(new).clone(),
                topic: topic.into(),
            };
            Some((route.rule.name.as_str().to_owned(), Arc::new(rule)))
        });
        *self.by_route.lock() = rules.collect();
    }

    /// Returns the fallback that takes a delivery which is given up on for this reason.
    pub(crate) fn of(&self, held: &Held, reason: Reason) -> Option<Arc<Rule>> {
        let rule = self.by_route.lock().get(&held.delivery.route).cloned()?;
        rule.takes(&held.delivery.destination, &held.record.headers, reason).then_some(rule)
    }
}

impl Rule {
    fn takes(&self, destination: &str, headers: &[(String, Bytes)], reason: Reason) -> bool {
        let came_by_one = headers::fallen(headers).is_some();
        // The catalog's check refuses it; a delivery of an older catalog may be there all the same.
        let is_itself = self.fallback.to.as_str() == destination;
        !came_by_one && !is_itself && self.fallback.takes(reason)
    }

    /// Makes the delivery that goes to the fallback; `prepared` is what transform had its mapping make.
    ///
    /// # Errors
    /// Why there is none, without any of the event's content.
    pub(crate) fn successor(
        &self,
        held: &Held,
        prepared: Option<wire::Fallback>,
        now: UnixMillis,
    ) -> Result<Successor, String> {
        let key = held.record.key.clone();
        let (request, version, key) = match (&self.map_version, prepared) {
            (None, _) => (whole(held), held.delivery.mapping_version.clone(), key),
            // Made by another mapping is as good, and so is made for another name of the destination.
            (Some(version), Some(prepared))
                if prepared.to != self.fallback.to.as_str()
                    && prepared.mapping_version != *version =>
            {
                let why = format!("it was mapped for the fallback {}", prepared.to);
                return Err(self.refused(&why));
            }
            (
                Some(_),
                Some(wire::Fallback { request: Some(request), key: own, mapping_version, .. }),
            ) => (request, mapping_version, own.map(Bytes::from).or(key)),
            (Some(_), Some(_)) => {
                return Err(self.refused("its mapping gave none, fallback.error says why"));
            }
            (Some(_), None) => {
                return Err(self.refused("it was mapped before the route had this fallback"));
            }
        };
        let to = self.fallback.to.as_str();
        let delivery = Delivery {
            delivery_id: IdempotencyKey::of_fallback(&held.delivery.delivery_id, to)
                .as_str()
                .to_owned(),
            destination: to.to_owned(),
            created_ms: now.0,
            mapping_version: version,
            fallback: None,
            request,
            ..held.delivery.clone()
        };
        Ok(Successor { delivery, key })
    }

    /// Says why it does not take an event after all.
    pub(crate) fn refused(&self, why: &str) -> String {
        format!("its fallback {} did not get it: {why}", self.fallback.to)
    }
}

impl Successor {
    /// Makes the record of the fallback's lane: in the partition that its key has there.
    pub(crate) fn outgoing(
        &self,
        held: &Held,
        why: &GivenUp,
        topic: &Arc<str>,
        schema_id: u32,
        trace: Option<TraceContext>,
    ) -> Result<Outgoing, EncodeError> {
        let fallen = Fallen {
            from: &held.delivery.destination,
            delivery_id: &held.delivery.delivery_id,
            reason: why.reason,
            message: &why.message,
        };
        let Delivery { delivery_id, destination, .. } = &self.delivery;
        let successor = headers::Successor { delivery_id, destination, trace };
        Ok(Outgoing {
            topic: topic.clone(),
            partition: None,
            key: self.key.clone(),
            value: Some(wire::encode(&self.delivery, schema_id)?),
            headers: headers::fallback(&held.record.headers, &fallen, &successor),
            timestamp_ms: None,
        })
    }
}

/// Tells of a delivery that came by a fallback why the one before it was given up on, too.
pub(crate) fn told_whole(why: &GivenUp, headers: &[(String, Bytes)]) -> GivenUp {
    let message = match headers::fallen(headers) {
        Some(fallen) => format!("{}; before that {fallen}", why.message),
        None => why.message.clone(),
    };
    GivenUp { message, ..why.clone() }
}

/// The delivery's own request, its body back in its place.
fn whole(held: &Held) -> Request {
    Request { body: held.body.to_vec(), ..held.delivery.request.clone() }
}

#[cfg(test)]
mod tests;
