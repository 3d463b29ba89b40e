//! The bucket's promises: never more than its rate and burst, also over a group that changes.

use proptest::prelude::*;

use super::*;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).unwrap()
}

fn bucket(per_second: f64) -> Bucket {
    Bucket::new(rate(per_second), Share::WHOLE, MonoNanos(0))
}

fn at(millis: u64) -> MonoNanos {
    MonoNanos(millis * MILLI)
}

fn taken(bucket: &mut Bucket, now: MonoNanos) -> usize {
    (0..).take_while(|_| bucket.take(now)).count()
}

/// The most starts in any stretch of this length, its end not included.
fn most_in(starts: &[u64], length: u64) -> usize {
    let mut sorted = starts.to_vec();
    sorted.sort_unstable();
    let within = |from: usize| sorted.partition_point(|at| *at < sorted[from] + length) - from;
    (0..sorted.len()).map(within).max().unwrap_or(0)
}

#[test]
fn a_new_bucket_is_empty_and_fills_up_to_its_burst() {
    let mut bucket = bucket(100.0);
    assert_eq!(taken(&mut bucket, MonoNanos(0)), 0);
    assert_eq!(bucket.next_at(MonoNanos(0)), Some(MonoNanos(10 * MILLI)));
    assert_eq!(taken(&mut bucket, MonoNanos(10 * MILLI)), 1);
    assert_eq!(taken(&mut bucket, MonoNanos(60 * SECOND)), 5, "a twentieth of a second's");
    assert_eq!(bucket.next_at(MonoNanos(60 * SECOND)), Some(MonoNanos(60 * SECOND + 10 * MILLI)));
}

#[test]
fn a_change_of_share_refills_nothing() {
    let mut bucket = bucket(1000.0);
    assert_eq!(taken(&mut bucket, MonoNanos(SECOND)), 50);
    for owned in [0, 6, 3, 6, 1, 6] {
        bucket.set_share(Share { owned, total: 6 }, MonoNanos(SECOND));
        assert_eq!(taken(&mut bucket, MonoNanos(SECOND)), 0, "{owned}");
    }
    bucket.set_share(Share { owned: 3, total: 6 }, MonoNanos(2 * SECOND));
    bucket.set_share(Share { owned: 6, total: 6 }, MonoNanos(2 * SECOND));
    assert_eq!(taken(&mut bucket, MonoNanos(2 * SECOND)), 25, "the smaller share's burst");
}

#[test]
fn without_a_share_nothing_is_ever_due() {
    let mut bucket = bucket(10.0);
    bucket.set_share(Share { owned: 0, total: 6 }, MonoNanos(0));
    assert_eq!(bucket.next_at(MonoNanos(SECOND)), None);
    bucket.set_share(Share { owned: 6, total: 6 }, MonoNanos(SECOND));
    assert_eq!(bucket.next_at(MonoNanos(SECOND)), Some(MonoNanos(SECOND + 100 * MILLI)));
}

#[test]
fn a_hold_only_ever_lengthens() {
    let mut bucket = bucket(10.0);
    bucket.hold(MonoNanos(9 * SECOND));
    bucket.hold(MonoNanos(4 * SECOND));
    assert_eq!(bucket.next_at(MonoNanos(5 * SECOND)), Some(MonoNanos(9 * SECOND)));
    assert_eq!(bucket.held_for(MonoNanos(5 * SECOND)), Duration::from_secs(4));
    assert!(!bucket.take(MonoNanos(9 * SECOND - 1)) && bucket.take(MonoNanos(9 * SECOND)));
}

#[test]
fn who_is_refused_by_one_of_two_buckets_takes_nothing_of_the_other() {
    let (mut own, mut shared) = (bucket(100.0), bucket(10.0));
    assert_eq!(take_both(&mut own, &mut shared, at(10)), Err(Some(at(100))));
    assert_eq!(take_both(&mut own, &mut shared, at(100)), Ok(()));
    assert_eq!(take_both(&mut own, &mut shared, at(100)), Err(Some(at(200))));
    assert_eq!(taken(&mut own, at(100)), 4, "of its burst of 5 one was taken");
    shared.set_share(Share { owned: 0, total: 1 }, at(100));
    assert_eq!(take_both(&mut own, &mut shared, at(200)), Err(None));
}

#[test]
fn a_rate_that_makes_no_sense_is_none() {
    for nonsense in [0.0, -1.0, 1e-9, 1e12, f64::NAN, f64::INFINITY] {
        assert_eq!(Rate::per_second(nonsense), None, "{nonsense}");
    }
    assert_eq!(Rate::per_second(PER_SECOND_MAX), Some(Rate::UNLIMITED));
    assert_eq!(rate(0.5).burst(), 1.0);
    assert_eq!(rate(0.5).with_burst(8.0).map(Rate::burst), Some(8.0));
}

#[test]
fn parts_of_a_concurrency_are_never_more_than_the_whole() {
    for (whole, total) in [(8, 6), (6, 6), (100, 7), (7, 7)] {
        for first in 0..=total {
            for second in 0..=total - first {
                let owned = [first, second, total - first - second];
                let parts = owned.map(|owned| Share { owned, total }.of_count(whole));
                assert!(parts.iter().sum::<u32>() <= whole, "{whole} over {owned:?}");
                assert!(owned.iter().zip(parts).all(|(owned, part)| *owned == 0 || part > 0));
            }
        }
    }
    assert_eq!(Share { owned: 0, total: 0 }.of_count(5), 0);
}

