//! What has to hold before events flow, by the names that `/readyz` shows.

use kafka_io::Status;

/// The catalog's schemas are registered, and unknown ones can be fetched.
pub(crate) const REGISTRY: &str = "registry";
/// Every topic read and written is there.
pub(crate) const TOPICS: &str = "topics";
/// The consumer group has said what this replica reads.
pub(crate) const KAFKA: &str = "kafka";
/// No record was removed from the log before it was read.
pub(crate) const LOG: &str = "log";

/// Says whether the group works, by its status.
pub(crate) fn kafka(status: &Status) -> Result<(), String> {
    match &status.problem {
        Some(problem) => Err(problem.clone()),
        None if !status.joined => Err("the consumer group has not been joined yet".into()),
        None => Ok(()),
    }
}

/// Says whether records were lost, until the process is restarted by someone who has read it.
pub(crate) fn log(status: &Status) -> Result<(), String> {
    match status.losses.back() {
        None => Ok(()),
        Some(last) => Err(format!(
            "{} records were removed from the log before they were read, the last from {}[{}] \
             between {} and {}: retention is shorter than the standstill was; send them again from \
             their source, then restart",
            status.records_lost, last.topic, last.partition, last.from, last.to
        )),
    }
}

#[cfg(test)]
mod tests {
    use kafka_io::Loss;

    use super::*;

    #[test]
    fn a_group_is_ready_once_it_has_joined_and_has_no_problem() {
        let mut status = Status::default();
        assert!(kafka(&status).is_err());
        status.joined = true;
        assert_eq!(kafka(&status), Ok(()));
        status.problem = Some("brokers out of reach".into());
        assert_eq!(kafka(&status), Err("brokers out of reach".into()));
    }

    #[test]
    fn lost_records_are_told_with_their_place() {
        let mut status = Status::default();
        assert_eq!(log(&status), Ok(()));
        status.records_lost = 5;
        status.losses.push_back(Loss { topic: "raw.a".into(), partition: 1, from: 3, to: 8 });
        let said = log(&status).expect_err("five are lost");
        assert!(said.contains("5 records") && said.contains("raw.a[1]"), "{said}");
    }
}
