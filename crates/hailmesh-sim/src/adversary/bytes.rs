//! Bytes that are nearly right: weak keys, other encodings of the same thing, signatures
//! that were touched, and a great many of them.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_types::{Duration, Timestamp};
use hailmesh_wire::{Body, DriverOffer, Extensions, Header, Heard, Kind, Signatures, Topic};

use super::Adversary;
use super::stage::Stage;

/// The points of small order, and two encodings of such that are not the shortest. With
/// a lax check one signature of them fits any message.
const WEAK: [[u8; 32]; 10] = [
    point([0x01; 1], 0x00, 0x00),
    point([0xec; 1], 0xff, 0x7f),
    point([0x00; 1], 0x00, 0x00),
    point([0x00; 1], 0x00, 0x80),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x85,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0xfa,
    ],
    // p and p + 1: the points 0 and 1 once more.
    point([0xed; 1], 0xff, 0x7f),
    point([0xee; 1], 0xff, 0x7f),
];

/// A first byte, thirty alike, a last one.
const fn point(first: [u8; 1], middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first[0];
    bytes[31] = last;
    bytes
}

/// The order of the base point, little endian: adding it to `s` changes the bytes of a
/// signature and, to a lax check, nothing else.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Puts a statement together from raw parts, as P2.1 and P2.5 have it, whatever is in
/// the body.
fn seal(
    signatures: &dyn Signatures,
    key: &SigningKey,
    head: (u8, u8),
    network: &[u8; 8],
    body: &[u8],
) -> Vec<u8> {
    let (version, kind) = head;
    let signer = key.verifying_key().to_bytes();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut message = b"hailmesh-sig-v1\0".to_vec();
    message.extend([version, kind]);
    message.extend(network);
    message.extend(signer);
    message.extend(length.to_be_bytes());
    message.extend(body);
    let signature = signatures.sign(key, &message);
    let mut bytes = vec![0x86];
    for code in [version, kind] {
        if code < 24 { bytes.push(code) } else { bytes.extend([0x18, code]) }
    }
    bytes.push(0x48);
    bytes.extend(network);
    bytes.extend([0x58, 32]);
    bytes.extend(signer);
    match u8::try_from(body.len()) {
        Ok(short) if short < 24 => bytes.push(0x40 | short),
        Ok(short) => bytes.extend([0x58, short]),
        Err(_) => {
            bytes.push(0x59);
            bytes.extend(u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    bytes.extend(body);
    bytes.extend([0x58, 64]);
    bytes.extend(signature);
    bytes
}

fn offer(stage: &mut Stage, seq: u64) -> (Arc<[u8]>, DriverOffer) {
    let body = stage.driver_offer(seq, 0, None);
    let signed = stage.sign(0, body.clone());
    (Arc::clone(signed.bytes()), body)
}

/// Keys for which a lax check accepts any signature.
#[derive(Default)]
pub(super) struct WeakKeys {
    seq: u64,
}

impl Adversary for WeakKeys {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 1;
        let (good, _) = offer(stage, self.seq);
        let signer = stage.public(0);
        let Some(at) = good.windows(32).position(|window| window == signer.as_bytes()) else { return };
        let end = good.len();
        for weak in WEAK {
            let mut bytes = good.to_vec();
            bytes[at..at + 32].copy_from_slice(&weak);
            // R = the neutral element, s = 0.
            bytes[end - 64..].copy_from_slice(&[0; 64]);
            bytes[end - 64] = 1;
            stage.attempt();
            stage.publish_here(bytes);
        }
    }
}

/// Other encodings of a good offer: outside, where the signature does not reach, and
/// inside, signed.
#[derive(Default)]
pub(super) struct NonCanonical {
    seq: u64,
}

impl NonCanonical {
    fn variants(stage: &mut Stage, seq: u64) -> Vec<Vec<u8>> {
        let (good, body) = offer(stage, seq);
        let key = stage.key(0);
        let network = *stage.network().as_bytes();
        let raw = body.encode_body();
        let mut all = vec![
            // A byte more than there is.
            [&good[..], &[0]].concat(),
            // The version in two bytes.
            [&good[..1], &[0x18, 1], &good[2..]].concat(),
            // An array without a length.
            [&[0x9f], &good[1..], &[0xff]].concat(),
            // An element more than there may be.
            [&[0x87], &good[1..], &[0xf6]].concat(),
        ];
        let kind = Kind::DriverOffer.code();
        let mut sealed = |body: &[u8]| all.push(seal(stage.signatures(), &key, (1, kind), &network, body));
        // The sequence number in two bytes, an element more, and a byte more.
        if raw[1] < 24 {
            sealed(&[&raw[..1], &[0x18], &raw[1..]].concat());
        }
        sealed(&[&[raw[0] + 1], &raw[1..], &[0xf6]].concat());
        sealed(&[&raw[..], &[0]].concat());
        all
    }
}

impl Adversary for NonCanonical {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 1;
        for bytes in Self::variants(stage, self.seq % 20 + 1) {
            stage.attempt();
            stage.publish_here(bytes);
        }
    }
}

/// Signatures of others in another form: `s` plus the order of the group, or a sign bit.
#[derive(Default)]
pub(super) struct Malleated {
    next: Option<Timestamp>,
}

impl Malleated {
    /// Time between two that are sent ahead.
    const PAUSE: Duration = Duration::from_secs(3);

    fn plus_order(bytes: &mut [u8]) {
        let start = bytes.len() - 32;
        let mut carry = 0;
        for (byte, add) in bytes[start..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
    }
}

impl Malleated {
    fn twist(stage: &mut Stage, topic: &Topic, heard: &Heard) {
        let mut shifted = heard.bytes().to_vec();
        Self::plus_order(&mut shifted);
        let mut turned = heard.bytes().to_vec();
        let sign = turned.len() - 33;
        turned[sign] ^= 0x80;
        for bytes in [shifted, turned] {
            stage.attempt();
            stage.publish(topic.clone(), bytes);
        }
    }
}

impl Adversary for Malleated {
    fn on_timer(&mut self, stage: &mut Stage) {
        if let Some((topic, heard)) = stage.some_message() {
            Self::twist(stage, &topic, &heard);
        }
    }

    // Ahead of the good one: who knows that already does not look at the signature.
    fn on_gossip(&mut self, stage: &mut Stage, topic: &Topic, heard: &Heard) {
        let kind = heard.header().ok().and_then(|header| header.kind().ok());
        let is_offer = matches!(kind, Some(Kind::DriverOffer | Kind::RiderOffer));
        if is_offer && self.next.is_none_or(|next| next <= stage.now()) {
            self.next = Some(stage.now() + Self::PAUSE);
            Self::twist(stage, topic, heard);
        }
    }
}

/// Copies of good offers with a broken signature, sent ahead of the good ones: if they
/// took their place in a cache nobody would hear these any more.
#[derive(Default)]
pub(super) struct ForgedCopies;

impl Adversary for ForgedCopies {
    fn on_gossip(&mut self, stage: &mut Stage, topic: &Topic, heard: &Heard) {
        let is_offer = heard.header().is_ok_and(|header| header.kind().is_ok_and(Kind::is_gossip));
        if is_offer && stage.draw(4) == 0 {
            let mut bytes = heard.bytes().to_vec();
            let last = bytes.len() - 1 - usize::try_from(stage.draw(64)).unwrap_or(0);
            bytes[last] ^= 1;
            stage.attempt();
            stage.publish(topic.clone(), bytes);
        }
    }
}

/// As many offers as go through the wire, signed by nobody.
#[derive(Default)]
pub(super) struct SignatureFlood {
    seq: u64,
}

impl SignatureFlood {
    const AT_ONCE: u32 = 30;
}

impl Adversary for SignatureFlood {
    fn pace(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn on_timer(&mut self, stage: &mut Stage) {
        for number in 0..Self::AT_ONCE {
            self.seq += 1;
            let (good, _) = offer(stage, self.seq);
            let signer = stage.public(0);
            // In the name of many who never speak.
            let stranger = stage.public(1 + number);
            let mut bytes = good.to_vec();
            if let Some(at) = good.windows(32).position(|window| window == signer.as_bytes()) {
                bytes[at..at + 32].copy_from_slice(stranger.as_bytes());
            }
            stage.attempt();
            stage.publish_here(bytes);
        }
    }
}

/// Messages that are too long for what they say they are.
#[derive(Default)]
pub(super) struct Oversized {
    seq: u64,
}

impl Adversary for Oversized {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 1;
        let (_, body) = offer(stage, self.seq);
        let key = stage.key(0);
        let network = *stage.network().as_bytes();
        let long = [&body.encode_body()[..], &[0; 1_100]].concat();
        let sealed = seal(stage.signatures(), &key, (1, Kind::DriverOffer.code()), &network, &long);
        for bytes in [sealed, vec![0; 1_500], vec![0x86; 60_000]] {
            stage.attempt();
            stage.publish_here(bytes);
        }
    }
}

/// Things of a later version, or so they say.
#[derive(Default)]
pub(super) struct OtherVersions {
    seq: u64,
}

impl Adversary for OtherVersions {
    fn on_timer(&mut self, stage: &mut Stage) {
        self.seq += 1;
        let (good, mut body) = offer(stage, self.seq);
        let key = stage.key(0);
        let network = *stage.network().as_bytes();
        let raw = body.encode_body();
        debug_assert!(Header::peek(&good).is_ok());
        for head in [(2, Kind::DriverOffer.code()), (1, 0x09), (1, 0x43)] {
            let bytes = seal(stage.signatures(), &key, head, &network, &raw);
            stage.attempt();
            stage.publish_here(bytes);
        }
        body.ext = Extensions::new(vec![(0x8001, vec![1])]).unwrap_or(Extensions::NONE);
        let critical = stage.sign(0, body);
        stage.attempt();
        stage.publish_here(critical.bytes().clone());
    }
}

/// Frames of noise to whoever is on offer.
#[derive(Default)]
pub(super) struct GarbageFrames;

impl Adversary for GarbageFrames {
    fn on_timer(&mut self, stage: &mut Stage) {
        let Some(driver) = stage.some_driver() else { return };
        let peer = driver.signer().to_peer_key();
        let noise: [u8; 300] = stage.bytes();
        let request = stage.request(0, &driver);
        let good = hailmesh_wire::Frame::statement(request.bytes()).encode();
        let length = usize::try_from(stage.draw(good.len() as u64)).unwrap_or(0);
        let mut flipped = good.clone();
        flipped[length] ^= 0x10;
        for frame in [noise.to_vec(), good[..length].to_vec(), flipped, Vec::new()] {
            stage.attempt();
            stage.send(peer, frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::VerifyingKey;
    use hailmesh_wire::{Ed25519, NetworkId, Signed};

    use super::*;

    #[test]
    fn raw_parts_are_put_together_as_the_wire_has_them() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let network = NetworkId::of(&"test".parse().unwrap());
        let setup = super::super::Setup {
            network: "test".parse().unwrap(),
            signatures: Arc::new(Ed25519),
            seed: [1; 32],
            place: "40.7580,-73.9855".parse().unwrap(),
        };
        let now = hailmesh_types::Timestamp::from_millis(1_900_000_000_000).unwrap();
        let stage = Stage::new(setup, now);
        let raw = stage.driver_offer(1, 0, None).encode_body();
        let sealed = seal(&Ed25519, &key, (1, Kind::DriverOffer.code()), network.as_bytes(), &raw);
        assert!(Signed::<DriverOffer>::decode(sealed).unwrap().verify().is_ok());
    }

    #[test]
    fn weak_keys_are_weak() {
        for bytes in WEAK {
            let weak = VerifyingKey::from_bytes(&bytes).is_ok_and(|key| key.is_weak());
            assert!(weak, "{bytes:02x?}");
        }
    }
}
