//! Maps that hold a handful: rows in the order of their keys, side by side.
//!
//! A node has one live deal, one or two rides, an outbox that is mostly empty. The leaf
//! of a `BTreeMap` has room for eleven rows from the first one on, and stays when the last
//! is gone: of a city's memory that was a fifth. Here there is room for little more than
//! what is there. Rows are found by bisection and moved to make room, so that this is for
//! tables whose limit is at most some thousand.

/// Rows by key, in the order of keys.
#[derive(Debug, Clone)]
pub(crate) struct SortedMap<K, V> {
    rows: Vec<(K, V)>,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> SortedMap<K, V> {
    /// Allocates nothing before the first row.
    pub(crate) const fn new() -> Self {
        Self { rows: Vec::new() }
    }

    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.rows.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.rows.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.rows.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.rows.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn into_keys(self) -> impl DoubleEndedIterator<Item = K> {
        self.rows.into_iter().map(|(key, _)| key)
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.rows.binary_search_by(|(other, _)| other.cmp(key))
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().map(|place| &self.rows[place].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).ok().map(|place| &mut self.rows[place].1)
    }

    /// Puts a row in place of the one with its key, and gives what that one held.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.rows[place].1, value)),
            Err(place) => {
                self.make_room();
                self.rows.insert(place, (key, value));
                None
            }
        }
    }

    /// The row of a key, made by `new` if there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let place = match self.find(&key) {
            Ok(place) => place,
            Err(place) => {
                self.make_room();
                self.rows.insert(place, (key, new()));
                place
            }
        };
        &mut self.rows[place].1
    }

    /// Takes a row out. Gives room back when little is left.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (_, value) = self.rows.remove(self.find(key).ok()?);
        if self.rows.len() * 4 <= self.rows.capacity() {
            self.rows.shrink_to(self.rows.len() * 2);
        }
        Some(value)
    }

    /// A quarter more than there is, where a vector would double.
    fn make_room(&mut self) {
        if self.rows.len() == self.rows.capacity() {
            self.rows.reserve_exact(1 + self.rows.len() / 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_an_ordered_map(steps in prop::collection::vec((0..4_u8, 0..40_u8, any::<u16>()), 0..400)) {
            let (mut map, mut model) = (SortedMap::new(), BTreeMap::new());
            for (what, key, value) in steps {
                match what {
                    0 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    1 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    2 => {
                        let found = *map.get_or_insert_with(key, || value);
                        prop_assert_eq!(found, *model.entry(key).or_insert(value));
                    }
                    _ => {
                        prop_assert_eq!(map.get_mut(&key).copied(), model.get(&key).copied());
                        prop_assert_eq!(map.contains_key(&key), model.contains_key(&key));
                    }
                }
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!(map.len(), model.len());
                prop_assert!(map.rows.capacity() <= 2 + 4 * map.len(), "{} for {}", map.rows.capacity(), map.len());
            }
            prop_assert!(map.into_keys().eq(model.into_keys()));
        }
    }

    #[test]
    fn what_is_empty_holds_no_memory() {
        let mut map = SortedMap::new();
        for key in 0..100_u32 {
            map.insert(key, [0_u8; 64]);
        }
        for key in 0..100 {
            map.remove(&key);
        }
        assert_eq!(map.rows.capacity(), 0);
    }
}
