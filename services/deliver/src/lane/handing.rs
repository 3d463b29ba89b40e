//! The steps by which an event goes to its route's fallback: its record there, then the receipt here.

use std::{sync::Arc, time::Duration};

use chassis::Span;
use kafka_io::{Acks, Effect};
use wire::{HandedOver, Kind, Receipt};

use super::{Step, steps};
use crate::{
    fallback::{Rule, Successor},
    held::{GivenUp, Held},
    shared::Place,
    told::{Told, What},
};

/// How long after the registry could not be asked it is asked again.
const REGISTRY_PAUSE: Duration = Duration::from_secs(1);

/// A delivery that is given up on, and what came of handing its event over.
pub(crate) struct Handed {
    pub(super) held: Box<Held>,
    pub(super) why: GivenUp,
    /// Of the last attempt; it does not tell of the fallback yet.
    pub(super) receipt: Box<Receipt>,
    /// The delivery in its place, which is acknowledged, or why there is none.
    pub(super) successor: Result<(HandedOver, Effect), String>,
}

/// Writes an event into the lane of its fallback, until that is acknowledged.
pub(super) async fn hand_over(
    place: Place,
    held: Box<Held>,
    why: GivenUp,
    receipt: Box<Receipt>,
    rule: Arc<Rule>,
    acks: Acks,
) -> Step {
    let Some(schema_id) = schema(&place, &rule).await else { return Step::Left(Some(held)) };
    let successor = match schema_id {
        Ok(schema_id) => {
            // From here on a crash may repeat it. Not before: a registry that is down stops nobody else.
            let effect = acks.effect();
            let written = write(&place, &held, &why, &rule, schema_id).await;
            written.map(|to| (to, effect))
        }
        Err(refused) => Err(rule.refused(&refused)),
    };
    Step::Handed(Box::new(Handed { held, why, receipt, successor }))
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

/// Registers the schema of the fallback's lane, waiting for a registry that is down; `None` when the
/// lane stops.
async fn schema(place: &Place, rule: &Rule) -> Option<Result<u32, String>> {
    let (registry, outbox) = (&place.shared.registry, &place.shared.outbox);
    let subject = wire::subject(&rule.topic);
    loop {
        match registry.register(&subject, Kind::Delivery).await {
            Ok(id) => {
                outbox.registry_answers(Ok(()));
                return Some(Ok(id));
            }
            Err(error) if error.may_pass() => outbox.registry_answers(Err(error.to_string())),
            Err(error) => return Some(Err(error.to_string())),
        }
        let pause = tokio::time::sleep(REGISTRY_PAUSE);
        place.intake.run_until_cancelled(pause).await?;
    }
}

async fn write(
    place: &Place,
    held: &Held,
    why: &GivenUp,
    rule: &Rule,
    schema_id: u32,
) -> Result<HandedOver, String> {
    let shared = &place.shared;
    let prepared = if rule.has_mapping { prepared(place, held, rule)? } else { None };
    let successor = rule.successor(held, prepared, shared.now())?;
    let span = span(place, held, &rule.topic);
    let trace = span.as_ref().map(Span::context);
    let outgoing = successor.outgoing(held, why, &rule.topic, schema_id, trace);
    let outgoing = outgoing.map_err(|error| rule.refused(&error.to_string()))?;
    let written = shared.outbox.successor(&outgoing).await;
    written.map_err(|error| rule.refused(&error.to_string()))?;
    let Successor { delivery, .. } = successor;
    let reason = why.reason.label().to_owned();
    let (destination, delivery_id) = (delivery.destination, delivery.delivery_id);
    Ok(HandedOver { destination, delivery_id, reason })
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
