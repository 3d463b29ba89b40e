//! Waiting for a condition with a deadline: what tests do instead of sleeping.
//! It does not retry what a test does, only what it looks at.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Returns once `condition` holds.
///
/// # Panics
/// When it does not hold within `deadline`; `what` says what was waited for.
pub async fn until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    until_some(what, deadline, || std::future::ready(condition().then_some(()))).await;
}

/// Returns the first value `look` gives; `look` itself is awaited and counts against the deadline.
///
/// # Panics
/// When there is none within `deadline`; `what` says what was waited for.
pub async fn until_some<T, F>(what: &str, deadline: Duration, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    match within(deadline, look).await {
        Some(value) => value,
        None => panic!("waited {deadline:?} in vain for: {what}"),
    }
}

/// Like [`until_some`], but gives `None` when the deadline passes.
pub async fn within<T, F>(deadline: Duration, mut look: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(value) = tokio::time::timeout_at(end, look()).await.ok().flatten() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_value_is_returned() {
        let mut looks = 0;
        let found = within(Duration::from_secs(5), || {
            looks += 1;
            std::future::ready((looks == 3).then_some(looks))
        });
        assert_eq!(found.await, Some(3));
    }

    #[tokio::test]
    async fn a_look_that_hangs_ends_at_the_deadline() {
        let found = within(Duration::from_millis(20), std::future::pending::<Option<()>>);
        assert_eq!(found.await, None);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain for: the moon")]
    async fn what_was_waited_for_is_named() {
        until("the moon", Duration::from_millis(10), || false).await;
    }
}
