//! The points of keys that were met lately.

use std::cell::RefCell;

use ed25519_dalek::VerifyingKey;

/// So many keys a thread remembers: 192 bytes each, 192 KiB once it has read any.
const REMEMBERED: usize = 1_024;

/// Sound keys in the form the signature library uses.
///
/// To find the point of a key takes a tenth of checking a signature, and a node reads the
/// same few keys again and again: its own, in whatever is said to it, that of the other
/// side of a ride, those in its journal. Each key has one place only, which the next key of
/// that place takes over, so that nothing here grows; who makes keys for one place has them
/// found anew, as all of them would be without this.
struct Points(Box<[Option<VerifyingKey>]>);

impl Points {
    fn new() -> Self {
        Self(vec![None; REMEMBERED].into_boxed_slice())
    }

    fn place(bytes: &[u8; 32]) -> usize {
        usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % REMEMBERED
    }

    fn get(&self, bytes: &[u8; 32]) -> Option<VerifyingKey> {
        self.0[Self::place(bytes)].filter(|key| key.as_bytes() == bytes)
    }

    fn put(&mut self, key: VerifyingKey) {
        self.0[Self::place(key.as_bytes())] = Some(key);
    }
}

thread_local! {
    static POINTS: RefCell<Points> = RefCell::new(Points::new());
}

/// The point of these bytes, if it is remembered or `find` finds it; what `find` refuses is
/// not remembered.
pub(crate) fn remembered<E>(
    bytes: &[u8; 32],
    find: impl FnOnce() -> Result<VerifyingKey, E>,
) -> Result<VerifyingKey, E> {
    if let Some(key) = POINTS.with_borrow(|points| points.get(bytes)) {
        return Ok(key);
    }
    let key = find()?;
    POINTS.with_borrow_mut(|points| points.put(key));
    Ok(key)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn key(number: u64) -> VerifyingKey {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        SigningKey::from_bytes(&seed).verifying_key()
    }

    /// Asks for a key, and says whether it had to be found.
    fn is_found_anew(key: VerifyingKey) -> bool {
        let mut anew = false;
        let found = remembered(key.as_bytes(), || {
            anew = true;
            Ok::<_, ()>(key)
        });
        assert_eq!(found, Ok(key));
        anew
    }

    #[test]
    fn a_key_is_found_once_until_another_takes_its_place() {
        let first = key(1);
        let same_place = |other: &VerifyingKey| {
            *other != first && Points::place(other.as_bytes()) == Points::place(first.as_bytes())
        };
        let second = (2..).map(key).find(same_place).unwrap();
        assert!(is_found_anew(first) && !is_found_anew(first));
        assert!(is_found_anew(second) && !is_found_anew(second));
        assert!(is_found_anew(first), "the place is of one key");
    }

    #[test]
    fn what_is_refused_is_refused_again() {
        let bytes = *key(3).as_bytes();
        for _ in 0..2 {
            assert_eq!(remembered(&bytes, || Err("no")), Err("no"));
        }
        assert!(is_found_anew(key(3)));
    }
}
