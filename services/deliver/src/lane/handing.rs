//! The steps by which an event goes to its route's fallback: its record there, then the receipt here.

use std::{sync::Arc, time::Duration};

use chassis::Span;
use kafka_io::{Acks, Effect, Outgoing, ProduceError};
use wire::{HandedOver, Kind, Receipt};

use super::{Step, steps};
use crate::{
    fallback::{Rule, Successor},
    held::{GivenUp, Held},
    shared::Place,
    told::{Told, What},
};

/// Between two tries, longer each time.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A delivery that is given up on, and what came of handing its event over.
pub(crate) struct Handed {
    pub(super) held: Box<Held>,
    pub(super) why: GivenUp,
    /// Of the last attempt; it does not tell of the fallback yet.
    pub(super) receipt: Box<Receipt>,
    /// The delivery in its place, which is acknowledged, or why there is none.
    pub(super) successor: Result<(HandedOver, Effect), String>,
}

/// What one try to hand an event over came to.
enum Tried {
    Over(Result<(HandedOver, Effect), String>),
    Again {
        possibly_written: bool,
    },
    /// The lane stops.
    Stopped,
}

/// Why a record is not in the fallback's lane.
enum Unwritten {
    /// It never will be.
    Refused(String),
    Passing {
        possibly_written: bool,
    },
}

/// Writes an event into the lane of its fallback, until that is acknowledged. While nothing can be
/// written there, the catalog may name another fallback, or none.
pub(super) async fn hand_over(
    place: Place,
    held: Box<Held>,
    why: GivenUp,
    receipt: Box<Receipt>,
    mut rule: Arc<Rule>,
    acks: Acks,
) -> Step {
    let (mut pause, mut is_bound) = (PAUSE_MIN, false);
    let successor = loop {
        match try_once(&place, &held, &why, &rule, &acks).await {
            Tried::Over(successor) => break successor,
            Tried::Again { possibly_written } => is_bound |= possibly_written,
            Tried::Stopped => return Step::Left(Some(held)),
        }
        let rest = tokio::time::sleep(pause);
        if place.intake.run_until_cancelled(rest).await.is_none() {
            return Step::Left(Some(held));
        }
        pause = (pause * 2).min(PAUSE_MAX);
        // What may be in one lane already goes into no other.
        if !is_bound {
            match place.shared.fallbacks.of(&held, why.reason) {
                Some(now) => rule = now,
                None => break Err(rule.refused("the catalog has taken it from the route")),
            }
        }
    };
    Step::Handed(Box::new(Handed { held, why, receipt, successor }))
}

async fn try_once(place: &Place, held: &Held, why: &GivenUp, rule: &Rule, acks: &Acks) -> Tried {
    let schema_id = match schema(place, rule).await {
        Ok(schema_id) => schema_id,
        Err(Unwritten::Refused(why)) => return Tried::Over(Err(why)),
        Err(Unwritten::Passing { possibly_written }) => return Tried::Again { possibly_written },
    };
    let leave = async {
        let turn = rule.turns.acquire().await;
        acks.room().await;
        turn
    };
    let Some(_turn) = place.intake.run_until_cancelled(leave).await else { return Tried::Stopped };
    // From here on a crash may repeat it. Not before: a registry that is down stops nobody else.
    let effect = acks.effect();
    match write(place, held, why, rule, schema_id).await {
        Ok(to) => Tried::Over(Ok((to, effect))),
        Err(Unwritten::Refused(why)) => Tried::Over(Err(why)),
        Err(Unwritten::Passing { possibly_written }) => Tried::Again { possibly_written },
    }
}

/// Records that the event went on, and why.
pub(super) async fn record(
    place: Place,
    held: Box<Held>,
    why: GivenUp,
    receipt: Box<Receipt>,
    (to, effect): (HandedOver, Effect),
) -> Step {
    let receipt = Receipt { dead_letter_reason: None, handed_over: Some(to.clone()), ..*receipt };
    steps::write_receipt(&place, &held.story, &receipt).await;
    drop(receipt);
    tell(&place, &held, why, to);
    steps::recorded(&held.record, Some(effect))
}

