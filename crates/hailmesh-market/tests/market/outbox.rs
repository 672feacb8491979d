//! What is owed: it is said until it was heard, and what was heard is remembered as heard.

use std::collections::BTreeSet;

use hailmesh_market::{Command, Config, Record};
use hailmesh_types::{Private, StatementId, Text};
use hailmesh_wire::{Attachment, Confirm, Frame, Kind, Release, RideState};

use crate::scenarios::{HERE, NEAR, THERE, finish, firm_pair};
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

#[test]
fn a_driver_that_starts_again_finds_the_rider_where_it_heard_it_last() {
    for is_over in [false, true] {
        let mut world = World::new(55);
        let (driver, rider, ride) = firm_pair(&mut world);
        world.run(2_000);
        world.cut = BTreeSet::from([(driver, rider)]);
        if is_over {
            cancel(&mut world, driver);
        }
        // The rider speaks through another transport identity, and is heard, not answered.
        world.crash(rider);
        world.start(rider);
        world.run(20_000);
        if !is_over {
            cancel(&mut world, driver);
        }
        // From now on the driver hears nothing: nor what is under way.
        world.cut = BTreeSet::from([(rider, driver), (driver, rider)]);
        world.run(1_000);
        world.crash(driver);
        world.cut = BTreeSet::from([(rider, driver)]);
        world.start(driver);
        let heard = world.run_until(5_000, |world| world.state(rider, ride) == Some(RideState::Void));
        assert!(heard, "over before the rider moved: {is_over}");
        world.cut.clear();
        world.run(60_000);
        assert_eq!(owed(&world, driver), BTreeSet::new());
    }
}

#[test]
fn a_rider_that_moves_all_the_time_costs_its_driver_few_records() {
    let mut world = World::new(56);
    let (driver, rider, _) = firm_pair(&mut world);
    let elsewhere = world.add(None, Config::default());
    let confirm = world.statements::<Confirm>(rider, Whose::Own).remove(0);
    let peers = [world.peer(rider), world.peer(elsewhere)];
    let moves = |world: &World| {
        world.hosts[driver].journal.iter().filter(|record| matches!(record, Record::Peer { .. })).count()
    };
    assert_eq!(moves(&world), 0, "it has not moved yet");
    for peer in peers.iter().cycle().take(40) {
        world.say(*peer, driver, &confirm);
    }
    assert_eq!(moves(&world), 2, "the burst");
    world.run(2_000);
    for peer in peers {
        world.say(peer, driver, &confirm);
    }
    assert_eq!(moves(&world), 3, "one in two seconds");
}

#[test]
fn a_rider_that_was_never_bound_is_told_once_that_a_hold_is_over() {
    let mut world = World::new(53);
    let driver = world.driver(HERE);
    let rider = world.rider();
    world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    world.run(2_000);
    // The ACCEPT is lost, and then the rider forgets that it asked.
    world.cut.insert((driver, rider));
    world.request(rider, NEAR, THERE);
    assert!(world.run_until(2_000, |world| world.last_state(driver) == Some(RideState::Held)));
    world.crash(rider);
    cancel(&mut world, driver);
    world.cut.clear();
    world.start(rider);
    world.run(90_000);
    assert_eq!((world.times_sent(driver, Kind::Void), owed(&world, driver)), (1, BTreeSet::new()));
}

#[test]
fn a_rider_that_has_signed_the_end_itself_is_told_as_often_as_it_asks() {
    let mut world = World::new(54);
    let (driver, rider, ride) = firm_pair(&mut world);
    world.run(2_000);
    world.cut = BTreeSet::from([(rider, driver), (driver, rider)]);
    world.command(rider, Command::Cancel(ride)).unwrap();
    let confirm = world.statements::<Confirm>(rider, Whose::Own).remove(0);
    let release = world.statements::<Release>(rider, Whose::Own).remove(0);
    // It comes along with something else, so that there is nothing to answer it with.
    let further = Attachment::Statement(release.bytes().to_vec());
    let frame = Frame::statement(confirm.bytes()).with(further).encode();
    world.say_frame(world.peer(rider), driver, frame);
    assert_eq!(world.last_state(driver), Some(RideState::Cancelled));
    assert_eq!(owed(&world, driver), BTreeSet::new());
    world.run(30_000);
    assert_eq!(world.times_sent(driver, Kind::Void), 1, "nobody has asked again");
    world.cut.clear();
    world.run(40_000);
    assert_eq!(owed(&world, rider), BTreeSet::new(), "the RELEASE was answered");
}

#[test]
fn a_firm_rider_is_told_until_it_has_heard() {
    let mut world = World::new(55);
    let (driver, rider, ride) = firm_pair(&mut world);
    world.cut.insert((driver, rider));
    cancel(&mut world, driver);
    world.run(60_000);
    assert_eq!(owed(&world, driver).len(), 1);
    assert!(world.times_sent(driver, Kind::Void) > 5);
    world.cut.clear();
    world.run(60_000);
    assert_eq!(world.state(rider, ride), Some(RideState::Void));
    assert_eq!(owed(&world, driver), BTreeSet::new());
}
