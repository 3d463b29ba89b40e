//! Questions to a group's coordinator, which moves when brokers start or stop.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks again while the coordinator moves, at most until `limit`; each call is told what is left of it.
pub(super) fn insist<T>(
    limit: Duration,
    ask: impl Fn(Duration) -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    let deadline = Instant::now() + limit;
    loop {
        let answer = ask(deadline.saturating_duration_since(Instant::now()));
        if !answer.as_ref().is_err_and(moves) || Instant::now() + PAUSE >= deadline {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

fn moves(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_coordinator_that_moves_is_asked_again_and_no_other_error_is() {
        let asked = Cell::new(0);
        let fails = |code, times| {
            asked.set(0);
            insist(Duration::from_secs(5), |_| {
                asked.set(asked.get() + 1);
                if asked.get() > times { Ok(()) } else { Err(KafkaError::OffsetFetch(code)) }
            })
        };
        assert!(fails(RDKafkaErrorCode::NotCoordinator, 2).is_ok());
        assert_eq!(asked.get(), 3);
        assert!(fails(RDKafkaErrorCode::GroupAuthorizationFailed, 2).is_err());
        assert_eq!(asked.get(), 1);
    }
}