proptest! {
    #[test]
    fn no_stretch_sees_more_than_rate_and_burst(
        per_second in 0.5f64..5_000.0, burst in prop::option::of(1.0f64..50.0),
        gaps in prop::collection::vec(prop_oneof![0u64..3 * MILLI, 0..400 * MILLI], 1..300),
        length in MILLI..2 * SECOND,
    ) {
        let rate = burst.map_or(rate(per_second), |burst| rate(per_second).with_burst(burst).unwrap());
        let mut bucket = Bucket::new(rate, Share::WHOLE, MonoNanos(0));
        let (mut now, mut starts) = (0, vec![]);
        for gap in gaps {
            now += gap;
            let count = taken(&mut bucket, MonoNanos(now));
            starts.extend(std::iter::repeat_n(now, count));
        }
        let most = per_second * length as f64 / SECOND as f64 + rate.burst();
        prop_assert!(most_in(&starts, length) as f64 <= most + 1e-6);
        if burst.is_none() && per_second >= 10.0 {
            let in_a_second = most_in(&starts, SECOND) as f64;
            prop_assert!(in_a_second <= 1.1 * per_second, "{in_a_second} of {per_second}");
        }
    }

    #[test]
    fn the_next_token_comes_when_it_is_said_to_and_not_before(
        magnitude in -2.0f64..6.0, owned in 1u32..6,
        waits in prop::collection::vec(prop_oneof![3 => Just(0), 1 => 0..MILLI, 1 => 0..SECOND], 1..50),
    ) {
        let (rate, share) = (rate(10f64.powf(magnitude)), Share { owned, total: 6 });
        let (mut bucket, mut now) = (Bucket::new(rate, share, MonoNanos(0)), 0);
        for wait in waits {
            now += wait;
            let due = bucket.next_at(MonoNanos(now)).unwrap();
            prop_assert!(due.0 >= now);
            prop_assert!(due.0 == now || !bucket.clone().take(MonoNanos(due.0 - 1)));
            prop_assert!(bucket.take(due));
            now = due.0;
        }
    }

    /// Whatever is asked when: both give or neither, the time said holds, and each keeps to its rate.
    #[test]
    fn two_buckets_give_together_or_not_at_all(
        per_second in (0.5f64..500.0, 0.5f64..500.0), is_busy in any::<bool>(),
        gaps in prop::collection::vec(prop_oneof![0u64..3 * MILLI, 0..400 * MILLI], 1..200),
    ) {
        let (mut own, mut shared) = (bucket(per_second.0), bucket(per_second.1));
        let (mut now, mut starts) = (0, vec![]);
        for (place, gap) in gaps.into_iter().enumerate() {
            now += gap;
            // Somebody else takes of the shared one now and then.
            if is_busy && place % 3 == 0 && shared.take(MonoNanos(now)) {
                starts.push(now);
            }
            let before = (own.clone(), shared.clone());
            match take_both(&mut own, &mut shared, MonoNanos(now)) {
                Ok(()) => {
                    let (mut own, mut shared) = before;
                    prop_assert!(own.take(MonoNanos(now)) && shared.take(MonoNanos(now)));
                    starts.push(now);
                }
                Err(due) => {
                    let counts = |pair: &(Bucket, Bucket), at: MonoNanos| {
                        (taken(&mut pair.0.clone(), at), taken(&mut pair.1.clone(), at))
                    };
                    let after = (own.clone(), shared.clone());
                    prop_assert_eq!(counts(&before, MonoNanos(now)), counts(&after, MonoNanos(now)));
                    let due = due.unwrap();
                    let (mut own, mut shared) = (own.clone(), shared.clone());
                    prop_assert!(take_both(&mut own, &mut shared, MonoNanos(due.0 - 1)).is_err());
                    prop_assert!(take_both(&mut own, &mut shared, due).is_ok());
                }
            }
        }
        let most = per_second.1 + rate(per_second.1).burst();
        prop_assert!(most_in(&starts, SECOND) as f64 <= most + 1e-6);
    }

    /// Greedy members, a rebalance every so often: partitions are given up before they are taken,
    /// now and then a member dies and another begins in its place.
    #[test]
    fn a_group_that_changes_sends_no_more_than_its_rate(
        per_second in 60.0f64..2_000.0,
        moves in prop::collection::vec((0usize..6, 0usize..3, prop::bool::weighted(0.2)), 1..40),
        every in MILLI..3 * SECOND,
    ) {
        let mut owners = [0, 0, 1, 1, 2, 2];
        let share = |owners: &[usize; 6], member: usize| {
            Share { owned: owners.iter().filter(|owner| **owner == member).count() as u32, total: 6 }
        };
        let begun = |member| Bucket::new(rate(per_second), share(&owners, member), MonoNanos(0));
        let mut buckets = [begun(0), begun(1), begun(2)];
        let (mut now, mut starts) = (0, vec![]);
        for (partition, to, dies) in moves {
            let until = now + every;
            while now < until {
                for bucket in &mut buckets {
                    let count = taken(bucket, MonoNanos(now));
                    starts.extend(std::iter::repeat_n(now, count));
                }
                now += (every / 50).max(MILLI / 2);
            }
            let from = owners[partition];
            owners[partition] = to;
            if dies {
                buckets[from] = Bucket::new(rate(per_second), share(&owners, from), MonoNanos(now));
            }
            buckets[from].set_share(share(&owners, from), MonoNanos(now));
            buckets[to].set_share(share(&owners, to), MonoNanos(now));
        }
        let most = most_in(&starts, SECOND) as f64;
        prop_assert!(most <= 1.1 * per_second, "{most} of {per_second}");
    }
}
