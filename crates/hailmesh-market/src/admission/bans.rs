//! Whom this node deals with no more, and for how long (P18.3, P20).

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_types::{PublicKey, Timestamp};

use crate::index::Author;

/// How a ban is kept when the table is full: the least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Of a key that no issuer vouches for, however long it lasts: whoever fills the table
    /// with such keys of its own must not keep out the others.
    Unvouched,
    /// For a while.
    Refusal,
    /// For good.
    Permanent,
}

#[derive(Debug, Clone, Copy)]
struct Ban {
    weight: Weight,
    made: Timestamp,
    until: Timestamp,
}

/// Banned keys and identities, at most a limit.
#[derive(Debug, Clone)]
pub(super) struct Bans {
    limit: usize,
    by_key: BTreeMap<Author, Ban>,
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
    /// is no room. Of keys that nobody vouches for the newest bans stay.
    pub(super) fn ban(
        &mut self,
        now: Timestamp,
        key: &PublicKey,
        until: Option<Timestamp>,
        is_vouched: bool,
    ) -> bool {
        let weight = match until {
            _ if !is_vouched => Weight::Unvouched,
            None => Weight::Permanent,
            Some(_) => Weight::Refusal,
        };
        let author = *key.as_bytes();
        let mut ban = Ban { weight, made: now, until: until.unwrap_or(Timestamp::MAX) };
        if let Some(before) = self.by_key.get(&author) {
            ban.weight = ban.weight.max(before.weight);
            ban.until = ban.until.max(before.until);
            self.by_weight.remove(&(before.weight, before.made, author));
        } else if self.by_key.len() >= self.limit {
            match self.by_weight.first().copied() {
                Some(least) if least.0 < weight || least.0 == Weight::Unvouched => {
                    self.by_weight.remove(&least);
                    self.by_key.remove(&least.2);
                }
                _ => return false,
            }
        }
        self.by_key.insert(author, ban);
        self.by_weight.insert((ban.weight, ban.made, author));
        true
    }

    pub(super) fn is_banned(&self, key: &PublicKey, now: Timestamp) -> bool {
        self.by_key.get(key.as_bytes()).is_some_and(|ban| ban.until > now)
    }

    /// Forgets the bans that are over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let Self { by_key, by_weight, .. } = self;
        by_key.retain(|author, ban| {
            let lasts = ban.until > now;
            if !lasts {
                by_weight.remove(&(ban.weight, ban.made, *author));
            }
            lasts
        });
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
        assert!(bans.ban(now, &key(1), None, true));
        assert!(bans.ban(now, &key(2), Some(later), true));
        assert!(bans.ban(now, &key(3), None, false));
        assert!(bans.ban(later, &key(4), Some(later + Duration::from_secs(1)), false));
        assert!(!bans.is_banned(&key(3), now), "the older of those that nobody vouches for went");
        assert!(bans.ban(now, &key(5), Some(later), true));
        assert!(!bans.is_banned(&key(4), now), "and then the newer");
        assert!(!bans.ban(now, &key(3), None, false), "nobody vouches for it");
        assert!(!bans.ban(now, &key(9), Some(later), true), "an equal does not displace");
        assert!(bans.ban(now, &key(6), None, true));
        assert!(bans.ban(now, &key(7), None, true));
        assert!(!bans.ban(now, &key(8), None, true), "permanent ones never go");
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
        assert!(bans.ban(now, &key(1), Some(later), true));
        assert!(bans.ban(now, &key(1), Some(soon), false));
        assert!(bans.is_banned(&key(1), soon));
        assert!(!bans.is_banned(&key(1), later));
        bans.expire(later);
        assert_eq!((bans.len(), bans.by_weight.len()), (0, 0));
    }
}
