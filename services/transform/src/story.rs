//! What became of one record, kept until its transaction stands, then counted, logged and told.

use std::{sync::Arc, time::Duration};

use domain::trace::TraceContext;
use kafka_io::Record;
use mapping::Failed;

use crate::{
    letter::Reasoned,
    plan::Source,
    series::Families,
    told::{Became, Listener, Told},
};

/// What one route made of the event.
#[derive(Debug)]
pub(crate) enum Step {
    /// The deliveries' ids, in the order of the route's destinations; none where nobody listens.
    Mapped(Vec<String>),
    Filtered,
    Failed(Failed),
}

/// A record's story while it is processed.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) event: String,
    pub(crate) unrouted: bool,
    pub(crate) given_up: Option<Reasoned>,
    /// By the route's place in its source.
    steps: Vec<(usize, Step, Duration)>,
}

impl Story {
    pub(crate) fn route(&mut self, index: usize, step: Step, took: Duration) {
        self.steps.push((index, step, took));
    }

    pub(crate) fn of(
        self,
        source: Arc<Source>,
        record: &Record,
        trace: TraceContext,
        took: Duration,
    ) -> Ended {
        let (partition, offset) = (record.partition, record.offset);
        Ended { story: self, source, partition, offset, trace, took }
    }
}

/// A record's story once it is processed.
pub(crate) struct Ended {
    story: Story,
    source: Arc<Source>,
    partition: i32,
    offset: i64,
    trace: TraceContext,
    took: Duration,
}

impl Ended {
    /// Says what became of the record, everywhere it is to be said.
    pub(crate) fn tell(self, families: &Families, listener: Option<&Listener>) {
        self.count(families);
        self.log();
        if let Some(listener) = listener {
            self.tell_listener(listener);
        }
    }

    fn count(&self, families: &Families) {
        let (story, source) = (&self.story, &self.source);
        for (index, step, took) in &story.steps {
            let Some(route) = source.routes.get(*index) else { continue };
            route.series.duration.observe(took.as_secs_f64());
            match step {
                Step::Mapped(_) => route.series.ok.inc(),
                Step::Filtered => route.series.filtered.inc(),
                Step::Failed(failed) => route.series.failed(failed.reason).inc(),
            }
        }
        if story.unrouted {
            source.series.unrouted.inc();
        }
        let Some(why) = &story.given_up else {
            source.series.processed.observe(self.took.as_secs_f64());
            return;
        };
        source.series.dead_lettered.observe(self.took.as_secs_f64());
        if story.steps.is_empty() {
            source.series.given_up_unread(why.reason).inc();
        }
        let topic = &source.dead_letters.topic;
        families.dead_lettered(&why.routes, topic, why.reason, source.is_replay);
    }

    fn log(&self) {
        let (story, source) = (&self.story, &self.source);
        let (topic, event_id) = (&source.topic, &story.event);
        let (partition, offset) = (self.partition, self.offset);
        if let Some(why) = &story.given_up {
            // The mapping's message may hold parts of the payload: it stands in the dead letter only.
            tracing::warn!(
                event_id,
                event_source = source.name,
                route = why.routes,
                reason = why.reason.label(),
                %topic,
                partition,
                offset,
                trace_id = %self.trace.trace_id_text(),
                "record dead-lettered"
            );
        } else if story.unrouted {
            tracing::debug!(event_id, event_source = source.name, %topic, partition, offset, "event unrouted");
        } else {
            tracing::debug!(event_id, event_source = source.name, %topic, partition, offset, "event transformed");
        }
    }

    fn tell_listener(self, listener: &Listener) {
        let Self { story, source, .. } = self;
        let tell = |route: &str, became| {
            listener(Told {
                source: source.name.clone(),
                event_id: story.event.clone(),
                route: route.to_owned(),
                became,
            });
        };
        if story.unrouted {
            tell("", Became::Unrouted);
        }
        if let (Some(why), true) = (&story.given_up, story.steps.is_empty()) {
            let (reason, message) = (why.reason, why.message.clone());
            tell("", Became::Failed { reason, message });
        }
        for (index, step, _) in &story.steps {
            let Some(route) = source.routes.get(*index) else { continue };
            match step {
                Step::Filtered => tell(route.name(), Became::Filtered),
                Step::Failed(Failed { reason, message }) => {
                    let (reason, message) = (*reason, message.clone());
                    tell(route.name(), Became::Failed { reason, message });
                }
                Step::Mapped(ids) => {
                    for (lane, delivery_id) in route.lanes.iter().zip(ids) {
                        let destination = lane.destination.clone();
                        let delivery_id = delivery_id.clone();
                        tell(route.name(), Became::Mapped { destination, delivery_id });
                    }
                }
            }
        }
    }
}
