//! The names of the topics, and what a topic's name says.
//!
//! Names of sources, destinations and services match `[a-z][a-z0-9-]*`, so that none holds a dot
//! and no two topics collide.

/// Makes and reads topic names; all carry the same prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

/// What a topic holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicKind<'a> {
    /// Events of a source.
    Raw { source: &'a str },
    /// Events of a source, put through again.
    RawReplay { source: &'a str },
    /// Deliveries to a destination.
    Out { destination: &'a str },
    /// Deliveries to a destination, put through again.
    OutReplay { destination: &'a str },
    /// What a service gave up on: `stream` is a source or a destination.
    DeadLetters { service: &'a str, stream: &'a str },
    /// What was replayed more often than allowed.
    Quarantine,
    /// Outcomes of attempts.
    Receipts,
    /// Who did what.
    Audit,
    /// Pauses and replay jobs, compacted.
    State,
}

impl Names {
    /// Takes what every topic's name begins with, its separator included; it may be empty.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Returns what every name begins with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Events of a source.
    pub fn raw(&self, source: &str) -> String {
        format!("{}raw.{source}", self.prefix)
    }

    /// Events of a source, put through again.
    pub fn raw_replay(&self, source: &str) -> String {
        format!("{}raw.{source}.replay", self.prefix)
    }

    /// Deliveries to a destination.
    pub fn out(&self, destination: &str) -> String {
        format!("{}out.{destination}", self.prefix)
    }

    /// Deliveries to a destination, put through again.
    pub fn out_replay(&self, destination: &str) -> String {
        format!("{}out.{destination}.replay", self.prefix)
    }

    /// What a service gave up on: `service` without `millrace-`, `stream` its source or destination.
    pub fn dlq(&self, service: &str, stream: &str) -> String {
        format!("{}dlq.{service}.{stream}", self.prefix)
    }

    /// What was replayed more often than allowed.
    pub fn quarantine(&self) -> String {
        format!("{}dlq.quarantine", self.prefix)
    }

    /// Outcomes of attempts.
    pub fn receipts(&self) -> String {
        format!("{}receipts", self.prefix)
    }

    /// Who did what.
    pub fn audit(&self) -> String {
        format!("{}ctl.audit", self.prefix)
    }

    /// Pauses and replay jobs.
    pub fn state(&self) -> String {
        format!("{}ctl.state", self.prefix)
    }

    /// Returns what a topic holds, `None` for one that is not ours.
    pub fn parse<'a>(&self, topic: &'a str) -> Option<TopicKind<'a>> {
        let name = topic.strip_prefix(self.prefix.as_str())?;
        let mut parts = name.split('.');
        let parts = (parts.next()?, parts.next(), parts.next(), parts.next());
        let kind = match parts {
            ("raw", Some(source), None, None) => TopicKind::Raw { source },
            ("raw", Some(source), Some("replay"), None) => TopicKind::RawReplay { source },
            ("out", Some(destination), None, None) => TopicKind::Out { destination },
            ("out", Some(destination), Some("replay"), None) => {
                TopicKind::OutReplay { destination }
            }
            ("dlq", Some("quarantine"), None, None) => TopicKind::Quarantine,
            ("dlq", Some(service), Some(stream), None) => {
                TopicKind::DeadLetters { service, stream }
            }
            ("receipts", None, None, None) => TopicKind::Receipts,
            ("ctl", Some("audit"), None, None) => TopicKind::Audit,
            ("ctl", Some("state"), None, None) => TopicKind::State,
            _ => return None,
        };
        kind.is_named().then_some(kind)
    }
}

impl TopicKind<'_> {
    fn is_named(self) -> bool {
        use domain::ids::is_name;
        match self {
            Self::Raw { source: name }
            | Self::RawReplay { source: name }
            | Self::Out { destination: name }
            | Self::OutReplay { destination: name } => is_name(name),
            Self::DeadLetters { service, stream } => is_name(service) && is_name(stream),
            Self::Quarantine | Self::Receipts | Self::Audit | Self::State => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_what_it_was_made_of() {
        for prefix in ["", "prod.", "millrace-"] {
            let names = Names::new(prefix);
            let rows = [
                (names.raw("git"), TopicKind::Raw { source: "git" }),
                (names.raw_replay("git"), TopicKind::RawReplay { source: "git" }),
                (names.out("crm"), TopicKind::Out { destination: "crm" }),
                (names.out_replay("crm"), TopicKind::OutReplay { destination: "crm" }),
                (
                    names.dlq("deliver", "replay"),
                    TopicKind::DeadLetters { service: "deliver", stream: "replay" },
                ),
                (names.quarantine(), TopicKind::Quarantine),
                (names.receipts(), TopicKind::Receipts),
                (names.audit(), TopicKind::Audit),
                (names.state(), TopicKind::State),
            ];
            for (topic, kind) in rows {
                assert_eq!(names.parse(&topic), Some(kind), "{topic}");
            }
        }
    }

    #[test]
    fn a_topic_of_others_is_not_ours() {
        let names = Names::new("prod.");
        for other in
            ["raw.git", "prod.raw", "prod.raw.", "prod.raw.A", "prod.out.a.b", "prod.dlq.a.b.c", ""]
        {
            assert_eq!(names.parse(other), None, "{other}");
        }
    }
}
