//! Records to store, all from small numbers.

use std::sync::{Arc, LazyLock};

use hailmesh_market::journal::{Bound, KeyRecord, Record, RideId, Role, SecretPurpose, SecretSeed, SlotRef};
use hailmesh_store::Store;
use hailmesh_types::{AgreementId, Amount, Currency, PeerKey, Private, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{Kind, Outcome, RideState, SigningKey};

/// One of 256 keys, made once: that costs more than everything else here.
pub(crate) fn key(number: u8) -> PublicKey {
    static KEYS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| {
        let key = |number| PublicKey::from(SigningKey::from_bytes(&[number; 32]).verifying_key());
        (0..=u8::MAX).map(key).collect()
    });
    KEYS[usize::from(number)]
}

pub(crate) fn peer(number: u8) -> PeerKey {
    key(number).to_peer_key()
}

pub(crate) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + ms).expect("a time of the protocol")
}

pub(crate) fn id(number: u64) -> StatementId {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    StatementId::from_bytes(bytes)
}

pub(crate) fn ride(number: u64) -> RideId {
    RideId::new(at(number), u128::from(number))
}

/// As many bytes as a typical statement has, different for every number.
pub(crate) fn envelope(number: u64) -> Arc<[u8]> {
    let length = 240 + usize::try_from(number % 300).expect("small");
    number.to_be_bytes().into_iter().cycle().take(length).collect()
}

pub(crate) fn key_record(number: u8, role: Role) -> KeyRecord {
    KeyRecord {
        key: key(number),
        role,
        secret: SecretSeed([number; 32]),
        cert: (role == Role::Driver).then(|| envelope(u64::from(number))),
        created: at(1),
        until: at(43_200_000),
        replaces_lost: number.is_multiple_of(2),
    }
}

pub(crate) fn slot(number: u8, slot: u64) -> SlotRef {
    SlotRef { key: key(number), lane: 0, slot }
}

pub(crate) fn bound(of: SlotRef, role: Role) -> Bound {
    let number = (of.slot % 1_000_000) * 1_000 + u64::from(of.key.as_bytes()[0]) + 300 * u64::from(of.lane);
    Bound {
        slot: of,
        role,
        ride: ride(number),
        counterparty: key(200),
        peer: peer(201),
        request: id(number * 10 + 1),
        accept: id(number * 10 + 2),
        agreement: AgreementId::from_bytes(*id(number * 10 + 3).as_bytes()),
        fare: Amount::from_minor(1_250 + number).expect("an amount"),
        currency: Currency::USD,
        at: at(number),
        deadline: at(number + 5_000),
    }
}

pub(crate) fn statement(of: SlotRef, kind: Kind, number: u64, own: bool) -> Record {
    Record::Statement { slot: of, kind, id: id(number), own, bytes: envelope(number) }
}

pub(crate) fn outbox(of: SlotRef, number: u64) -> Record {
    Record::OutboxPut {
        slot: of,
        statement: id(number),
        to: key(200),
        peer: peer(201),
        bytes: envelope(number),
        at: at(number),
    }
}

pub(crate) fn secret(of: SlotRef, purpose: SecretPurpose, byte: u8) -> Record {
    Record::Secret { slot: of, purpose, bytes: Private(vec![byte; 48]) }
}

pub(crate) fn progress(of: SlotRef, phase: RideState, wrong_codes: u8) -> Record {
    Record::Progress { slot: of, phase, wrong_codes, at: at(70) }
}

pub(crate) fn moved(of: SlotRef, to: u8) -> Record {
    Record::Peer { slot: of, peer: peer(to) }
}

pub(crate) fn ended(of: SlotRef, outcome: Outcome) -> Record {
    let shown = outcome.shown_as().expect("an outcome that is shown");
    let proof = (outcome == Outcome::Completed).then(|| id(77));
    Record::Ended { slot: of, outcome, shown, proof, at: at(99) }
}

/// What a driver stores with an ACCEPT (W1).
pub(crate) fn accepted(number: u8, of: u64) -> Vec<Record> {
    let slot = slot(number, of);
    let bound = bound(slot, Role::Driver);
    let first = of * 100;
    vec![
        Record::Bound(bound),
        statement(slot, Kind::DriverOffer, first, true),
        statement(slot, Kind::Request, first + 1, false),
        statement(slot, Kind::Accept, first + 2, true),
        outbox(slot, first + 2),
    ]
}

/// A driver's slot that nobody confirmed, from ACCEPT to its end.
pub(crate) fn lapsed(number: u8, of: u64) -> Vec<Record> {
    let mut records = accepted(number, of);
    records.push(Record::OutboxDone { statement: id(of * 100 + 2) });
    records.push(ended(slot(number, of), Outcome::HoldLapsed));
    records
}

/// The life of a driver, in batches as a marketplace emits them: its key, then rides
/// from ACCEPT to completion.
pub(crate) fn life(rides: u64) -> Vec<Vec<Record>> {
    let mut batches = vec![vec![
        Record::Key(key_record(1, Role::Driver)),
        Record::SeqReserved { key: key(1), below: 1_024 },
    ]];
    for number in 0..rides {
        let of = slot(1, number);
        let first = number * 100;
        batches.push(accepted(1, number));
        batches.push(vec![
            statement(of, Kind::Confirm, first + 3, false),
            statement(of, Kind::Ack, first + 4, true),
            secret(of, SecretPurpose::Pickup, 9),
            Record::Firm { slot: of, at: at(number) },
            Record::OutboxDone { statement: id(first + 2) },
            outbox(of, first + 4),
        ]);
        batches.push(vec![
            progress(of, RideState::Arrived, 1),
            statement(of, Kind::Arrived, first + 5, true),
            Record::OutboxDone { statement: id(first + 4) },
        ]);
        batches.push(vec![statement(of, Kind::Cosign, first + 6, false), ended(of, Outcome::Completed)]);
    }
    batches
}

/// What a journal gives back after none, one, two … of the batches.
pub(crate) async fn prefixes(batches: &[Vec<Record>]) -> Vec<Vec<Record>> {
    let store = Store::memory();
    let mut states = vec![Vec::new()];
    for batch in batches {
        store.append(batch).await.expect("the history is consistent");
        states.push(store.load().await.expect("memory gives everything back"));
    }
    states
}
