//! The steps a record goes through, each a future that a lane waits for among others.

use std::time::Duration;

use domain::time::UnixMillis;
use kafka_io::{Acks, Effect, Record, Taken};
use registry_io::DecodeError;
use tokio::time::Instant;
use wire::{Delivery, Receipt, headers};

use super::Step;
use crate::{
    attempt, fallback,
    gate::Slot,
    held::{GivenUp, Held},
    letters, receipts,
    series::DeadLettered,
    shared::Place,
    story::Story,
    told::{Told, What},
};

/// How long after the registry could not be asked it is asked again.
const REGISTRY_PAUSE: Duration = Duration::from_secs(1);

/// Decodes a record whose schema is not known yet; a registry that is down is waited for.
pub(super) async fn read(place: Place, taken: Box<Taken>) -> Step {
    let registry = &place.shared.registry;
    let value = taken.record.value.as_deref().unwrap_or_default();
    loop {
        match registry.decode::<Delivery>(value).await {
            Ok(delivery) => {
                place.shared.outbox.registry_answers(Ok(()));
                return Step::Read { taken, read: Ok(Box::new(delivery)) };
            }
            Err(DecodeError::Undecodable(why)) => return Step::Read { taken, read: Err(why) },
            Err(error @ (DecodeError::Unknown(_) | DecodeError::Unavailable(_))) => {
                place.shared.outbox.registry_answers(Err(error.to_string()));
            }
        }
        let pause = tokio::time::sleep(REGISTRY_PAUSE);
        if place.intake.run_until_cancelled(pause).await.is_none() {
            return Step::Left(None);
        }
    }
}

/// Waits until a crash would not repeat too many, the partitions are surely ours, and the destination
/// bears one more request: all of it at the same time.
pub(super) async fn slot(place: Place, acks: Acks) -> Step {
    let free = async {
        loop {
            acks.room().await;
            let slot = place.gate.slot().await;
            if acks.has_room(std::time::Instant::now()) {
                break slot;
            }
        }
    };
    let slot = place.intake.run_until_cancelled(free).await;
    slot.map_or(Step::Left(None), Step::Free)
}

pub(super) async fn attempt(place: Place, held: Box<Held>, slot: Slot) -> Step {
    Step::Tried(attempt::run(held, slot, &place.gate, &place.shared).await)
}

/// Records a failed attempt and waits until the next one is due.
pub(super) async fn wait(
    place: Place,
    held: Box<Held>,
    at: UnixMillis,
    receipt: Box<Receipt>,
) -> Step {
    // Read before the receipt is written: until then the clock may step.
    let due = Instant::now() + at.since(place.shared.now());
    write_receipt(&place, &held.story, &receipt).await;
    drop(receipt);
    let rest = tokio::time::sleep_until(due);
    match place.intake.run_until_cancelled(rest).await {
        Some(()) => Step::Due(held),
        None => Step::Left(Some(held)),
    }
}

/// Records a delivery.
pub(super) async fn settle(
    place: Place,
    held: Box<Held>,
    receipt: Box<Receipt>,
    effect: Effect,
) -> Step {
    write_receipt(&place, &held.story, &receipt).await;
    recorded(&held.record, Some(effect))
}

/// Records that nothing was sent, because the record is not for this destination.
pub(super) async fn turn_away(place: Place, held: Box<Held>, why: GivenUp) -> Step {
    let receipt = receipts::of_unsendable(&held, &why, place.shared.now());
    give_up(place, held, why, Box::new(receipt)).await
}

/// Writes the receipt and the dead letter of a delivery that is given up on. It had no effect that a
/// crash could double, so that letters which cannot be written hold up nobody else.
pub(super) async fn give_up(
    place: Place,
    held: Box<Held>,
    why: GivenUp,
    receipt: Box<Receipt>,
) -> Step {
    write_receipt(&place, &held.story, &receipt).await;
    drop(receipt);
    let Held { record, delivery, mut story, attempts, .. } = *held;
    write_letter(&place, &record, &mut story, &why, Some((&delivery, attempts))).await;
    recorded(&record, None)
}

/// Writes the dead letter of a record that is no delivery.
pub(super) async fn bury(
    place: Place,
    record: Box<Record>,
    mut story: Story,
    why: GivenUp,
) -> Step {
    write_letter(&place, &record, &mut story, &why, None).await;
    recorded(&record, None)
}

pub(super) fn recorded(record: &Record, effect: Option<Effect>) -> Step {
    Step::Recorded { offset: record.offset, bytes: record.bytes(), effect }
}

pub(super) async fn write_receipt(place: &Place, story: &Story, receipt: &Receipt) {
    place.shared.outbox.receipt(receipt, story.process.context(), story.starting).await;
}

async fn write_letter(
    place: &Place,
    record: &Record,
    story: &mut Story,
    why: &GivenUp,
    of: Option<(&Delivery, u32)>,
) {
    let (shared, gate) = (&place.shared, &place.gate);
    let why = &fallback::told_whole(why, &record.headers);
    let _span = story.dead_letter(&shared.tracer, gate, why.reason.label());
    let (now, trace) = (shared.now(), story.process.context());
    let letter = letters::dead_letter(record, &gate.dead_letters, why, shared.version, now, trace);
    shared.outbox.dead_letter(letter).await;
    gate.series.dead_lettered(&DeadLettered {
        route: of.map_or("", |(delivery, _)| &delivery.route),
        topic: &gate.dead_letters,
        reason: why.reason,
        replayed: headers::replay_count(&record.headers) > 0,
        attempts: of.map(|(_, attempts)| attempts),
    });
    tracing::warn!(
        topic = &*record.topic,
        partition = record.partition,
        offset = record.offset,
        destination = gate.name,
        event_id = of.map(|(delivery, _)| delivery.event_id.as_str()),
        correlation_id = of.map(|(delivery, _)| delivery.correlation_id.as_str()),
        trace_id = trace.trace_id_text(),
        reason = why.reason.label(),
        error.message = why.message,
        "record became a dead letter"
    );
    if let (Some(listener), Some((delivery, _))) = (&shared.listener, of) {
        let what = What::DeadLettered { reason: why.reason, message: why.message.clone() };
        listener(Told::of(delivery, what));
    }
}
