//! Settings of librdkafka that an operator may not set, each with what to use instead.
//!
//! Everything else is the operator's.

use super::{ConfigProblem, problem};

/// Says why a setting is refused, or `None` when it is allowed.
pub(super) fn property(key: &str) -> Option<ConfigProblem> {
    let (_, what, remedy) = REFUSED.iter().find(|(keys, _, _)| keys.contains(&key))?;
    Some(problem(&format!("properties.{key}"), what, remedy))
}

const TAKE_OUT: &str = "take it out";

/// Settings, why they are refused, what to do.
const REFUSED: &[(&[&str], &str, &str)] = &[
    (
        &[
            "bootstrap.servers",
            "metadata.broker.list",
            "client.id",
            "group.protocol",
            "group.remote.assignor",
        ],
        "has a key of its own",
        "use kafka.bootstrap_servers, kafka.client_id or kafka.group_protocol",
    ),
    (
        &["ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "security.protocol"],
        "has a key of its own",
        "use kafka.tls",
    ),
    (
        &["sasl.mechanism", "sasl.mechanisms", "sasl.username"],
        "has a key of its own",
        "use kafka.sasl",
    ),
    (
        &[
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
        ],
        "a secret does not belong into the configuration",
        "name a file: kafka.sasl.password_file, kafka.tls.key_file, kafka.tls.key_password_file",
    ),
    (
        &[
            "enable.auto.commit",
            "auto.commit.enable",
            "auto.commit.interval.ms",
            "enable.auto.offset.store",
            "auto.offset.reset",
            "offset.store.method",
            "isolation.level",
        ],
        "records would be skipped, lost or read before they are committed",
        TAKE_OUT,
    ),
    (
        &[
            "enable.idempotence",
            "acks",
            "request.required.acks",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "retries",
            "message.send.max.retries",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "enable.gapless.guarantee",
            "queuing.strategy",
        ],
        "acknowledged records could be lost, doubled or reordered",
        TAKE_OUT,
    ),
    (
        &["partitioner"],
        "keys would go to other partitions than those of Java clients, and order would break",
        TAKE_OUT,
    ),
    (&["transactional.id", "transaction.timeout.ms"], "exactly-once depends on it", TAKE_OUT),
    (
        &[
            "group.id",
            "group.instance.id",
            "partition.assignment.strategy",
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "max.poll.interval.ms",
            "enable.partition.eof",
        ],
        "the group's behaviour in a rebalance depends on it",
        TAKE_OUT,
    ),
    (
        &[
            "allow.auto.create.topics",
            "check.crcs",
            "statistics.interval.ms",
            "log.queue",
            "log_level",
            "plugin.library.paths",
        ],
        "the client depends on it",
        TAKE_OUT,
    ),
    (
        &["test.mock.num.brokers", "test.mock.broker.rtt"],
        "it would talk to a broker of its own",
        "use `millrace dev` for an embedded broker",
    ),
];
