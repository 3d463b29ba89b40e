//! The limit by its promises, and against destinations that bear so much and no more.

use proptest::prelude::*;

use super::*;

const MILLI: u64 = 1_000_000;

fn millis(millis: u64) -> Ended {
    Ended::Answered(Duration::from_millis(millis))
}

/// Periods of 10 ms answers with everything in use.
fn busy(limit: &mut Limit, from: u64, periods: u64, latency: u64) -> u64 {
    let mut at = from;
    for _ in 0..periods {
        at += 20 * MILLI + latency * MILLI;
        limit.ended(millis(latency), limit.allowed(), MonoNanos(at));
    }
    at
}

#[test]
fn it_doubles_until_it_first_shrinks_and_then_grows_by_one() {
    let mut limit = Limit::new(Policy { start: 4, ..Policy::default() });
    let at = busy(&mut limit, 0, 3, 10);
    assert_eq!(limit.allowed(), 32);
    let change = limit.ended(Ended::Overloaded, 32, MonoNanos(at + 1));
    assert_eq!((change, limit.allowed()), (Some(Change::ShrunkByOverload), 28));
    busy(&mut limit, at, 4, 10);
    assert_eq!(limit.allowed(), 31, "the period that shrank does not grow");
}

#[test]
fn what_is_not_used_does_not_grow() {
    let mut limit = Limit::new(Policy::default());
    for period in 0..50 {
        let change = limit.ended(millis(10), 3, MonoNanos(period * 30 * MILLI));
        assert_eq!((change, limit.allowed()), (None, 16));
    }
}

#[test]
fn a_hundred_at_a_time_that_are_overloaded_shrink_it_once() {
    let mut limit = Limit::new(Policy { start: 100, ..Policy::default() });
    for left in (1..=100).rev() {
        limit.ended(Ended::Overloaded, left, MonoNanos(5 * MILLI));
    }
    assert_eq!(limit.allowed(), 90);
}

#[test]
fn slower_answers_shrink_it_and_faults_leave_it() {
    let mut limit = Limit::new(Policy { ceiling: 40, ..Policy::default() });
    let mut at = busy(&mut limit, 0, 20, 10);
    assert_eq!(limit.allowed(), 40);
    for _ in 0..100 {
        at += 30 * MILLI;
        assert_eq!(limit.ended(Ended::Failed, 40, MonoNanos(at)), None);
    }
    let change = limit.ended(millis(30), 40, MonoNanos(at + 50 * MILLI));
    assert_eq!((change, limit.allowed()), (Some(Change::ShrunkByLatency), 36));
}

#[test]
fn a_smaller_share_holds_at_once_and_none_allows_nothing() {
    let mut limit = Limit::new(Policy { start: 64, ..Policy::default() });
    limit.set_bounds(4, 10);
    assert_eq!(limit.allowed(), 10);
    limit.set_bounds(4, 0);
    assert_eq!(limit.allowed(), 0);
    limit.set_bounds(4, 10);
    assert_eq!(limit.allowed(), 4);
}

#[test]
fn a_limit_moves_with_its_share_and_comes_back_with_it() {
    let mut limit = Limit::new(Policy { ceiling: 64, start: 40, ..Policy::default() });
    for (ceiling, allowed) in [(16, 10), (32, 20), (64, 40)] {
        limit.rescale(1, ceiling);
        assert_eq!(limit.allowed(), allowed, "{ceiling}");
    }
    let mut whole = Limit::new(Policy { ceiling: 3, ..Policy::default() });
    for ceiling in [1, 1, 2, 3] {
        whole.rescale(1, ceiling);
        assert_eq!(whole.allowed(), ceiling);
    }
    let mut small = Limit::new(Policy::default());
    for ceiling in [1, 3, 7, 1, 256] {
        small.rescale(1, ceiling);
    }
    assert_eq!(small.allowed(), 16, "a share below one in flight makes no larger limit");
}

