//! What happens to each record that is read: decoded, routed, mapped, written, or given up on.
//!
//! Nothing is counted, logged or told before the record's transaction stands, because a record may
//! be processed more than once until then. It waits only for what passes by itself: a registry that
//! is down. All else that fails becomes a dead letter, so that nothing holds a partition for good.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use chassis::{Readiness, Span};
use domain::{dead_letter::Reason, time::UnixMillis};
use kafka_io::{Batch, Outgoing, Processor, Record, Refusal};
use mapping::{Failed, Input};
use registry_io::{DecodeError, Registry};
use tokio::runtime::Handle;
use wire::{Envelope, headers};

use crate::{
    apply::{self, Made, Opened},
    conditions::REGISTRY,
    letter::{self, Keep, Reasoned, Stamp},
    plan::{Plan, Route, Source},
    series::Families,
    spans::{self, Came, Spans},
    story::{Step, Story},
    told::Listener,
};

/// How long a record waits for a registry that is down before it is tried again.
const REGISTRY_PAUSE: Duration = Duration::from_secs(1);
/// How long a record of a source that is no longer read waits for its topic to be let go.
const LEAVING_PAUSE: Duration = Duration::from_millis(500);

/// The processor and what it works with.
pub(crate) struct Transform {
    pub(crate) plans: Arc<ArcSwap<Plan>>,
    pub(crate) registry: Registry,
    pub(crate) runtime: Handle,
    pub(crate) ready: Readiness,
    pub(crate) spans: Spans,
    pub(crate) families: Families,
    pub(crate) version: &'static str,
    pub(crate) listener: Option<Listener>,
    /// Whether the registry did not answer when it was last asked.
    pub(crate) registry_is_down: bool,
}

/// One record under way.
struct Work<'a> {
    source: &'a Arc<Source>,
    record: &'a Record,
    came: Came,
    span: Span,
    now: UnixMillis,
    story: Story,
}

impl Processor for Transform {
    fn process(&mut self, record: &Record, batch: &mut Batch) {
        let plan = self.plans.load();
        let Some(source) = plan.source(&record.topic).cloned() else {
            let why = format!("the source of {} is no longer read", record.topic);
            batch.postpone(why, LEAVING_PAUSE);
            return;
        };
        let started = Instant::now();
        let mut work = self.begin(&source, record);
        match self.decode(record) {
            Ok(envelope) => {
                let opened = Opened::new(envelope, record.key.as_ref());
                spans::of_event(&mut work.span, &opened.envelope);
                work.story.event = opened.envelope.event_id.clone();
                if let Some(why) = self.run_routes(&mut work, &opened, batch) {
                    self.give_up(&mut work, why, Keep::All, batch);
                }
            }
            Err(DecodeError::Unavailable(why)) => {
                self.registry_answers(Err(why.clone()));
                batch.postpone(why, REGISTRY_PAUSE);
                return;
            }
            Err(undecodable) => {
                let message = undecodable.to_string();
                let why = Reasoned { reason: Reason::Undecodable, message, routes: String::new() };
                self.give_up(&mut work, why, Keep::All, batch);
            }
        }
        self.tell_after_commit(work, started, batch);
    }

    fn refused(&mut self, record: &Record, refusal: &Refusal, batch: &mut Batch) {
        let plan = self.plans.load();
        let Some(source) = plan.source(&record.topic).cloned() else {
            batch.postpone("its source is no longer read", LEAVING_PAUSE);
            return;
        };
        let started = Instant::now();
        let mut work = self.begin(&source, record);
        work.story.event =
            headers::text(&record.headers, headers::CE_ID).unwrap_or_default().into();
        let message = format!("Kafka did not take what was made of the record: {}", refusal.why);
        let why = Reasoned { reason: Reason::InvalidResult, message, routes: String::new() };
        let keep = match refusal.times {
            0 | 1 => Keep::All,
            2 => Keep::NoHeaders,
            _ => Keep::Place,
        };
        self.give_up(&mut work, why, keep, batch);
        self.tell_after_commit(work, started, batch);
    }
}

impl Transform {
    fn begin<'a>(&self, source: &'a Arc<Source>, record: &'a Record) -> Work<'a> {
        let now = UnixMillis::from(SystemTime::now());
        let came = Came::of(record, source.is_replay, now);
        let span = self.spans.process(source, record, &came);
        Work { source, record, came, span, now, story: Story::default() }
    }

