//! Budgets: how much of something a stranger may use.
//!
//! A bucket is one number, the moment at which it will be full again (the *generic cell
//! rate algorithm*): no floats, no refill timer, and a bucket that is full again equals
//! one that was never there. That is what makes bounded tables of them safe to prune.

use std::hash::Hash;

use hailmesh_types::{PeerKey, Timestamp};

use crate::limits::Rate;
use crate::table::{HashKey, Table};

/// Microseconds since the epoch, for rates above one a millisecond.
const fn micros(now: Timestamp) -> u64 {
    now.as_millis() * 1_000
}

/// A token bucket. The default is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When the bucket will be full again, µs since the epoch.
    full_at_us: u64,
}

impl Bucket {
    /// Whether one token can be taken now.
    #[must_use]
    pub const fn has_token(self, rate: Rate, now: Timestamp) -> bool {
        let slack = rate.every_us.saturating_mul(rate.burst.saturating_sub(1) as u64);
        self.full_at_us.saturating_sub(micros(now)) <= slack
    }

    /// Takes a token, or says that there is none.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        let free = self.has_token(rate, now);
        if free {
            self.full_at_us = self.full_at_us.max(micros(now)).saturating_add(rate.every_us);
        }
        free
    }

    /// When a token can be taken so that `kept` are left after it; the burst of the rate
    /// is the most there can be.
    #[must_use]
    pub fn ready_at(self, rate: Rate, kept: u32, now: Timestamp) -> Timestamp {
        let others = rate.burst.saturating_sub(1).saturating_sub(kept);
        let slack = rate.every_us.saturating_mul(others.into());
        let due_us = self.full_at_us.saturating_sub(slack);
        Timestamp::from_millis(due_us.div_ceil(1_000)).map_or(now, |due| due.max(now))
    }

    /// Whether nothing has been taken that is not back by now.
    #[must_use]
    pub const fn is_full(self, now: Timestamp) -> bool {
        self.full_at_us <= micros(now)
    }
}

/// Buckets by key, at most `limit` of them.
///
/// When the table is full, full buckets are dropped, which loses nothing; then the
/// eighth that owes least, so that a flood of keys costs its own sender's memory of
/// good conduct and never more than an eighth of the others'.
#[derive(Debug, Clone)]
pub struct Buckets<K> {
    rate: Rate,
    limit: usize,
    by_key: Table<K, Bucket>,
}

impl<K: Ord + Hash + Clone> Buckets<K> {
    /// No bucket yet: every key starts with a full one.
    #[must_use]
    pub const fn new(rate: Rate, limit: usize, hash_key: HashKey) -> Self {
        Self { rate, limit, by_key: Table::new(hash_key) }
    }

    /// Whether `key` has a token; changes nothing.
    #[must_use]
    pub fn has_token(&self, key: &K, now: Timestamp) -> bool {
        self.by_key.get(key).copied().unwrap_or_default().has_token(self.rate, now)
    }

    /// Takes a token of `key`, or says that it has none.
    pub fn take(&mut self, key: &K, now: Timestamp) -> bool {
        if let Some(bucket) = self.by_key.get_mut(key) {
            return bucket.take(self.rate, now);
        }
        if self.by_key.len() >= self.limit {
            self.make_room(now);
        } else {
            self.by_key.weed(|_, bucket| !bucket.is_full(now));
        }
        let mut bucket = Bucket::default();
        let taken = bucket.take(self.rate, now);
        self.by_key.insert(key.clone(), bucket);
        taken
    }

    /// Whether nothing of `key` has been taken that is not back by now.
    #[must_use]
    pub fn is_full(&self, key: &K, now: Timestamp) -> bool {
        self.by_key.get(key).is_none_or(|bucket| bucket.is_full(now))
    }

    /// How many buckets are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Drops the buckets that are full again.
    pub fn prune(&mut self, now: Timestamp) {
        self.by_key.retain(|_, bucket| !bucket.is_full(now));
    }

    fn make_room(&mut self, now: Timestamp) {
        self.prune(now);
        let keep = self.limit - self.limit / 8 - usize::from(self.limit < 8);
        if self.by_key.len() <= keep {
            return;
        }
        let debts = self.by_key.sorted_by_key(|key, bucket| (bucket.full_at_us, key.clone()));
        let surplus = debts.len() - keep;
        for (_, key) in debts.into_iter().take(surplus) {
            self.by_key.remove(&key);
        }
    }
}

/// The verification budget of a node, fair per peer (P20).
///
/// Time is cut into seconds. In each, half of the budget goes to whoever comes first;
/// of the other half nobody gets more than an equal share, counting the peers of this
/// second and of the last. One flooding peer therefore never takes the verification of
/// another's offers.
#[derive(Debug, Clone)]
pub struct FairBudget {
    per_second: u32,
    second: u64,
    spent: u32,
    by_peer: Table<PeerKey, u32>,
    peers_before: usize,
    peers_max: usize,
}

