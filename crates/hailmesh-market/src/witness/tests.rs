use hailmesh_types::{Amount, Cell, Class, Features, GeoPoint, Hash, Resolution, Seats, Tariff};
use hailmesh_wire::{
    AcceptMode, Body, DriverTerms, EndReason, Extensions, FareKind, NetworkId, Outcome, Prev, SigningKey,
    board_hash, tariff_hash,
};

use super::*;

fn network() -> NetworkId {
    NetworkId::of(&"test".parse().unwrap())
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn public(n: u8) -> PublicKey {
    key(n).verifying_key().into()
}

fn at(second: u32) -> Timestamp {
    Timestamp::from_millis(1_900_000_000_000).unwrap() + Duration::from_secs(second)
}

fn sign<T: Body>(n: u8, body: T) -> Verified<T> {
    Verified::sign(&key(n), network(), body)
}

fn cell(resolution: u8) -> Cell {
    let point: GeoPoint = "40.7580,-73.9855".parse().unwrap();
    Cell::at(point, Resolution::new(resolution).unwrap())
}

fn offer(driver: u8, seq: u64, slot: u64, head: Option<StatementId>) -> Verified<DriverOffer> {
    sign(
        driver,
        DriverOffer {
            seq,
            issued: at(0),
            ttl: Duration::from_secs(120),
            cell: cell(9),
            slot,
            live: Some(DriverTerms {
                class: Class::STANDARD,
                seats: Seats::new(4).unwrap(),
                features: Features::NONE,
                tariff: Tariff::default(),
                accept_mode: AcceptMode::Auto,
            }),
            addrs: Vec::new(),
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            head,
            ext: Extensions::NONE,
        },
    )
}

fn request(rider: u8, driver: u8, offer: &Verified<DriverOffer>) -> Verified<Request> {
    sign(
        rider,
        Request {
            to: public(driver),
            issued: at(1),
            offer_id: offer.id(),
            driver_slot: offer.body().slot,
            rider_slot: 0,
            attempt: 1,
            nonce: [rider; 16],
            pickup_cell: cell(9),
            drop_cell: Some(cell(7)),
            dist: 5_000,
            ride_time: Duration::from_secs(600),
            party: Seats::ONE,
            class: Class::STANDARD,
            features: Features::NONE,
            max_fare: Amount::from_minor(5_000).unwrap(),
            ttl: Duration::from_secs(2),
            counter_id: None,
            invite_id: None,
            cert_id: None,
            certs: Vec::new(),
            pow: None,
            ext: Extensions::NONE,
        },
    )
}

fn accept(driver: u8, slot: u64, prev: Prev, request: &Verified<Request>) -> Verified<Accept> {
    sign(
        driver,
        Accept {
            to: *request.signer(),
            issued: at(2),
            request_id: request.id(),
            offer_id: request.body().offer_id,
            tariff_hash: tariff_hash(&Tariff::default()),
            lane: 0,
            slot,
            prev,
            fare_kind: FareKind::Fixed,
            fare: Amount::from_minor(1_000).unwrap(),
            eta: Duration::from_secs(120),
            hold: Duration::from_secs(8),
            pickup_by: at(600),
            vehicle_commit: Hash::from_bytes([3; 32]),
            ext: Extensions::NONE,
        },
    )
}

fn confirm(rider: u8, accept: &Verified<Accept>, slot: u64, prev: Prev) -> Verified<Confirm> {
    sign(
        rider,
        Confirm {
            to: *accept.signer(),
            issued: at(3),
            accept_id: accept.id(),
            agreement_id: hailmesh_wire::agreement_id(&accept.body().request_id, &accept.id()),
            slot,
            prev,
            pickup_commit: Hash::from_bytes([1; 32]),
            drop_commit: Some(Hash::from_bytes([2; 32])),
            board_hash: board_hash(&[9; 16]),
            ext: Extensions::NONE,
        },
    )
}

fn ack(driver: u8, confirm: &Verified<Confirm>, slot: u64) -> Verified<Ack> {
    sign(
        driver,
        Ack {
            to: *confirm.signer(),
            issued: at(4),
            agreement_id: confirm.body().agreement_id,
            confirm_id: confirm.id(),
            lane: 0,
            slot,
            ext: Extensions::NONE,
        },
    )
}

fn void(driver: u8, accept: &Verified<Accept>, outcome: Outcome) -> Verified<Void> {
    sign(
        driver,
        Void {
            to: accept.body().to,
            issued: at(20),
            accept_id: accept.id(),
            agreement_id: None,
            lane: 0,
            slot: accept.body().slot,
            outcome,
            reason: EndReason::User,
            fee: Amount::ZERO,
            ref_id: None,
            board_secret: None,
            ext: Extensions::NONE,
        },
    )
}

fn ended(outcome: Outcome, accept: &Verified<Accept>, proof: Option<Vec<u8>>) -> Prev {
    Prev { outcome, accept_id: Some(accept.id()), proof }
}

fn kinds(found: &[Evidence]) -> Vec<EvidenceKind> {
    for one in found {
        evidence::check(one, network(), &Ed25519).expect("what a witness reports is evidence");
    }
    found.iter().map(|one| one.kind).collect()
}

#[test]
fn an_honest_driver_is_never_accused() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let asked = request(2, 1, &offers);
    let first = accept(1, 0, Prev::FIRST, &asked);
    let second = accept(1, 1, ended(Outcome::HoldLapsed, &first, None), &request(3, 1, &offers));
    assert!(witness.observe_offer(at(0), &offers).is_empty());
    assert!(witness.observe_accept(at(2), &first, Some(&offers), Some(&asked), None).is_empty());
    assert!(witness.observe_accept(at(2), &first, Some(&offers), Some(&asked), None).is_empty());
    assert!(witness.observe_void(at(11), &void(1, &first, Outcome::HoldLapsed)).is_empty());
    assert!(witness.observe_offer(at(12), &offer(1, 2, 1, Some(first.id()))).is_empty());
    assert!(witness.observe_accept(at(13), &second, None, None, None).is_empty());
}

