//! What is owed: it is said until it was heard, and what was heard is remembered as heard.

use std::collections::BTreeSet;

use hailmesh_market::{Command, Record};
use hailmesh_types::{StatementId, Text};
use hailmesh_wire::RideState;

use crate::scenarios::{finish, firm_pair};
use crate::world::*;

/// The statements that a restart of this host would say again.
fn owed(world: &World, name: Name) -> BTreeSet<StatementId> {
    let mut owed = BTreeSet::new();
    for record in &world.hosts[name].journal {
        match record {
            Record::OutboxPut { statement, .. } => {
                owed.insert(*statement);
            }
            Record::OutboxDone { statement } => {
                owed.remove(statement);
            }
            _ => {}
        }
    }
    owed
}

/// The driver of a firm ride cancels it.
fn cancel(world: &mut World, driver: Name) {
    let at_driver = world.last_ride(driver).unwrap().ride;
    world.command(driver, Command::Cancel(at_driver)).unwrap();
}

#[test]
fn what_was_heard_is_not_said_again_after_a_restart() {
    let mut world = World::new(50);
    let (driver, rider, ride) = firm_pair(&mut world);
    cancel(&mut world, driver);
    assert!(world.run_until(2_000, |world| world.state(rider, ride) == Some(RideState::Void)));
    world.run(1_000);
    assert_eq!(owed(&world, rider).len(), 1, "nothing waits for the record that a RELEASE was heard");
    world.run(40_000);
    for name in [driver, rider] {
        assert_eq!(owed(&world, name), BTreeSet::new(), "host {name}");
    }
}

#[test]
fn a_repeated_void_does_not_show_that_the_release_was_heard() {
    let mut world = World::new(51);
    let (driver, rider, ride) = firm_pair(&mut world);
    // The driver's VOID comes through, again and again; the RELEASE does not.
    world.cut.insert((rider, driver));
    cancel(&mut world, driver);
    world.run(60_000);
    assert_eq!(world.state(rider, ride), Some(RideState::Void));
    // Now it is the other way round: the driver can only hear of it from the rider.
    world.cut = BTreeSet::from([(driver, rider)]);
    world.run(60_000);
    assert_eq!(owed(&world, driver), BTreeSet::new());
    world.cut.clear();
    world.run(90_000);
    assert_eq!(owed(&world, rider), BTreeSet::new());
}

#[test]
fn a_rating_is_answered_where_it_comes_from() {
    let mut world = World::new(52);
    let (driver, rider, ride) = firm_pair(&mut world);
    finish(&mut world, driver, rider, ride);
    world.run(40_000);
    let at_driver = world.last_ride(driver).unwrap().ride;
    world.crash(rider);
    world.start(rider);
    // Nobody has told the driver of the rider's new transport identity.
    world.command(driver, Command::Rate(at_driver, 5, Text::default())).unwrap();
    world.run(40_000);
    assert_eq!(owed(&world, driver).len(), 1);
    world.command(rider, Command::Rate(ride, 4, Text::default())).unwrap();
    world.run(40_000);
    for name in [driver, rider] {
        assert_eq!(owed(&world, name), BTreeSet::new(), "host {name}");
    }
}