/// Registers the schema of the fallback's lane; it is asked for once.
async fn schema(place: &Place, rule: &Rule) -> Result<u32, Unwritten> {
    let (registry, outbox) = (&place.shared.registry, &place.shared.outbox);
    match registry.register(&wire::subject(&rule.topic), Kind::Delivery).await {
        Ok(id) => {
            outbox.registry_answers(Ok(()));
            Ok(id)
        }
        Err(error) if error.may_pass() => {
            outbox.registry_answers(Err(error.to_string()));
            Err(Unwritten::Passing { possibly_written: false })
        }
        Err(error) => Err(Unwritten::Refused(rule.refused(&error.to_string()))),
    }
}

async fn write(
    place: &Place,
    held: &Held,
    why: &GivenUp,
    rule: &Rule,
    schema_id: u32,
) -> Result<HandedOver, Unwritten> {
    let shared = &place.shared;
    let made = record_of(place, held, why, rule, schema_id).map_err(Unwritten::Refused)?;
    let (outgoing, to, _span) = made;
    match shared.outbox.successor(&outgoing).await {
        Ok(()) => Ok(to),
        Err(error @ ProduceError::TooLarge { .. }) => {
            Err(Unwritten::Refused(rule.refused(&error.to_string())))
        }
        Err(
            ProduceError::Expired { possibly_written, .. }
            | ProduceError::Refused { possibly_written, .. },
        ) => Err(Unwritten::Passing { possibly_written }),
        Err(ProduceError::WindowFull { .. } | ProduceError::UnknownTopic { .. }) => {
            Err(Unwritten::Passing { possibly_written: false })
        }
        Err(ProduceError::Fatal { .. }) => Err(Unwritten::Passing { possibly_written: true }),
    }
}

/// Makes the record of the fallback's lane, and what is told of it; the delivery itself is not kept.
fn record_of(
    place: &Place,
    held: &Held,
    why: &GivenUp,
    rule: &Rule,
    schema_id: u32,
) -> Result<(Outgoing, HandedOver, Option<Span>), String> {
    let prepared = if rule.map_version.is_some() { prepared(place, held, rule)? } else { None };
    let successor = rule.successor(held, prepared, place.shared.now())?;
    let span = span(place, held, &rule.topic);
    let trace = span.as_ref().map(Span::context);
    let outgoing = successor.outgoing(held, why, &rule.topic, schema_id, trace);
    let outgoing = outgoing.map_err(|error| rule.refused(&error.to_string()))?;
    let Successor { delivery, .. } = successor;
    let reason = why.reason.label().to_owned();
    let (destination, delivery_id) = (delivery.destination, delivery.delivery_id);
    Ok((outgoing, HandedOver { destination, delivery_id, reason }, span))
}

/// What the fallback's mapping made was not kept in memory; its schema is known, for it was read before.
fn prepared(place: &Place, held: &Held, rule: &Rule) -> Result<Option<wire::Fallback>, String> {
    let value = held.record.value.as_deref().unwrap_or_default();
    let read = place.shared.registry.decode_cached::<wire::Delivery>(value);
    read.map(|delivery| delivery.fallback).map_err(|error| rule.refused(&error.to_string()))
}

/// `None` where nobody traces: the record's own context goes on.
fn span(place: &Place, held: &Held, topic: &str) -> Option<Span> {
    let tracer = &place.shared.tracer;
    if !tracer.is_enabled() {
        return None;
    }
    let context = held.story.process.context();
    let mut span = tracer.span(&format!("send {topic}"), chassis::Kind::Producer, Some(context));
    span.set_str("messaging.system", "kafka");
    span.set_str("messaging.operation.name", "send");
    span.set_str("messaging.operation.type", "send");
    span.set_str("messaging.destination.name", topic);
    span.set_str("millrace.route", &held.delivery.route);
    Some(span)
}

fn tell(place: &Place, held: &Held, why: GivenUp, to: HandedOver) {
    let (record, delivery) = (&held.record, &held.delivery);
    let GivenUp { reason, message, .. } = why;
    place.gate.series.handed_over(&delivery.route, &to.destination, reason, held.attempts);
    tracing::warn!(
        topic = &*record.topic,
        partition = record.partition,
        offset = record.offset,
        destination = place.gate.name,
        fallback = to.destination,
        route = delivery.route,
        event_id = delivery.event_id,
        correlation_id = delivery.correlation_id,
        trace_id = held.story.process.context().trace_id_text(),
        reason = reason.label(),
        error.message = message,
        "delivery given up on, its event went to the fallback"
    );
    if let Some(listener) = &place.shared.listener {
        let what = What::HandedOver { fallback: to.destination, reason, message };
        listener(Told::of(delivery, what));
    }
}
