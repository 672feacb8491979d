//! Whoever signs, the market does the same.

use std::sync::Arc;

use hailmesh_wire::{
    AnyStatement, Ed25519, Frame, FrameContent, Kind, Receipt, RideState, Signatures, SimulatedSignatures,
};

use crate::scenarios::{HERE, NEAR, THERE, finish, firm_pair};
use crate::world::*;

/// Who said what, in order, and how long it was. Not its name: an offer holds the signed
/// certificate of its author and an ACCEPT the signed end of the slot before, so that what
/// they are called differs with the signatures.
fn said(world: &World) -> Vec<(Name, usize, Option<Kind>)> {
    let one = |(by, _, bytes): &(Name, _, Vec<u8>)| {
        let kind = match Frame::decode(bytes).map(|frame| frame.content) {
            Ok(FrameContent::Statement(bytes)) => AnyStatement::decode(bytes).ok().map(|said| said.kind()),
            _ => None,
        };
        (*by, bytes.len(), kind)
    };
    world.sent.iter().map(one).collect()
}

fn world(signatures: impl Signatures + 'static) -> World {
    let mut world = World::new(41);
    world.signatures = Arc::new(signatures);
    world.latency_ms = (5, 80);
    world.loss = 0.05;
    world.duplication = 0.05;
    world
}

/// A ride from beginning to end, a crash in it, and the beginning of the next one.
fn run(signatures: impl Signatures + 'static) -> World {
    let mut world = world(signatures);
    let (driver, rider, ride) = firm_pair(&mut world);
    world.crash(rider);
    world.run(1_000);
    world.start(rider);
    world.run(1_000);
    finish(&mut world, driver, rider, ride);
    world.run(5_000);
    let next = world.request(rider, HERE, THERE);
    assert!(world.run_until(30_000, |world| world.state(rider, next) == Some(RideState::Firm)));
    let bytes = world.hosts[rider].market.as_ref().unwrap().receipt(ride).unwrap();
    let receipt = Receipt::decode(&bytes).unwrap();
    assert!(receipt.verify_with(&[], &*world.signatures).unwrap().cosigned);
    world
}

#[test]
fn a_run_is_the_same_with_simulated_signatures() {
    let (real, fast) = (run(Ed25519), run(SimulatedSignatures::new([3; 32])));
    assert_eq!(said(&real), said(&fast));
    assert_eq!(real.now_ms, fast.now_ms);
    for (one, other) in real.hosts.iter().zip(&fast.hosts) {
        assert_eq!(one.journal.len(), other.journal.len());
        assert_eq!(one.events.len(), other.events.len());
        assert_eq!(one.verdicts, other.verdicts);
    }
}

#[test]
fn statements_of_another_scheme_are_refused() {
    let mut world = world(SimulatedSignatures::new([3; 32]));
    world.loss = 0.0;
    let driver = world.driver(HERE);
    world.signatures = Arc::new(Ed25519);
    let rider = world.rider();
    world.run(2_000);
    let ride = world.request(rider, NEAR, THERE);
    world.run(5_000);
    assert_eq!(world.state(rider, ride), Some(RideState::Requested));
    let snapshot = world.hosts[rider].market.as_ref().unwrap().snapshot(world.time(rider));
    assert_eq!(snapshot.drivers, 0);
    assert!(snapshot.stopped.contains_key("signature"), "{:?}", snapshot.stopped);
    assert!(world.last_ride(driver).is_none());
}
