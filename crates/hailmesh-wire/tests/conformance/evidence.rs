//! P18: what is evidence and, more important, what is not.

use std::sync::Arc;

use hailmesh_types::{Hash, PublicKey, StatementId};
use hailmesh_wire::evidence::{Severity, build, check, contradicts, gossipable};
use hailmesh_wire::{
    Accept, AnyVerified, Body, Confirm, DriverOffer, Ed25519, Evidence, EvidenceKind, Extensions, Kind,
    Outcome, Prev, Replacement, Replaces, Request, RiderOffer, RiderTerms, Role, ShiftCert, Verified,
};
use proptest::prelude::*;

use crate::honest::{self, DRIVER_TOO, Story};
use crate::ride::{
    DRIVER, DRIVER_IDENTITY, ISSUER, Plan, RIDER, Ride, SECRET, STRANGER, accept, amount, at, cell, confirm,
    credential, driver_offer, network, public, release, request, shift_cert, sign, void,
};

/// Statements that are evidence of a kind, against a key.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) kind: EvidenceKind,
    pub(crate) accused: PublicKey,
    pub(crate) statements: Vec<AnyVerified>,
}

fn case(name: &'static str, kind: EvidenceKind, accused: u8, statements: Vec<AnyVerified>) -> Case {
    Case { name, kind, accused: public(accused), statements }
}

fn after(accept: &Verified<Accept>, outcome: Outcome, proof: Option<&[u8]>) -> Prev {
    Prev { outcome, accept_id: Some(accept.id()), proof: proof.map(<[u8]>::to_vec) }
}

