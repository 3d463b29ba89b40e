//! The numbers that Kafka clients give, by the names of the telemetry contract.
//!
//! Where they are shown is the caller's: families are made by functions it hands in, so that several services of
//! one process share them. Gauges that several clients feed are changed by differences.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// Boundaries of durations in seconds: the semantic conventions', and two below for a local broker.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

const OPERATION: &str = "messaging_operation_name";
const OPERATION_TYPE: &str = "messaging_operation_type";
const TOPIC: &str = "messaging_destination_name";
const GROUP: &str = "messaging_consumer_group_name";
const ERROR: &str = "error_type";
const LABELS: &[&str] = &[OPERATION, OPERATION_TYPE, TOPIC, GROUP, ERROR];

/// The families of all Kafka clients; clones are the same.
#[derive(Clone)]
pub struct Metrics {
    sent: IntCounterVec,
    consumed: IntCounterVec,
    operations: HistogramVec,
    pub(crate) lag_records: IntGaugeVec,
    pub(crate) lag_seconds: GaugeVec,
    pub(crate) assigned: IntGaugeVec,
    pub(crate) rebalances: IntCounterVec,
    pub(crate) rebuilt: IntCounterVec,
    pub(crate) records_lost: IntCounterVec,
    pub(crate) maps_unreadable: IntCounterVec,
    pub(crate) queue_records: IntGauge,
    pub(crate) queue_bytes: IntGauge,
    pub(crate) queue_limit_bytes: IntGauge,
    pub(crate) possibly_written: IntCounter,
}

/// Makes or finds histograms by name, help, labels and the buckets' boundaries.
pub type Histograms<'a> = &'a dyn Fn(&str, &str, &[&str], &[f64]) -> HistogramVec;

/// Makes or finds the families of a process by name, help and labels.
pub struct Families<'a> {
    pub counters: &'a dyn Fn(&str, &str, &[&str]) -> IntCounterVec,
    pub gauges: &'a dyn Fn(&str, &str, &[&str]) -> IntGaugeVec,
    pub ratios: &'a dyn Fn(&str, &str, &[&str]) -> GaugeVec,
    pub histograms: Histograms<'a>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    /// Returns families that nobody shows.
    fn default() -> Self {
        Self::register(&Registry::new())
    }
}

impl Metrics {
    /// Makes the families with the functions of the process.
    pub fn new(families: &Families<'_>) -> Self {
        let counters = |name, help, labels: &[&str]| (families.counters)(name, help, labels);
        let gauges = |name, help, labels: &[&str]| (families.gauges)(name, help, labels);
        let (queue_records, queue_bytes, queue_limit_bytes) = queue(families);
        let (sent, consumed, operations) = messaging(families);
        Self {
            sent,
            consumed,
            operations,
            lag_records: gauges(
                "millrace_consumer_lag_records",
                "Records of an assigned partition that are not completed",
                &["topic", "partition", "consumer_group"],
            ),
            lag_seconds: (families.ratios)(
                "millrace_consumer_lag_seconds",
                "Age of the last record read while others wait, else 0",
                &["topic", "partition", "consumer_group"],
            ),
            assigned: gauges(
                "millrace_consumer_assigned_partitions",
                "Partitions owned",
                &["consumer_group"],
            ),
            rebalances: counters(
                "millrace_consumer_rebalances_total",
                "Changes of the assignment",
                &["consumer_group", "type"],
            ),
            rebuilt: counters(
                "millrace_consumer_rebuilt_total",
                "Consumers replaced because nothing flowed or they broke",
                &["consumer_group", "reason"],
            ),
            records_lost: counters(
                "millrace_records_lost_total",
                "Records removed from the log before they were read",
                &["topic"],
            ),
            maps_unreadable: counters(
                "millrace_offset_maps_unreadable_total",
                "Commits whose record of what is complete beyond them could not be read: it was repeated",
                &["topic"],
            ),
            queue_records,
            queue_bytes,
            queue_limit_bytes,
            possibly_written: possibly_written(families),
        }
    }

