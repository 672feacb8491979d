//! Envelopes built by hand: what a stranger can sign that no type of ours would let through.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hailmesh_wire::{Header, NetworkId, VERSION};

/// The head of a CBOR item of this major type, 0 to 7, in its shortest form.
fn head(major: u8, value: usize, out: &mut Vec<u8>) {
    let major = major << 5;
    match value {
        0..=0x17 => out.push(major | value as u8),
        0x18..=0xff => out.extend([major | 24, value as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((value as u16).to_be_bytes());
        }
        _ => {
            out.push(major | 26);
            out.extend((value as u32).to_be_bytes());
        }
    }
}

/// The canonical envelope (P2.1) of these parts.
pub(crate) fn envelope(
    kind: u8,
    network: NetworkId,
    signer: &[u8; 32],
    body: &[u8],
    signature: &[u8; 64],
) -> Vec<u8> {
    let mut bytes = vec![0x86];
    head(0, usize::from(VERSION), &mut bytes);
    head(0, usize::from(kind), &mut bytes);
    head(2, 8, &mut bytes);
    bytes.extend(network.0);
    head(2, 32, &mut bytes);
    bytes.extend(signer);
    head(2, body.len(), &mut bytes);
    bytes.extend(body);
    head(2, 64, &mut bytes);
    bytes.extend(signature);
    bytes
}

/// The bytes that a signature covers (P2.5).
fn covered(version: u8, kind: u8, network: NetworkId, signer: &[u8; 32], body: &[u8]) -> Vec<u8> {
    let mut message = b"hailmesh-sig-v1\0".to_vec();
    message.extend([version, kind]);
    message.extend(network.0);
    message.extend(signer);
    message.extend((body.len() as u32).to_be_bytes());
    message.extend(body);
    message
}

/// The envelope of a body that is really signed, whatever it holds.
pub(crate) fn signed(key: &SigningKey, kind: u8, network: NetworkId, body: &[u8]) -> Vec<u8> {
    let signer = key.verifying_key().to_bytes();
    let message = covered(VERSION, kind, network, &signer, body);
    envelope(kind, network, &signer, body, &key.sign(&message).to_bytes())
}

/// Whether an envelope carries its signer's signature, found out without any of our types
/// but the places of its parts.
pub(crate) fn fits(bytes: &[u8]) -> bool {
    let Ok(header) = Header::peek(bytes) else { return false };
    let Ok(key) = VerifyingKey::from_bytes(&header.signer) else { return false };
    let Ok(signature) = Signature::from_slice(&bytes[header.signature.clone()]) else { return false };
    let body = &bytes[header.body.clone()];
    let message = covered(header.version, header.kind_code, header.network, &header.signer, body);
    key.verify_strict(&message, &signature).is_ok()
}
