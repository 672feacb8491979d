//! Offers of drivers that are gone: a withdrawal does not reach everybody.

use hailmesh_market::{Command, Wish};
use hailmesh_types::{Duration, Private};
use hailmesh_wire::{Kind, RideState};

use crate::scenarios::{HERE, NEAR, THERE, finish};
use crate::world::*;

#[test]
fn who_missed_the_withdrawal_asks_a_busy_driver_once_and_again_when_it_is_free() {
    for seed in 400..406 {
        let mut world = World::new(seed);
        let driver = world.driver(HERE);
        let (first, second) = (world.rider(), world.rider());
        for rider in [first, second] {
            world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
        }
        world.run(2_000);
        let ride = world.request(first, NEAR, THERE);
        // From here on the second rider hears nothing: the offer is a ghost to it.
        world.deaf.insert(second);
        assert!(world.run_until(20_000, |world| world.state(first, ride) == Some(RideState::EnRoute)));
        let wish = Wish { patience: Duration::from_secs(600), ..wish(NEAR, THERE) };
        let waiting = world.ask(second, wish);
        world.run(90_000);
        assert_eq!(world.times_sent(second, Kind::Request), 1, "{}", world.transcript());
        // A newer offer is worth a REQUEST at once, however long the old one was to be left.
        world.deaf.remove(&second);
        finish(&mut world, driver, first, ride);
        let is_taken = |world: &World| {
            matches!(world.state(second, waiting), Some(RideState::Firm | RideState::EnRoute))
        };
        assert!(world.run_until(5_000, is_taken), "{}", world.transcript());
    }
}

#[test]
fn who_missed_that_a_shift_has_ended_asks_once() {
    let mut world = World::new(410);
    let driver = world.driver(HERE);
    let rider = world.rider();
    world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    world.run(2_000);
    world.deaf.insert(rider);
    world.command(driver, Command::GoOffline).unwrap();
    world.run(1_000);
    world.request(rider, NEAR, THERE);
    world.run(60_000);
    assert_eq!(world.times_sent(rider, Kind::Request), 1, "{}", world.transcript());
}
