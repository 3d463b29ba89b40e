//! What librdkafka tells a group's consumer, kept until the consumer's own thread asks.
//!
//! Nothing is decided in a callback: rebalances are answered outside, with their errors looked at.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::committer::Committed;
use super::status::Trouble;
use crate::context::ClientHooks;

/// Ended commits kept for an owner who asks for them.
const COMMITS_KEPT: usize = 256;

/// A partition without its epoch.
pub(super) type Pair = (Arc<str>, i32);

/// What the group has decided about this member.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assigned(Vec<Pair>),
    Revoked(Vec<Pair>),
    /// Revoked too late: others own the partitions already.
    Lost(Vec<Pair>),
    Failed(String),
}

/// News that are looked at together.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) statistics: Option<Box<Statistics>>,
    /// The newest error that concerns the whole client.
    pub(super) error: Option<(Trouble, String)>,
}

#[derive(Default)]
struct State {
    inbox: Inbox,
    rebalances: VecDeque<Rebalance>,
    commits_open: usize,
    /// When the oldest of the open commits began, or became the oldest.
    committing_since: Option<Instant>,
    commits_ended: VecDeque<Committed>,
    reason: Option<String>,
}

impl State {
    fn commit_answered(&mut self) {
        self.commits_open -= 1;
        self.committing_since = (self.commits_open > 0).then(Instant::now);
    }
}

/// The callbacks of a group's consumer.
pub(crate) struct GroupContext {
    hooks: ClientHooks,
    state: Mutex<State>,
}

impl GroupContext {
    pub(super) fn new(hooks: ClientHooks) -> Self {
        Self { hooks, state: Mutex::default() }
    }

    pub(super) fn take(&self) -> Inbox {
        std::mem::take(&mut self.state.lock().inbox)
    }

    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        self.state.lock().rebalances.pop_front()
    }

    /// Returns the text of the last error, which says more than its code.
    pub(super) fn last_reason(&self) -> Option<String> {
        self.state.lock().reason.clone()
    }

    pub(super) fn commit_begins(&self) {
        let mut state = self.state.lock();
        state.commits_open += 1;
        state.committing_since.get_or_insert_with(Instant::now);
    }

    /// Takes back [`commit_begins`](Self::commit_begins) of a commit that was refused at once.
    pub(super) fn commit_refused(&self) {
        self.state.lock().commit_answered();
    }

    pub(super) fn commit_ended(&self, commit: Committed) {
        let mut state = self.state.lock();
        state.commit_answered();
        if state.commits_ended.len() == COMMITS_KEPT {
            state.commits_ended.pop_front();
        }
        state.commits_ended.push_back(commit);
    }

    /// Number of commits without an answer.
    pub(super) fn commits_open(&self) -> usize {
        self.state.lock().commits_open
    }

    /// Returns how long a commit has been waiting for its answer.
    pub(super) fn committing_for(&self) -> Duration {
        self.state.lock().committing_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn commits_ended(&self) -> VecDeque<Committed> {
        std::mem::take(&mut self.state.lock().commits_ended)
    }
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.hooks.log(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.state.lock().inbox.statistics = Some(Box::new(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let own = match error.rdkafka_error_code() {
            // A partition's end and a position outside of the log are told by the partition's queue.
            Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::AutoOffsetReset) => return,
            _ => format!("{error}: {reason}"),
        };
        let trouble = match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed,
            ) => Trouble::Topics,
            _ => Trouble::Connection,
        };
        {
            let mut state = self.state.lock();
            state.reason = Some(own.clone());
            state.inbox.error = Some((trouble, own));
        }
        self.hooks.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.hooks.generate_oauth_token(config)
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let pairs = list.elements().iter().map(|e| (Arc::from(e.topic()), e.partition())).collect();
        let rebalance = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assigned(pairs),
            // The flag is reset by the answer, so it is read here.
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if consumer.assignment_lost() => {
                Rebalance::Lost(pairs)
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => Rebalance::Revoked(pairs),
            other => Rebalance::Failed(RDKafkaErrorCode::from(other).to_string()),
        };
        self.state.lock().rebalances.push_back(rebalance);
    }
}
