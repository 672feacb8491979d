//! A small market to test against: keys, offers, issuers.
#![expect(dead_code, reason = "each test binary uses a part of it")]

use ed25519_dalek::SigningKey;
use hailmesh_market::admission::{Admission, Judgement};
use hailmesh_market::book::OfferBook;
use hailmesh_market::limits::{Limits, Rate};
use hailmesh_types::{
    Cell, Class, Duration, Features, GeoPoint, NetworkName, PeerKey, PublicKey, Resolution, Seats, Tariff,
    Timestamp,
};
use hailmesh_wire::{
    AcceptMode, Body, Credential, CredentialMode, DecodeError, DriverOffer, DriverTerms, Evidence,
    Extensions, NetworkId, RiderOffer, RiderTerms, Role, Roles, ShiftCert, Topic, Verified,
};

/// When the tests begin.
pub(crate) fn start() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).unwrap()
}

pub(crate) fn secs(secs: u32) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn network() -> NetworkName {
    "test".parse().unwrap()
}

pub(crate) fn network_id() -> NetworkId {
    NetworkId::of(&network())
}

/// A key for every number.
pub(crate) fn key(number: u32) -> SigningKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&seed)
}

pub(crate) fn public(key: &SigningKey) -> PublicKey {
    key.verifying_key().into()
}

pub(crate) fn peer(number: u8) -> PeerKey {
    PeerKey::from_bytes([number; 32])
}

pub(crate) fn times_square() -> GeoPoint {
    "40.7580,-73.9855".parse().unwrap()
}

pub(crate) fn cell_at(point: GeoPoint, resolution: u8) -> Cell {
    Cell::at(point, Resolution::new(resolution).unwrap())
}

/// The cell most offers of the tests show.
pub(crate) fn home() -> Cell {
    cell_at(times_square(), 9)
}

pub(crate) fn driver_terms() -> DriverTerms {
    DriverTerms {
        class: Class::STANDARD,
        seats: Seats::new(4).unwrap(),
        features: Features::NONE,
        tariff: Tariff::default(),
        accept_mode: AcceptMode::Auto,
    }
}

pub(crate) fn driver_offer(seq: u64, issued: Timestamp, cell: Cell) -> DriverOffer {
    DriverOffer {
        seq,
        issued,
        ttl: secs(120),
        cell,
        slot: 0,
        live: Some(driver_terms()),
        addrs: Vec::new(),
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        head: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn rider_offer(seq: u64, issued: Timestamp, cell: Cell) -> RiderOffer {
    let terms = RiderTerms {
        class: Class::STANDARD,
        seats: Seats::ONE,
        features: Features::NONE,
        attempt: 1,
        max_fare: None,
        peer: peer(9),
    };
    RiderOffer {
        seq,
        issued,
        ttl: secs(120),
        cell,
        slot: 0,
        live: Some(terms),
        addrs: Vec::new(),
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn sign<T: Body>(key: &SigningKey, body: T) -> Vec<u8> {
    Verified::sign(key, network_id(), body).bytes().to_vec()
}

/// A credential of `issuer` for the identity `subject`, both roles, for ten days.
pub(crate) fn credential(subject: &PublicKey, mode: CredentialMode, serial: u64) -> Credential {
    let days = if mode == CredentialMode::Accountable { 10 } else { 1 };
    Credential {
        serial,
        issued: start() - secs(3_600),
        mode,
        subject: *subject,
        roles: Roles::BOTH,
        from: start() - secs(3_600),
        until: start() + secs(days * 86_400),
        classes: Vec::new(),
        vehicle_commit: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn shift_cert(subject: &PublicKey, credential: Option<&Verified<Credential>>) -> ShiftCert {
    ShiftCert {
        serial: 1,
        issued: start() - secs(60),
        subject: *subject,
        role: Role::Driver,
        from: start() - secs(60),
        until: start() + secs(11 * 3_600),
        cred_id: credential.map(|credential| credential.id()),
        replaces: None,
        ext: Extensions::NONE,
    }
}

/// Lets an offer carry an accountable certificate of `issuer`, by the identity key
/// `10_000 + number of the driver`.
pub(crate) fn certify(
    offer: DriverOffer,
    driver: &SigningKey,
    identity: &SigningKey,
    issuer: &SigningKey,
) -> DriverOffer {
    let vouched = credential(&public(identity), CredentialMode::Accountable, 77);
    let vouched = Verified::sign(issuer, network_id(), vouched);
    let cert = Verified::sign(identity, network_id(), shift_cert(&public(driver), Some(&vouched)));
    DriverOffer {
        cert_id: Some(cert.id()),
        certs: vec![cert.bytes().to_vec(), vouched.bytes().to_vec()],
        ..offer
    }
}

pub(crate) fn any_evidence(_: &Evidence) -> Result<(), DecodeError> {
    Ok(())
}

/// Limits without rates, for tests of something else.
pub(crate) fn unhurried() -> Limits {
    let free = Rate { every_us: 1, burst: 1_000_000 };
    Limits {
        author: free,
        uncredentialed_pool: free,
        peer_topic: free,
        peer: free,
        verifications_per_s: 1_000_000,
        ..Limits::default()
    }
}

/// A node that hears gossip.
pub(crate) struct Node {
    pub(crate) admission: Admission,
    pub(crate) book: OfferBook,
    pub(crate) now: Timestamp,
}

impl Node {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with(limits, 0, &[])
    }

    pub(crate) fn with(limits: Limits, pow_bits: u8, issuers: &[PublicKey]) -> Self {
        let book = OfferBook::new(&limits);
        Self { admission: Admission::new(network(), pow_bits, issuers.to_vec(), limits), book, now: start() }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Judgement {
        self.hear_on(&Topic::drivers(&network(), home()), peer(1), bytes)
    }

    pub(crate) fn hear_on(&mut self, topic: &Topic, source: PeerKey, bytes: &[u8]) -> Judgement {
        self.admission.judge(&mut self.book, self.now, source, topic, &bytes.to_vec().into(), &any_evidence)
    }
}
