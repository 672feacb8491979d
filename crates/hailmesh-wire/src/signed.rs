//! Statements with their signature: received ([`Signed`]) and proven ([`Verified`]).

use std::fmt::{self, Debug};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use ed25519_dalek::{SigningKey, VerifyingKey};
use hailmesh_types::{PublicKey, StatementId, Timestamp};

use crate::claim::SlotClaim;
use crate::envelope::Header;
use crate::signatures::{Ed25519, SignatureTag, Signatures};
use crate::statements::DriverOffer;
use crate::{AnyStatement, DecodeError, Extensions, Kind, NetworkId};

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

    /// The envelopes of certificates inside it (P13.10).
    fn certs(&self) -> &[Vec<u8>];
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
    /// The same key, ready for a check.
    point: VerifyingKey,
    id: StatementId,
    body: T,
    /// What a check of the signature has found. Bytes never change, so it stays true:
    /// many hosts of one simulation that share a statement check it once.
    checked: OnceLock<(SignatureTag, bool)>,
    /// The certificates of the body, each read when it is first asked for.
    certs: OnceLock<Box<[ReadOnce]>>,
    /// Of a driver's offer, once somebody has asked for it.
    claim: OnceLock<Arc<SlotClaim>>,
}

/// A statement inside another one, once it has been read.
type ReadOnce = OnceLock<Result<AnyStatement, DecodeError>>;

impl<T> Inner<T> {
    fn new(bytes: Arc<[u8]>, header: Header, point: VerifyingKey, id: StatementId, body: T) -> Self {
        let signer = PublicKey::from(point);
        let (checked, certs, claim) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { bytes, header, signer, point, id, body, checked, certs, claim }
    }
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
        let (_, point) = PublicKey::with_point(&header.signer)
            .map_err(|error| DecodeError::new("P2.8", format!("signer: {error}")))?;
        let id = header.id(raw);
        Ok(Self { inner: Arc::new(Inner::new(bytes, header, point, id, body)) })
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

    /// As [`Signed::id`], in place.
    #[must_use]
    pub fn id_ref(&self) -> &StatementId {
        &self.inner.id
    }

    /// The envelope as received.
    #[must_use]
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.inner.bytes
    }

    /// The certificate of this index inside the body, read when it is first asked for;
    /// nothing beyond the last.
    ///
    /// # Errors
    /// The first clause that its bytes break.
    #[must_use]
    pub fn certificate(&self, index: usize) -> Option<Result<&AnyStatement, &DecodeError>> {
        let certs = self.inner.body.certs();
        let bytes = certs.get(index)?;
        let read = self.inner.certs.get_or_init(|| certs.iter().map(|_| OnceLock::new()).collect());
        Some(read.get(index)?.get_or_init(|| AnyStatement::decode(bytes.as_slice())).as_ref())
    }

    /// Takes over certificates that were read elsewhere, those of them that are inside the
    /// body byte for byte: authors send the same ones again and again, and whoever
    /// simulates many nodes need not read and keep each copy.
    pub fn know_certificates(&self, known: &[AnyStatement]) {
        let certs = self.inner.body.certs();
        let places = self.inner.certs.get_or_init(|| certs.iter().map(|_| OnceLock::new()).collect());
        for (bytes, place) in certs.iter().zip(places) {
            if let Some(same) = known.iter().find(|known| **known.bytes() == **bytes) {
                place.get_or_init(|| Ok(same.clone()));
            }
        }
    }

    /// Checks the signature over the received body (P2.5, P2.8): about 36 µs.
    ///
    /// # Errors
    /// P2.5 when it does not fit.
    pub fn verify(self) -> Result<Verified<T>, DecodeError> {
        self.verify_with(&Ed25519)
    }

    /// As [`Signed::verify`] with these signatures.
    ///
    /// # Errors
    /// P2.5 when it does not fit.
    pub fn verify_with(self, signatures: &dyn Signatures) -> Result<Verified<T>, DecodeError> {
        self.verify_signature(signatures)?;
        Ok(Verified { signed: self })
    }

    /// As [`Signed::verify_with`], and the signer must be `expected` (P5.6): checked
    /// first, since it costs nothing.
    ///
    /// # Errors
    /// P5.6 for another signer, P2.5 for a signature that does not fit.
    pub fn verify_by(
        self,
        expected: &PublicKey,
        signatures: &dyn Signatures,
    ) -> Result<Verified<T>, DecodeError> {
        if self.signer() != expected {
            // Only one key is named: a log line must not link two (P17.3).
            return Err(DecodeError::new("P5.6", format!("this {} is not by {expected}", T::KIND)));
        }
        self.verify_with(signatures)
    }

    pub(crate) fn verify_signature(&self, signatures: &dyn Signatures) -> Result<(), DecodeError> {
        let tag = signatures.tag();
        let (checked_by, fits) = *self.inner.checked.get_or_init(|| (tag, self.fits(signatures)));
        // Whoever checks one statement with two kinds of signature pays for the second.
        let fits = if checked_by == tag { fits } else { self.fits(signatures) };
        if fits {
            Ok(())
        } else {
            Err(DecodeError::new("P2.5", format!("the signature of this {} does not fit", T::KIND)))
        }
    }

    fn fits(&self, signatures: &dyn Signatures) -> bool {
        let inner = &*self.inner;
        let Ok(signature) = inner.bytes[inner.header.signature.clone()].try_into() else { return false };
        let message = inner.header.signed_bytes(&inner.bytes[inner.header.body.clone()]);
        signatures.verify(&inner.point, &message, signature)
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
        Self::sign_with(&Ed25519, key, network, body)
    }

    /// As [`Verified::sign`] with these signatures.
    #[must_use]
    pub fn sign_with(signatures: &dyn Signatures, key: &SigningKey, network: NetworkId, body: T) -> Self {
        let raw = body.encode_body();
        #[cfg(debug_assertions)]
        if let Err(error) = T::decode_body(&raw) {
            panic!("signing a {} that nobody will read: {error}", T::KIND);
        }
        let point = key.verifying_key();
        let sign = |message: &[u8]| signatures.sign(key, message);
        let (header, bytes) = Header::seal(T::KIND, network, point.to_bytes(), &raw, sign);
        debug_assert!(bytes.len() <= T::KIND.bytes_max(), "a {} of {} bytes", T::KIND, bytes.len());
        let id = header.id(&raw);
        Self { signed: Signed { inner: Arc::new(Inner::new(bytes.into(), header, point, id, body)) } }
    }

    /// Reads a statement that this node has verified or signed before. Nothing is taken
    /// on trust: it is decoded and verified again.
    ///
    /// # Errors
    /// As [`Signed::decode`] and [`Signed::verify`].
    pub fn from_own_journal(
        bytes: impl Into<Arc<[u8]>>,
        signatures: &dyn Signatures,
    ) -> Result<Self, DecodeError> {
        Signed::decode(bytes)?.verify_with(signatures)
    }

    /// The statement without the proof.
    #[must_use]
    pub fn into_signed(self) -> Signed<T> {
        self.signed
    }
}

impl Verified<DriverOffer> {
    /// What it says of its author's slots; however many ask, there is one.
    #[must_use]
    pub fn slot_claim(&self) -> &Arc<SlotClaim> {
        self.inner.claim.get_or_init(|| Arc::new(SlotClaim::of(self)))
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
