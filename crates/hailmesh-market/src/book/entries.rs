//! One row per author: its last sequence number, how much it may say, and its offer.
//!
//! All that a message of somebody known touches is in one row, found with one look-up.
//! A row stays for a while after the last offer in it has ended, so that an old one
//! cannot come again.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use hailmesh_types::{Duration, StatementId, Timestamp};
use hashbrown::HashTable;

use super::{BookedDriver, BookedRider};
use crate::budget::Bucket;
use crate::index::Author;
use crate::limits::Rate;
use crate::table::HashKey;

/// Authors below which the table is not looked through for forgotten ones.
const SWEEP_MIN: usize = 1_024;
/// Time after which it is looked through in any case.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);
/// Time that passes at least before it is looked through again.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);
/// Rows that are allocated together: few enough to waste little, many enough to be few.
const CHUNK: usize = 8;

/// The time of what is in no queue.
pub(super) const NEVER: Timestamp = Timestamp::MAX;

/// How an offer relates to the last one of its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
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

/// Which row. It stays the same as long as the row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(u32);

impl EntryId {
    /// For indexes that are used without a book.
    #[must_use]
    pub const fn of(number: u32) -> Self {
        Self(number)
    }
}

/// What an author offers.
#[derive(Debug, Clone)]
pub(super) enum Posted {
    Nothing,
    Driver(BookedDriver),
    Rider(BookedRider),
}

/// One author.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) author: Author,
    seq: u64,
    /// The first bytes of the last offer's id: a fork that collides here costs 2^64
    /// tries and hides nothing but its own author's fault.
    id: [u8; 8],
    keep_until: Timestamp,
    bucket: Bucket,
    /// One more than the slot whose withdrawal was free of charge; 0: none yet.
    freed: u64,
    pub(super) posted: Posted,
    /// When the queue of ends looks at it next; [`NEVER`] when it is not in the queue.
    pub(super) queued: Timestamp,
}

impl Entry {
    /// Whether nothing would be lost with it.
    fn is_over(&self, now: Timestamp) -> bool {
        self.keep_until <= now && self.queued == NEVER && matches!(self.posted, Posted::Nothing)
    }
}

/// Authors heard, at most a limit.
#[derive(Clone)]
pub(super) struct Entries {
    chunks: Vec<Box<[Option<Entry>]>>,
    vacant: Vec<EntryId>,
    by_author: HashTable<EntryId>,
    hash_key: HashKey,
    limit: usize,
    grace: Duration,
    rate: Rate,
    sweep_len: usize,
    swept: Timestamp,
}

impl Entries {
    pub(super) const fn new(limit: usize, grace: Duration, rate: Rate, hash_key: HashKey) -> Self {
        Self {
            chunks: Vec::new(),
            vacant: Vec::new(),
            by_author: HashTable::new(),
            hash_key,
            limit,
            grace,
            rate,
            sweep_len: SWEEP_MIN,
            swept: Timestamp::MIN,
        }
    }

    /// How many authors there are.
    pub(super) fn len(&self) -> usize {
        self.by_author.len()
    }

    pub(super) fn find(&self, author: &Author) -> Option<EntryId> {
        if self.by_author.is_empty() {
            return None;
        }
        let is_author = |id: &EntryId| at(&self.chunks, *id).is_some_and(|entry| entry.author == *author);
        self.by_author.find(self.hash_key.hash_one(author), is_author).copied()
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Entry> {
        at(&self.chunks, id)
    }

    pub(super) fn get_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.row_mut(id)?.as_mut()
    }

    fn row_mut(&mut self, id: EntryId) -> Option<&mut Option<Entry>> {
        self.chunks.get_mut(id.0 as usize / CHUNK)?.get_mut(id.0 as usize % CHUNK)
    }

