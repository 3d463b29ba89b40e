//! What has to hold before events flow, by the names that `/readyz` shows.

/// The catalog's schemas are registered, and unknown ones can be fetched.
pub(crate) const REGISTRY: &str = "registry";
/// Every topic read and written is there; a source that lacks none is read meanwhile.
pub(crate) const TOPICS: &str = "topics";
/// The consumer group has said what this replica reads.
pub(crate) const KAFKA: &str = "kafka";
/// No record was removed from the log before it was read.
pub(crate) const LOG: &str = "log";
