//! Tables by key for what a node hears all the time.
//!
//! A city in one process makes a hundred million look-ups an hour in tables that have
//! long left the processor's caches: a hash table finds its row with one miss where an
//! ordered map needs several. Two things make hashing safe here. The hash is keyed with
//! a secret of the node, since strangers choose their keys. And nothing iterates in the
//! order of a table: there is no way to ask for it here, so that it can reach no output.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{HashMap, HashTable};

/// The secret of a node's tables.
#[derive(Clone, Copy, Default)]
pub struct HashKey([u64; 2]);

impl HashKey {
    /// From two random words.
    #[must_use]
    pub const fn new(random: [u64; 2]) -> Self {
        Self(random)
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

impl BuildHasher for HashKey {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { state: self.0[0], key: self.0[1] ^ 0x9e37_79b9_7f4a_7c15 }
    }
}

/// Multiplies each word into the state and folds the 128-bit product.
pub struct KeyHasher {
    state: u64,
    key: u64,
}

impl KeyHasher {
    #[expect(clippy::cast_possible_truncation, reason = "both halves are folded together")]
    const fn mix(&mut self, word: u64) {
        let product = ((self.state ^ word) as u128).wrapping_mul((self.key | 1) as u128);
        let folded = (product as u64) ^ ((product >> 64) as u64);
        self.state = folded.rotate_left(23) ^ self.key;
    }
}

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        let mut last = Self { state: self.state, key: self.key };
        last.mix(0x2545_f491_4f6c_dd1d);
        last.state
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(last));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    /// Lengths: all keys of one table have the same.
    fn write_usize(&mut self, _: usize) {}
}

/// A table does not get smaller than this: the smallest that there is has this room.
const ROWS_LEAST: usize = 3;

/// Rows by key, in no order.
#[derive(Clone)]
pub(crate) struct Table<K, V>(HashMap<K, V, HashKey>);

impl<K: Eq + Hash, V> Table<K, V> {
    pub(crate) const fn new(key: HashKey) -> Self {
        Self(HashMap::with_hasher(key))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    /// Forgets every row and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps the rows that `keep` says; it must not depend on the order in which it is
    /// asked. Gives back memory when little is left.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(keep);
        if self.0.len() * 4 < self.0.capacity() {
            self.0.shrink_to_fit();
        }
    }

    /// To be called before a row is added: where that would take more memory, drops what
    /// `keep` does not want and leaves room for as many new rows as there are. They pay for
    /// looking through the table.
    pub(crate) fn weed(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        if self.0.len() < self.0.capacity() {
            return;
        }
        self.0.retain(keep);
        let rows = self.0.len();
        self.0.shrink_to((2 * rows).max(ROWS_LEAST));
        self.0.reserve(rows);
    }

    /// The rows in the order of what `order` says of them, which must differ.
    pub(crate) fn sorted_by_key<T: Ord>(&self, order: impl Fn(&K, &V) -> T) -> Vec<T> {
        let mut rows: Vec<T> = self.0.iter().map(|(key, value)| order(key, value)).collect();
        rows.sort_unstable();
        rows
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("rows", &self.0.len()).finish()
    }
}

/// A row that knows its key.
pub(crate) trait Keyed {
    fn key(&self) -> &[u8; 32];
}

/// Rows by a key that they hold themselves, mostly behind a pointer that others share.
#[derive(Clone)]
pub(crate) struct Register<R> {
    rows: HashTable<R>,
    hash_key: HashKey,
}

impl<R: Keyed> Register<R> {
    pub(crate) const fn new(hash_key: HashKey) -> Self {
        Self { rows: HashTable::new(), hash_key }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn get(&self, key: &[u8; 32]) -> Option<&R> {
        self.rows.find(self.hash_key.hash_one(key), |row| row.key() == key)
    }

    pub(crate) fn get_mut(&mut self, key: &[u8; 32]) -> Option<&mut R> {
        self.rows.find_mut(self.hash_key.hash_one(key), |row| row.key() == key)
    }

    /// Puts a row in place of the one with its key.
    pub(crate) fn put(&mut self, row: R) {
        if let Some(before) = self.get_mut(row.key()) {
            *before = row;
            return;
        }
        let hash_key = self.hash_key;
        let hash = hash_key.hash_one(row.key());
        self.rows.insert_unique(hash, row, |row| hash_key.hash_one(row.key()));
    }

    /// Drops so many rows, those first of which `order` says least; no two may be alike.
    pub(crate) fn drop_first<T: Ord + Copy>(&mut self, surplus: usize, order: impl Fn(&R) -> T) {
        let mut all: Vec<T> = self.rows.iter().map(&order).collect();
        all.sort_unstable();
        match all.get(surplus) {
            Some(first_kept) => self.rows.retain(|row| order(row) >= *first_kept),
            None => self.rows.clear(),
        }
    }
}

impl<R> fmt::Debug for Register<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").field("rows", &self.rows.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_whatever_the_secret() {
        for secret in [[0; 2], [1, 2], [u64::MAX; 2], [0x0123_4567_89ab_cdef, 0x0f1e_2d3c_4b5a_6978]] {
            let hash_key = HashKey::new(secret);
            let mut buckets = [0_u32; 64];
            let mut tags = [0_u32; 128];
            for number in 0..64_000_u64 {
                let mut key = [7_u8; 32];
                key[..8].copy_from_slice(&number.to_be_bytes());
                let hash = hash_key.hash_one(key);
                buckets[(hash % 64) as usize] += 1;
                tags[(hash >> 57) as usize] += 1;
            }
            assert!(buckets.iter().all(|n| (700..1_300).contains(n)), "{secret:?}: {buckets:?}");
            assert!(tags.iter().all(|n| (300..700).contains(n)), "{secret:?}: {tags:?}");
        }
    }

    #[test]
    fn what_is_wanted_no_longer_takes_no_room() {
        let (mut weeded, mut looked) = (Table::new(HashKey::default()), 0_u64);
        for number in 0..10_000_u64 {
            weeded.weed(|kept, ()| {
                looked += 1;
                kept + 100 > number
            });
            weeded.insert(number, ());
            assert!(weeded.0.capacity() <= 448, "{} at {number}", weeded.0.capacity());
        }
        assert!((9_900..10_000).all(|number| weeded.get(&number).is_some()));
        assert!(looked < 30_000, "looked at {looked} rows for 10,000 new ones");
        // Where everything is wanted the table grows as it would anyhow.
        let mut kept = Table::new(HashKey::default());
        for number in 0..10_000_u64 {
            kept.weed(|_, ()| true);
            kept.insert(number, ());
        }
        assert!(kept.len() == 10_000 && kept.0.capacity() < 32_768, "{}", kept.0.capacity());
    }

    #[test]
    fn whoever_lacks_the_secret_cannot_aim() {
        let (one, other) = (HashKey::new([1, 1]), HashKey::new([2, 2]));
        let together = |key: HashKey, number: u64| key.hash_one(number.to_be_bytes()).is_multiple_of(1_024);
        let aimed: Vec<u64> = (0..200_000).filter(|number| together(one, *number)).collect();
        let hits = aimed.iter().filter(|number| together(other, **number)).count();
        assert!(aimed.len() > 100 && hits < aimed.len() / 20, "{hits} of {}", aimed.len());
    }
}
