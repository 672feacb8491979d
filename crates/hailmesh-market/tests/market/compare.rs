//! Comparing ACCEPTs for a moment (P7.23).

use hailmesh_market::{Command, Config, ExchangeId, Input, RideId, Role};
use hailmesh_types::{Duration, PeerKey, Private};
use hailmesh_wire::{AnyStatement, Frame, FrameContent, RideState};

use crate::scenarios::{HERE, NEAR, THERE};
use crate::world::*;

/// Two minutes further from the rider than [`HERE`].
const FURTHER: &str = "40.7480,-73.9870";

fn rider(world: &mut World, compare_ms: u32) -> Name {
    let mut config = Config::default();
    config.timers.compare = Duration::from_millis(compare_ms);
    config.timers.hedge_step = Duration::from_millis(0);
    // Whoever is there is asked at once, however far away.
    config.timers.turnover = Duration::from_millis(0);
    let name = world.add(Some(Role::Rider), config);
    world.command(name, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    name
}

fn driver(world: &mut World, at: &str, base: u32) -> Name {
    world.driver_with(at, |_| {}, |profile| profile.tariff.base = base)
}

/// Which of these drivers the rider is firm with.
fn chosen(world: &mut World, rider: Name, ride: RideId, drivers: &[Name]) -> Name {
    assert!(
        world.run_until(5_000, |world| world.state(rider, ride) == Some(RideState::Firm)),
        "{}",
        world.transcript()
    );
    let agreement = world.view(rider, ride).agreement;
    // The others are free as soon as the RELEASE is there.
    world.run(100);
    let (with, without): (Vec<Name>, Vec<Name>) = drivers
        .iter()
        .partition(|driver| world.last_ride(**driver).is_some_and(|ride| ride.agreement == agreement));
    for other in without {
        let state = world.last_state(other);
        assert!(matches!(state, None | Some(RideState::Released)), "{state:?}");
    }
    let [one] = with[..] else { panic!("firm with {with:?}") };
    one
}

#[test]
fn the_first_good_one_wins_unless_the_rider_compares() {
    for (compare_ms, cheap) in [(0, false), (300, true)] {
        let mut world = World::new(71);
        // The near one is asked first and answers first.
        world.latency_ms = (10, 10);
        let near = driver(&mut world, HERE, 400);
        let further = driver(&mut world, FURTHER, 250);
        let rider = rider(&mut world, compare_ms);
        world.run(2_000);
        let ride = world.request(rider, NEAR, THERE);
        let with = chosen(&mut world, rider, ride, &[near, further]);
        assert_eq!(with == further, cheap, "compare {compare_ms} ms");
    }
}

#[test]
fn of_equal_fares_the_earlier_arrival_is_taken_and_nobody_is_waited_for() {
    let mut world = World::new(72);
    let further = driver(&mut world, FURTHER, 250);
    let near = driver(&mut world, HERE, 250);
    let rider = rider(&mut world, 300);
    world.run(2_000);
    let begun = world.now_ms;
    let ride = world.request(rider, NEAR, THERE);
    assert_eq!(chosen(&mut world, rider, ride, &[near, further]), near);
    // Both had answered: there was nothing to wait for.
    let took = world.view(rider, ride).settle_ms.unwrap();
    assert!(took < 150, "{took} ms of {}", world.now_ms - begun);
}

#[test]
fn a_silent_driver_costs_no_more_than_the_span() {
    let mut world = World::new(73);
    let near = driver(&mut world, HERE, 400);
    let silent = driver(&mut world, FURTHER, 250);
    let rider = rider(&mut world, 300);
    world.run(2_000);
    world.cut.insert((silent, rider));
    let ride = world.request(rider, NEAR, THERE);
    assert!(world.run_until(5_000, |world| world.state(rider, ride) == Some(RideState::Firm)));
    let took = world.view(rider, ride).settle_ms.unwrap();
    assert!((300..500).contains(&took), "{took} ms");
    assert_eq!(world.view(rider, ride).agreement, world.last_ride(near).unwrap().agreement);
}

#[test]
fn whoever_stops_meanwhile_turns_down_what_is_in_hand() {
    let mut world = World::new(74);
    let near = driver(&mut world, HERE, 400);
    let silent = driver(&mut world, FURTHER, 250);
    let rider = rider(&mut world, 300);
    world.run(2_000);
    world.cut.insert((silent, rider));
    let ride = world.request(rider, NEAR, THERE);
    assert!(world.run_until(200, |world| world.last_state(near) == Some(RideState::Held)));
    world.run(100);
    // The driver says it again: it is in hand, so it is neither taken nor turned down.
    let rider_peer = world.peer(rider);
    let accept = |(from, to, frame): &(Name, PeerKey, Vec<u8>)| match Frame::decode(frame) {
        Ok(Frame { content: FrameContent::Statement(bytes), .. }) if *from == near && *to == rider_peer => {
            matches!(AnyStatement::decode(bytes), Ok(AnyStatement::Accept(_))).then(|| frame.clone())
        }
        _ => None,
    };
    let frame = world.sent.iter().find_map(accept).expect("an ACCEPT was sent");
    let peer = world.peer(near);
    world.input(rider, Input::Request { exchange: ExchangeId(u64::MAX), peer, frame });
    world.run(50);
    assert_eq!(world.last_state(near), Some(RideState::Held));
    world.command(rider, Command::Cancel(ride)).unwrap();
    world.run(100);
    assert_eq!(world.last_state(near), Some(RideState::Released), "{}", world.transcript());
    assert_eq!(world.state(rider, ride), Some(RideState::Cancelled));
    world.run(1_000);
    assert_eq!(world.state(rider, ride), Some(RideState::Cancelled), "nothing is taken any more");
}

#[test]
fn at_the_end_of_patience_the_one_in_hand_is_taken() {
    let mut world = World::new(75);
    driver(&mut world, HERE, 400);
    let silent = driver(&mut world, FURTHER, 250);
    let rider = rider(&mut world, 300);
    // A REQUEST takes this long, and so does its answer.
    world.latency_ms = (425, 425);
    world.run(3_000);
    world.cut.insert((silent, rider));
    let mut wish = wish(NEAR, THERE);
    wish.patience = Duration::from_secs(1);
    let ride = world.ask(rider, wish);
    world.run(1_000);
    assert_eq!(world.state(rider, ride), Some(RideState::Committed));
}
