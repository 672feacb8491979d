//! The envelope around every statement (P2.1), and what is signed (P2.5).

use std::fmt;
use std::ops::Range;

use hailmesh_types::{NetworkName, StatementId};
use sha2::{Digest, Sha256};

use crate::codec::{Reader, Writer};
use crate::limits::EVIDENCE_BYTES_MAX;
use crate::{DecodeError, Kind, hash};

/// The version that this crate speaks.
pub const VERSION: u8 = 1;
/// Elements of an envelope.
const ELEMENTS: u64 = 6;
/// Bytes of an Ed25519 signature.
const SIGNATURE_BYTES: usize = 64;
/// What stands between body and signature: the head of a byte string of 64.
const SIGNATURE_HEAD: [u8; 2] = [0x58, 64];
/// What begins the bytes that are signed.
const SIGN_PREFIX: &[u8] = b"hailmesh-sig-v1\0";
/// What begins the bytes that name a statement.
const ID_PREFIX: &[u8] = b"hailmesh-id-v1\0";

/// A network, as statements name it: the first eight bytes of a hash of its name (P2.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub [u8; 8]);

impl NetworkId {
    /// The id of the network with this name.
    #[must_use]
    pub fn of(name: &NetworkName) -> Self {
        let digest = hash::prefixed("hailmesh-network-v1", &[name.as_str().as_bytes()]);
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Self(id)
    }

    /// The eight bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkId({:016x})", u64::from_be_bytes(self.0))
    }
}

/// The outside of a statement, read without looking at its body: what gossip admission
/// needs for its first steps (P13.7, 1 to 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The version of the protocol, [`VERSION`] for this one.
    pub version: u8,
    /// The code of the kind, perhaps one that nobody knows here.
    pub kind_code: u8,
    /// The network it was signed for.
    pub network: NetworkId,
    /// The key that is said to have signed; its form is not checked yet (P2.8).
    pub signer: [u8; 32],
    /// Where the body lies.
    pub body: Range<usize>,
    /// Where the signature lies: the last 64 bytes.
    pub signature: Range<usize>,
}

impl Header {
    /// Reads the envelope and checks that it is the canonical one (P2.4) and not too
    /// long (P4.1). Version and kind may be unknown ones.
    ///
    /// # Errors
    /// P2.1 to P2.4 for its form, P4.1 for its size.
    pub fn peek(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_size(bytes, EVIDENCE_BYTES_MAX)?;
        let mut input = Reader::new(bytes);
        let elements = input.array().map_err(|error| error.in_field("P2.1", "envelope"))?;
        if elements != ELEMENTS {
            return Err(DecodeError::new("P2.1", format!("an envelope of {elements} elements: expected 6")));
        }
        let version = small(&mut input, "version")?;
        let kind_code = small(&mut input, "kind")?;
        let network = NetworkId(input.bytes_of().map_err(|error| error.in_field("P2.1", "network_id"))?);
        let signer = input.bytes_of().map_err(|error| error.in_field("P2.1", "signer"))?;
        let body = slice(&mut input, "body")?;
        let signature = slice(&mut input, "signature")?;
        input.end()?;
        if signature.len() != SIGNATURE_BYTES {
            let found = signature.len();
            return Err(DecodeError::new("P2.1", format!("signature of {found} bytes: expected 64")));
        }
        let header = Self { version, kind_code, network, signer, body, signature };
        // Whatever lies outside body and signature is short: writing it again is cheap.
        let between = &bytes[header.body.end..header.signature.start];
        if bytes[..header.body.start] != header.head()[..] || between != SIGNATURE_HEAD {
            return Err(DecodeError::new("P2.4", "the envelope is not the canonical one"));
        }
        if let Some(kind) = Kind::from_code(kind_code) {
            check_size(bytes, kind.bytes_max())?;
        }
        Ok(header)
    }

    /// The kind of this statement in this version.
    ///
    /// # Errors
    /// P25.1 for another version, P4.1 for an unknown kind: both mean "not for me".
    pub fn kind(&self) -> Result<Kind, DecodeError> {
        if self.version != VERSION {
            return Err(DecodeError::new("P25.1", format!("version {}: expected {VERSION}", self.version)));
        }
        Kind::from_code(self.kind_code)
            .ok_or_else(|| DecodeError::new("P4.1", format!("unknown kind {:#04x}", self.kind_code)))
    }

    /// What stands before the body.
    fn head(&self) -> Vec<u8> {
        let mut head = Writer::with_capacity(56);
        head.array(6);
        head.uint(u64::from(self.version));
        head.uint(u64::from(self.kind_code));
        head.bytes(&self.network.0);
        head.bytes(&self.signer);
        head.bytes_head(self.body.len());
        head.into_bytes()
    }

    /// The bytes that the signature covers (P2.5).
    pub(crate) fn signed_bytes(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + body.len());
        bytes.extend_from_slice(SIGN_PREFIX);
        self.preimage(body, |part| bytes.extend_from_slice(part));
        bytes
    }

    /// The name of the statement (P2.6).
    pub(crate) fn id(&self, body: &[u8]) -> StatementId {
        let mut hasher = Sha256::new_with_prefix(ID_PREFIX);
        self.preimage(body, |part| hasher.update(part));
        StatementId::from_bytes(hasher.finalize().into())
    }

    fn preimage(&self, body: &[u8], mut put: impl FnMut(&[u8])) {
        put(&[self.version, self.kind_code]);
        put(&self.network.0);
        put(&self.signer);
        // The greatest statement has 4,096 bytes.
        put(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        put(body);
    }

    /// A complete envelope around `body`, signed by `sign`.
    pub(crate) fn seal(
        kind: Kind,
        network: NetworkId,
        signer: [u8; 32],
        body: &[u8],
        sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES],
    ) -> (Self, Vec<u8>) {
        let mut header = Self {
            version: VERSION,
            kind_code: kind.code(),
            network,
            signer,
            body: 0..body.len(),
            signature: 0..SIGNATURE_BYTES,
        };
        let signature = sign(&header.signed_bytes(body));
        let mut bytes = header.head();
        header.body = bytes.len()..bytes.len() + body.len();
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&SIGNATURE_HEAD);
        header.signature = bytes.len()..bytes.len() + SIGNATURE_BYTES;
        bytes.extend_from_slice(&signature);
        (header, bytes)
    }
}

fn check_size(bytes: &[u8], max: usize) -> Result<(), DecodeError> {
    if bytes.len() <= max {
        Ok(())
    } else {
        Err(DecodeError::new(
            "P4.1",
            format!("a statement of {} bytes: at most {max} are allowed", bytes.len()),
        ))
    }
}

fn small(input: &mut Reader<'_>, field: &str) -> Result<u8, DecodeError> {
    let value = input.uint().map_err(|error| error.in_field("P2.1", field))?;
    u8::try_from(value).map_err(|_| DecodeError::new("P2.1", format!("{field} {value}: expected 0 to 255")))
}

fn slice(input: &mut Reader<'_>, field: &str) -> Result<Range<usize>, DecodeError> {
    let len = input.bytes().map_err(|error| error.in_field("P2.1", field))?.len();
    Ok(input.position() - len..input.position())
}
