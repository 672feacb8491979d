//! The same request twice makes one ride.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use hailmesh_node::market::RideId;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::problem::{Code, Problem};

/// Most keys remembered; the oldest one is forgotten first.
const KEYS_MAX: usize = 1_024;
/// Longest key.
const KEY_LEN_MAX: usize = 128;

/// The keys seen since the node started.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<String, Arc<Entry>>,
    oldest_first: VecDeque<String>,
}

/// What one key stands for.
#[derive(Debug)]
pub(crate) struct Entry {
    body: [u8; 32],
    /// Set once by whoever is first; others with the same key wait for it. Stays empty
    /// when the command failed, so that a retry tries again.
    pub(crate) ride: OnceCell<RideId>,
}

impl Table {
    /// The entry of a key, made if it is new.
    ///
    /// # Errors
    /// A key of the wrong form, or one that came with another body before.
    pub(crate) fn entry(&self, key: &str, body: &[u8]) -> Result<Arc<Entry>, Problem> {
        if key.is_empty() || key.len() > KEY_LEN_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::new(
                Code::BadParameter,
                format!("Idempotency-Key {key:?}: expected 1 to {KEY_LEN_MAX} visible ASCII characters"),
            ));
        }
        let body: [u8; 32] = Sha256::digest(body).into();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = inner.entries.get(key) {
            return if entry.body == body {
                Ok(Arc::clone(entry))
            } else {
                Err(Problem::new(
                    Code::IdempotencyKeyReused,
                    format!("Idempotency-Key {key:?} came with another body before: use a new key"),
                ))
            };
        }
        if inner.entries.len() >= KEYS_MAX
            && let Some(oldest) = inner.oldest_first.pop_front()
        {
            inner.entries.remove(&oldest);
        }
        let entry = Arc::new(Entry { body, ride: OnceCell::new() });
        inner.entries.insert(key.to_owned(), Arc::clone(&entry));
        inner.oldest_first.push_back(key.to_owned());
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_one_body() {
        let table = Table::default();
        let first = table.entry("a", b"{}").unwrap();
        assert!(Arc::ptr_eq(&first, &table.entry("a", b"{}").unwrap()));
        assert_eq!(table.entry("a", b"{ }").unwrap_err().code, Code::IdempotencyKeyReused);
        assert_eq!(table.entry("", b"").unwrap_err().code, Code::BadParameter);
        assert_eq!(table.entry("a b", b"").unwrap_err().code, Code::BadParameter);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let table = Table::default();
        for number in 0..=KEYS_MAX {
            table.entry(&number.to_string(), b"x").unwrap();
        }
        assert_eq!(table.0.lock().unwrap().entries.len(), KEYS_MAX);
        // Key 0 is forgotten: another body makes no conflict any more.
        assert!(table.entry("0", b"y").is_ok());
        assert!(table.entry(&KEYS_MAX.to_string(), b"y").is_err());
    }
}
