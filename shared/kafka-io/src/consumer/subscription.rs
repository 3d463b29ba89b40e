//! What a group reads, and how it is made to share it out again.

use rdkafka::consumer::Consumer as _;

use super::{Group, GroupError};

impl Group {
    /// Reads these topics from now on.
    pub(crate) fn set_topics(&mut self, topics: Vec<String>) -> Result<(), GroupError> {
        self.options.topics = topics;
        self.subscribe()
    }

    pub(super) fn subscribe(&self) -> Result<(), GroupError> {
        let topics: Vec<&str> = self.options.topics.iter().map(String::as_str).collect();
        if topics.is_empty() {
            self.consumer.unsubscribe();
            return Ok(());
        }
        self.consumer.subscribe(&topics).map_err(|why| GroupError::new("subscribe to topics", why))
    }

    /// Has the group share its partitions out again. A member's wish counts only where its subscription changes, so
    /// that one topic is given up for a moment.
    pub(super) fn share_out(&self, topic: &str) {
        tracing::warn!(topic, "partitions belong to no member, asking for a rebalance");
        let others: Vec<&str> =
            self.options.topics.iter().map(String::as_str).filter(|name| *name != topic).collect();
        let asked = if others.is_empty() {
            self.consumer.unsubscribe();
            Ok(())
        } else {
            self.consumer.subscribe(&others)
        };
        let asked = asked.map_err(|why| why.to_string());
        if let Err(why) = asked.and_then(|()| self.subscribe().map_err(|why| why.to_string())) {
            tracing::error!(topic, why, "no rebalance asked for: restart this service");
        }
    }
}
