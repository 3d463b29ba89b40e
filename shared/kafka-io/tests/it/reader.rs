//! Bounded reads end where they must, whatever lies at the end of the log or has left its start.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use kafka_io::reader::{Ended, Isolation, Range, Reader, ReaderOptions};
use kafka_io::{Config, Outgoing, TransactionalOptions, TransactionalProducer};

use crate::cluster::{Cluster, PATIENCE};

const SOON: Duration = Duration::from_secs(20);

fn numbered(range: std::ops::Range<i32>) -> impl Iterator<Item = (i32, String, String)> {
    range.map(|n| (0, format!("k{n}"), n.to_string()))
}

fn transaction(config: &Config, topic: &str, values: &[&str], commit: bool) {
    let options = TransactionalOptions::new("reader-test");
    let mut producer = TransactionalProducer::new(config, &options).unwrap();
    producer.init(PATIENCE).unwrap();
    producer.begin().unwrap();
    for value in values {
        let outgoing = Outgoing {
            topic: topic.into(),
            partition: Some(0),
            key: None,
            value: Some((*value).to_owned().into()),
            headers: vec![("h".to_owned(), (*value).to_owned().into())],
            timestamp_ms: Some(1_700_000_000_000),
        };
        producer.send(&outgoing, PATIENCE).unwrap();
    }
    producer.flush_and_await(PATIENCE).unwrap();
    if commit { producer.commit(|| true) } else { producer.abort(|| true) }.unwrap();
}

fn read(reader: &Reader, from: i64, to: i64) -> (Ended, Vec<String>) {
    let range = Range { topic: "t".to_owned(), partition: 0, from, to };
    let mut values = Vec::new();
    let ended = reader.read(&[range], Instant::now() + SOON, |view| {
        values.push(String::from_utf8_lossy(view.value().unwrap_or_default()).into_owned());
        ControlFlow::Continue(())
    });
    (ended.unwrap(), values)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_ends_at_markers_and_shows_no_aborted_record() {
    let cluster = Cluster::one().await;
    cluster.topic("t", 1).await;
    tokio::task::block_in_place(|| {
        transaction(&cluster.config, "t", &["a", "b"], true); // 0, 1, marker 2
        transaction(&cluster.config, "t", &["x", "y"], false); // 3, 4, marker 5
        transaction(&cluster.config, "t", &["c"], true); // 6, marker 7
        transaction(&cluster.config, "t", &["z"], false); // 8, marker 9
        let reader = Reader::open(&cluster.config, ReaderOptions::default()).unwrap();
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let cases: [(i64, i64, &[&str]); 6] = [
            (0, i64::MAX, &["a", "b", "c"]),
            (0, 3, &["a", "b"]),
            (3, 6, &[]),
            (7, 8, &[]),
            (5, 7, &["c"]),
            (10, i64::MAX, &[]),
        ];
        for (from, to, expected) in cases {
            assert_eq!(read(&reader, from, to), (Ended::Complete, owned(expected)), "{from}..{to}");
        }
        let options =
            ReaderOptions { isolation: Isolation::Uncommitted, ..ReaderOptions::default() };
        let reader = Reader::open(&cluster.config, options).unwrap();
        let all = owned(&["a", "b", "x", "y", "c", "z"]);
        assert_eq!(read(&reader, 0, i64::MAX), (Ended::Complete, all));
        let one = reader.fetch_one("t", 0, 6, SOON).unwrap().unwrap();
        assert_eq!((one.offset, one.headers[0].0.as_str()), (6, "h"));
        assert_eq!(reader.fetch_one("t", 0, 7, SOON).unwrap(), None, "a marker is no record");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_begins_at_the_logs_start_where_that_has_moved() {
    let cluster = Cluster::one().await;
    cluster.topic("t", 1).await;
    tokio::task::block_in_place(|| cluster.write("t", numbered(0..10)));
    cluster.truncate("t", 0, 6).await;
    tokio::task::block_in_place(|| {
        let reader = Reader::open(&cluster.config, ReaderOptions::default()).unwrap();
        assert_eq!(reader.watermarks("t", 0).unwrap().low, 6);
        let rest: Vec<String> = (6..10).map(|n| n.to_string()).collect();
        assert_eq!(read(&reader, 0, i64::MAX), (Ended::Complete, rest));
        assert_eq!(read(&reader, 0, 5), (Ended::Complete, Vec::new()));
        assert_eq!(reader.fetch_one("t", 0, 3, SOON).unwrap(), None);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_over_many_partitions_and_topics_sees_each_record_once() {
    let cluster = Cluster::one().await;
    cluster.topic("t", 3).await;
    cluster.topic("u", 2).await;
    tokio::task::block_in_place(|| {
        cluster.write("t", (0..3000).map(|n| (n % 3, "k".to_owned(), n.to_string())));
        cluster.write("u", (0..20).map(|n| (n % 2, "k".to_owned(), n.to_string())));
        let reader = Reader::open(&cluster.config, ReaderOptions::default()).unwrap();
        let range = |topic: &str, partition, from, to| Range {
            topic: topic.to_owned(),
            partition,
            from,
            to,
        };
        let ranges = [
            range("t", 0, 0, i64::MAX),
            range("t", 1, 990, i64::MAX),
            range("t", 2, 0, 10),
            range("u", 0, 0, 5),
            range("u", 1, 9, 100),
        ];
        let mut seen = std::collections::BTreeMap::new();
        let ended = reader.read(&ranges, Instant::now() + SOON, |view| {
            *seen.entry((view.topic().to_owned(), view.partition())).or_insert(0) += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(ended.unwrap(), Ended::Complete);
        let counts: Vec<i32> = seen.into_values().collect();
        assert_eq!(counts, [1000, 10, 10, 5, 1]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_an_error_and_the_deadline_leaves_the_rest() {
    let cluster = Cluster::one().await;
    cluster.topic("t", 1).await;
    tokio::task::block_in_place(|| {
        cluster.write("t", numbered(0..10));
        let reader = Reader::open(&cluster.config, ReaderOptions::default()).unwrap();
        let range = Range { topic: "missing".to_owned(), partition: 0, from: 0, to: i64::MAX };
        let missing = reader.read(&[range], Instant::now() + SOON, |_| ControlFlow::Continue(()));
        assert!(missing.unwrap_err().to_string().contains("missing"));

        let range = Range { topic: "t".to_owned(), partition: 0, from: 2, to: i64::MAX };
        let ended = reader.read(&[range], Instant::now(), |_| ControlFlow::Continue(()));
        let left = vec![Range { topic: "t".to_owned(), partition: 0, from: 2, to: 10 }];
        assert_eq!(ended.unwrap(), Ended::Deadline { left });
    });
}
