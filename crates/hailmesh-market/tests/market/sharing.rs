//! Live positions (P8.10): who sees whom, when, and how often.

use hailmesh_market::{Command, CommandError, Input, Origin};
use hailmesh_types::{GeoPoint, PeerKey, Private};
use hailmesh_wire::{Frame, FrameContent, Position};

use crate::scenarios::{NEAR, finish, firm_pair};
use crate::world::*;

fn here(text: &str) -> Command {
    Command::Move(Private(text.parse().unwrap()))
}

/// The positions that a host has sent.
fn told(world: &World, name: Name) -> Vec<Position> {
    let of = |(from, _, frame): &(Name, PeerKey, Vec<u8>)| match Frame::decode(frame) {
        Ok(Frame { content: FrameContent::Position(position), .. }) if *from == name => Some(position),
        _ => None,
    };
    world.sent.iter().filter_map(of).collect()
}

fn place(text: &str) -> GeoPoint {
    text.parse().unwrap()
}

#[test]
fn a_riders_position_is_told_only_when_its_user_says_so() {
    let mut world = World::new(61);
    let (driver, rider, ride) = firm_pair(&mut world);
    let at_driver = world.last_ride(driver).unwrap().ride;
    let seen = |world: &World| world.view(driver, at_driver).seen_at.map(|(point, _)| point.0);
    world.command(rider, here("40.7612,-73.9770")).unwrap();
    world.run(12_000);
    assert!(told(&world, rider).is_empty());
    assert_eq!(seen(&world), None, "nobody asked for it");
    assert!(!world.view(rider, ride).sharing);
    assert!(world.view(driver, at_driver).sharing, "a driver of a firm ride is seen");

    world.command(rider, Command::SharePosition(true)).unwrap();
    world.run(100);
    assert_eq!(seen(&world), Some(place("40.7612,-73.9770")));
    assert!(world.view(rider, ride).sharing);
    // At most every five seconds, and the last one is not lost.
    for metre in 0..30 {
        world.command(rider, here(&format!("40.76{:02},-73.9770", 20 + metre))).unwrap();
        world.run(250);
    }
    world.run(6_000);
    let said = told(&world, rider);
    assert_eq!(said.len(), 3, "at once, and after five and ten seconds: {said:?}");
    assert_eq!(seen(&world), Some(place("40.7649,-73.9770")));

    world.command(rider, Command::SharePosition(false)).unwrap();
    world.command(rider, here("40.7650,-73.9770")).unwrap();
    world.run(10_000);
    assert_eq!(seen(&world), Some(place("40.7649,-73.9770")), "consent is taken back");

    // Consent ends with the ride, and so does what was seen.
    world.command(rider, Command::SharePosition(true)).unwrap();
    finish(&mut world, driver, rider, ride);
    let after = told(&world, rider).len();
    world.command(rider, here("40.7660,-73.9770")).unwrap();
    world.run(10_000);
    assert_eq!(told(&world, rider).len(), after);
    assert_eq!((seen(&world), world.view(rider, ride).seen_at), (None, None));
    assert!(!world.view(rider, ride).sharing && !world.view(driver, at_driver).sharing);
}

#[test]
fn a_driver_that_does_not_move_is_seen_from_firm_on() {
    let mut world = World::new(62);
    let (driver, rider, ride) = firm_pair(&mut world);
    assert!(told(&world, driver).is_empty(), "before that nothing finer than the cell is known");
    world.run(2_000);
    let (point, at) = world.view(rider, ride).seen_at.unwrap();
    assert_eq!(point.0, place("40.7580,-73.9855"));
    assert!(at < world.time(rider), "it says when it was measured");
    world.run(30_000);
    assert_eq!(told(&world, driver).len(), 1, "no news, no frame");
    let refused = world.command(driver, Command::SharePosition(true));
    assert!(matches!(refused, Err(CommandError::WrongRole(_))), "{refused:?}");
    // Nothing of it is kept: a node that starts again has seen nobody.
    world.crash(rider);
    world.start(rider);
    assert_eq!(world.view(rider, ride).seen_at, None);
}

#[test]
fn positions_do_not_go_through_relays() {
    let mut world = World::new(63);
    let (driver, rider, ride) = firm_pair(&mut world);
    let relay = PeerKey::from_bytes([7; 32]);
    let peer = world.peer(rider);
    world.input(driver, Input::PeerConnected { peer, origin: Origin::Relay(relay) });
    world.command(driver, here(NEAR)).unwrap();
    world.run(10_000);
    assert!(told(&world, driver).is_empty());
    assert_eq!(world.view(rider, ride).seen_at, None);
    // A direct connection has come about.
    world.input(driver, Input::PeerConnected { peer, origin: Origin::Loopback });
    world.run(1_000);
    assert_eq!(world.view(rider, ride).seen_at.unwrap().0.0, place(NEAR));
}

#[test]
fn too_many_positions_and_those_of_strangers_are_refused() {
    let mut world = World::new(64);
    let (driver, rider, ride) = firm_pair(&mut world);
    world.run(20_000);
    let agreement_id = world.view(rider, ride).agreement.unwrap();
    let (driver_peer, seen) = (world.peer(driver), world.view(rider, ride).seen_at);
    let time = world.time(rider);
    let frame = |point| {
        let position = Position { agreement_id, point, heading: 0, speed: 0, accuracy: 1, time };
        Frame::new(FrameContent::Position(position)).encode()
    };
    let say = |world: &mut World, peer, point| {
        let exchange = hailmesh_market::ExchangeId(u64::MAX);
        world.input(rider, Input::Request { exchange, peer, frame: frame(point) });
    };
    say(&mut world, PeerKey::from_bytes([9; 32]), place("1.0,1.0"));
    assert_eq!(world.view(rider, ride).seen_at, seen, "not the driver");
    for step in 1..=3 {
        say(&mut world, driver_peer, place(&format!("{step}.0,1.0")));
    }
    let (point, _) = world.view(rider, ride).seen_at.unwrap();
    assert_eq!(point.0, place("2.0,1.0"), "two at once are as many as P20 allows");
}