impl FairBudget {
    /// A budget of so many a second, shared by at most `peers_max` counted peers.
    #[must_use]
    pub const fn new(per_second: u32, peers_max: usize, hash_key: HashKey) -> Self {
        Self { per_second, second: 0, spent: 0, by_peer: Table::new(hash_key), peers_before: 0, peers_max }
    }

    /// Whether this peer may cost a verification now; changes nothing.
    #[must_use]
    pub fn allows(&self, peer: &PeerKey, now: Timestamp) -> bool {
        let second = now.as_millis() / 1_000;
        if second != self.second {
            return self.per_second > 0;
        }
        if self.spent >= self.per_second {
            return false;
        }
        if self.spent < self.per_second / 2 {
            return true;
        }
        let known = self.by_peer.get(peer);
        if known.is_none() && self.by_peer.len() >= self.peers_max {
            return false;
        }
        let peers = (self.by_peer.len() + usize::from(known.is_none())).max(self.peers_before).max(1);
        let share = self.per_second / u32::try_from(peers).unwrap_or(u32::MAX);
        known.copied().unwrap_or(0) < share.max(1)
    }

    /// Counts so many verifications of this peer.
    pub fn charge(&mut self, peer: &PeerKey, verifications: usize, now: Timestamp) {
        let verifications = u32::try_from(verifications).unwrap_or(u32::MAX);
        let second = now.as_millis() / 1_000;
        if second != self.second {
            self.peers_before = if second == self.second + 1 { self.by_peer.len() } else { 0 };
            self.by_peer.clear();
            self.spent = 0;
            self.second = second;
        }
        self.spent = self.spent.saturating_add(verifications);
        if let Some(count) = self.by_peer.get_mut(peer) {
            *count = count.saturating_add(verifications);
        } else if self.by_peer.len() < self.peers_max {
            self.by_peer.insert(*peer, verifications);
        }
    }
}

#[cfg(test)]
mod tests {
    use hailmesh_types::Duration;

    use super::*;

    const RATE: Rate = Rate { every_us: 10_000_000, burst: 3 };

    fn start() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).unwrap()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert!(bucket.take(RATE, start()));
        }
        assert!(!bucket.take(RATE, start()));
        assert!(!bucket.take(RATE, start() + Duration::from_millis(9_999)));
        assert!(bucket.take(RATE, start() + Duration::from_secs(10)));
        assert!(!bucket.take(RATE, start() + Duration::from_secs(10)));
        let rested = start() + Duration::from_secs(60);
        assert!(bucket.is_full(rested));
        assert_eq!((0..9).filter(|_| bucket.take(RATE, rested)).count(), 3);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            bucket.take(RATE, start());
        }
        assert!(!bucket.has_token(RATE, start() - Duration::from_secs(3_600)));
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_debtors() {
        let mut buckets = Buckets::new(RATE, 64, HashKey::default());
        for _ in 0..3 {
            assert!(buckets.take(&u32::MAX, start()));
        }
        for key in 0..10_000_u32 {
            assert!(buckets.take(&key, start()));
            assert!(buckets.len() <= 64, "{}", buckets.len());
        }
        assert!(!buckets.take(&u32::MAX, start()), "a flood of other keys must not refill a bucket");
        buckets.prune(start() + Duration::from_secs(60));
        assert!(buckets.is_empty());
    }

    #[test]
    fn tiny_tables_work() {
        let mut buckets = Buckets::new(RATE, 1, HashKey::default());
        for key in 0..5_u32 {
            assert!(buckets.take(&key, start()));
            assert_eq!(buckets.len(), 1);
        }
    }

    #[test]
    fn a_flooding_peer_leaves_the_others_their_share() {
        let mut budget = FairBudget::new(100, 16, HashKey::default());
        let (flooder, honest) = (PeerKey::from_bytes([1; 32]), PeerKey::from_bytes([2; 32]));
        let mut spend = |peer: &PeerKey, now| {
            let allowed = budget.allows(peer, now);
            if allowed {
                budget.charge(peer, 1, now);
            }
            allowed
        };
        let flooded = (0..1_000).filter(|_| spend(&flooder, start())).count();
        assert_eq!(flooded, 100, "alone it may use everything");
        let next = start() + Duration::from_secs(1);
        assert!(spend(&honest, next));
        let flooded = (0..1_000).filter(|_| spend(&flooder, next)).count();
        assert_eq!(flooded, 50, "its share of what is scarce");
        let served = (0..1_000).filter(|_| spend(&honest, next)).count();
        assert_eq!(served, 49, "the honest one has an equal share");
    }
}
