//! The hashes of the protocol other than statement ids (P2.6, P2.7) and the proof of
//! work (P16.6).

use hailmesh_types::{AgreementId, Hash, PublicKey, StatementId, Tariff, Timestamp};
use sha2::{Digest, Sha256};

use crate::codec::{self, codes};
use crate::{NetworkId, Opening};

/// What a proof of work lasts, milliseconds.
const POW_PERIOD_MS: u64 = 3_600_000;

codes! {
    /// What a commitment hides.
    pub enum Purpose {
        /// The exact pickup, in a CONFIRM.
        Pickup = 1 "pickup",
        /// The exact destination, in a CONFIRM.
        Drop = 2 "drop",
        /// The vehicle, in an ACCEPT or a CREDENTIAL.
        Vehicle = 3 "vehicle",
    }
}

/// SHA-256 over prefix, a zero byte and the content (P2.7).
#[must_use]
pub fn prefixed(prefix: &str, content: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new_with_prefix(prefix.as_bytes());
    hasher.update([0]);
    for part in content {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The name of the agreement that a REQUEST and an ACCEPT make once confirmed (P2.6).
#[must_use]
pub fn agreement_id(request: &StatementId, accept: &StatementId) -> AgreementId {
    let content: [&[u8]; 2] = [request.as_bytes(), accept.as_bytes()];
    AgreementId::from_bytes(prefixed("hailmesh-agreement-v1", &content))
}

/// What an ACCEPT says of the tariff it honours.
#[must_use]
pub fn tariff_hash(tariff: &Tariff) -> Hash {
    Hash::from_bytes(prefixed("hailmesh-tariff-v1", &[&codec::encode::<Tariff>(tariff)]))
}

/// What a CONFIRM says of the boarding secret.
#[must_use]
pub fn board_hash(secret: &[u8; 16]) -> Hash {
    Hash::from_bytes(prefixed("hailmesh-board-v1", &[secret]))
}

/// The salted commitment that an opening opens.
#[must_use]
pub fn commit(purpose: Purpose, opening: &Opening) -> Hash {
    let content: [&[u8]; 3] = [&[purpose.code()], &opening.salt, &opening.content];
    Hash::from_bytes(prefixed("hailmesh-commit-v1", &content))
}

/// Whether a proof of work has `bits` leading zero bits (P16.6). `cell` is the index of
/// the resolution-7 parent in an offer and 0 in a REQUEST.
#[must_use]
pub fn pow_ok(
    network: NetworkId,
    signer: &PublicKey,
    cell: u64,
    issued: Timestamp,
    pow: &[u8; 8],
    bits: u8,
) -> bool {
    let period = issued.as_millis() / POW_PERIOD_MS;
    let content: [&[u8]; 5] =
        [network.as_bytes(), signer.as_bytes(), &cell.to_be_bytes(), &period.to_be_bytes(), pow];
    leading_zeros(&prefixed("hailmesh-pow-v1", &content)) >= u32::from(bits)
}

/// Looks for a proof of work among `tries` candidates from `first` on; with 20 bits a
/// million tries, some tenths of a second, are expected.
#[must_use]
pub fn pow_search(
    network: NetworkId,
    signer: &PublicKey,
    cell: u64,
    issued: Timestamp,
    bits: u8,
    first: u64,
    tries: u64,
) -> Option<[u8; 8]> {
    (0..tries)
        .map(|n| first.wrapping_add(n).to_be_bytes())
        .find(|pow| pow_ok(network, signer, cell, issued, pow, bits))
}

fn leading_zeros(bytes: &[u8; 32]) -> u32 {
    let whole = bytes.iter().take_while(|byte| **byte == 0).count();
    let rest = bytes.get(whole).map_or(0, |byte| byte.leading_zeros());
    // At most 32 bytes.
    u32::try_from(whole).unwrap_or(u32::MAX) * 8 + rest
}