/// A guilty pair or more of every kind.
pub(crate) fn guilty() -> Vec<Case> {
    use EvidenceKind::{E1, E2, E3, E4a, E4b, E4c, E4d, E5a, E5b, E6, E7, E8, E9};
    let ride = Ride::honest(Plan::default());
    let (offer, asked, first) = (&ride.offer, &ride.request, &ride.accept);
    let other_asked = sign(STRANGER, Request { nonce: [0x99; 16], ..request(DRIVER, offer) });
    let twin = sign(DRIVER, accept(&other_asked, 0, Prev::FIRST));
    let next = |prev: Prev| sign(DRIVER, accept(&other_asked, 1, prev));
    let own_release = sign(RIDER, release(first, 0, Outcome::RiderCancelled));
    let borrowed = sign(STRANGER, release(first, 0, Outcome::RiderCancelled));
    let second_confirm = sign(RIDER, confirm(&twin, 0, Prev::FIRST));
    let dear = sign(DRIVER, Accept { fare: amount(1_999), ..first.body().clone() });
    let countered = Ride::honest(Plan { countered: true, ..Plan::default() });
    let dearer = sign(DRIVER, Accept { fare: amount(1_901), ..countered.accept.body().clone() });
    let switched = sign(DRIVER, Accept { tariff_hash: Hash::from_bytes([0; 32]), ..first.body().clone() });
    let shown = |seq: u64, head: StatementId| {
        sign(DRIVER, DriverOffer { seq, slot: 1, head: Some(head), ..driver_offer() })
    };
    let one_rider_offer = sign(RIDER, rider_offer(5, 0));
    let other_rider_offer = sign(RIDER, rider_offer(5, 1));
    let shift = |subject: u8| sign(DRIVER_IDENTITY, shift_cert(subject, Role::Driver, subject.into()));
    let bound_after = |slot: u64, prev: Prev| sign(RIDER, confirm(&twin, slot, prev));
    vec![
        case("two ACCEPTs for one slot", E1, DRIVER, vec![first.clone().into(), twin.clone().into()]),
        case(
            "two CONFIRMs for one slot",
            E2,
            RIDER,
            vec![ride.confirm.clone().into(), second_confirm.into()],
        ),
        case(
            "firm, then a VOID that says lapsed",
            E3,
            DRIVER,
            vec![ride.ack.clone().into(), sign(DRIVER, void(first, Outcome::HoldLapsed)).into()],
        ),
        case(
            "firm, then an ACCEPT that says lapsed",
            E3,
            DRIVER,
            vec![ride.ack.clone().into(), next(after(first, Outcome::HoldLapsed, None)).into()],
        ),
        case(
            "a driver's forked chain",
            E4a,
            DRIVER,
            vec![first.clone().into(), next(after(&twin, Outcome::DriverCancelled, None)).into()],
        ),
        case(
            "a rider's forked chain",
            E4a,
            RIDER,
            vec![
                ride.confirm.clone().into(),
                bound_after(1, after(&twin, Outcome::RiderCancelled, None)).into(),
            ],
        ),
        case(
            "a borrowed release",
            E4b,
            DRIVER,
            vec![
                first.clone().into(),
                next(after(first, Outcome::RiderReleased, Some(borrowed.bytes()))).into(),
            ],
        ),
        case(
            "a false boarding",
            E4c,
            DRIVER,
            vec![
                ride.ack.clone().into(),
                ride.confirm.clone().into(),
                next(after(first, Outcome::CompletedUnilateral, Some(&[0; 16]))).into(),
            ],
        ),
        case(
            "an ACCEPT that is void on its face",
            E4d,
            DRIVER,
            vec![next(after(first, Outcome::Completed, Some(own_release.bytes()))).into()],
        ),
        case(
            "a CONFIRM that is void on its face",
            E4d,
            RIDER,
            vec![bound_after(1, after(first, Outcome::HoldLapsed, None)).into()],
        ),
        case("another tariff", E5a, DRIVER, vec![offer.clone().into(), switched.into()]),
        case("another fare", E5b, DRIVER, vec![offer.clone().into(), asked.clone().into(), dear.into()]),
        case(
            "another fare than the COUNTER's",
            E5b,
            DRIVER,
            vec![countered.counter.clone().unwrap().into(), countered.request.clone().into(), dearer.into()],
        ),
        case(
            "two driver offers with one number",
            E6,
            DRIVER,
            vec![offer.clone().into(), sign(DRIVER, DriverOffer { issued: at(1), ..driver_offer() }).into()],
        ),
        case(
            "two rider offers with one number",
            E6,
            RIDER,
            vec![one_rider_offer.into(), other_rider_offer.into()],
        ),
        case("two shifts at once", E7, DRIVER_IDENTITY, vec![shift(DRIVER).into(), shift(DRIVER_TOO).into()]),
        case(
            "two ends by VOID",
            E8,
            DRIVER,
            vec![
                sign(DRIVER, void(first, Outcome::DriverCancelled)).into(),
                sign(DRIVER, void(first, Outcome::NoShowClaimed)).into(),
            ],
        ),
        case(
            "two ends, one in a prev",
            E8,
            DRIVER,
            vec![
                sign(DRIVER, void(first, Outcome::NoShowClaimed)).into(),
                next(after(first, Outcome::DriverCancelled, None)).into(),
            ],
        ),
        case(
            "co-signed and released",
            E8,
            RIDER,
            vec![ride.cosign.clone().into(), own_release.clone().into()],
        ),
        case(
            "a head that is not the ACCEPT",
            E9,
            DRIVER,
            vec![first.clone().into(), shown(8, twin.id()).into()],
        ),
        case(
            "two heads of one slot",
            E9,
            DRIVER,
            vec![shown(8, twin.id()).into(), shown(9, first.id()).into()],
        ),
    ]
}

pub(crate) fn rider_offer(seq: u64, n: u32) -> RiderOffer {
    let terms = driver_offer().live.unwrap();
    RiderOffer {
        seq,
        issued: at(n),
        ttl: hailmesh_types::Duration::from_secs(60),
        cell: cell(8),
        slot: 0,
        live: Some(RiderTerms {
            class: terms.class,
            seats: terms.seats,
            features: terms.features,
            attempt: 1,
            max_fare: Some((amount(2_000), hailmesh_types::Currency::USD)),
            peer: public(RIDER).to_peer_key(),
        }),
        addrs: Vec::new(),
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        ext: Extensions::NONE,
    }
}

pub(crate) fn envelopes(statements: &[AnyVerified]) -> Vec<Vec<u8>> {
    statements.iter().map(|statement| statement.bytes().to_vec()).collect()
}

/// Puts evidence together without asking whether it holds.
pub(crate) fn raw(kind: EvidenceKind, accused: PublicKey, statements: &[AnyVerified]) -> Evidence {
    let statements = envelopes(statements);
    Evidence { kind, accused, statements, certs: Vec::new(), ext: Extensions::NONE }
}

