//! The sizes of P4.1 for typical values.

use hailmesh_types::{
    AgreementId, Amount, Cell, Class, Duration, Features, GeoPoint, Hash, PeerKey, Resolution, Seats,
    StatementId, Tariff, Text, Timestamp,
};
use hailmesh_wire::*;

use crate::common::{Generate, Source, key, network, public};

const ID: StatementId = StatementId::from_bytes([1; 32]);
const AGREEMENT: AgreementId = AgreementId::from_bytes([2; 32]);
const HASH: Hash = Hash::from_bytes([3; 32]);

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000).unwrap()
}

fn cell(resolution: u8) -> Cell {
    let place: GeoPoint = "40.7580,-73.9855".parse().unwrap();
    Cell::at(place, Resolution::new(resolution).unwrap())
}

fn secs(seconds: u32) -> Duration {
    Duration::from_secs(seconds)
}

fn fare() -> Amount {
    Amount::from_minor(1_414).unwrap()
}

fn bytes<T: Body>(body: T) -> usize {
    Verified::sign(&key(1), network(), body).bytes().len()
}

/// Within an eighth of what the table says.
fn about(kind: Kind, found: usize, table: usize) {
    assert!(found.abs_diff(table) <= table / 8, "{kind}: {found} bytes, the table says {table}");
}

fn shell<T: Generate>() -> T {
    T::generate(&mut Source::slim(&[]))
}

#[test]
fn offers() {
    let quic = Address::new(vec![4; 43]).unwrap();
    let driver = DriverOffer {
        seq: 1_000,
        issued: now(),
        ttl: secs(60),
        cell: cell(9),
        slot: 3,
        live: Some(DriverTerms {
            class: Class::STANDARD,
            seats: Seats::new(4).unwrap(),
            features: Features::NONE,
            tariff: Tariff::default(),
            accept_mode: AcceptMode::Auto,
        }),
        addrs: vec![Address::new(vec![4; 11]).unwrap()],
        cert_id: Some(ID),
        certs: vec![],
        pow: None,
        head: Some(ID),
        ext: Extensions::NONE,
    };
    about(Kind::DriverOffer, bytes(driver.clone()), 280);
    let certs = vec![vec![0; 220], vec![0; 215]];
    about(Kind::DriverOffer, bytes(DriverOffer { certs, ..driver }), 720);
    let rider = RiderOffer {
        seq: 1,
        issued: now(),
        ttl: secs(60),
        cell: cell(8),
        slot: 0,
        live: Some(RiderTerms {
            class: Class::STANDARD,
            seats: Seats::ONE,
            features: Features::NONE,
            attempt: 1,
            max_fare: None,
            peer: PeerKey::from_bytes([9; 32]),
        }),
        addrs: vec![quic],
        cert_id: None,
        certs: vec![],
        pow: None,
        ext: Extensions::NONE,
    };
    about(Kind::RiderOffer, bytes(rider), 220);
}

