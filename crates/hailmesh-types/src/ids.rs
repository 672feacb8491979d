//! Names of people, statements and networks.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey;

use crate::points::remembered;

/// Writes lower-case hexadecimal.
fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly 64 hexadecimal digits.
fn read_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(out)
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                write_hex(f, &self.0[..4])?;
                f.write_str("…)")
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                read_hex(text).map(Self).ok_or(KeyError::Hex)
            }
        }
    };
}

hash_type! {
    /// Names a statement: SHA-256 of everything in it but the signature (P2.6).
    StatementId
}
hash_type! {
    /// Names the doubly signed result of one REQUEST and one ACCEPT (P2.6).
    AgreementId
}
hash_type! {
    /// Any other SHA-256 of the protocol: tariff, commitment, boarding secret (P2.7).
    Hash
}
hash_type! {
    /// The Ed25519 public key of a *transport* identity: what libp2p authenticates.
    ///
    /// It is not checked to be a point on the curve, because only libp2p, which has
    /// verified a handshake with it, produces one that matters.
    PeerKey
}

/// Why bytes are not a usable key or hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("expected 64 hexadecimal digits")]
    Hex,
    /// The bytes are not the canonical encoding of a point of the curve.
    #[error("not the canonical encoding of an Ed25519 key")]
    NotAPoint,
    /// The point is of small order: one signature would fit any message.
    #[error("a weak Ed25519 key (small order)")]
    Weak,
}

/// The Ed25519 key that signs statements, checked as P2.8 asks: it decompresses, is
/// not of small order, and these bytes are its only encoding.
///
/// It is the 32 bytes and no more: tables are full of keys. Whoever is about to check a
/// signature keeps the point that [`PublicKey::with_point`] has found on the way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Checks 32 bytes as P2.8 asks.
    ///
    /// # Errors
    /// [`KeyError::NotAPoint`] when the bytes do not decompress or are not the
    /// canonical encoding, [`KeyError::Weak`] when the point is of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        Self::with_point(bytes).map(|(key, _)| key)
    }

    /// As [`PublicKey::from_bytes`], with the key in the form the signature library uses.
    ///
    /// # Errors
    /// As [`PublicKey::from_bytes`].
    pub fn with_point(bytes: &[u8; 32]) -> Result<(Self, VerifyingKey), KeyError> {
        // Only a y coordinate of 2^255 - 19 or more has a second encoding (the one
        // other case, x = 0 with the sign bit set, is of small order): comparing
        // bytes is the re-compression check without its field inversion.
        if y_is_reduced(bytes) {
            let find = || {
                let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
                if key.is_weak() { Err(KeyError::Weak) } else { Ok(key) }
            };
            Ok((Self(*bytes), remembered(bytes, find)?))
        } else {
            Err(KeyError::NotAPoint)
        }
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The transport identity with the same key: a driver's (P3.1).
    #[must_use]
    pub fn to_peer_key(&self) -> PeerKey {
        PeerKey::from_bytes(*self.as_bytes())
    }
}

/// Whether the 255-bit little-endian y coordinate is below the field prime.
fn y_is_reduced(bytes: &[u8; 32]) -> bool {
    let high_is_max = bytes[31] & 0x7f == 0x7f && bytes[1..31].iter().all(|byte| *byte == 0xff);
    !(high_is_max && bytes[0] >= 0xed)
}

impl From<VerifyingKey> for PublicKey {
    /// For keys made here from a secret, which are valid by construction.
    fn from(key: VerifyingKey) -> Self {
        Self(key.to_bytes())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.as_bytes())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        write_hex(f, &self.as_bytes()[..4])?;
        f.write_str("…)")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&read_hex(text).ok_or(KeyError::Hex)?)
    }
}

/// Longest name of a network, bytes.
const NETWORK_NAME_BYTES: usize = 16;

/// The name of a network, 1 to 16 characters of `a`–`z`, `0`–`9` and `-` (P2.12).
///
/// It is kept in place, so that comparing topics touches no other memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName {
    /// Filled up with zeros, which no name holds and which sort first.
    bytes: [u8; NETWORK_NAME_BYTES],
}

/// Why a text is not a network name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("network name {0:?}: expected 1 to 16 of a-z, 0-9 and '-'")]
pub struct NetworkNameError(String);

impl NetworkName {
    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(NETWORK_NAME_BYTES);
        // Only ASCII gets in.
        std::str::from_utf8(&self.bytes[..len]).unwrap_or_default()
    }

    const fn of_ascii(text: &str) -> Self {
        let mut bytes = [0; NETWORK_NAME_BYTES];
        bytes.split_at_mut(text.len()).0.copy_from_slice(text.as_bytes());
        Self { bytes }
    }
}

impl FromStr for NetworkName {
    type Err = NetworkNameError;

    fn from_str(text: &str) -> Result<Self, NetworkNameError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=NETWORK_NAME_BYTES).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self::of_ascii(text))
        } else {
            Err(NetworkNameError(text.to_owned()))
        }
    }
}

impl Default for NetworkName {
    /// The live network, `main`.
    fn default() -> Self {
        Self::of_ascii("main")
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkName({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_and_non_canonical_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), Err(KeyError::Weak));
        // y = 2^255 - 19 + 1 encodes the same point as y = 1.
        let mut second_encoding = [0xff; 32];
        second_encoding[0] = 0xee;
        second_encoding[31] = 0x7f;
        assert_eq!(PublicKey::from_bytes(&second_encoding), Err(KeyError::NotAPoint));
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert_eq!(PublicKey::from_bytes(&off_curve), Err(KeyError::NotAPoint));
    }

    #[test]
    fn byte_comparison_agrees_with_recompression() {
        for first in 0..=255 {
            let mut bytes = [0xff; 32];
            bytes[0] = first;
            for last in [0x7f, 0xff] {
                bytes[31] = last;
                // The two encodings of x = 0 are left to the check of the order.
                if let Some(key) = VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak()) {
                    let canonical = key.to_edwards().compress().to_bytes() == bytes;
                    assert_eq!(y_is_reduced(&bytes), canonical, "{first:02x}..{last:02x}");
                }
            }
        }
    }

    #[test]
    fn network_names() {
        assert!("main".parse::<NetworkName>().is_ok());
        assert!("a-1".parse::<NetworkName>().is_ok());
        for name in ["a", "main", "sixteen-letters-"] {
            assert_eq!(name.parse::<NetworkName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
        let name = |text: &str| text.parse::<NetworkName>().unwrap();
        assert!(name("a") < name("a-") && name("a-") < name("b"), "ordered as text");
        for bad in ["", "Main", "seventeen-letters", "a b", "ä"] {
            assert!(bad.parse::<NetworkName>().is_err(), "{bad}");
        }
    }
}
