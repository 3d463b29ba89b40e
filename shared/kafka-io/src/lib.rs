//! Kafka: the group consumer, lanes, the producer, transactions, topics, bounded reading, the embedded broker.
//!
//! It is the only crate that names rdkafka. What the bytes mean is not known here.

mod config;
mod consumer;
mod context;
mod lanes;
mod losses;
mod metrics;
mod polled;
mod producer;
mod record;
mod tracker;

pub mod embedded;
pub mod reader;
pub mod topics;
mod transact;
mod transactional_producer;

/// What lanes decide without a broker, for simulations; it promises nothing to anybody else.
#[doc(hidden)]
pub mod simulation {
    pub use crate::consumer::Position;
    pub use crate::lanes::Ledger;
    pub use crate::tracker::{Delivered, Held};
}

pub use config::{
    Config, ConfigError, ConfigProblem, DEFAULTS, GroupProtocol, Mechanism, Sasl, Tls, Token,
    TokenSource,
};
pub use consumer::{GroupError, GroupOptions, Hook, Loss, Partition, Status};
pub use lanes::{Acks, Consumer, Effect, Lane, LaneOptions, Taken, lanes};
pub use losses::audit_losses;
pub use metrics::{Families, Histograms, Metrics};
pub use producer::{
    Acknowledgement, OpenError, ProduceError, Producer, ProducerOptions, Queue, Written,
};
pub use record::{Outgoing, Record};
pub use tracker::LANE_RECORDS_MAX;
pub use transact::{
    AfterCommit, Batch, Engine, EngineError, Processor, Refusal, Told, TooLarge, TransactOptions,
    Transaction, transact,
};
pub use transactional_producer::{
    Class, NextOffset, TransactionError, TransactionalOptions, TransactionalProducer,
};
