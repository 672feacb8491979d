//! What a ride's user is shown of it later: after a restart, and from the store alone.

use hailmesh_market::{Record, RideId, StoredRide};
use hailmesh_types::{NetworkName, Timestamp};
use hailmesh_wire::{Ed25519, Receipt, RideState};

use crate::scenarios::{finish, firm_pair};
use crate::world::*;

/// The records of one ride, in the order in which a store gives them back.
fn of_ride(world: &World, name: Name, ride: RideId) -> Vec<Record> {
    let journal = &world.hosts[name].journal;
    let slots: Vec<_> = journal
        .iter()
        .filter_map(|record| match record {
            Record::Bound(bound) if bound.ride == ride => Some(bound.slot),
            _ => None,
        })
        .collect();
    let belongs = |record: &&Record| match record {
        Record::Bound(bound) => slots.contains(&bound.slot),
        Record::Firm { slot, .. }
        | Record::Peer { slot, .. }
        | Record::Progress { slot, .. }
        | Record::Ended { slot, .. }
        | Record::Statement { slot, .. }
        | Record::Secret { slot, .. } => slots.contains(slot),
        _ => false,
    };
    journal.iter().filter(belongs).cloned().collect()
}

fn states(view: &hailmesh_market::RideView) -> Vec<RideState> {
    view.history.iter().map(|step| step.state).collect()
}

#[test]
fn the_history_survives_a_restart_and_can_be_read_from_the_store() {
    let mut world = World::new(81);
    let (driver, rider, ride) = firm_pair(&mut world);
    // EN_ROUTE is said by itself after a second (P8.2).
    world.run(2_000);
    finish(&mut world, driver, rider, ride);
    world.run(15_000);
    let at_driver = world.last_ride(driver).unwrap().ride;
    let after_request = [
        RideState::Firm,
        RideState::EnRoute,
        RideState::Arrived,
        RideState::InProgress,
        RideState::Completed,
    ];
    for (name, ride, bound) in [(driver, at_driver, RideState::Held), (rider, ride, RideState::Committed)] {
        let before = world.view(name, ride);
        let expected: Vec<RideState> =
            [RideState::Requested, bound].into_iter().chain(after_request).collect();
        assert_eq!(states(&before), expected);
        let stored = StoredRide::read(of_ride(&world, name, ride), &Ed25519).unwrap().expect("a ride");
        world.crash(name);
        world.start(name);
        let after = world.view(name, ride);
        for (view, how) in [(after, "after a restart"), (stored.view(), "from the store")] {
            assert_eq!(view.history, before.history, "{how}");
            assert_eq!(view.created, before.created, "{how}");
            assert_eq!(
                (view.state, view.agreement, view.fare, view.total, view.counterparty, view.role),
                (before.state, before.agreement, before.fare, before.total, before.counterparty, before.role),
                "{how}"
            );
            assert_eq!((view.pickup, view.drop), (before.pickup, before.drop), "{how}");
            assert_eq!(
                (view.has_receipt, view.settle_ms.is_some()),
                (true, before.settle_ms.is_some()),
                "{how}"
            );
        }
        let receipt = stored.receipt(&NetworkName::default()).expect("a receipt");
        let facts = Receipt::decode(&receipt).unwrap().verify(&[]).unwrap();
        assert!(facts.agreed && facts.firm && facts.boarded && facts.cosigned, "{facts:?}");
    }
}

#[test]
fn a_ride_that_took_two_slots_says_that_it_was_asked_for_again() {
    let mut world = World::new(82);
    let driver = world.driver(crate::scenarios::HERE);
    let rider = world.rider();
    world.run(500);
    let ride = world.request(rider, crate::scenarios::NEAR, crate::scenarios::THERE);
    assert!(world.run_until(2_000, |world| world.last_state(driver) == Some(RideState::Held)));
    // The CONFIRM never arrives, so the driver's hold lapses and the rider gives up.
    world.cut.insert((rider, driver));
    assert!(world.run_until(2_000, |world| world.state(rider, ride) == Some(RideState::Committed)));
    assert!(world.run_until(30_000, |world| world.state(rider, ride) == Some(RideState::Requested)));
    world.cut.clear();
    assert!(world.run_until(40_000, |world| world.state(rider, ride) == Some(RideState::Firm)));
    let before = states(&world.view(rider, ride));
    use RideState::{Committed, Firm, Requested};
    assert_eq!(before, [Requested, Committed, Requested, Committed, Firm]);
    let stored = StoredRide::read(of_ride(&world, rider, ride), &Ed25519).unwrap().expect("a ride");
    assert_eq!(states(&stored.view()), before);
    world.crash(rider);
    world.start(rider);
    assert_eq!(states(&world.view(rider, ride))[..5], before[..]);
}

#[test]
fn nothing_is_read_from_no_records_and_damage_is_named() {
    assert!(StoredRide::read(Vec::new(), &Ed25519).unwrap().is_none());
    let mut world = World::new(83);
    let (_, rider, ride) = firm_pair(&mut world);
    let records = of_ride(&world, rider, ride);
    let damaged: Vec<Record> = records
        .into_iter()
        .filter(|record| !matches!(record, Record::Statement { kind, .. } if *kind == hailmesh_wire::Kind::Accept))
        .collect();
    let error = StoredRide::read(damaged, &Ed25519).unwrap_err();
    assert!(error.to_string().contains("the ACCEPT is missing"), "{error}");
    assert_eq!(RideId::new(Timestamp::MIN, 7).made(), Some(Timestamp::MIN));
}
