//! A real Kafka for one test, with topics, plain records and a look at what lies in a topic.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use kafka_io::reader::{Ended, Isolation, Range, Reader, ReaderOptions};
use kafka_io::topics::{Admin, AdminOptions, Change, Spec};
use kafka_io::{Config, Record};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions as NativeOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use testkit::Kafka;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    pub(crate) kafka: Kafka,
    pub(crate) config: Config,
    pub(crate) admin: Admin,
}

impl Cluster {
    pub(crate) async fn one() -> Self {
        Self::around(Kafka::one().await)
    }

    pub(crate) async fn three() -> Self {
        Self::around(Kafka::three().await)
    }

    fn around(kafka: Kafka) -> Self {
        // For the reader of a failed test; the first test of a process sets it.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let config = Config::plain(kafka.bootstrap());
        let admin = Admin::open(&config, AdminOptions::default()).unwrap();
        Self { kafka, config, admin }
    }

    pub(crate) fn spec(&self, name: &str, partitions: i32) -> Spec {
        Spec::new(name, partitions, i32::from(self.kafka.nodes()))
    }

    pub(crate) async fn topic(&self, name: &str, partitions: i32) {
        self.create(self.spec(name, partitions)).await;
    }

    pub(crate) async fn create(&self, spec: Spec) {
        self.admin.apply(&Change::Create(spec.clone())).await.unwrap();
        let there = || async { self.admin.verify(std::slice::from_ref(&spec)).await.ok() };
        testkit::wait::until_some("the topic is there", PATIENCE, there).await;
    }

    /// Writes records acknowledged by all, `(partition, key, value)`; blocks.
    pub(crate) fn write(
        &self,
        topic: &str,
        records: impl IntoIterator<Item = (i32, String, String)>,
    ) {
        let producer: BaseProducer = self.native().set("acks", "all").create().unwrap();
        for (partition, key, value) in records {
            let record = BaseRecord::to(topic).partition(partition).key(&key).payload(&value);
            producer.send(record).map_err(|(why, _)| why).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Everything in a topic, partition by partition; blocks.
    pub(crate) fn read_all(&self, topic: &str, isolation: Isolation) -> Vec<Record> {
        let options = ReaderOptions { isolation, ..ReaderOptions::default() };
        let reader = Reader::open(&self.config, options).unwrap();
        let topics = reader.topics().unwrap();
        let info = topics.iter().find(|info| info.name == topic).unwrap();
        let range = |partition| Range { topic: topic.to_owned(), partition, from: 0, to: i64::MAX };
        let ranges: Vec<Range> = (0..info.partitions).map(range).collect();
        let mut records = Vec::new();
        let ended = reader.read(&ranges, Instant::now() + PATIENCE, |view| {
            records.push(view.to_record());
            ControlFlow::Continue(())
        });
        assert_eq!(ended.unwrap(), Ended::Complete);
        records
    }

    /// Moves a partition's start to `before`, as retention does.
    pub(crate) async fn truncate(&self, topic: &str, partition: i32, before: i64) {
        let client: AdminClient<DefaultClientContext> = self.native().create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
        client.delete_records(&list, &NativeOptions::new()).await.unwrap();
    }

    /// Commits an offset of partition 0 for a group without members, as an earlier process has.
    pub(crate) async fn commit(&self, group: &str, topic: &str, next: i64, metadata: &str) {
        let consumer: BaseConsumer = self.native().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(topic, 0);
        element.set_offset(Offset::Offset(next)).unwrap();
        element.set_metadata(metadata);
        let taken = || consumer.commit(&list, CommitMode::Sync).is_ok();
        testkit::wait::until("the commit is taken", PATIENCE, taken).await;
    }

    fn native(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.kafka.bootstrap());
        client
    }
}