#[test]
fn two_accepts_for_one_slot_are_reported_to_both_victims_if_they_meet() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let first = accept(1, 0, Prev::FIRST, &request(2, 1, &offers));
    let second = accept(1, 0, Prev::FIRST, &request(3, 1, &offers));
    assert!(witness.observe_accept(at(2), &first, None, None, None).is_empty());
    let found = witness.observe_accept(at(3), &second, None, None, None);
    assert_eq!(kinds(&found), [EvidenceKind::E1]);
}

#[test]
fn a_public_head_gives_a_double_booking_away() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let mine = accept(1, 0, Prev::FIRST, &request(2, 1, &offers));
    let other = accept(1, 0, Prev::FIRST, &request(3, 1, &offers));
    witness.observe_accept(at(2), &mine, None, None, None);
    let found = witness.observe_offer(at(9), &offer(1, 2, 1, Some(other.id())));
    assert_eq!(kinds(&found), [EvidenceKind::E9]);
    // Somebody who holds no ACCEPT sees two heads.
    let mut stranger = Witness::default();
    assert!(stranger.observe_offer(at(8), &offer(1, 2, 1, Some(other.id()))).is_empty());
    let found = stranger.observe_offer(at(9), &offer(1, 3, 1, Some(mine.id())));
    assert_eq!(kinds(&found), [EvidenceKind::E9]);
}

#[test]
fn a_denied_ack_and_a_forked_chain_are_reported() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let first = accept(1, 0, Prev::FIRST, &request(2, 1, &offers));
    let agreed = confirm(2, &first, 0, Prev::FIRST);
    let other = accept(1, 0, Prev::FIRST, &request(3, 1, &offers));
    let denies = accept(1, 1, ended(Outcome::HoldLapsed, &first, None), &request(4, 1, &offers));
    let forks = accept(1, 1, ended(Outcome::DriverCancelled, &other, None), &request(5, 1, &offers));
    assert!(witness.observe_accept(at(2), &first, None, None, None).is_empty());
    assert!(witness.observe_confirm(at(3), &agreed, true).is_empty());
    assert!(witness.observe_ack(at(4), &ack(1, &agreed, 0)).is_empty());
    assert_eq!(kinds(&witness.observe_accept(at(5), &denies, None, None, None)), [EvidenceKind::E3]);
    let found = kinds(&witness.observe_accept(at(6), &forks, None, None, None));
    assert!(found.contains(&EvidenceKind::E4a) && found.contains(&EvidenceKind::E1), "{found:?}");
    let lapse = witness.observe_void(at(7), &void(1, &first, Outcome::HoldLapsed));
    assert_eq!(kinds(&lapse), [EvidenceKind::E3]);
}

#[test]
fn a_false_boarding_is_reported_with_the_riders_own_confirm() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let first = accept(1, 0, Prev::FIRST, &request(2, 1, &offers));
    let agreed = confirm(2, &first, 0, Prev::FIRST);
    let boarded = |secret: [u8; 16]| {
        let prev = ended(Outcome::CompletedUnilateral, &first, Some(secret.to_vec()));
        accept(1, 1, prev, &request(3, 1, &offers))
    };
    witness.observe_confirm(at(3), &agreed, true);
    witness.observe_ack(at(4), &ack(1, &agreed, 0));
    assert!(witness.clone().observe_accept(at(5), &boarded([9; 16]), None, None, None).is_empty());
    let found = witness.observe_accept(at(5), &boarded([8; 16]), None, None, None);
    assert_eq!(kinds(&found), [EvidenceKind::E4c]);
}

