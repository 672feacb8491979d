//! Whom this node deals with no more, and for how long (P18.3, P20).

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_types::{PublicKey, Timestamp};

use crate::index::Author;

/// How a ban is kept when the table is full: the least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Of a key that nobody vouches for.
    Unbacked,
    /// For a while.
    Refusal,
    /// For good.
    Permanent,
}

/// Banned keys and identities, at most a limit.
#[derive(Debug, Clone)]
pub(super) struct Bans {
    limit: usize,
    by_key: BTreeMap<Author, (Weight, Timestamp)>,
    by_weight: BTreeSet<(Weight, Timestamp, Author)>,
}

impl Bans {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, by_key: BTreeMap::new(), by_weight: BTreeSet::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Bans a key until then, or for good. A ban never gets shorter. False when there
    /// is no room.
    pub(super) fn ban(&mut self, key: &PublicKey, until: Option<Timestamp>, is_backed: bool) -> bool {
        let weight = match until {
            None => Weight::Permanent,
            Some(_) if is_backed => Weight::Refusal,
            Some(_) => Weight::Unbacked,
        };
        let author = *key.as_bytes();
        let mut ban = (weight, until.unwrap_or(Timestamp::MAX));
        if let Some(before) = self.by_key.get(&author) {
            ban = (ban.0.max(before.0), ban.1.max(before.1));
            self.by_weight.remove(&(before.0, before.1, author));
        } else if self.by_key.len() >= self.limit {
            match self.by_weight.first().copied() {
                Some(least) if least.0 < weight => {
                    self.by_weight.remove(&least);
                    self.by_key.remove(&least.2);
                }
                _ => return false,
            }
        }
        self.by_key.insert(author, ban);
        self.by_weight.insert((ban.0, ban.1, author));
        true
    }

    pub(super) fn is_banned(&self, key: &PublicKey, now: Timestamp) -> bool {
        self.by_key.get(key.as_bytes()).is_some_and(|(_, until)| *until > now)
    }

    /// Forgets the bans that are over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.by_key.retain(|_, (_, until)| *until > now);
        self.by_weight.retain(|(_, until, _)| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use hailmesh_types::Duration;

    use super::*;

    fn key(number: u8) -> PublicKey {
        SigningKey::from_bytes(&[number; 32]).verifying_key().into()
    }

    #[test]
    fn bans_are_bounded_and_the_weightier_stay() {
        let now = Timestamp::from_millis(1_700_000_000_000).unwrap();
        let later = now + Duration::from_secs(60);
        let mut bans = Bans::new(3);
        assert!(bans.ban(&key(1), None, true));
        assert!(bans.ban(&key(2), Some(later), true));
        assert!(bans.ban(&key(3), Some(later), false));
        assert!(!bans.ban(&key(4), Some(later), false), "an equal does not displace");
        assert!(bans.ban(&key(5), Some(later), true));
        assert!(!bans.is_banned(&key(3), now), "the unbacked went");
        assert!(bans.ban(&key(6), None, true));
        assert!(bans.ban(&key(7), None, true));
        assert!(!bans.ban(&key(8), None, true), "permanent ones never go");
        assert_eq!(bans.len(), 3);
        for number in [1, 6, 7] {
            assert!(bans.is_banned(&key(number), Timestamp::MAX - Duration::from_secs(1)));
        }
    }

    #[test]
    fn bans_lapse_and_never_get_shorter() {
        let now = Timestamp::from_millis(1_700_000_000_000).unwrap();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(60));
        let mut bans = Bans::new(3);
        assert!(bans.ban(&key(1), Some(later), true));
        assert!(bans.ban(&key(1), Some(soon), false));
        assert!(bans.is_banned(&key(1), soon));
        assert!(!bans.is_banned(&key(1), later));
        bans.expire(later);
        assert_eq!((bans.len(), bans.by_weight.len()), (0, 0));
    }
}
