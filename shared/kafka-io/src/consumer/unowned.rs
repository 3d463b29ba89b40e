//! Notices partitions that no member of the group was given, and has them shared out.
//!
//! A member with a static id that comes back is handed what it had before, without a rebalance: partitions that were
//! added meanwhile would be nobody's, and their records unread, for as long as nobody else comes or goes.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;

use super::{Group, GroupOptions};
use crate::config::{Config, GroupProtocol};

/// Limit of one question; where there is no answer in time it is asked again.
const QUESTION: Duration = Duration::from_secs(2);
/// A group that shares its partitions out.
const STABLE: &str = "Stable";

/// Says whether partitions may be nobody's after the start. The newer protocol's are shared out by the broker.
pub(super) fn are_possible(config: &Config, options: &GroupOptions) -> bool {
    options.instance_id.is_some() && config.group_protocol == GroupProtocol::Classic
}

impl Group {
    /// Looks once after each start of a static member whether all partitions are somebody's.
    pub(super) fn look_for_unowned(&mut self) {
        if !self.unowned_unknown || !self.status.borrow().joined {
            return;
        }
        match self.unowned() {
            Ok(Some(topics)) => {
                self.unowned_unknown = false;
                if let Some(topic) = topics.first() {
                    self.share_out(topic);
                }
            }
            Ok(None) => {}
            Err(why) => tracing::debug!(%why, "members of the group not found"),
        }
    }

    /// Returns the topics of which a partition is nobody's, or `None` while a rebalance goes on.
    fn unowned(&self) -> Result<Option<Vec<String>>, KafkaError> {
        let groups = self.consumer.fetch_group_list(Some(&self.options.group_id), QUESTION)?;
        let group = groups.groups().iter().find(|group| group.name() == self.options.group_id);
        let Some(group) = group.filter(|group| group.state() == STABLE) else { return Ok(None) };
        let assignments = group.members().iter().map(|member| assigned(member.assignment()?));
        let Some(owned) = assignments.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let owned: HashSet<(&str, i32)> = owned.into_iter().flatten().collect();
        let metadata = self.consumer.fetch_metadata(None, QUESTION)?;
        let has_unowned = |name: &&String| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == **name);
            let mut partitions = topic.into_iter().flat_map(|topic| topic.partitions());
            partitions.any(|partition| !owned.contains(&(name.as_str(), partition.id())))
        };
        Ok(Some(self.options.topics.iter().filter(has_unowned).cloned().collect()))
    }

    /// Has the group share its partitions out again. A member's wish counts only where its subscription changes, so
    /// that one topic is given up for a moment.
    fn share_out(&self, topic: &str) {
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

/// Reads a member's assignment, as the members of a classic group write it: a version, topics with partitions, and
/// bytes of the assignor's own.
fn assigned(bytes: &[u8]) -> Option<Vec<(&str, i32)>> {
    let mut partitions = Vec::new();
    if bytes.is_empty() {
        return Some(partitions);
    }
    let mut rest = bytes.get(2..)?;
    for _ in 0..number(&mut rest)? {
        let length = i16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?);
        let name = std::str::from_utf8(take(&mut rest, usize::try_from(length).ok()?)?).ok()?;
        for _ in 0..number(&mut rest)? {
            partitions.push((name, number(&mut rest)?));
        }
    }
    Some(partitions)
}

fn number(rest: &mut &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_as_members_write_it() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3];
        bytes.extend([0, 2, b'b', b'c', 0, 0, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(assigned(&bytes), Some(vec![("a", 0), ("a", 3), ("bc", 7)]));
        assert_eq!(assigned(&[]), Some(vec![]), "a member that was given nothing");
        assert_eq!(assigned(&bytes[..20]), None, "cut off");
    }
}