    fn decode(&mut self, record: &Record) -> Result<Envelope, DecodeError> {
        let Some(value) = &record.value else {
            return Err(DecodeError::Undecodable("the record has no value".into()));
        };
        let decoded = self.registry.decode_blocking(&self.runtime, value);
        if self.registry_is_down && decoded.is_ok() {
            self.registry_answers(Ok(()));
        }
        decoded
    }

    fn registry_answers(&mut self, answer: Result<(), String>) {
        self.registry_is_down = answer.is_err();
        self.ready.set(REGISTRY, answer);
    }

    /// Runs the routes and adds their deliveries to the batch; returns why the record is to become
    /// a dead letter, if any route failed.
    fn run_routes(
        &self,
        work: &mut Work<'_>,
        opened: &Opened,
        batch: &mut Batch,
    ) -> Option<Reasoned> {
        let only = letter::routes_of(work.record, work.source.is_replay);
        let headers = opened.headers();
        let input = Input::parse(opened.event(&headers));
        let mut failures = Vec::new();
        let mut wanted = false;
        let source = work.source.clone();
        for (index, route) in source.routes.iter().enumerate() {
            if !only.is_empty() && !only.contains(&route.name()) {
                continue;
            }
            let started = Instant::now();
            let Some((made, key)) = apply::apply(route, opened, &input, work.now) else { continue };
            wanted = true;
            let step = match made {
                Made::Filtered => Step::Filtered,
                Made::Failed(failed) => Step::Failed(failed),
                Made::Deliveries(deliveries) => {
                    match self.send(work, route, deliveries, &key, batch) {
                        Ok(ids) => Step::Mapped(ids),
                        Err(failed) => Step::Failed(failed),
                    }
                }
            };
            if let Step::Failed(failed) = &step {
                failures.push((route.name(), failed.clone()));
            }
            work.story.route(index, step, started.elapsed());
        }
        work.story.unrouted = !wanted;
        Reasoned::of_routes(&failures)
    }

    /// Adds a route's deliveries, all of them or none; returns their ids.
    fn send(
        &self,
        work: &Work<'_>,
        route: &Route,
        deliveries: Vec<wire::Delivery>,
        key: &bytes::Bytes,
        batch: &mut Batch,
    ) -> Result<Vec<String>, Failed> {
        let mut encoded: Vec<Outgoing> = Vec::with_capacity(deliveries.len());
        for (lane, delivery) in route.lanes.iter().zip(&deliveries) {
            let span = self.spans.send(lane, delivery, &work.span);
            let starting = work.came.starting.or(Some(span.context()));
            let headers = headers::delivery(delivery, Some(span.context()), starting);
            encoded.push(apply::encode(lane, delivery, key, headers)?);
        }
        let too_large = |error: kafka_io::TooLarge| Failed {
            reason: Reason::InvalidResult,
            message: error.to_string(),
        };
        for outgoing in encoded {
            batch.send(outgoing).map_err(too_large)?;
        }
        let heard = self.listener.is_some();
        Ok(if heard { deliveries.into_iter().map(|d| d.delivery_id).collect() } else { Vec::new() })
    }

    fn give_up(&self, work: &mut Work<'_>, why: Reasoned, keep: Keep, batch: &mut Batch) {
        let reason = why.reason.label();
        let span = self.spans.dead_letter(work.source, reason, &mut work.span);
        let stamp = Stamp { version: self.version, trace: Some(span.context()), now: work.now };
        let to = &work.source.dead_letters;
        let write = |keep| letter::write(work.record, &why, to, keep, stamp);
        // A record that was read fits where it came from; if its letter does not, its place does.
        if batch.send(write(keep)).is_err() && batch.send(write(Keep::Place)).is_err() {
            batch.postpone("its dead letter is above every limit", REGISTRY_PAUSE);
        }
        work.story.given_up = Some(why);
    }

    fn tell_after_commit(&self, work: Work<'_>, started: Instant, batch: &mut Batch) {
        let Work { source, record, story, span, .. } = work;
        let story = story.of(source.clone(), record, span.context(), started.elapsed());
        let (families, listener) = (self.families.clone(), self.listener.clone());
        batch.on_commit(move || story.tell(&families, listener.as_ref()));
    }
}
