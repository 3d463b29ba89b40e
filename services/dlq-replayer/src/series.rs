//! The numbers of the replayer, by the names of the telemetry contract.

use std::collections::HashMap;

use chassis::Metrics;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use crate::{Job, Progress};

/// The families; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    records: IntCounterVec,
    active: IntGaugeVec,
    progress: GaugeVec,
    depth: IntGaugeVec,
    oldest: GaugeVec,
    retention: GaugeVec,
}

/// What became of a letter, as the label `outcome` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Republished,
    Skipped,
    Failed,
    Quarantined,
    /// Would be put through, or set aside.
    DryRun,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Republished => "republished",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::DryRun => "dry_run",
        }
    }
}

/// What was decided and is not committed yet, by topic.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Most letters of a read come from one topic, so that it is found without copying its name.
    counts: Vec<(String, HashMap<Outcome, u64>)>,
}

impl Tally {
    pub(crate) fn add(&mut self, topic: &str, outcome: Outcome) {
        let at = self.counts.iter().position(|(name, _)| name == topic).unwrap_or_else(|| {
            self.counts.push((topic.to_owned(), HashMap::new()));
            self.counts.len() - 1
        });
        *self.counts[at].1.entry(outcome).or_default() += 1;
    }
}

/// What a look at a dead-letter topic found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Depth {
    pub(crate) topic: String,
    pub(crate) records: i64,
    /// In milliseconds since 1970; `None` for an empty topic.
    pub(crate) oldest_ms: Option<i64>,
    /// In milliseconds; `None` where the cluster does not tell, or keeps them for ever.
    pub(crate) retention_ms: Option<i64>,
}

impl Series {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let topic = &["dlq_topic"];
        Self {
            records: metrics.counter_vec(
                "millrace_replay_records_total",
                "Dead letters by what replays made of them.",
                &["dlq_topic", "outcome"],
            ),
            active: metrics.gauge_vec(
                "millrace_replay_active",
                "Replay jobs that this process runs now.",
                topic,
            ),
            progress: metrics.float_gauge_vec(
                "millrace_replay_progress_ratio",
                "How much of the last replay job's letters was passed, from 0 to 1.",
                topic,
            ),
            depth: metrics.gauge_vec(
                "millrace_dlq_depth_records",
                "Offsets from the first dead letter that is kept to the last: at least as many as letters.",
                topic,
            ),
            oldest: metrics.float_gauge_vec(
                "millrace_dlq_oldest_record_timestamp_seconds",
                "When the oldest dead letter that is kept was written; 0 where there is none.",
                topic,
            ),
            retention: metrics.float_gauge_vec(
                "millrace_dlq_retention_seconds",
                "How long dead letters are kept.",
                topic,
            ),
        }
    }

    /// Counts what was committed, and forgets it.
    pub(crate) fn replayed(&self, tally: &mut Tally) {
        for (topic, outcomes) in &mut tally.counts {
            for (outcome, count) in outcomes.drain() {
                self.records.with_label_values(&[topic.as_str(), outcome.label()]).inc_by(count);
            }
        }
    }

    /// Says that a job runs here, until what it returns is dropped.
    pub(crate) fn running(&self, job: &Job) -> Running {
        let mut topics: Vec<String> = job.ranges.iter().map(|range| range.topic.clone()).collect();
        topics.dedup();
        for topic in &topics {
            self.active.with_label_values(&[topic]).inc();
            self.progress.with_label_values(&[topic]).set(0.0);
        }
        Running { series: self.clone(), topics }
    }

    pub(crate) fn looked(&self, depth: &Depth) {
        let topic = &[depth.topic.as_str()];
        self.depth.with_label_values(topic).set(depth.records);
        self.oldest.with_label_values(topic).set(depth.oldest_ms.map_or(0.0, seconds));
        match depth.retention_ms {
            Some(ms) => self.retention.with_label_values(topic).set(seconds(ms)),
            None => drop(self.retention.remove_label_values(topic)),
        }
    }

    /// Takes back what was said of a topic that is gone.
    pub(crate) fn forget(&self, topic: &str) {
        // One that was never told is taken back all the same.
        let _ = self.depth.remove_label_values(&[topic]);
        let _ = self.oldest.remove_label_values(&[topic]);
        let _ = self.retention.remove_label_values(&[topic]);
    }
}

/// A job that runs here.
pub(crate) struct Running {
    series: Series,
    topics: Vec<String>,
}

impl Running {
    pub(crate) fn progress(&self, progress: &Progress) {
        if progress.total == 0 {
            return;
        }
        #[allow(clippy::cast_precision_loss)] // a ratio needs no exactness
        let ratio = progress.passed as f64 / progress.total as f64;
        for topic in &self.topics {
            self.series.progress.with_label_values(&[topic]).set(ratio);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for topic in &self.topics {
            self.series.active.with_label_values(&[topic]).dec();
        }
    }
}

#[allow(clippy::cast_precision_loss)] // milliseconds of our time are exact
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    /// Offsets are more than records: markers of transactions and doubles have some too.
    #[test]
    fn panels_and_guide_say_that_depth_and_lag_are_offsets() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let read = |path| std::fs::read_to_string(format!("{root}/{path}")).expect("it is there");
        let board: Value = serde_json::from_str(&read("helm/millrace/dashboards/overview.json"))
            .expect("the dashboard is JSON");
        let panels = board["panels"].as_array().expect("it has panels");
        let guide = read("docs/guides/telemetry.md");
        for name in ["millrace_dlq_depth_records", "millrace_consumer_lag_records"] {
            let shows = |panel: &&Value| panel["targets"].to_string().contains(name);
            let shown: Vec<&Value> = panels.iter().filter(shows).collect();
            assert_eq!(shown.len(), 2, "{name}");
            for panel in shown {
                let told = panel["description"].to_string().to_lowercase();
                assert!(told.contains("offsets") && told.contains("markers"), "{panel}");
            }
            let row = guide.lines().find(|line| line.starts_with(&format!("| `{name}`")));
            let told = row.expect("the guide has a row for it");
            assert!(told.contains("offsets") && told.contains("markers"), "{told}");
        }
    }
}