#[test]
fn every_kind_is_recognised_and_only_as_what_it_is() {
    let mut shown = Vec::new();
    for case in guilty() {
        let built =
            build(case.kind, case.accused, envelopes(&case.statements), Vec::new(), network(), &Ed25519);
        let built = built.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let read = Evidence::decode_body(&built.encode_body()).unwrap();
        let finding = check(&read, network(), &Ed25519).unwrap();
        assert_eq!((finding.kind, finding.accused), (case.kind, case.accused), "{}", case.name);
        // In any order.
        let mut turned = read.clone();
        turned.statements.reverse();
        assert!(check(&turned, network(), &Ed25519).is_ok(), "{}", case.name);
        // Not against anybody else, and not on another network.
        for other in [DRIVER, RIDER, STRANGER, DRIVER_IDENTITY] {
            if public(other) != case.accused {
                let framed = Evidence { accused: public(other), ..read.clone() };
                assert_eq!(check(&framed, network(), &Ed25519).unwrap_err().clause, "P18.1", "{}", case.name);
            }
        }
        let elsewhere = hailmesh_wire::NetworkId::of(&"main".parse().unwrap());
        assert_eq!(check(&read, elsewhere, &Ed25519).unwrap_err().clause, "P2.7");
        // Not with a signature that does not fit.
        for index in 0..read.statements.len() {
            let mut forged = read.clone();
            *forged.statements[index].last_mut().unwrap() ^= 1;
            assert_eq!(check(&forged, network(), &Ed25519).unwrap_err().clause, "P2.5", "{}", case.name);
        }
        // Not with a statement less or twice.
        let mut less = read.clone();
        less.statements.pop();
        assert!(check(&less, network(), &Ed25519).is_err(), "{}", case.name);
        let mut twice = read.clone();
        let last = twice.statements.len() - 1;
        twice.statements[0] = twice.statements[last].clone();
        assert!(last == 0 || check(&twice, network(), &Ed25519).is_err(), "{}", case.name);
        shown.push(case.kind);
    }
    shown.dedup();
    assert_eq!(shown, EvidenceKind::ALL, "a case for every kind");
}

#[test]
fn consequences() {
    for kind in EvidenceKind::ALL.iter().copied() {
        let case = guilty().into_iter().find(|case| case.kind == kind).unwrap();
        let finding = check(&raw(kind, case.accused, &case.statements), network(), &Ed25519).unwrap();
        use EvidenceKind::{E4d, E5a, E5b, E6, E8};
        let mild = matches!(kind, E4d | E5a | E5b | E6 | E8);
        assert_eq!(finding.severity == Severity::Refuse24h, mild, "{kind}");
        assert_eq!(finding.counted, mild && kind != E4d, "{kind}");
        assert_eq!(gossipable(kind), kind != E5b, "{kind}");
    }
}

