//! What others have signed is remembered for as long as it may be contradicted.

use ed25519_dalek::SigningKey;
use hailmesh_market::Event;
use hailmesh_types::{Amount, Hash};
use hailmesh_wire::{
    Body, Confirm, EndReason, EvidenceKind, Extensions, Outcome, Receipt, Release, Signed, Verified,
};

use crate::scenarios::firm_pair;
use crate::world::*;

/// The CONFIRM that a host has signed, and the key it did so with.
fn confirm_of(world: &World, name: Name) -> (SigningKey, Signed<Confirm>) {
    let confirm = world.statements::<Confirm>(name, Whose::Own).remove(0);
    (world.secret(name, confirm.signer()), confirm)
}

/// Says something that was put together by hand.
fn say<T: Body>(world: &mut World, from: Name, to: Name, statement: &Verified<T>) {
    world.say(world.peer(from), to, statement);
}

#[test]
fn a_second_confirm_after_a_restart_is_evidence_all_the_same() {
    let mut world = World::new(61);
    let (driver, rider, _) = firm_pair(&mut world);
    let (key, confirm) = confirm_of(&world, rider);
    world.crash(driver);
    world.start(driver);
    let mut body = confirm.body().clone();
    body.pickup_commit = Hash::from_bytes([9; 32]);
    let other = Verified::sign(&key, confirm.network(), body);
    say(&mut world, rider, driver, &other);
    let accused = Event::Evidence { accused: *confirm.signer(), kind: EvidenceKind::E2.code() };
    assert!(world.hosts[driver].events.contains(&accused), "{:?}", world.hosts[driver].events);
}

/// A rider that contradicts itself must not spoil what its driver can show.
#[test]
fn a_second_confirm_and_a_second_end_leave_the_receipt_as_it_was() {
    let mut world = World::new(62);
    let (driver, rider, _) = firm_pair(&mut world);
    let (key, confirm) = confirm_of(&world, rider);
    let mut body = confirm.body().clone();
    body.board_hash = Hash::from_bytes([9; 32]);
    say(&mut world, rider, driver, &Verified::sign(&key, confirm.network(), body));
    let facts = |world: &World| {
        let ride = world.last_ride(driver).expect("a ride").ride;
        let market = world.hosts[driver].market.as_ref().unwrap();
        Receipt::decode(&market.receipt(ride).expect("a receipt")).unwrap().verify(&[])
    };
    assert!(facts(&world).unwrap().firm);
    world.crash(driver);
    world.start(driver);
    assert!(facts(&world).unwrap().firm, "the first one counts after a restart, too");
    for outcome in [Outcome::RiderCancelled, Outcome::NotChosen] {
        let confirmed = outcome == Outcome::RiderCancelled;
        let body = Release {
            to: confirm.body().to,
            issued: confirm.body().issued,
            accept_id: confirm.body().accept_id,
            agreement_id: confirmed.then_some(confirm.body().agreement_id),
            slot: confirmed.then_some(confirm.body().slot),
            outcome,
            reason: EndReason::User,
            fee: Amount::ZERO,
            ref_id: None,
            ext: Extensions::NONE,
        };
        say(&mut world, rider, driver, &Verified::sign(&key, confirm.network(), body));
    }
    let ended = facts(&world).unwrap().ended;
    assert!(ended.is_some(), "{ended:?}");
    let accused = Event::Evidence { accused: *confirm.signer(), kind: EvidenceKind::E8.code() };
    assert!(world.hosts[driver].events.contains(&accused), "{:?}", world.hosts[driver].events);
}
