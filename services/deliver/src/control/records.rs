//! The records of what is done to a destination: for `ctl.state`, and for `ctl.audit`. Pure.

use std::sync::Arc;

use kafka_io::Outgoing;
use wire::{
    control::{Act, PARTITION, Word, audit_of_probe},
    topics::Names,
};

use crate::probe::Probed;

/// Makes the record that keeps what is said from now on.
pub(crate) fn kept(names: &Names, act: Act, destination: &str, word: &Word) -> Outgoing {
    let record = record(names.state(), act.key(destination), act.value(word));
    Outgoing { partition: Some(PARTITION), ..record }
}

/// Makes the record that tells who did it.
pub(crate) fn audited(names: &Names, act: Act, destination: &str, word: &Word) -> Outgoing {
    record(names.audit(), destination.to_owned(), Some(act.audit(destination, word)))
}

/// Makes the record that tells who asked the destination, and what came of it.
pub(crate) fn probed(names: &Names, word: &Word, probed: &Probed) -> Outgoing {
    let Probed { destination, outcome, status, .. } = probed;
    let value = audit_of_probe(destination, word, *outcome, *status);
    record(names.audit(), destination.clone(), Some(value))
}

fn record(topic: String, key: String, value: Option<Vec<u8>>) -> Outgoing {
    Outgoing {
        topic: Arc::from(topic),
        partition: None,
        key: Some(key.into()),
        value: value.map(Into::into),
        headers: vec![("content-type".to_owned(), "application/json".into())],
        timestamp_ms: None,
    }
}