#[test]
fn near_misses_are_no_evidence() {
    let ride = Ride::honest(Plan::default());
    let refused = |kind: EvidenceKind, accused: u8, statements: Vec<AnyVerified>| {
        let error = check(&raw(kind, public(accused), &statements), network(), &Ed25519).unwrap_err();
        assert_eq!(error.clause, "P18.1", "{kind}: {error}");
    };
    use EvidenceKind::{E1, E4b, E4c, E5b, E6, E7, E8};
    let asked = sign(STRANGER, Request { nonce: [0x99; 16], ..request(DRIVER, &ride.offer) });
    let next = sign(DRIVER, accept(&asked, 1, after(&ride.accept, Outcome::DriverCancelled, None)));
    // Two slots.
    refused(E1, DRIVER, vec![ride.accept.clone().into(), next.clone().into()]);
    // A stranger's REQUEST that the ACCEPT does not name, and a CONFIRM that the ACK does not.
    let purse = sign(RIDER, Request { max_fare: amount(1), ..ride.request.body().clone() });
    refused(E5b, DRIVER, vec![ride.offer.clone().into(), purse.into(), ride.accept.clone().into()]);
    let other = sign(RIDER, Confirm { board_hash: Hash::from_bytes([0; 32]), ..ride.confirm.body().clone() });
    let boarded =
        sign(DRIVER, accept(&asked, 1, after(&ride.accept, Outcome::CompletedUnilateral, Some(&SECRET))));
    refused(E4c, DRIVER, vec![ride.ack.clone().into(), other.into(), boarded.clone().into()]);
    refused(E4c, DRIVER, vec![ride.ack.clone().into(), ride.confirm.clone().into(), boarded.into()]);
    // A REQUEST with a COUNTER is not judged by the offer.
    let countered = Ride::honest(Plan { countered: true, ..Plan::default() });
    refused(
        E5b,
        DRIVER,
        vec![
            countered.offer.clone().into(),
            countered.request.clone().into(),
            countered.accept.clone().into(),
        ],
    );
    // The rider's own release.
    let own = sign(RIDER, release(&ride.accept, 0, Outcome::RiderCancelled));
    let proof = after(&ride.accept, Outcome::RiderReleased, Some(own.bytes()));
    refused(E4b, DRIVER, vec![ride.accept.clone().into(), sign(DRIVER, accept(&asked, 1, proof)).into()]);
    // A driver offer and a rider offer, and a later one.
    let later = sign(DRIVER, DriverOffer { seq: 8, ..driver_offer() });
    refused(E6, DRIVER, vec![ride.offer.clone().into(), later.into()]);
    // The same end told twice, and ends of two agreements.
    let lapsed = sign(DRIVER, void(&ride.accept, Outcome::DriverCancelled));
    refused(E8, DRIVER, vec![lapsed.clone().into(), next.clone().into()]);
    let another = sign(DRIVER, void(&next, Outcome::NoShowClaimed));
    refused(E8, DRIVER, vec![lapsed.into(), another.into()]);
    // Riders' keys overlap by design; drivers' do when one replaces the other, or when
    // both certificates are for one key.
    let shift = |subject: u8, role: Role, replaces: Option<Replaces>| {
        let issued = at(u32::from(subject));
        let serial = u64::from(subject) + if replaces.is_some() { 100 } else { 0 };
        sign(DRIVER_IDENTITY, ShiftCert { issued, replaces, ..shift_cert(subject, role, serial) })
    };
    let first = shift(1, Role::Driver, None);
    let closed = Replaces { cert: Some(first.id()), how: Replacement::Closed };
    let lost = Replaces { cert: None, how: Replacement::Lost };
    for replaces in [closed, lost] {
        let second = shift(9, Role::Driver, Some(replaces));
        refused(E7, DRIVER_IDENTITY, vec![first.clone().into(), second.into()]);
    }
    refused(E7, DRIVER_IDENTITY, vec![first.clone().into(), shift(9, Role::Rider, None).into()]);
    let renewed = sign(DRIVER_IDENTITY, ShiftCert { serial: 77, ..first.body().clone() });
    refused(E7, DRIVER_IDENTITY, vec![first.into(), renewed.into()]);
}

#[test]
fn an_unknown_critical_extension_may_change_everything() {
    let mut case = guilty().remove(0);
    let AnyVerified::Accept(accept) = &case.statements[1] else { panic!("an ACCEPT") };
    let ext = Extensions::new(vec![(0x8020, vec![1])]).unwrap();
    let scheduled = sign(DRIVER, Accept { ext, ..accept.body().clone() });
    case.statements[1] = scheduled.into();
    let error = check(&raw(case.kind, case.accused, &case.statements), network(), &Ed25519).unwrap_err();
    assert_eq!(error.clause, "P2.11");
}

#[test]
fn certificates_lead_to_the_identity() {
    let case = guilty().remove(0);
    let credential = sign(ISSUER, credential());
    let body = ShiftCert { cred_id: Some(credential.id()), ..shift_cert(DRIVER, Role::Driver, 1) };
    let cert = sign(DRIVER_IDENTITY, body);
    let with = |certs: &[&Arc<[u8]>]| {
        let mut evidence = raw(case.kind, case.accused, &case.statements);
        evidence.certs = certs.iter().map(|bytes| bytes.to_vec()).collect();
        check(&evidence, network(), &Ed25519)
    };
    let finding = with(&[cert.bytes(), credential.bytes()]).unwrap();
    assert_eq!((finding.identity, finding.issuer), (Some(public(DRIVER_IDENTITY)), Some(public(ISSUER))));
    let finding = with(&[cert.bytes()]).unwrap();
    assert_eq!((finding.identity, finding.issuer), (Some(public(DRIVER_IDENTITY)), None));
    assert_eq!(with(&[credential.bytes()]).unwrap_err().clause, "P16.2");
    let foreign = sign(DRIVER_IDENTITY, shift_cert(STRANGER, Role::Driver, 1));
    assert_eq!(with(&[foreign.bytes()]).unwrap_err().clause, "P16.2");
    assert_eq!(with(&[case.statements[0].bytes()]).unwrap_err().clause, "P16.1");
}

