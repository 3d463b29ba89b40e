//! Whether a group still does its work: errors judged, statistics read, the stalled consumer given up.
//!
//! It opens no new consumer; who owns the group does, on [`Event::Broken`](super::Event::Broken).

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::Offset;

use super::status::Trouble;
use super::{Group, GroupError, Partition, Position, QUESTION, native};

/// A commit has its answer, or its failure, long before.
const COMMIT_LATE: Duration = Duration::from_secs(120);

impl Group {
    /// Judges an error that the consumer handed out; most mend themselves.
    pub(super) fn failed(&mut self, error: &KafkaError, partition: Option<&Partition>) {
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            let reason = self.consumer.context().last_reason().unwrap_or_default();
            return self.break_with(
                "fatal",
                GroupError::new("read as a member of the group", format!("{error} {reason}")),
            );
        }
        match error.rdkafka_error_code() {
            // The new consumer compares the committed offset with the log's start, and counts what is gone.
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                if let Some(partition) = partition {
                    let key = (partition.topic.clone(), partition.partition);
                    self.options.memory.beyond.lock().insert(key);
                }
                self.break_with("out_of_range", GroupError::new("read on", error));
            }
            // Told to the context as well, with its reason.
            _ => tracing::debug!(%error, "consumer met an error"),
        }
    }

    /// Looks whether the client has given itself up: it may say so late, or to a commit alone.
    pub(super) fn look_for_fatal(&mut self) {
        if let Some((code, reason)) = self.consumer.client().fatal_error() {
            let why = GroupError::new("stay a member of the group", format!("{code}: {reason}"));
            self.break_with("fatal", why);
        }
    }

    /// Looks whether a commit is never answered: nothing would be committed any more.
    pub(super) fn look_for_late_commit(&mut self) {
        let waiting = self.consumer.context().committing_for();
        if waiting > COMMIT_LATE {
            let why = format!("no answer in {} s", waiting.as_secs());
            self.break_with("commit_late", GroupError::new("commit offsets", why));
        }
    }

    pub(super) fn break_with(&mut self, reason: &'static str, why: GroupError) {
        if self.broken.is_some() {
            return;
        }
        tracing::error!(group = self.options.group_id, %why, "consumer is replaced");
        self.metrics.rebuilt.with_label_values(&[&*self.options.group_id, reason]).inc();
        self.status.send_modify(|status| {
            status.rebuilt += 1;
            status.joined = false;
            status.has_problem(Trouble::Connection, why.to_string());
        });
        self.broken = Some(why);
    }

    /// Reads the statistics: lag, positions past the end of a transaction, and whether everything that waits moves.
    pub(super) fn look(&mut self, statistics: &Statistics) {
        self.check_problem(statistics);
        let now = Instant::now();
        let mut ahead = Vec::new();
        for owned in self.owners.iter_mut() {
            let Some(found) = native::statistics_of(statistics, &owned.partition) else { continue };
            owned.show_lag(found);
            if let Some(next) = owned.idle_position(found) {
                ahead.push(Position::plain(owned.partition.clone(), next));
            }
        }
        // Markers of transactions are no records: without this a position would stay before them, and would look
        // like a loss once retention removes them.
        // One at a time; what is refused is wanted again at the next look.
        if !ahead.is_empty()
            && self.commits_open() == 0
            && let Err(why) = self.commit(ahead)
        {
            tracing::debug!(%why, "positions past markers not committed");
        }
        let silent: Vec<Partition> = self.watchdog.silent(self.owners.looks(statistics), now);
        if silent.is_empty() {
            return;
        }
        let pairs: Vec<(&str, i32)> = silent.iter().map(|p| (&*p.topic, p.partition)).collect();
        match native::ends(&self.consumer, &pairs, Offset::End, QUESTION / 2) {
            Ok(ends) => {
                if let Some(stalled) = self.watchdog.stalled(&ends, now) {
                    self.break_with("stalled", stalled);
                }
            }
            Err(why) => tracing::debug!(%why, "end of silent partitions not found"),
        }
    }

    /// Looks whether what kept records from flowing is over.
    fn check_problem(&self, statistics: &Statistics) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            self.status.send_if_modified(|status| status.is_rid_of(Trouble::Connection));
        }
        let of_topics = { self.status.borrow().trouble == Trouble::Topics };
        if of_topics && let Ok(missing) = native::missing(&self.consumer, &self.options.topics) {
            self.status.send_if_modified(|status| match missing.is_empty() {
                true => status.is_rid_of(Trouble::Topics),
                false => {
                    let problem = format!(
                        "topics missing or not readable: {}; run `millrace topics apply`",
                        missing.join(", ")
                    );
                    let told = status.problem.as_ref() == Some(&problem);
                    status.has_problem(Trouble::Topics, problem);
                    !told
                }
            });
        }
    }
}
