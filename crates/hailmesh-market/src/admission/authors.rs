//! The sequence table: what an author last said, and how much it may say.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use hailmesh_types::{Duration, StatementId, Timestamp};

use crate::budget::Bucket;
use crate::index::Author;
use crate::limits::Rate;

/// Authors below which the table is not looked through for forgotten ones.
const SWEEP_MIN: usize = 1_024;
/// Time after which it is looked through in any case.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// Time that passes at least before it is looked through again.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// How an offer relates to the last one of its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sequence {
    /// There is none.
    Unheard,
    /// Higher.
    New,
    /// The last one itself.
    Same,
    /// The number of the last one with another content.
    Fork,
    /// Lower.
    Old,
}

/// One author.
#[derive(Debug, Clone, Copy)]
struct Entry {
    seq: u64,
    /// The first bytes of the last offer's id: a fork that collides here costs 2^64
    /// tries and hides nothing but its own author's fault.
    id: [u8; 8],
    keep_until: Timestamp,
    bucket: Bucket,
    /// One more than the slot whose withdrawal was free of charge; 0: none yet.
    freed: u64,
}

/// Authors heard, at most a limit, each until its last offer has been over for a while.
#[derive(Debug, Clone)]
pub(super) struct Authors {
    by_key: BTreeMap<Author, Entry>,
    limit: usize,
    grace: Duration,
    rate: Rate,
    sweep_len: usize,
    swept: Timestamp,
}

impl Authors {
    pub(super) const fn new(limit: usize, grace: Duration, rate: Rate) -> Self {
        Self { by_key: BTreeMap::new(), limit, grace, rate, sweep_len: SWEEP_MIN, swept: Timestamp::MIN }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn contains(&self, author: &Author) -> bool {
        self.by_key.contains_key(author)
    }

    /// How an offer relates to the last one of its author, and whether the author may
    /// say something now: one withdrawal per slot is free (P20). Changes nothing.
    pub(super) fn look(
        &self,
        author: &Author,
        seq: u64,
        id: &StatementId,
        withdrawn: Option<u64>,
        now: Timestamp,
    ) -> (Sequence, bool) {
        let Some(entry) = self.by_key.get(author) else { return (Sequence::Unheard, true) };
        let sequence = match seq.cmp(&entry.seq) {
            Ordering::Less => Sequence::Old,
            Ordering::Greater => Sequence::New,
            Ordering::Equal if entry.id == first_bytes(id) => Sequence::Same,
            Ordering::Equal => Sequence::Fork,
        };
        let is_free = withdrawn.is_some_and(|slot| entry.freed != slot.saturating_add(1));
        (sequence, is_free || entry.bucket.has_token(self.rate, now))
    }

    /// Charges an author for something that was not admitted after all.
    pub(super) fn charge(&mut self, author: &Author, withdrawn: Option<u64>, now: Timestamp) {
        if let Some(entry) = self.by_key.get_mut(author) {
            entry.charge(withdrawn, self.rate, now);
        }
    }

    /// Whether one more author would find room, after forgetting those that are over.
    pub(super) fn has_room(&mut self, now: Timestamp) -> bool {
        // Looking through a full table for every stranger would be their weapon.
        let is_crowded = self.by_key.len() >= self.sweep_len.min(self.limit);
        let pause = if is_crowded { SWEEP_PAUSE } else { SWEEP_PERIOD };
        if now >= self.swept + pause {
            self.by_key.retain(|_, entry| entry.keep_until > now);
            self.sweep_len = (2 * self.by_key.len()).max(SWEEP_MIN);
            self.swept = now;
        }
        self.by_key.len() < self.limit
    }

    /// Remembers an admitted offer and charges its author.
    pub(super) fn record(
        &mut self,
        author: &Author,
        seq: u64,
        id: &StatementId,
        expires: Timestamp,
        withdrawn: Option<u64>,
        now: Timestamp,
    ) {
        let (id, keep_until) = (first_bytes(id), expires + self.grace);
        let fresh = Entry { seq, id, keep_until, bucket: Bucket::default(), freed: 0 };
        let entry = self.by_key.entry(*author).or_insert(fresh);
        entry.seq = seq;
        entry.id = id;
        entry.keep_until = entry.keep_until.max(keep_until);
        entry.charge(withdrawn, self.rate, now);
    }
}

impl Entry {
    fn charge(&mut self, withdrawn: Option<u64>, rate: Rate, now: Timestamp) {
        match withdrawn.map(|slot| slot.saturating_add(1)) {
            Some(freed) if freed != self.freed => self.freed = freed,
            _ => {
                self.bucket.take(rate, now);
            }
        }
    }
}

fn first_bytes(id: &StatementId) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&id.as_bytes()[..8]);
    first
}