#[test]
fn bait_and_switch_is_reported() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let asked = request(2, 1, &offers);
    let mut body = accept(1, 0, Prev::FIRST, &asked).body().clone();
    body.fare = Amount::from_minor(4_999).unwrap();
    let dear = sign(1, body.clone());
    let found = witness.observe_accept(at(2), &dear, Some(&offers), Some(&asked), None);
    assert_eq!(kinds(&found), [EvidenceKind::E5b]);
    body.fare = Amount::from_minor(1_000).unwrap();
    body.tariff_hash = Hash::from_bytes([0; 32]);
    let mut other = Witness::default();
    let found = other.observe_accept(at(2), &sign(1, body), Some(&offers), Some(&asked), None);
    assert_eq!(kinds(&found), [EvidenceKind::E5a]);
}

#[test]
fn contradictory_ends_and_two_confirms_are_reported() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let first = accept(1, 0, Prev::FIRST, &request(2, 1, &offers));
    let other = accept(1, 0, Prev::FIRST, &request(3, 1, &offers));
    witness.observe_void(at(10), &void(1, &first, Outcome::HoldLapsed));
    let found = witness.observe_void(at(11), &void(1, &first, Outcome::DriverCancelled));
    assert_eq!(kinds(&found), [EvidenceKind::E8]);
    witness.observe_confirm(at(12), &confirm(2, &first, 0, Prev::FIRST), true);
    let found = witness.observe_confirm(at(13), &confirm(2, &other, 0, Prev::FIRST), true);
    assert_eq!(kinds(&found), [EvidenceKind::E2]);
}

#[test]
fn junk_does_not_push_out_what_was_asked_for() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let asked = request(2, 1, &offers);
    let first = accept(1, 0, Prev::FIRST, &asked);
    witness.observe_accept(at(0), &first, Some(&offers), Some(&asked), None);
    witness.observe_confirm(at(1), &confirm(2, &first, 0, Prev::FIRST), true);
    for key in 10..110 {
        let junk = accept(key, 0, Prev::FIRST, &request(2, key, &offers));
        witness.observe_accept(at(2), &junk, None, None, None);
        witness.observe_confirm(at(2), &confirm(key, &junk, 0, Prev::FIRST), false);
        assert!(witness.accepts.0.len() <= KEPT && witness.confirms.0.len() <= KEPT);
    }
    let second = accept(1, 0, Prev::FIRST, &request(3, 1, &offers));
    assert_eq!(kinds(&witness.observe_accept(at(3), &second, None, None, None)), [EvidenceKind::E1]);
    let again = confirm(2, &second, 0, Prev::FIRST);
    assert_eq!(kinds(&witness.observe_confirm(at(3), &again, false)), [EvidenceKind::E2]);
}

#[test]
fn the_ends_of_an_accept_that_was_not_taken_are_compared() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let first = accept(1, 0, Prev::FIRST, &request(2, 1, &offers));
    let ends = [void(1, &first, Outcome::HoldLapsed), void(1, &first, Outcome::DriverCancelled)];
    let lapsed = |witness: &mut Witness, at, asked| witness.observe_void_of_untaken(at, &ends[0], asked);
    let cancelled = |witness: &mut Witness, at| witness.observe_void_of_untaken(at, &ends[1], false);
    assert!(lapsed(&mut witness, at(1), false).is_empty());
    assert!(cancelled(&mut witness, at(1)).is_empty(), "of an ACCEPT that nobody saw");
    let mut early = witness.clone();
    witness.observe_accept(at(2), &first, None, None, None);
    assert!(lapsed(&mut witness, at(3), false).is_empty());
    assert_eq!(kinds(&cancelled(&mut witness, at(4))), [EvidenceKind::E8]);
    // The ends of an ACCEPT may overtake it.
    assert!(lapsed(&mut early, at(2), true).is_empty());
    early.observe_accept(at(3), &first, None, None, None);
    assert_eq!(kinds(&cancelled(&mut early, at(4))), [EvidenceKind::E8]);
}

#[test]
fn what_is_kept_is_bounded_in_number_and_time() {
    let mut witness = Witness::default();
    let offers = offer(1, 1, 0, None);
    let first = accept(1, 0, Prev::FIRST, &request(2, 1, &offers));
    witness.observe_accept(at(0), &first, None, None, None);
    let asked = request(3, 9, &offers);
    let template = accept(9, 0, Prev::FIRST, &asked);
    for n in 0..100_u64 {
        let mut body = template.body().clone();
        body.slot = 2 * n;
        body.prev = if n == 0 { Prev::FIRST } else { ended(Outcome::HoldLapsed, &template, None) };
        witness.observe_accept(at(1), &sign(9, body), None, None, None);
        assert!(witness.accepts.0.len() <= KEPT);
    }
    // The oldest went first.
    let second = accept(1, 0, Prev::FIRST, &request(4, 1, &offers));
    assert!(witness.observe_accept(at(2), &second, None, None, None).is_empty());
    let third = accept(1, 0, Prev::FIRST, &request(5, 1, &offers));
    assert!(
        witness.observe_accept(at(700), &third, None, None, None).is_empty(),
        "kept for ten minutes only"
    );
    assert_eq!(witness.accepts.0.len(), 1);
}
