//! The hands of a simulated lane: they note what is wanted, and tell a time that was set.

use std::{cell::Cell, collections::VecDeque, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use chassis::{Kind as SpanKind, Tracer};
use domain::{dead_letter::Reason, time::UnixMillis, trace::TraceContext};
use kafka_io::Record;
use registry_io::DecodeError;
use wire::{Delivery, Order};

use super::{
    history::{Kind, Written},
    mutant::Mutant,
};
use crate::{
    fallback::Rule,
    held::Held,
    lane::{Hands, Todo},
    story::Story,
};

static KEYS: [u8; 256] = keys();
static VALUE: [u8; 1024] = [0; 1024];

/// What all hands of a simulation know.
pub(super) struct Known {
    pub(super) written: Vec<Option<Written>>,
    /// By destination.
    pub(super) names: Vec<String>,
    /// By partition.
    pub(super) destinations: Vec<usize>,
    pub(super) mutant: Option<Mutant>,
    pub(super) blank: Delivery,
    /// The wall clock, in milliseconds.
    pub(super) wall: Cell<i64>,
    /// The clock that never steps.
    pub(super) instant: Cell<Instant>,
}

pub(super) struct Hand {
    pub(super) known: Rc<Known>,
    pub(super) todo: VecDeque<Todo>,
    /// Whether the destination has said that it is gone.
    pub(super) is_gone: Cell<bool>,
}

/// Returns the record that was written with this id; the time of a record says which it is.
pub(super) fn id(record: &Record) -> usize {
    record.timestamp_ms as usize
}

impl Hand {
    pub(super) fn new(known: Rc<Known>) -> Self {
        Self { known, todo: VecDeque::new(), is_gone: Cell::new(false) }
    }
}

impl Known {
    pub(super) fn of(&self, id: usize) -> Written {
        self.written[id].expect("it was written")
    }

    pub(super) fn now(&self) -> UnixMillis {
        UnixMillis(self.wall.get())
    }

    /// Returns the record as a consumer hands it out.
    pub(super) fn record(&self, topic: &std::sync::Arc<str>, offset: i64, id: usize) -> Record {
        let written = self.of(id);
        Record {
            topic: topic.clone(),
            partition: written.partition as i32,
            offset,
            epoch: 0,
            key: written.key.map(|key| Bytes::from_static(&KEYS[key as usize..=key as usize])),
            value: Some(Bytes::from_static(&VALUE[..written.bytes])),
            headers: Vec::new(),
            timestamp_ms: id as i64,
        }
    }

    pub(super) fn delivery(&self, written: Written) -> Delivery {
        let mut delivery = self.blank.clone();
        let own = self.destinations[written.partition];
        delivery.destination = match written.kind {
            Kind::Stranger => "somebody-else".to_owned(),
            Kind::Usual | Kind::NewSchema | Kind::Undecodable => self.names[own].clone(),
        };
        if written.key.is_none() || self.mutant == Some(Mutant::ForgetFollowers) {
            delivery.order = Order::None;
        }
        delivery
    }
}

impl Hands for Hand {
    fn now(&self) -> UnixMillis {
        self.known.now()
    }

    fn instant(&self) -> Instant {
        self.known.instant.get()
    }

    fn decode(&self, record: &Record) -> Result<Delivery, DecodeError> {
        let written = self.known.of(id(record));
        match written.kind {
            Kind::Usual | Kind::Stranger => Ok(self.known.delivery(written)),
            Kind::NewSchema => Err(DecodeError::Unknown(1)),
            Kind::Undecodable => Err(DecodeError::Undecodable("no delivery".to_owned())),
        }
    }

    fn story(&self, _record: &Record) -> Story {
        // One that goes on with a trace draws no ids.
        let context = TraceContext { trace_id: [1; 16], span_id: [1; 8], sampled: false };
        let process = Tracer::disabled().span("", SpanKind::Consumer, Some(context));
        Story { process, starting: None }
    }

    fn fallback(&self, _held: &Held, _reason: Reason) -> Option<Arc<Rule>> {
        None
    }

    fn gone(&self, _event_id: &str, _begun: UnixMillis) {
        self.is_gone.set(true);
    }

    fn hit(&self, _point: &'static str) {}

    fn begin(&mut self, todo: Todo) {
        self.todo.push_back(todo);
    }
}

/// A delivery whose texts are empty, so that a copy is cheap.
pub(super) fn blank() -> Delivery {
    let mut blank = crate::testing::delivery();
    let Delivery { delivery_id, event_id, source, event_type, route, .. } = &mut blank;
    for text in [delivery_id, event_id, source, event_type, route] {
        text.clear();
    }
    for text in [&mut blank.destination, &mut blank.correlation_id, &mut blank.mapping_version] {
        text.clear();
    }
    blank.request.content_type.clear();
    blank.request.body.clear();
    blank
}

const fn keys() -> [u8; 256] {
    let mut keys = [0; 256];
    let mut key = 0;
    while key < 256 {
        keys[key] = key as u8;
        key += 1;
    }
    keys
}
