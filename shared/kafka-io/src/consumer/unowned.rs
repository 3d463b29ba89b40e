//! Notices partitions that no member of the group was given, and has them shared out.
//!
//! A member with a static id that comes back is handed what it had before, without a rebalance. Partitions that were
//! added meanwhile, or that it was about to give to another member when it died, would be nobody's, and their records
//! unread, for as long as nobody else comes or goes.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;

use super::{Group, GroupConsumer, GroupOptions};
use crate::config::{Config, GroupProtocol};

/// Limit of one question.
const QUESTION: Duration = Duration::from_secs(5);
/// Pause before the question is asked again; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A group that has shared its partitions out.
const STABLE: &str = "Stable";

/// Topics of which a partition is nobody's, or `None` while a rebalance goes on.
type Answer = Result<Option<Vec<String>>, KafkaError>;

/// One look after each start of a static member. It is made on a thread of its own: a broker that is down answers late.
pub(super) struct Unowned {
    asking: Option<JoinHandle<Answer>>,
    /// When to ask; `None` once it is known, or where it need not be asked.
    due: Option<Instant>,
    pause: Duration,
}

impl Unowned {
    /// A group of the newer protocol is shared out by the broker, which knows all of this.
    pub(super) fn new(config: &Config, options: &GroupOptions) -> Self {
        let is_static = options.instance_id.is_some();
        let asks = is_static && config.group_protocol == GroupProtocol::Classic;
        Self { asking: None, due: asks.then(Instant::now), pause: PAUSE_MIN }
    }

    /// Returns a topic of which a partition is nobody's, once.
    fn found(&mut self, consumer: &Arc<GroupConsumer>, options: &GroupOptions) -> Option<String> {
        if let Some(asking) = self.asking.take_if(|asking| asking.is_finished()) {
            match asking.join() {
                Ok(Ok(Some(topics))) => {
                    self.due = None;
                    return topics.into_iter().next();
                }
                Ok(Ok(None)) => self.postpone(),
                Ok(Err(why)) => {
                    tracing::debug!(%why, "members of the group not found");
                    self.postpone();
                }
                Err(_) => self.postpone(),
            }
        }
        if self.asking.is_none() && self.due.is_some_and(|due| Instant::now() >= due) {
            let (consumer, group) = (consumer.clone(), options.group_id.clone());
            let topics = options.topics.clone();
            let ask = move || unowned(&consumer, &group, topics);
            self.asking = thread::Builder::new().name("kafka-unowned".to_owned()).spawn(ask).ok();
        }
        None
    }

    fn postpone(&mut self) {
        self.due = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

impl Group {
    /// Looks whether all partitions are somebody's, where that is not known.
    pub(super) fn look_for_unowned(&mut self) {
        if self.unowned.due.is_none() || !self.status.borrow().joined {
            return;
        }
        if let Some(topic) = self.unowned.found(&self.consumer, &self.options) {
            self.share_out(&topic);
        }
    }
}

fn unowned(consumer: &GroupConsumer, group: &str, topics: Vec<String>) -> Answer {
    let groups = consumer.fetch_group_list(Some(group), QUESTION)?;
    let found = groups.groups().iter().find(|found| found.name() == group);
    let Some(found) = found.filter(|found| found.state() == STABLE) else { return Ok(None) };
    let assignments = found.members().iter().map(|member| assigned(member.assignment()?));
    let Some(owned) = assignments.collect::<Option<Vec<_>>>() else { return Ok(None) };
    let owned: HashSet<(&str, i32)> = owned.into_iter().flatten().collect();
    let metadata = consumer.fetch_metadata(None, QUESTION)?;
    let has_unowned = |name: &String| {
        let topic = metadata.topics().iter().find(|topic| topic.name() == *name);
        let mut partitions = topic.into_iter().flat_map(|topic| topic.partitions());
        partitions.any(|partition| !owned.contains(&(name.as_str(), partition.id())))
    };
    Ok(Some(topics.into_iter().filter(has_unowned).collect()))
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
