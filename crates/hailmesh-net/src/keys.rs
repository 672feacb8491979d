//! Peer keys and libp2p's peer ids.
//!
//! An Ed25519 peer id *is* the key: an identity multihash over a protobuf message that
//! holds a key type and 32 bytes. So both directions need no lookup and no hashing.

use hailmesh_types::PeerKey;
use libp2p::PeerId;
use libp2p::multihash::Multihash;

/// Code of the multihash that is its own preimage.
const IDENTITY: u64 = 0;
/// Protobuf: field 1 (key type) = 1 (Ed25519), field 2 (key) of 32 bytes.
const PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// The libp2p name of the holder of `key`.
#[must_use]
pub fn peer_id(key: &PeerKey) -> PeerId {
    let mut encoded = [0; 36];
    encoded[..4].copy_from_slice(&PREFIX);
    encoded[4..].copy_from_slice(key.as_bytes());
    let hash = Multihash::wrap(IDENTITY, &encoded).expect("36 bytes fit a multihash of 64");
    PeerId::from_multihash(hash).expect("an identity multihash of 36 bytes is a peer id")
}

/// The key in `peer`, or nothing when its identity is of another kind than Ed25519:
/// such peers are not admitted.
#[must_use]
pub fn peer_key(peer: &PeerId) -> Option<PeerKey> {
    let hash: &Multihash<64> = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = hash.digest().strip_prefix(&PREFIX)?;
    Some(PeerKey::from_bytes(key.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn agrees_with_libp2p() {
        for seed in 0..8 {
            let pair = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
            let public = pair.public().try_into_ed25519().unwrap();
            let key = PeerKey::from_bytes(public.to_bytes());
            assert_eq!(peer_id(&key), pair.public().to_peer_id());
            assert_eq!(peer_key(&pair.public().to_peer_id()), Some(key));
        }
    }

    #[test]
    fn other_identities_have_no_key() {
        // A hashed identity, as RSA keys have, and an inline one with a wrong type.
        let hashed = Multihash::wrap(0x12, &[7; 32]).unwrap();
        assert_eq!(peer_key(&PeerId::from_multihash(hashed).unwrap()), None);
        let mut encoded = [0; 36];
        encoded[..4].copy_from_slice(&[0x08, 0x02, 0x12, 0x20]);
        let inline = Multihash::wrap(IDENTITY, &encoded).unwrap();
        assert_eq!(peer_key(&PeerId::from_multihash(inline).unwrap()), None);
    }
}
