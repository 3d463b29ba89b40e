//! A leader that dies after its batch is replicated and before it has said so.

use std::process::Command;
use std::time::Duration;

use kafka_io::reader::Isolation;
use kafka_io::{Outgoing, TransactionalOptions, TransactionalProducer};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use testkit::wait::until;

use crate::cluster::{Cluster, PATIENCE};

/// As the brokers are set up.
const TRANSACTION_PARTITIONS: i32 = 8;
/// Every order of three replicas, more than once.
const PARTITIONS: i32 = 12;
/// Long enough for a batch to be replicated, and far from a broker's session.
const REPLICATED: Duration = Duration::from_millis(1500);

/// Who does what in the story. The third broker is next in line, with the batch, and the coordinator of the
/// transaction.
#[derive(Debug)]
struct Roles {
    partition: i32,
    leader: u16,
    /// Does not fetch, so that the batch is not acknowledged.
    laggard: u16,
    transactional_id: String,
}

/// By partition: the leader, and the replicas in their order.
fn replicas(cluster: &Cluster, topic: &str) -> Vec<(i32, i32, Vec<i32>)> {
    let client: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", cluster.kafka.bootstrap())
        .create()
        .unwrap();
    let metadata = client.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions();
    partitions.iter().map(|p| (p.id(), p.leader(), p.replicas().to_vec())).collect()
}

/// Where the brokers keep the transactions of an id: Java's hash of a text.
fn transaction_partition(id: &str) -> i32 {
    let hash = id.bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    (hash & i32::MAX) % TRANSACTION_PARTITIONS
}

fn roles(cluster: &Cluster) -> Roles {
    let coordinators = replicas(cluster, "__transaction_state");
    let coordinator = |id: &str| {
        let partition = transaction_partition(id);
        coordinators.iter().find(|found| found.0 == partition).unwrap().1
    };
    let node = |id: &i32| u16::try_from(*id).unwrap();
    let cast = |(partition, leader, order): (i32, i32, Vec<i32>)| {
        let [first, heir, laggard] = &order[..] else { panic!("three replicas: {order:?}") };
        let id = (0..50).map(|n| format!("t{n}")).find(|id| coordinator(id) == *heir)?;
        let leader = (leader == *first).then(|| node(&leader))?;
        Some(Roles { partition, leader, laggard: node(laggard), transactional_id: id })
    };
    replicas(cluster, "out").into_iter().find_map(cast).expect("a partition of each order")
}

fn producer(cluster: &Cluster, roles: &Roles) -> TransactionalProducer {
    let options = TransactionalOptions::new(&roles.transactional_id);
    let producer = TransactionalProducer::new(&cluster.config, &options).unwrap();
    while let Err(error) = producer.init(PATIENCE) {
        assert_eq!(error.class, kafka_io::Class::Retriable, "{error}");
    }
    producer
}

fn send(producer: &mut TransactionalProducer, roles: &Roles, value: &'static str) {
    let outgoing = Outgoing {
        topic: "out".into(),
        partition: Some(roles.partition),
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
        timestamp_ms: None,
    };
    producer.send(&outgoing, PATIENCE).unwrap();
}

fn write(producer: &mut TransactionalProducer, roles: &Roles, value: &'static str) {
    producer.begin().unwrap();
    send(producer, roles, value);
    producer.flush_and_await(PATIENCE).unwrap();
    producer.commit(|| true).unwrap();
}

fn signal(cluster: &Cluster, node: u16, signal: &str) {
    let pid = cluster.kafka.pid(node).expect("it runs").to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// The numbers of what an abort takes back are given to the next batch by the client, which a broker
/// that has the first try of them takes for that one, come again: acknowledged, and not there.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_aborted_transaction_of_three_brokers_wrote_unheard_swallows_nothing() {
    let cluster = Cluster::three().await;
    cluster.topic("out", PARTITIONS).await;
    let (roles, first) = tokio::task::block_in_place(|| {
        let options = TransactionalOptions::new("first");
        // The topic of transactions is made with the first of them.
        TransactionalProducer::new(&cluster.config, &options).unwrap().init(PATIENCE).unwrap();
        let roles = roles(&cluster);
        let mut first = producer(&cluster, &roles);
        write(&mut first, &roles, "before");
        first.begin().unwrap();
        send(&mut first, &roles, "heard");
        // With it the coordinator knows the partition, which it would not learn with a replica stopped.
        first.flush_and_await(PATIENCE).unwrap();
        signal(&cluster, roles.laggard, "-STOP");
        send(&mut first, &roles, "unheard");
        assert!(
            first.flush_and_await(REPLICATED).is_err(),
            "one replica has not said that it has it"
        );
        cluster.kafka.kill9(roles.leader);
        signal(&cluster, roles.laggard, "-CONT");
        (roles, first)
    });
    // Sooner the abort has to wait for it; later the producer may have heard, and have tried again.
    until("another leader", PATIENCE, || {
        let partitions = tokio::task::block_in_place(|| replicas(&cluster, "out"));
        let leader = partitions.iter().find(|found| found.0 == roles.partition).unwrap().1;
        leader >= 0 && leader != i32::from(roles.leader)
    })
    .await;
    let found = tokio::task::block_in_place(|| {
        let mut next = match first.abort(|| true) {
            Ok(()) => first,
            Err(_) => {
                drop(first);
                producer(&cluster, &roles)
            }
        };
        write(&mut next, &roles, "after");
        cluster.read_all("out", Isolation::Committed)
    });
    let values: Vec<_> = found.iter().filter_map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [&b"before"[..], b"after"]);
}