#[test]
fn after_an_outage_it_begins_at_the_floor_and_doubles() {
    let mut limit = Limit::new(Policy { floor: 2, ..Policy::default() });
    limit.ended(Ended::Overloaded, 16, MonoNanos(MILLI));
    limit.restart(MonoNanos(MILLI));
    assert_eq!(limit.allowed(), 2);
    busy(&mut limit, MILLI, 3, 10);
    assert_eq!(limit.allowed(), 16);
}

/// Lets so many rounds pass, each as long as the answers to all that is allowed take.
fn rounds(limit: &mut Limit, at: &mut u64, count: u32, latency: impl Fn(u64) -> u64) -> Vec<u64> {
    let round = |_| {
        let in_flight = limit.allowed();
        let latency = latency(u64::from(in_flight));
        *at += latency * MILLI;
        for _ in 0..in_flight {
            limit.ended(millis(latency), in_flight, MonoNanos(*at));
        }
        u64::from(limit.allowed())
    };
    (0..count).map(round).collect()
}

/// A destination that works on `slots` at a time, 10 ms each, and lets the others queue.
#[test]
fn it_settles_near_what_the_destination_bears_and_stays_there() {
    for slots in [8u64, 32, 100] {
        let mut limit = Limit::new(Policy { ceiling: 1_000, start: 4, ..Policy::default() });
        let seen = rounds(&mut limit, &mut 0, 10_000, |flight| 10 * flight.max(slots) / slots);
        for seen in [&seen[500..1_000], &seen[9_000..]] {
            let mean = seen.iter().sum::<u64>() / seen.len() as u64;
            assert!(mean >= slots && mean <= slots * 3, "{slots}: {mean}");
        }
    }
}

#[test]
fn a_destination_that_has_become_slower_is_used_fully_again() {
    let mut limit = Limit::new(Policy::default());
    let mut at = 0;
    assert_eq!(rounds(&mut limit, &mut at, 20, |_| 10).last(), Some(&256));
    assert_eq!(rounds(&mut limit, &mut at, 150, |_| 100).last(), Some(&256));
}

#[test]
fn measuring_lowers_it_for_two_periods() {
    let mut limit = Limit::new(Policy::default());
    let mut at = 0;
    rounds(&mut limit, &mut at, 20, |_| 10);
    at += 30_000 * MILLI;
    let mut change = |latency, after| {
        at += after * MILLI;
        (limit.ended(millis(latency), 256, MonoNanos(at)), limit.allowed())
    };
    assert_eq!(change(12, 20), (Some(Change::Lowered), 64));
    assert_eq!(change(12, 20), (None, 64));
    assert_eq!(change(11, 20), (Some(Change::Restored), 256));
    assert_eq!(change(26, 20), (None, 256), "twice 11 and 5");
    assert_eq!(change(28, 50), (Some(Change::ShrunkByLatency), 230));
}

proptest! {
    #[test]
    fn it_stays_within_its_bounds_whatever_happens(
        floor in 0u32..20, ceiling in 0u32..300, start in 0u32..1_000,
        ends in prop::collection::vec((0u64..40, 0u32..400, 0u8..6, 0u64..2_000), 0..300),
    ) {
        let mut limit = Limit::new(Policy { floor, ceiling, start, ..Policy::default() });
        let mut now = 0;
        for (after, in_flight, kind, latency) in ends {
            now += after * MILLI;
            let before = limit.allowed();
            let ended = match kind {
                0 => Ended::Overloaded,
                1 => Ended::Failed,
                _ => millis(latency),
            };
            let change = limit.ended(ended, in_flight, MonoNanos(now));
            let allowed = limit.allowed();
            prop_assert!(allowed <= ceiling && allowed >= floor.max(1).min(ceiling));
            match change {
                None => prop_assert_eq!(allowed, before),
                Some(Change::Grown | Change::Restored) => prop_assert!(allowed >= before),
                Some(Change::ShrunkByOverload) => {}
                Some(Change::ShrunkByLatency | Change::Lowered) => {
                    prop_assert!(allowed <= before);
                }
            }
        }
    }
}