#[test]
fn handshake() {
    let request = Request {
        offer_id: ID,
        issued: now(),
        driver_slot: 3,
        pickup_cell: cell(9),
        drop_cell: Some(cell(7)),
        dist: 6_200,
        ride_time: secs(840),
        max_fare: fare(),
        ttl: secs(10),
        ..shell()
    };
    about(Kind::Request, bytes(request), 250);
    let accept = Accept {
        issued: now(),
        slot: 3,
        prev: Prev { outcome: Outcome::HoldLapsed, accept_id: Some(ID), proof: None },
        fare: fare(),
        eta: secs(240),
        hold: secs(8),
        pickup_by: now() + secs(600),
        ..shell()
    };
    about(Kind::Accept, bytes(accept.clone()), 360);
    let prev = Prev { outcome: Outcome::Completed, accept_id: Some(ID), proof: Some(vec![0; 275]) };
    about(Kind::Accept, bytes(Accept { prev, ..accept }), 640);
    let confirm = Confirm { issued: now(), drop_commit: Some(HASH), ..shell() };
    about(Kind::Confirm, bytes(confirm), 340);
    about(Kind::Ack, bytes(Ack { issued: now(), slot: 3, ..shell() }), 240);
    let void = Void {
        issued: now(),
        agreement_id: Some(AGREEMENT),
        outcome: Outcome::RiderReleased,
        ref_id: Some(ID),
        slot: 3,
        ..shell()
    };
    about(Kind::Void, bytes(void), 300);
    let release = Release {
        issued: now(),
        agreement_id: Some(AGREEMENT),
        slot: Some(0),
        outcome: Outcome::RiderCancelled,
        fee: fare(),
        ref_id: Some(ID),
        ..shell()
    };
    about(Kind::Release, bytes(release), 280);
    about(Kind::Reject, bytes(Reject { issued: now(), retry: secs(10), ..shell() }), 210);
    let counter = Counter { issued: now(), fare: fare(), eta: secs(240), valid: secs(30), ..shell() };
    about(Kind::Counter, bytes(counter), 210);
    let entry =
        StatusEntry { agreement_id: AGREEMENT, state: RideState::Firm, own_last: ID, heard_last: Some(ID) };
    let status = Status { issued: now(), entries: vec![entry], ..shell() };
    about(Kind::Status, bytes(status), 300);
    about(Kind::Invite, bytes(Invite { issued: now(), eta: secs(240), ..shell() }), 245);
    about(Kind::ChainAsk, bytes(ChainAsk { issued: now(), ..shell() }), 200);
}

#[test]
fn ride() {
    about(Kind::EnRoute, bytes(EnRoute { issued: now(), eta: secs(240), ..shell() }), 200);
    about(Kind::Arrived, bytes(Arrived { issued: now(), cell: cell(9), ..shell() }), 200);
    about(Kind::BoardAsk, bytes(BoardAsk { issued: now(), ..shell() }), 200);
    about(Kind::Boarded, bytes(Boarded { issued: now(), ..shell() }), 210);
    let item = |code| FareItem { code, amount: fare() };
    let complete = Complete {
        issued: now(),
        board_secret: Some([1; 16]),
        dist: 6_200,
        ride_time: secs(840),
        wait: secs(120),
        items: ItemCode::ALL[..6].iter().map(|code| item(*code)).collect(),
        total: fare(),
        ..shell()
    };
    about(Kind::Complete, bytes(complete), 320);
    about(Kind::Cosign, bytes(Cosign { issued: now(), total: fare(), ..shell() }), 275);
    let no_show = NoShow { arrived_id: Some(ID), heard: Some(vec![0; 400]), waited: secs(300), ..shell() };
    assert!(bytes(no_show) <= 640);
    let dispute = Dispute { text: Text::new("x".repeat(256)).unwrap(), ..shell() };
    assert!(bytes(dispute) <= 490);
    let rating = Rating { complete_id: Some(ID), text: Text::new("x".repeat(140)).unwrap(), ..shell() };
    assert!(bytes(rating) <= 380);
}

#[test]
fn certificates() {
    let credential = Credential {
        serial: 1_000_000,
        issued: now(),
        subject: public(2),
        from: now(),
        until: now() + secs(86_400),
        classes: vec![Class::STANDARD, Class::LARGE],
        vehicle_commit: Some(HASH),
        ..shell()
    };
    about(Kind::Credential, bytes(credential), 220);
    let shift = ShiftCert {
        serial: 1_000_000,
        issued: now(),
        from: now(),
        until: now() + secs(43_200),
        cred_id: Some(ID),
        ..shell()
    };
    about(Kind::ShiftCert, bytes(shift), 215);
    let revocation = Revocation { serials: (0..256).map(|n| u64::MAX - 256 + n).collect(), ..shell() };
    let found = bytes(revocation);
    assert!(found <= 2_500, "{found}");
}
