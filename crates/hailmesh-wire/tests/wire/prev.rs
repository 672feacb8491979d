//! What of a chain can be checked on its face (P3.8).

use hailmesh_types::StatementId;
use hailmesh_wire::*;

use crate::common::{Generate, Source, key, network};

fn accept_id() -> StatementId {
    StatementId::from_bytes([7; 32])
}

fn prev(outcome: Outcome, proof: Option<Vec<u8>>) -> Prev {
    Prev { outcome, accept_id: Some(accept_id()), proof }
}

fn release(accept_id: StatementId) -> Vec<u8> {
    let body = Release { accept_id, ..Release::generate(&mut Source::slim(&[])) };
    Verified::sign(&key(2), network(), body).bytes().to_vec()
}

fn cosign(accept_id: StatementId) -> Vec<u8> {
    let body = Cosign { accept_id, ..Cosign::generate(&mut Source::slim(&[])) };
    Verified::sign(&key(2), network(), body).bytes().to_vec()
}

/// The proof that an outcome needs in a driver's chain.
fn proof_for(outcome: Outcome) -> Option<Vec<u8>> {
    match outcome.code() {
        2 | 3 => Some(release(accept_id())),
        5 => Some(cosign(accept_id())),
        8 => Some(vec![1; 16]),
        _ => None,
    }
}

#[test]
fn each_side_has_its_outcomes() {
    for outcome in Outcome::ALL {
        let first = matches!(outcome, Outcome::None | Outcome::KeyReplaced);
        let (slot, accept_id) = if first { (0, None) } else { (4, Some(accept_id())) };
        let driver = Prev { outcome: *outcome, accept_id, proof: proof_for(*outcome) };
        let allowed = matches!(outcome.code(), 0..=5 | 8 | 9 | 11);
        assert_eq!(driver.check_driver(slot, &Ed25519).is_ok(), allowed, "driver {outcome}");
        let rider = Prev { proof: None, ..driver };
        let allowed = matches!(outcome.code(), 0 | 5..=10);
        assert_eq!(rider.check_rider(slot).is_ok(), allowed, "rider {outcome}");
    }
}

#[test]
fn slot_zero_and_only_slot_zero_has_no_earlier_one() {
    assert!(Prev::FIRST.check_driver(0, &Ed25519).is_ok() && Prev::FIRST.check_rider(0).is_ok());
    assert_eq!(
        Prev::FIRST.check_driver(1, &Ed25519).unwrap_err().to_string(),
        "P3.8: prev: outcome NONE before slot 1"
    );
    assert_eq!(Prev::FIRST.check_rider(1).unwrap_err().clause, "P3.8");
    let later = prev(Outcome::HoldLapsed, None);
    assert!(later.check_driver(1, &Ed25519).is_ok());
    assert!(later.check_driver(0, &Ed25519).is_err());
    let nameless = Prev { accept_id: None, ..later };
    let error = nameless.check_driver(1, &Ed25519).unwrap_err();
    assert_eq!(error.to_string(), "P3.8: prev: accept_id is missing with outcome HOLD_LAPSED");
    let named = Prev { accept_id: Some(accept_id()), ..Prev::FIRST };
    assert!(named.check_driver(0, &Ed25519).is_err() && named.check_rider(0).is_err());
}

#[test]
fn proofs_are_decoded_verified_and_matched() {
    let refused = |outcome, proof| prev(outcome, proof).check_driver(3, &Ed25519).unwrap_err().what;
    for outcome in [Outcome::NotChosen, Outcome::RiderReleased] {
        assert_eq!(refused(outcome, None), format!("prev: outcome {outcome} without its proof"));
        let other = release(StatementId::from_bytes([8; 32]));
        assert_eq!(refused(outcome, Some(other)), "prev: the proof names another ACCEPT");
        let mut forged = release(accept_id());
        *forged.last_mut().unwrap() ^= 1;
        assert!(refused(outcome, Some(forged)).contains("the proof is broken: P2.5"));
        assert!(refused(outcome, Some(cosign(accept_id()))).contains("a COSIGN: expected a RELEASE"));
        assert!(refused(outcome, Some(vec![1; 16])).contains("the proof is broken"));
    }
    assert!(refused(Outcome::Completed, Some(release(accept_id()))).contains("a RELEASE: expected a COSIGN"));
    let error = refused(Outcome::CompletedUnilateral, Some(vec![1; 15]));
    assert_eq!(error, "prev: a boarding secret of 15 bytes: expected 16");
    assert!(refused(Outcome::DriverCancelled, Some(vec![1; 16])).contains("which has none"));
    assert!(prev(Outcome::Completed, Some(cosign(accept_id()))).check_rider(3).is_err());
}

#[test]
fn the_longest_end_fits_as_a_proof() {
    // All fields present and of the greatest size.
    let release = Release {
        agreement_id: Some(hailmesh_types::AgreementId::from_bytes([1; 32])),
        slot: Some(u64::MAX),
        outcome: Outcome::RiderCancelled,
        reason: EndReason::Other(255),
        fee: hailmesh_types::Amount::MAX,
        ref_id: Some(accept_id()),
        ..Release::generate(&mut Source::slim(&[]))
    };
    let cosign = Cosign {
        slot: u64::MAX,
        total: hailmesh_types::Amount::MAX,
        ..Cosign::generate(&mut Source::slim(&[]))
    };
    let release = Verified::sign(&key(1), network(), release);
    let cosign = Verified::sign(&key(1), network(), cosign);
    assert!(release.bytes().len() <= limits::PROOF_BYTES_MAX, "{}", release.bytes().len());
    assert!(cosign.bytes().len() <= limits::PROOF_BYTES_MAX, "{}", cosign.bytes().len());
}

#[test]
fn an_end_too_long_to_be_a_proof_is_refused() {
    // Otherwise a rider could leave a driver without a provable end of its slot.
    let body = Release::generate(&mut Source::slim(&[]));
    let long = Release { ext: Extensions::new(vec![(1, vec![0; 128])]).unwrap(), ..body };
    let raw = long.encode_body();
    // An envelope of the right form; what its signature is does not matter.
    let mut bytes = vec![0x86, 0x01, Kind::Release.code(), 0x48];
    bytes.extend_from_slice(network().as_bytes());
    bytes.extend_from_slice(&[0x58, 32]);
    bytes.extend_from_slice(crate::common::public(1).as_bytes());
    if raw.len() < 256 {
        bytes.extend_from_slice(&[0x58, u8::try_from(raw.len()).unwrap()]);
    } else {
        bytes.extend_from_slice(&[0x59]);
        bytes.extend_from_slice(&u16::try_from(raw.len()).unwrap().to_be_bytes());
    }
    bytes.extend_from_slice(&raw);
    bytes.extend_from_slice(&[0x58, 64]);
    bytes.extend_from_slice(&[0; 64]);
    assert!(bytes.len() > limits::PROOF_BYTES_MAX);
    assert_eq!(Signed::<Release>::decode(bytes).unwrap_err().clause, "P4.1");
}
