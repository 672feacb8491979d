//! How statements are signed and checked.
//!
//! On a network there is one way, [`Ed25519`] (P2.5, P2.8), and whatever does not say
//! otherwise uses it. A simulation of a whole city in one process spends nearly all of
//! its time there, though, and may take [`SimulatedSignatures`] instead: everything else
//! stays the same, bytes and sizes included, and only the 64 bytes of the signature are
//! others.

use std::fmt::{self, Debug};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Tells results of one scheme from those of another, so that a statement that was
/// checked with one never counts as checked with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignatureTag(u64);

impl SignatureTag {
    /// That of [`Ed25519`].
    const REAL: Self = Self(0);
}

/// A way to sign and to check. The message is everything that is signed, prefix
/// included (P2.5).
pub trait Signatures: Debug + Send + Sync {
    /// Which scheme this is, its secrets included.
    fn tag(&self) -> SignatureTag;

    /// Signs. The same key and message give the same bytes.
    fn sign(&self, key: &SigningKey, message: &[u8]) -> [u8; 64];

    /// Whether the holder of `key` has signed the message.
    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// The signatures of the protocol: Ed25519, verified strictly (P2.8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ed25519;

impl Signatures for Ed25519 {
    fn tag(&self) -> SignatureTag {
        SignatureTag::REAL
    }

    fn sign(&self, key: &SigningKey, message: &[u8]) -> [u8; 64] {
        key.sign(message).to_bytes()
    }

    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

/// Signatures for simulations, some hundred times faster: a hash over a secret of the
/// run, the public key and the message.
///
/// **They prove nothing outside one process.** Whoever has the secret signs for
/// everybody, so that no node that talks to others may ever use them; a test of the
/// repository keeps the name out of the crates that do. Inside a run they serve as well:
/// bytes that were changed or signed for another key are refused.
#[derive(Clone)]
pub struct SimulatedSignatures {
    secret: [u8; 32],
    tag: SignatureTag,
}

impl SimulatedSignatures {
    /// Those of a run with this secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        let digest = blake3::derive_key("hailmesh simulated signatures: tag", &secret);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        // The lowest bit keeps it apart from the real scheme.
        Self { secret, tag: SignatureTag(u64::from_le_bytes(first) | 1) }
    }

    fn hash(&self, key: &[u8; 32], message: &[u8]) -> [u8; 64] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(key).update(message);
        let mut signature = [0; 64];
        hasher.finalize_xof().fill(&mut signature);
        signature
    }
}

impl Signatures for SimulatedSignatures {
    fn tag(&self) -> SignatureTag {
        self.tag
    }

    fn sign(&self, key: &SigningKey, message: &[u8]) -> [u8; 64] {
        self.hash(key.verifying_key().as_bytes(), message)
    }

    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        self.hash(key.as_bytes(), message) == *signature
    }
}

impl Debug for SimulatedSignatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedSignatures").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(signatures: &dyn Signatures) {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let public = SigningKey::verifying_key;
        let signature = signatures.sign(&key, b"a message");
        assert_eq!(signature, signatures.sign(&key, b"a message"));
        assert!(signatures.verify(&public(&key), b"a message", &signature));
        assert!(!signatures.verify(&public(&other), b"a message", &signature));
        assert!(!signatures.verify(&public(&key), b"a messagE", &signature));
        for byte in [0, 31, 32, 63] {
            let mut broken = signature;
            broken[byte] ^= 1;
            assert!(!signatures.verify(&public(&key), b"a message", &broken), "byte {byte}");
        }
    }

    #[test]
    fn only_the_holder_of_a_key_signs() {
        check(&Ed25519);
        check(&SimulatedSignatures::new([9; 32]));
    }

    #[test]
    fn no_scheme_takes_the_signatures_of_another() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let public = key.verifying_key();
        let (real, run, other) =
            (Ed25519, SimulatedSignatures::new([9; 32]), SimulatedSignatures::new([8; 32]));
        let schemes: [&dyn Signatures; 3] = [&real, &run, &other];
        for (number, signer) in schemes.iter().enumerate() {
            let signature = signer.sign(&key, b"a message");
            for (checker, scheme) in schemes.iter().enumerate() {
                assert_eq!(scheme.verify(&public, b"a message", &signature), checker == number);
                assert_eq!(scheme.tag() == signer.tag(), checker == number);
            }
        }
    }
}
