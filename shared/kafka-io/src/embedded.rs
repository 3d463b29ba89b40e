//! The broker inside the process, for demo, development and tests: librdkafka's mock cluster.
//!
//! It keeps records in memory only, drops offsets sent in a transaction (commit them plainly as well), shows
//! aborted records to every reader, fences nobody, and does not create topics by itself or by the admin calls.
//! A partition costs about 5 MB: keep to one or two partitions a topic.

mod native;

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

/// The embedded broker could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}: {why}; restart the process")]
pub struct BrokerError {
    doing: &'static str,
    why: KafkaError,
}

/// Requests that can be made to fail or counted, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Produce,
    Fetch,
    FindCoordinator,
    OffsetCommit,
    /// Of every new transactional producer one.
    InitProducerId,
    AddPartitionsToTransaction,
    EndTransaction,
    TransactionOffsetCommit,
}

/// How a request fails, for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The broker says that it leads the partition no longer.
    NotLeader,
    /// The coordinator moves.
    CoordinatorNotAvailable,
    /// Another producer took the transactional id.
    ProducerFenced,
    /// The record is larger than the broker takes.
    RecordTooLarge,
    /// The transactional producer is of no more use.
    InvalidTransactionState,
    /// The group has moved on: the transaction must be aborted.
    IllegalGeneration,
    /// The connection breaks.
    Disconnect,
}

/// A running embedded broker; it stops when dropped.
pub struct Broker {
    // The cluster lives in this client; unlike a cluster of its own it may move between threads.
    host: BaseProducer,
    bootstrap_servers: String,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts one broker with these topics and partition counts.
    pub fn start(topics: &[(String, i32)]) -> Result<Self, BrokerError> {
        const DOING: &str = "start the embedded broker";
        let host = ClientConfig::new().set("test.mock.num.brokers", "1").create::<BaseProducer>();
        let mut broker =
            Self { host: host.map_err(failed(DOING))?, bootstrap_servers: String::new() };
        let bootstrap_servers = broker.cluster(DOING)?.bootstrap_servers();
        broker.bootstrap_servers = bootstrap_servers;
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions)?;
        }
        Ok(broker)
    }

    /// Returns the addresses for clients.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Creates a topic.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), BrokerError> {
        const DOING: &str = "create a topic on the embedded broker";
        self.cluster(DOING)?.create_topic(topic, partitions, 1).map_err(failed(DOING))
    }

    /// Breaks all connections and refuses new ones until [`up`](Self::up).
    pub fn down(&self) -> Result<(), BrokerError> {
        const DOING: &str = "stop the embedded broker";
        self.cluster(DOING)?.broker_down(-1).map_err(failed(DOING))
    }

    /// Accepts connections again.
    pub fn up(&self) -> Result<(), BrokerError> {
        const DOING: &str = "continue the embedded broker";
        self.cluster(DOING)?.broker_up(-1).map_err(failed(DOING))
    }

    /// Lets the next requests of a kind fail, one for each element.
    pub fn fail_next(&self, request: Request, failures: &[Failure]) -> Result<(), BrokerError> {
        let failures: Vec<RDKafkaRespErr> =
            failures.iter().map(|failure| native_failure(*failure)).collect();
        self.cluster("plan failures of the embedded broker")?
            .request_errors(native_request(request), &failures);
        Ok(())
    }

    /// Forgets the failures still to come of a kind of request.
    pub fn heal(&self, request: Request) -> Result<(), BrokerError> {
        self.cluster("forget failures of the embedded broker")?
            .clear_request_errors(native_request(request));
        Ok(())
    }

    /// Lets the next answers to a kind of request come `late`, one for each element, with its failure if it has one.
    /// They go before those of [`fail_next`](Self::fail_next), and [`heal`](Self::heal) does not forget them.
    pub fn delay_next(
        &self,
        request: Request,
        late: Duration,
        answers: &[Option<Failure>],
    ) -> Result<(), BrokerError> {
        const DOING: &str = "plan late answers of the embedded broker";
        let cluster = self.native(DOING)?;
        for answer in answers {
            let error = answer.map_or(RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR, native_failure);
            let planned = cluster.delay_next(native_request(request), error, late);
            if planned != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                let why = KafkaError::MockCluster(planned.into());
                return Err(BrokerError { doing: DOING, why });
            }
        }
        Ok(())
    }

    /// Counts requests from now on; each is remembered, so for tests only.
    pub fn count_requests(&self) -> Result<(), BrokerError> {
        self.native("count the embedded broker's requests")?.watch();
        Ok(())
    }

    /// Returns how many requests of a kind came since [`count_requests`](Self::count_requests).
    pub fn requests(&self, request: Request) -> Result<usize, BrokerError> {
        let cluster = self.native("count the embedded broker's requests")?;
        Ok(cluster.seen(native_request(request)))
    }

    /// Lets an empty group wait `delay` for further members before the first reads, instead of 3 s.
    pub fn form_groups_within(&self, delay: Duration) -> Result<(), BrokerError> {
        self.native("hurry the embedded broker's groups")?.form_groups_within(delay);
        Ok(())
    }

    fn native(&self, doing: &'static str) -> Result<native::Cluster<'_>, BrokerError> {
        native::Cluster::of(&self.host).ok_or(BrokerError { doing, why: KafkaError::Canceled })
    }

    fn cluster(
        &self,
        doing: &'static str,
    ) -> Result<MockCluster<'_, DefaultProducerContext>, BrokerError> {
        self.host.client().mock_cluster().ok_or(BrokerError { doing, why: KafkaError::Canceled })
    }
}

fn failed(doing: &'static str) -> impl FnOnce(KafkaError) -> BrokerError {
    move |why| BrokerError { doing, why }
}

fn native_request(request: Request) -> RDKafkaApiKey {
    match request {
        Request::Produce => RDKafkaApiKey::Produce,
        Request::Fetch => RDKafkaApiKey::Fetch,
        Request::FindCoordinator => RDKafkaApiKey::FindCoordinator,
        Request::OffsetCommit => RDKafkaApiKey::OffsetCommit,
        Request::InitProducerId => RDKafkaApiKey::InitProducerId,
        Request::AddPartitionsToTransaction => RDKafkaApiKey::AddPartitionsToTxn,
        Request::EndTransaction => RDKafkaApiKey::EndTxn,
        Request::TransactionOffsetCommit => RDKafkaApiKey::TxnOffsetCommit,
    }
}

fn native_failure(failure: Failure) -> RDKafkaRespErr {
    match failure {
        Failure::NotLeader => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Failure::CoordinatorNotAvailable => {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE
        }
        Failure::ProducerFenced => RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        Failure::RecordTooLarge => RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        Failure::InvalidTransactionState => RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TXN_STATE,
        Failure::IllegalGeneration => RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        Failure::Disconnect => RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
    }
}
