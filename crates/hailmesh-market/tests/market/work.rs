//! Networks that ask strangers for a proof of work (P16.6).

use hailmesh_market::{Command, Config, Role, Verdict};
use hailmesh_types::Private;
use hailmesh_wire::{AnyStatement, Frame, FrameContent, Kind, RideState};

use crate::scenarios::{HERE, NEAR, THERE};
use crate::world::*;

fn laborious(config: &mut Config) {
    config.pow_bits = 6;
}

/// A driver and a rider who have no credential, on such a network.
fn strangers(world: &mut World) -> (Name, Name) {
    let driver = world.driver_with(HERE, laborious, |_| {});
    let mut config = Config::default();
    laborious(&mut config);
    let rider = world.add(Some(Role::Rider), config);
    world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    (driver, rider)
}

fn offers_heard(world: &World, name: Name) -> usize {
    let market = world.hosts[name].market.as_ref().unwrap();
    market.snapshot(world.time(name)).drivers
}

fn has_sent(world: &World, name: Name, kind: Kind) -> bool {
    let own = world.sent.iter().filter(|(from, ..)| *from == name);
    let mut statements = own.filter_map(|(.., frame)| match Frame::decode(frame).unwrap().content {
        FrameContent::Statement(bytes) => Some(AnyStatement::decode(bytes).unwrap()),
        _ => None,
    });
    statements.any(|statement| statement.kind() == kind)
}

#[test]
fn nothing_is_said_before_the_work_is_done() {
    let mut world = World::new(71);
    let (driver, rider) = strangers(&mut world);
    world.run(5_000);
    assert_eq!(offers_heard(&world, rider), 0, "an offer without the work");
    assert_eq!(world.work(driver), 1, "one order, for the topic that it stands in");
    world.run(5_000);
    assert_eq!(offers_heard(&world, rider), 1);

    let ride = world.request(rider, NEAR, THERE);
    world.run(2_000);
    assert_eq!(world.state(rider, ride), Some(RideState::Requested));
    let asked = |world: &World| has_sent(world, rider, Kind::Request);
    assert!(!asked(&world), "a REQUEST without the work");
    assert!(world.work(rider) >= 1);
    let firm = world.run_until(5_000, |world| world.state(rider, ride) == Some(RideState::Firm));
    assert!(firm, "{}", world.transcript());
    assert!(asked(&world));
}

#[test]
fn the_same_work_serves_for_an_hour_and_no_longer() {
    let mut world = World::new(72);
    let (driver, rider) = strangers(&mut world);
    assert_eq!(world.work(driver), 1);
    world.run(50 * 60_000);
    assert_eq!(world.work(driver), 0, "offers of this hour need no other");
    assert_eq!(offers_heard(&world, rider), 1);
    world.run(20 * 60_000);
    assert_eq!(world.work(driver), 1, "the next hour does");
    world.run(60_000);
    assert_eq!(offers_heard(&world, rider), 1);
}

#[test]
fn the_work_of_the_next_hour_is_done_before_it_begins() {
    let mut world = World::new(74);
    let (driver, rider) = strangers(&mut world);
    assert_eq!(world.work(driver), 1);
    assert!(world.run_until(60 * 60_000 - 1_000, |world| world.orders(driver) > 0), "none in the first hour");
    assert_eq!(offers_heard(&world, rider), 1);
    assert_eq!(world.work(driver), 1);
    // Over the hour the offer is heard all the time, and nothing more is ordered for now.
    let gap = world.run_until(10 * 60_000, |world| offers_heard(world, rider) == 0);
    assert!(!gap, "the offer is gone at {}", world.now_ms);
    assert_eq!(world.work(driver), 0);
}

#[test]
fn whoever_does_no_work_is_not_heard_where_it_is_asked_for() {
    let mut world = World::new(73);
    let (driver, rider) = strangers(&mut world);
    let idler = world.driver(HERE);
    assert_eq!(world.work(driver), 1);
    world.run(10_000);
    assert_eq!(offers_heard(&world, rider), 1, "of two drivers");
    assert_eq!(world.work(idler), 0);
    assert!(world.hosts[rider].verdicts.get(&Verdict::Ignore).is_some_and(|ignored| *ignored > 0));
    assert!(!world.hosts[rider].verdicts.contains_key(&Verdict::Reject), "nobody is blamed for it");
}