    /// Every row with its id, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EntryId, &Entry)> {
        let ids = (0_u32..).map(EntryId);
        ids.zip(self.chunks.iter().flat_map(|chunk| chunk.iter()))
            .filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
    }

    /// How an offer relates to the last one of its author, and whether the author may
    /// say something now: one withdrawal per slot is free (P20). Changes nothing.
    pub(super) fn look(
        &self,
        known: Option<EntryId>,
        seq: u64,
        id: &StatementId,
        withdrawn: Option<u64>,
        now: Timestamp,
    ) -> (Sequence, bool) {
        let Some(entry) = known.and_then(|known| self.get(known)) else { return (Sequence::Unheard, true) };
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
    pub(super) fn charge(&mut self, known: EntryId, withdrawn: Option<u64>, now: Timestamp) {
        let rate = self.rate;
        if let Some(entry) = self.get_mut(known) {
            entry.charge(withdrawn, rate, now);
        }
    }

    /// Whether one more author would find room, after forgetting those that are over.
    pub(super) fn has_room(&mut self, now: Timestamp) -> bool {
        // Looking through a full table for every stranger would be their weapon.
        let is_crowded = self.len() >= self.sweep_len.min(self.limit);
        let pause = if is_crowded { SWEEP_PAUSE } else { SWEEP_PERIOD };
        if now >= self.swept + pause {
            self.sweep(now);
        }
        self.len() < self.limit
    }

    /// Forgets the authors that are over.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        let gone: Vec<EntryId> =
            self.iter().filter(|(_, entry)| entry.is_over(now)).map(|(id, _)| id).collect();
        for id in gone {
            self.forget(id);
        }
        if self.by_author.is_empty() {
            // Nobody is heard any more, perhaps for long: the room is not kept either.
            (self.chunks, self.vacant, self.by_author) = (Vec::new(), Vec::new(), HashTable::new());
        }
        self.sweep_len = (2 * self.len()).max(SWEEP_MIN);
        self.swept = now;
    }

    /// A row for a new author.
    pub(super) fn enrol(&mut self, author: &Author) -> EntryId {
        let entry = Entry {
            author: *author,
            seq: 0,
            id: [0; 8],
            keep_until: Timestamp::MIN,
            bucket: Bucket::default(),
            freed: 0,
            posted: Posted::Nothing,
            queued: NEVER,
        };
        if self.vacant.is_empty() {
            // The limit of authors is far below 2^32.
            let first = u32::try_from(self.chunks.len() * CHUNK).unwrap_or(u32::MAX);
            self.chunks.push((0..CHUNK).map(|_| None).collect());
            self.vacant.extend((0..CHUNK as u32).rev().map(|number| EntryId(first + number)));
        }
        let id = self.vacant.pop().unwrap_or(EntryId(u32::MAX));
        if let Some(row) = self.row_mut(id) {
            *row = Some(entry);
        }
        let (chunks, hash_key) = (&self.chunks, self.hash_key);
        let hash_of = |id: &EntryId| at(chunks, *id).map_or(0, |entry| hash_key.hash_one(entry.author));
        self.by_author.insert_unique(hash_key.hash_one(author), id, hash_of);
        id
    }

    /// Takes a row out.
    pub(super) fn forget(&mut self, id: EntryId) {
        let Some(entry) = self.row_mut(id).and_then(Option::take) else { return };
        let hash = self.hash_key.hash_one(entry.author);
        if let Ok(found) = self.by_author.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        self.vacant.push(id);
    }

    /// Remembers an admitted offer and charges its author.
    pub(super) fn record(
        &mut self,
        known: EntryId,
        seq: u64,
        id: &StatementId,
        expires: Timestamp,
        withdrawn: Option<u64>,
        now: Timestamp,
    ) {
        let (rate, grace) = (self.rate, self.grace);
        let Some(entry) = self.get_mut(known) else { return };
        entry.seq = seq;
        entry.id = first_bytes(id);
        entry.keep_until = entry.keep_until.max(expires + grace);
        entry.charge(withdrawn, rate, now);
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

fn at(chunks: &[Box<[Option<Entry>]>], id: EntryId) -> Option<&Entry> {
    chunks.get(id.0 as usize / CHUNK)?.get(id.0 as usize % CHUNK)?.as_ref()
}

fn first_bytes(id: &StatementId) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&id.as_bytes()[..8]);
    first
}
