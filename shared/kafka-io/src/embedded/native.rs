//! What rdkafka leaves of the mock cluster to the C interface: late answers, seen requests, groups that form at once.

use std::os::raw::c_int;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

/// The only broker's number.
const BROKER: i32 = 1;

/// A host's cluster, for as long as the host is borrowed.
pub(super) struct Cluster<'a> {
    cluster: *mut native::rd_kafka_mock_cluster_t,
    _host: &'a BaseProducer,
}

impl<'a> Cluster<'a> {
    /// Returns `None` where the client hosts no cluster.
    #[expect(unsafe_code, reason = "rdkafka keeps its pointer to the mock cluster to itself")]
    pub(super) fn of(host: &'a BaseProducer) -> Option<Self> {
        // SAFETY: the client lives as long as the borrow, and its cluster as long as the client.
        let cluster = unsafe { native::rd_kafka_handle_mock_cluster(host.client().native_ptr()) };
        (!cluster.is_null()).then_some(Self { cluster, _host: host })
    }

    /// Lets the next answer to a kind of request come after `late`, with an error if there is one.
    #[expect(unsafe_code, reason = "rdkafka's mock cluster delays all answers or none")]
    pub(super) fn delay_next(
        &self,
        key: RDKafkaApiKey,
        error: RDKafkaRespErr,
        late: Duration,
    ) -> RDKafkaRespErr {
        let late_ms = c_int::try_from(late.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the cluster is alive, and the two numbers after the count are the one pair that it announces.
        unsafe {
            native::rd_kafka_mock_broker_push_request_error_rtts(
                self.cluster,
                BROKER,
                key.into(),
                1,
                error as c_int,
                late_ms,
            )
        }
    }

    /// Remembers requests from now on, and forgets those remembered.
    #[expect(unsafe_code, reason = "rdkafka's mock cluster does not tell what it was asked")]
    pub(super) fn watch(&self) {
        // SAFETY: the cluster is alive.
        unsafe { native::rd_kafka_mock_start_request_tracking(self.cluster) }
    }

    /// Counts the remembered requests of a kind.
    #[expect(unsafe_code, reason = "rdkafka's mock cluster does not tell what it was asked")]
    pub(super) fn seen(&self, key: RDKafkaApiKey) -> usize {
        let (mut count, key) = (0, i16::from(key));
        // SAFETY: the cluster is alive; what it returns is an array of `count` requests, ours until it is given back.
        unsafe {
            let requests =
                native::rd_kafka_mock_get_requests(self.cluster, ptr::from_mut(&mut count));
            if requests.is_null() {
                return 0;
            }
            let of_kind = (0..count)
                .filter(|at| native::rd_kafka_mock_request_api_key(*requests.add(*at)) == key)
                .count();
            native::rd_kafka_mock_request_destroy_array(requests, count);
            of_kind
        }
    }

    /// Lets an empty group wait this long for further members.
    #[expect(unsafe_code, reason = "rdkafka's mock cluster cannot be told")]
    pub(super) fn form_groups_within(&self, delay: Duration) {
        let delay_ms = c_int::try_from(delay.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the cluster is alive.
        unsafe { native::rd_kafka_mock_group_initial_rebalance_delay_ms(self.cluster, delay_ms) }
    }
}