    /// Makes the families and registers them. A name that is taken already is logged; its numbers are not shown.
    pub fn register(registry: &Registry) -> Self {
        let show = |family: Box<dyn prometheus::core::Collector>| {
            if let Err(why) = registry.register(family) {
                tracing::error!(%why, "metric is not exported");
            }
        };
        Self::new(&Families {
            counters: &|name, help, labels| {
                let family = IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
                show(Box::new(family.clone()));
                family
            },
            gauges: &|name, help, labels| {
                let family = IntGaugeVec::new(Opts::new(name, help), labels).expect(VALID);
                show(Box::new(family.clone()));
                family
            },
            ratios: &|name, help, labels| {
                let family = GaugeVec::new(Opts::new(name, help), labels).expect(VALID);
                show(Box::new(family.clone()));
                family
            },
            histograms: &|name, help, labels, buckets| {
                let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
                let family = HistogramVec::new(options, labels).expect(VALID);
                show(Box::new(family.clone()));
                family
            },
        })
    }

    /// Returns the counter of records read from a topic.
    pub(crate) fn consumed(&self, topic: &str, group: &str) -> IntCounter {
        self.consumed.with_label_values(&["poll", "receive", topic, group, ""])
    }

    /// Returns the histogram of commits of a group.
    pub(crate) fn commits(&self, group: &str, error: &str) -> Histogram {
        self.operations.with_label_values(&["commit", "settle", "", group, error])
    }
}

const VALID: &str = "names and labels are constants of ours, and valid";

/// The counter and the duration of what was acknowledged, by topic.
type Acknowledged = HashMap<Arc<str>, (IntCounter, Histogram)>;

/// Counts what becomes of sent records; finds a topic's series without building label values each time.
#[derive(Clone)]
pub(crate) struct Sent {
    metrics: Metrics,
    acknowledged: Arc<Mutex<Acknowledged>>,
}

impl Sent {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), acknowledged: Arc::default() }
    }

    pub(crate) fn acknowledged(&self, topic: &Arc<str>, took: Duration) {
        let mut known = self.acknowledged.lock();
        if !known.contains_key(topic) {
            known.insert(topic.clone(), self.series(topic, ""));
        }
        if let Some((count, time)) = known.get(topic) {
            count.inc();
            time.observe(took.as_secs_f64());
        }
    }

    pub(crate) fn failed(&self, topic: &str, error: &str, took: Duration) {
        let (count, time) = self.series(topic, error);
        count.inc();
        time.observe(took.as_secs_f64());
    }

    fn series(&self, topic: &str, error: &str) -> (IntCounter, Histogram) {
        let labels = ["send", "send", topic, "", error];
        (
            self.metrics.sent.with_label_values(&labels),
            self.metrics.operations.with_label_values(&labels),
        )
    }
}

fn possibly_written(families: &Families<'_>) -> IntCounter {
    let family = (families.counters)(
        "millrace_producer_possibly_written_total",
        "Records refused at their time limit that may have been written all the same",
        &[],
    );
    family.with_label_values::<&str>(&[])
}

/// Makes the gauges of the producer's window: records, bytes, and how many bytes may wait.
fn queue(families: &Families<'_>) -> (IntGauge, IntGauge, IntGauge) {
    let gauge = |name, help| (families.gauges)(name, help, &[]).with_label_values::<&str>(&[]);
    (
        gauge("millrace_producer_queue_records", "Records waiting for their acknowledgement"),
        gauge("millrace_producer_queue_bytes", "Bytes waiting for their acknowledgement"),
        gauge("millrace_producer_queue_limit_bytes", "Bytes that may wait"),
    )
}

/// Makes the families that the semantic conventions name: sent, read, and how long operations take.
fn messaging(families: &Families<'_>) -> (IntCounterVec, IntCounterVec, HistogramVec) {
    let sent = (families.counters)(
        "messaging_client_sent_messages_total",
        "Records acknowledged or refused",
        LABELS,
    );
    let consumed =
        (families.counters)("messaging_client_consumed_messages_total", "Records read", LABELS);
    let operations = (families.histograms)(
        "messaging_client_operation_duration_seconds",
        "Time from the call to Kafka's answer",
        LABELS,
        SECONDS,
    );
    (sent, consumed, operations)
}
