//! What others have signed is remembered for as long as it may be contradicted.

use ed25519_dalek::SigningKey;
use hailmesh_market::{Event, ExchangeId, Input, Record};
use hailmesh_types::{Hash, PublicKey};
use hailmesh_wire::{AnyStatement, Confirm, EvidenceKind, Frame, Signed, Verified};

use crate::scenarios::firm_pair;
use crate::world::*;

/// The CONFIRM that a host has signed, and the key it did so with.
fn confirm_of(world: &World, name: Name) -> (SigningKey, Signed<Confirm>) {
    let journal = &world.hosts[name].journal;
    let confirm = journal.iter().find_map(|record| match record {
        Record::Statement { bytes, own: true, .. } => match AnyStatement::decode(bytes.to_vec()) {
            Ok(AnyStatement::Confirm(confirm)) => Some(confirm),
            _ => None,
        },
        _ => None,
    });
    let confirm = confirm.expect("a rider that is firm has confirmed");
    let key = journal.iter().find_map(|record| match record {
        Record::Key(key) => {
            let signing = SigningKey::from_bytes(&key.secret.0);
            (PublicKey::from(signing.verifying_key()) == *confirm.signer()).then_some(signing)
        }
        _ => None,
    });
    (key.expect("with one of its keys"), confirm)
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
    let (peer, frame) = (world.peer(rider), Frame::statement(other.bytes()).encode());
    world.input(driver, Input::Request { exchange: ExchangeId(1_000_000), peer, frame });
    let accused = Event::Evidence { accused: *confirm.signer(), kind: EvidenceKind::E2.code() };
    assert!(world.hosts[driver].events.contains(&accused), "{:?}", world.hosts[driver].events);
}