/// Whether any one, two or three of these statements are evidence against one of them.
fn incriminating(pool: &[AnyVerified], accused: &[PublicKey]) -> Option<(EvidenceKind, Vec<AnyVerified>)> {
    let accuse = |statements: &[&AnyVerified], kinds: &[EvidenceKind]| {
        let statements: Vec<AnyVerified> = statements.iter().map(|one| (*one).clone()).collect();
        accused.iter().find_map(|key| {
            kinds
                .iter()
                .find(|kind| contradicts(**kind, key, &statements, &Ed25519))
                .map(|kind| (*kind, statements.clone()))
        })
    };
    let of = |kind: Kind| -> Vec<&AnyVerified> { pool.iter().filter(|one| one.kind() == kind).collect() };
    for (index, one) in pool.iter().enumerate() {
        if let Some(found) = accuse(&[one], EvidenceKind::ALL) {
            return Some(found);
        }
        for other in &pool[..index] {
            if let Some(found) = accuse(&[one, other], EvidenceKind::ALL) {
                return Some(found);
            }
        }
    }
    // Of three, only these kinds can be evidence at all.
    let accepts = of(Kind::Accept);
    let prices: Vec<&AnyVerified> = [of(Kind::DriverOffer), of(Kind::Counter)].concat();
    for accept in &accepts {
        for request in of(Kind::Request) {
            for price in &prices {
                if let Some(found) = accuse(&[price, request, accept], EvidenceKind::ALL) {
                    return Some(found);
                }
            }
        }
        for ack in of(Kind::Ack) {
            for confirm in of(Kind::Confirm) {
                if let Some(found) = accuse(&[ack, confirm, accept], EvidenceKind::ALL) {
                    return Some(found);
                }
            }
        }
    }
    None
}

#[test]
fn one_lie_among_many_honest_statements_is_found() {
    // The search that finds nothing against honest people does find something.
    for case in guilty() {
        let Story { mut honest, .. } = honest::story(7, 2);
        honest.retain(|statement| *statement.signer() != case.accused);
        honest.extend(case.statements);
        let (_, found) = incriminating(&honest, &[case.accused]).unwrap_or_else(|| panic!("{}", case.name));
        assert!(found.iter().any(|statement| *statement.signer() == case.accused), "{}", case.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// S6: nothing that honest people sign is evidence against them, whatever the others
    /// add to it.
    #[test]
    fn honest_people_are_never_accused(seed in any::<u64>()) {
        let Story { honest, rogue, riders } = honest::story(seed, 4);
        let drivers = [public(DRIVER), public(DRIVER_TOO), public(DRIVER_IDENTITY)];
        let everybody: Vec<PublicKey> = riders.into_iter().map(public).chain(drivers).collect();
        let found = incriminating(&honest, &everybody);
        prop_assert!(found.is_none(), "seed {seed}: {found:?}");
        // With the statements of riders who are not honest, the driver still is.
        let pool: Vec<AnyVerified> = honest.into_iter().chain(rogue).collect();
        let found = incriminating(&pool, &drivers);
        prop_assert!(found.is_none(), "seed {seed}: {found:?}");
    }

    #[test]
    fn hostile_bytes_are_refused(
        kind in prop::sample::select(EvidenceKind::ALL),
        bytes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..=3),
        certs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..=2),
    ) {
        let evidence =
            Evidence { kind, accused: public(DRIVER), statements: bytes, certs, ext: Extensions::NONE };
        prop_assert!(check(&evidence, network(), &Ed25519).is_err());
    }

    /// No byte of a statement in evidence can be changed.
    #[test]
    fn every_byte_counts(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let mut cases = guilty();
        let case = cases.swap_remove(which.index(cases.len()));
        let mut evidence = raw(case.kind, case.accused, &case.statements);
        let statement = at.index(evidence.statements.len());
        let place = at.index(evidence.statements[statement].len());
        evidence.statements[statement][place] ^= flip;
        prop_assert!(check(&evidence, network(), &Ed25519).is_err());
    }
}
