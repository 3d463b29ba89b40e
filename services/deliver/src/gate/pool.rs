//! A rate that several destinations share, as those do that ask with one credential.
//!
//! Each destination keeps its own flow; here is the bucket beside it, this process' part of the whole,
//! and the line in which the destinations wait for it, so that none of them takes all.

use std::collections::BTreeMap;

use domain::rate::{Bucket, Rate, Share};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::clock::Clock;

/// One shared rate.
pub(super) struct Pool {
    clock: Clock,
    shared: Mutex<Shared>,
    /// Held by the destination that may take the next token; the mutex is fair.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// For who holds the turn: there may be a token sooner.
    pub(super) news: Notify,
}

struct Shared {
    bucket: Bucket,
    rate: Rate,
    /// How much of each destination's partitions are lanes here.
    members: BTreeMap<String, Share>,
}

impl Pool {
    pub(super) fn new(rate: Rate, clock: Clock) -> Self {
        let share = of_all(&BTreeMap::new());
        let bucket = Bucket::new(rate, share, clock.now());
        Self {
            clock,
            shared: Mutex::new(Shared { bucket, rate, members: BTreeMap::new() }),
            turn: tokio::sync::Mutex::new(()),
            news: Notify::new(),
        }
    }

    pub(super) fn set_rate(&self, rate: Rate) {
        let mut shared = self.shared.lock();
        if shared.rate != rate {
            shared.rate = rate;
            shared.bucket.set_rate(rate, self.clock.now());
            drop(shared);
            self.news.notify_one();
        }
    }

    /// Takes what is owned of a destination's partitions; `None` for one that shares it no longer. No
    /// token is added.
    pub(super) fn set_share(&self, destination: &str, share: Option<Share>) {
        let mut shared = self.shared.lock();
        match share {
            Some(share) => drop(shared.members.insert(destination.to_owned(), share)),
            None => drop(shared.members.remove(destination)),
        }
        let share = of_all(&shared.members);
        shared.bucket.set_share(share, self.clock.now());
        drop(shared);
        self.news.notify_one();
    }

    /// Gives the bucket to who holds the turn.
    pub(super) fn bucket(&self) -> impl std::ops::DerefMut<Target = Bucket> + '_ {
        MutexGuard::map(self.shared.lock(), |shared| &mut shared.bucket)
    }
}

/// The part of all the destinations' partitions together.
fn of_all(members: &BTreeMap<String, Share>) -> Share {
    let sum = |of: fn(&Share) -> u32| members.values().map(of).fold(0, u32::saturating_add);
    Share { owned: sum(|share| share.owned), total: sum(|share| share.total).max(1) }
}

#[cfg(test)]
mod tests {
    use domain::time::MonoNanos;

    use super::*;

    #[test]
    fn the_part_of_a_shared_rate_is_that_of_all_the_destinations_partitions() {
        let of = |owned, total| Share { owned, total };
        let members = |each: &[(&str, Share)]| {
            of_all(&each.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect())
        };
        assert_eq!(members(&[]), of(0, 1));
        assert_eq!(members(&[("crm", of(2, 6)), ("mail", of(1, 2))]), of(3, 8));
        assert_eq!(members(&[("crm", of(0, 6)), ("mail", of(2, 2))]), of(2, 8));
    }

    #[test]
    fn a_change_of_members_refills_nothing() {
        let rate = Rate::per_second(0.001).expect("it is a rate");
        let pool = Pool::new(rate, Clock::new());
        let whole = Share { owned: 1, total: 1 };
        pool.set_share("crm", Some(whole));
        let later = MonoNanos(u64::MAX);
        assert!(pool.bucket().take(later));
        pool.set_share("mail", Some(whole));
        pool.set_share("crm", None);
        assert!(!pool.bucket().take(later));
    }
}
