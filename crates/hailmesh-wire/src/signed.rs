//! Statements with their signature: received ([`Signed`]) and proven ([`Verified`]).

use std::fmt::{self, Debug};
use std::ops::Deref;
use std::sync::Arc;

use ed25519_dalek::{Signature, Signer, SigningKey};
use hailmesh_types::{PublicKey, StatementId, Timestamp};

use crate::envelope::Header;
use crate::{DecodeError, Extensions, Kind, NetworkId};

/// What a kind of statement says.
pub trait Body: Clone + Debug + PartialEq + Eq {
    /// Its kind.
    const KIND: Kind;

    /// The canonical encoding.
    fn encode_body(&self) -> Vec<u8>;

    /// Reads the canonical encoding of a value within the bounds of P4.
    ///
    /// # Errors
    /// The first clause that the bytes break.
    fn decode_body(bytes: &[u8]) -> Result<Self, DecodeError>;

    /// The addressee of a direct statement.
    fn to(&self) -> Option<&PublicKey>;

    /// When it says to have been made; EVIDENCE does not say.
    fn issued(&self) -> Option<Timestamp>;

    /// Its extensions (P2.11).
    fn ext(&self) -> &Extensions;
}

/// A statement that is well formed and within bounds. **Its signature is not checked**:
/// anybody may have written it.
///
/// Cloning is cheap, and the bytes as received stay with it (P2.10). Two are equal when
/// their bytes are.
pub struct Signed<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    bytes: Arc<[u8]>,
    header: Header,
    signer: PublicKey,
    id: StatementId,
    body: T,
}

impl<T: Body> Signed<T> {
    /// Reads a statement of this kind: envelope (P2.1, P2.4), form of the signer's key
    /// (P2.8), body (P4).
    ///
    /// # Errors
    /// The first clause that the bytes break; P4.1 when it is of another kind.
    pub fn decode(bytes: impl Into<Arc<[u8]>>) -> Result<Self, DecodeError> {
        let bytes = bytes.into();
        let header = Header::peek(&bytes)?;
        Self::from_header(bytes, header)
    }

    /// Reads the rest of a statement whose header is known.
    pub(crate) fn from_header(bytes: Arc<[u8]>, header: Header) -> Result<Self, DecodeError> {
        let kind = header.kind()?;
        if kind != T::KIND {
            return Err(DecodeError::new("P4.1", format!("a {kind}: expected a {}", T::KIND)));
        }
        let raw = &bytes[header.body.clone()];
        // The body comes first: refusing it is cheaper than decompressing a key.
        let body = T::decode_body(raw)?;
        let signer = PublicKey::from_bytes(&header.signer)
            .map_err(|error| DecodeError::new("P2.8", format!("signer: {error}")))?;
        let id = header.id(raw);
        Ok(Self { inner: Arc::new(Inner { bytes, header, signer, id, body }) })
    }

    /// What it says.
    #[must_use]
    pub fn body(&self) -> &T {
        &self.inner.body
    }

    /// The key that is said to have signed.
    #[must_use]
    pub fn signer(&self) -> &PublicKey {
        &self.inner.signer
    }

    /// The network it was signed for.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.inner.header.network
    }

    /// Its name (P2.6).
    #[must_use]
    pub fn id(&self) -> StatementId {
        self.inner.id
    }

    /// The envelope as received.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.inner.bytes
    }

    /// Checks the signature over the received body (P2.5, P2.8): about 36 µs.
    ///
    /// # Errors
    /// P2.5 when it does not fit.
    pub fn verify(self) -> Result<Verified<T>, DecodeError> {
        self.verify_signature()?;
        Ok(Verified { signed: self })
    }

    /// As [`Signed::verify`], and the signer must be `expected` (P5.6): checked first,
    /// since it costs nothing.
    ///
    /// # Errors
    /// P5.6 for another signer, P2.5 for a signature that does not fit.
    pub fn verify_by(self, expected: &PublicKey) -> Result<Verified<T>, DecodeError> {
        if self.signer() != expected {
            // Only one key is named: a log line must not link two (P17.3).
            return Err(DecodeError::new("P5.6", format!("this {} is not by {expected}", T::KIND)));
        }
        self.verify()
    }

    pub(crate) fn verify_signature(&self) -> Result<(), DecodeError> {
        let inner = &*self.inner;
        let refuse = || DecodeError::new("P2.5", format!("the signature of this {} does not fit", T::KIND));
        let signature =
            Signature::from_slice(&inner.bytes[inner.header.signature.clone()]).map_err(|_| refuse())?;
        let message = inner.header.signed_bytes(&inner.bytes[inner.header.body.clone()]);
        inner.signer.verifying_key().verify_strict(&message, &signature).map_err(|_| refuse())
    }
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.inner.bytes == other.inner.bytes
    }
}

impl<T> Eq for Signed<T> {}

impl<T: Debug> Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("id", &self.inner.id)
            .field("signer", &self.inner.signer)
            .field("body", &self.inner.body)
            .finish()
    }
}

/// A statement that its signer has really signed, for its network and as this kind.
/// The only ways to one are a check and the secret key.
pub struct Verified<T> {
    signed: Signed<T>,
}

impl<T: Body> Verified<T> {
    /// Signs. Ed25519 is deterministic: the same body gives the same bytes.
    ///
    /// The body must keep the bounds of P4, or every reader refuses it. Debug builds
    /// panic when it does not.
    #[must_use]
    pub fn sign(key: &SigningKey, network: NetworkId, body: T) -> Self {
        let raw = body.encode_body();
        #[cfg(debug_assertions)]
        if let Err(error) = T::decode_body(&raw) {
            panic!("signing a {} that nobody will read: {error}", T::KIND);
        }
        let signer = PublicKey::from(key.verifying_key());
        let sign = |message: &[u8]| key.sign(message).to_bytes();
        let (header, bytes) = Header::seal(T::KIND, network, *signer.as_bytes(), &raw, sign);
        debug_assert!(bytes.len() <= T::KIND.bytes_max(), "a {} of {} bytes", T::KIND, bytes.len());
        let id = header.id(&raw);
        Self { signed: Signed { inner: Arc::new(Inner { bytes: bytes.into(), header, signer, id, body }) } }
    }

    /// Reads a statement that this node has verified or signed before. Nothing is taken
    /// on trust: it is decoded and verified again.
    ///
    /// # Errors
    /// As [`Signed::decode`] and [`Signed::verify`].
    pub fn from_own_journal(bytes: impl Into<Arc<[u8]>>) -> Result<Self, DecodeError> {
        Signed::decode(bytes)?.verify()
    }

    /// The statement without the proof.
    #[must_use]
    pub fn into_signed(self) -> Signed<T> {
        self.signed
    }
}

impl<T> Deref for Verified<T> {
    type Target = Signed<T>;

    fn deref(&self) -> &Signed<T> {
        &self.signed
    }
}

impl<T> Clone for Verified<T> {
    fn clone(&self) -> Self {
        Self { signed: self.signed.clone() }
    }
}

impl<T> PartialEq for Verified<T> {
    fn eq(&self, other: &Self) -> bool {
        self.signed == other.signed
    }
}

impl<T> Eq for Verified<T> {}

impl<T: Debug> Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.signed, f)
    }
}
