//! Who gets whom, with nobody in charge.

use std::collections::BTreeSet;

use hailmesh_market::matching::{Policy, Spot, StraightLine, TravelTime};
use hailmesh_market::{Command, Config, RideId, Role, Wish};
use hailmesh_types::{Duration, GeoPoint, Private, PublicKey};
use hailmesh_wire::{RideState, Subject, Topic};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scenarios::{HERE, NEAR, THERE, finish, firm_pair};
use crate::world::*;

/// So many metres north and east of [`HERE`].
fn off(north_m: f64, east_m: f64) -> String {
    let here: GeoPoint = HERE.parse().unwrap();
    format!("{:.6},{:.6}", here.lat() + north_m / 111_195.0, here.lon() + east_m / 84_230.0)
}

/// A rider who has begun to wait for up to ten minutes.
fn waiting(world: &mut World, from: &str) -> (Name, RideId) {
    let rider = world.rider();
    let wish = Wish { patience: Duration::from_secs(600), ..wish(from, THERE) };
    let ride = world.ask(rider, wish);
    (rider, ride)
}

fn is_taken(world: &World, (rider, ride): (Name, RideId)) -> bool {
    matches!(world.state(rider, ride), Some(RideState::Firm | RideState::EnRoute))
}

fn counterparty(world: &World, (rider, ride): (Name, RideId)) -> Option<PublicKey> {
    world.view(rider, ride).counterparty
}

/// A driver who listens at a place and offers nothing yet.
fn parked(world: &mut World, at: &str, config: Config) -> Name {
    let driver = world.add(Some(Role::Driver), config);
    world.command(driver, Command::Move(Private(at.parse().unwrap()))).unwrap();
    driver
}

#[test]
fn a_freed_car_takes_the_nearest_of_those_who_wait() {
    let mut world = World::new(101);
    let (driver, rider, ride) = firm_pair(&mut world);
    let far = waiting(&mut world, &off(-1_500.0, 0.0));
    let nearest = waiting(&mut world, &off(250.0, 100.0));
    let middle = waiting(&mut world, &off(0.0, 900.0));
    world.run(30_000);
    finish(&mut world, driver, rider, ride);
    // Firm within a second or so of becoming free, without anybody having been told by
    // gossip.
    assert!(world.run_until(1_500, |world| is_taken(world, nearest)), "{}", world.transcript());
    assert!(!is_taken(&world, far) && !is_taken(&world, middle));
    assert_eq!(counterparty(&world, nearest), counterparty(&world, (rider, ride)));
}

#[test]
fn of_two_riders_and_one_car_the_nearer_has_it() {
    for seed in 110..116 {
        let mut world = World::new(seed);
        let driver = parked(&mut world, HERE, Config::default());
        let far = waiting(&mut world, &off(1_000.0, 0.0));
        world.run(seed * 7 % 1_000);
        let near = waiting(&mut world, &off(-150.0, 200.0));
        world.run(20_000);
        world.command(driver, Command::GoOnline(profile())).unwrap();
        assert!(world.run_until(20_000, |world| is_taken(world, near) || is_taken(world, far)));
        assert!(is_taken(&world, near), "seed {seed}: {}", world.transcript());
        // The other one goes on waiting, and is not told that it had anything.
        world.run(5_000);
        assert_eq!(world.state(far.0, far.1), Some(RideState::Requested));
    }
}

#[test]
fn when_cars_are_scarce_a_car_waits_for_somebody_near_and_nobody_starves() {
    // First come, first served would send the car three kilometres away at once.
    let mut world = World::new(120);
    let far: Vec<_> =
        (0..12).map(|i| waiting(&mut world, &off(3_000.0, f64::from(i) * 60.0 - 360.0))).collect();
    world.run(30_000);
    // Who has just come cannot tell a crowd from one rider: it listens before it offers.
    let driver = parked(&mut world, HERE, Config::default());
    world.run(2_000);
    world.command(driver, Command::GoOnline(profile())).unwrap();
    world.run(3_000);
    assert!(far.iter().all(|rider| !is_taken(&world, *rider)), "too early for a long drive");
    let newcomer = waiting(&mut world, &off(200.0, 200.0));
    assert!(world.run_until(3_000, |world| is_taken(world, newcomer)), "{}", world.transcript());
    let why = world.view(newcomer.0, newcomer.1).choice.unwrap();
    // It has not heard of those who wait in other cells, so that it knows no bound.
    assert!(why.limit.is_none_or(|limit| limit >= why.drive) && why.candidates == 1, "{why:?}");
    assert_eq!((why.policy, why.explain.heard), (Policy::Nearest, 1));
    finish(&mut world, driver, newcomer.0, newcomer.1);
    // With nobody near the car goes far, soon enough.
    assert!(world.run_until(40_000, |world| far.iter().any(|rider| is_taken(world, *rider))));
}

#[test]
fn who_asks_before_its_turn_is_sent_back_for_as_long() {
    let mut world = World::new(121);
    for i in 0..12 {
        waiting(&mut world, &off(3_000.0, f64::from(i) * 60.0 - 360.0));
    }
    world.run(30_000);
    let mut hasty = Config::default();
    hasty.timers.turnover = Duration::ZERO;
    let hasty = world.add(Some(Role::Rider), hasty);
    let driver = world.driver(HERE);
    world.run(300);
    let ride = world.ask(hasty, wish(&off(0.0, 4_000.0), THERE));
    world.run(2_000);
    assert_eq!(world.state(hasty, ride), Some(RideState::Requested));
    let transcript = world.transcript();
    assert!(transcript.contains(&format!("{driver}: REJECT too_far")), "{transcript}");
    assert_eq!(world.last_state(driver), None, "the car is still free");
}

#[test]
fn nobody_waits_where_nobody_else_is() {
    // One car, five kilometres away: no reason to wait for a better one.
    let mut world = World::new(122);
    world.driver(HERE);
    let rider = world.rider();
    world.command(rider, Command::Move(Private(off(4_500.0, 2_000.0).parse().unwrap()))).unwrap();
    world.run(1_000);
    let ride = world.request(rider, &off(4_500.0, 2_000.0), THERE);
    assert!(world.run_until(500, |world| is_taken(world, (rider, ride))), "{}", world.transcript());
}

#[test]
fn a_car_that_cannot_be_there_in_time_is_not_asked() {
    let mut world = World::new(123);
    world.driver(HERE);
    let rider = world.rider();
    world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    world.run(1_000);
    // The drive takes about four minutes.
    let hurried = Wish { pickup_within: Some(Duration::from_secs(120)), ..wish(NEAR, THERE) };
    let ride = world.ask(rider, hurried);
    world.run(61_000);
    let view = world.view(rider, ride);
    assert_eq!((view.state, view.asked), (RideState::Expired, 0));
    assert_eq!(view.no_match.unwrap().explain.excluded_by_name().get("late"), Some(&1));
    let content = Wish { pickup_within: Some(Duration::from_secs(300)), ..wish(NEAR, THERE) };
    let ride = world.ask(rider, content);
    assert!(world.run_until(2_000, |world| is_taken(world, (rider, ride))));
}

#[test]
fn a_car_nobody_heard_of_finds_its_rider() {
    // Gossip from the driver never reaches the rider; what the rider says is heard.
    let mut world = World::new(124);
    let rider = waiting(&mut world, NEAR);
    world.run(15_000);
    world.deaf.insert(rider.0);
    world.driver(HERE);
    assert!(world.run_until(5_000, |world| is_taken(world, rider)), "{}", world.transcript());
    assert!(world.transcript().contains("INVITE"));
}

#[test]
fn every_policy_serves_the_smaller_side_over_a_lossy_network() {
    for policy in Policy::ALL {
        for (riders, drivers, seed) in [(8, 5, 130), (5, 8, 131), (7, 7, 132)] {
            let mut world = World::new(seed);
            let mut places = ChaCha8Rng::seed_from_u64(seed);
            let mut place =
                || off(places.random_range(-1_500.0..1_500.0), places.random_range(-1_500.0..1_500.0));
            let configure = |config: &mut Config| config.policy = policy;
            world.loss = 0.1;
            world.latency_ms = (50, 200);
            world.duplication = 0.1;
            let waiting: Vec<(Name, RideId)> = (0..riders)
                .map(|_| {
                    let mut config = Config::default();
                    configure(&mut config);
                    let rider = world.add(Some(Role::Rider), config);
                    let wish = Wish { patience: Duration::from_secs(600), ..wish(&place(), THERE) };
                    let ride = world.ask(rider, wish);
                    (rider, ride)
                })
                .collect();
            world.run(12_000);
            let cars: Vec<Name> =
                (0..drivers).map(|_| world.driver_with(&place(), configure, |_| {})).collect();
            let most = riders.min(drivers);
            let served =
                |world: &World| waiting.iter().filter(|rider| is_taken(world, **rider)).count() == most;
            assert!(world.run_until(120_000, served), "{policy}, seed {seed}");
            world.loss = 0.0;
            world.run(60_000);
            assert!(served(&world), "{policy}, seed {seed}");
            let taken: Vec<_> = waiting.iter().copied().filter(|rider| is_taken(&world, *rider)).collect();
            let partners: BTreeSet<_> =
                taken.iter().filter_map(|rider| counterparty(&world, *rider)).collect();
            assert_eq!(partners.len(), most, "nobody is in two agreements");
            let busy = cars.iter().filter(|car| world.last_state(**car) == Some(RideState::EnRoute));
            assert_eq!(busy.count(), most);
        }
    }
}

#[test]
fn the_pair_and_the_assignment_share_out_the_cars() {
    // Both riders are nearest to one car.
    for policy in [Policy::NearestPair, Policy::Assignment] {
        let mut world = World::new(140);
        let configure = |config: &mut Config| {
            config.policy = policy;
            config.timers.turnover = Duration::ZERO;
            config.timers.open_after = Duration::ZERO;
        };
        let mut rider = |from: &str| {
            let mut config = Config::default();
            configure(&mut config);
            let rider = world.add(Some(Role::Rider), config);
            let ride = world.ask(rider, wish(from, THERE));
            (rider, ride)
        };
        let (near, far) = (rider(&off(300.0, 0.0)), rider(&off(1_200.0, 0.0)));
        let mut config = Config::default();
        configure(&mut config);
        let close = parked(&mut world, HERE, config.clone());
        let other = parked(&mut world, &off(2_500.0, 0.0), config);
        world.run(3_000);
        for car in [close, other] {
            world.command(car, Command::GoOnline(profile())).unwrap();
        }
        assert!(world.run_until(10_000, |world| is_taken(world, near) && is_taken(world, far)));
        let key = |world: &World, car: Name| {
            world.hosts[car].market.as_ref().unwrap().snapshot(world.time(car)).key
        };
        assert_eq!(counterparty(&world, near), key(&world, close), "{policy}");
        assert_eq!(counterparty(&world, far), key(&world, other), "{policy}");
    }
}

/// A world in which busy drivers stop listening although it is small.
fn firm_pair_in_a_crowd(world: &mut World) -> (Name, Name, RideId) {
    let crowded = |config: &mut Config| config.listen_crowd = 0;
    let driver = world.driver_with(HERE, crowded, |_| {});
    let rider = world.rider();
    world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    world.driver(&off(2_000.0, 0.0));
    world.run(1_000);
    // Two kilometres and a half: about eight minutes after a pickup of four.
    let ride = world.request(rider, NEAR, &off(-1_000.0, -1_500.0));
    assert!(world.run_until(5_000, |world| world.last_state(driver) == Some(RideState::Firm)));
    (driver, rider, ride)
}

fn topics(world: &World, name: Name) -> usize {
    world.hosts[name].market.as_ref().unwrap().snapshot(world.time(name)).topics
}

#[test]
fn a_busy_driver_listens_again_before_its_ride_ends() {
    let mut world = World::new(150);
    let (driver, _, _) = firm_pair_in_a_crowd(&mut world);
    assert!(topics(&world, driver) > 7);
    assert!(world.run_until(6_000, |world| topics(world, driver) == 1), "evidence is still heard");
    world.run(300_000);
    // Moving does not bring it back.
    world.command(driver, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    assert_eq!(topics(&world, driver), 1);
    let begun = world.now_ms;
    assert!(world.run_until(900_000, |world| topics(world, driver) > 7));
    assert!(world.now_ms > begun);
    assert_eq!(world.last_state(driver), Some(RideState::EnRoute), "still busy");
}

#[test]
fn a_ride_that_ends_early_finds_the_driver_listening() {
    let mut world = World::new(151);
    let (driver, rider, ride) = firm_pair_in_a_crowd(&mut world);
    assert!(world.run_until(6_000, |world| topics(world, driver) == 1));
    let next = waiting(&mut world, &off(100.0, 100.0));
    world.run(2_000);
    // The other car is gone: only this one can serve the next rider.
    for other in 0..world.hosts.len() {
        if other != driver && world.hosts[other].role == Some(Role::Driver) {
            world.crash(other);
        }
    }
    if !is_taken(&world, next) {
        finish(&mut world, driver, rider, ride);
        assert!(topics(&world, driver) > 7);
        assert!(world.run_until(20_000, |world| is_taken(world, next)), "{}", world.transcript());
    }
}

/// Whether a node listens to drivers, and whether it does to riders.
fn listens(world: &World, name: Name) -> (bool, bool) {
    let subjects = || world.topics(name).map(Topic::subject);
    let (mut drivers, mut riders) = (subjects(), subjects());
    (
        drivers.any(|subject| matches!(subject, Subject::Drivers(_))),
        riders.any(|subject| matches!(subject, Subject::Riders(_))),
    )
}

#[test]
fn a_free_car_among_many_listens_to_riders_only_and_looks_again() {
    let mut world = World::new(153);
    let cars: Vec<Name> = (0..5)
        .map(|i| world.driver_with(&off(100.0 * f64::from(i), 0.0), |config| config.idle_crowd = 3, |_| {}))
        .collect();
    let resting = |world: &World| cars.iter().filter(|car| listens(world, **car) == (false, true)).count();
    assert!(world.run_until(40_000, |world| resting(world) >= 3), "{}", world.transcript());
    // Somebody who comes hears their offers.
    let rider = world.rider();
    world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    let ride = world.request(rider, NEAR, THERE);
    assert!(world.run_until(65_000, |world| is_taken(world, (rider, ride))), "{}", world.transcript());
    // They look again after a while, and find that nothing has changed.
    assert!(world.run_until(60_000, |world| resting(world) >= 3));
    assert!(world.run_until(250_000, |world| resting(world) < 3));
    assert!(world.run_until(60_000, |world| resting(world) >= 3));
}

#[test]
fn a_car_that_rests_from_the_others_invites_who_waits() {
    let mut world = World::new(154);
    let cars: Vec<Name> = (0..3)
        .map(|i| world.driver_with(&off(100.0 * f64::from(i), 0.0), |config| config.idle_crowd = 2, |_| {}))
        .collect();
    assert!(world.run_until(40_000, |world| cars.iter().all(|car| listens(world, *car) == (false, true))));
    // Nobody who has just come has heard a refresh yet.
    let rider = waiting(&mut world, NEAR);
    assert!(world.run_until(5_000, |world| is_taken(world, rider)), "{}", world.transcript());
    assert!(world.transcript().contains("INVITE"), "{}", world.transcript());
}

#[test]
fn a_car_that_has_been_free_for_long_goes_far_at_once() {
    // How soon twelve riders three kilometres away get the one car there is.
    let taken_after = |idle_ms: u64| {
        let mut world = World::new(155);
        world.driver(HERE);
        world.run(idle_ms);
        let begun = world.now_ms;
        let far: Vec<_> =
            (0..12).map(|i| waiting(&mut world, &off(3_000.0, f64::from(i) * 60.0 - 360.0))).collect();
        assert!(world.run_until(90_000, |world| far.iter().any(|rider| is_taken(world, *rider))));
        world.now_ms - begun
    };
    let (fresh, idle) = (taken_after(1_000), taken_after(1_200_000));
    assert!(idle < fresh, "{idle} ms, and {fresh} ms for one that has just come");
}

#[test]
fn a_car_that_stands_for_long_goes_on_inviting() {
    let mut world = World::new(157);
    world.driver(HERE);
    // People whom no car reaches in time are invited, and do not ask.
    for _ in 0..6 {
        for i in 0..50 {
            let rider = world.rider();
            let hasty = wish(&off(3_000.0, f64::from(i) * 20.0 - 500.0), THERE);
            let (patience, pickup_within) = (Duration::from_secs(140), Some(Duration::from_secs(1)));
            world.ask(rider, Wish { patience, pickup_within, ..hasty });
        }
        world.run(150_000);
    }
    let invited = world.transcript().matches("INVITE").count();
    assert!(invited > 256, "{invited} of 300");
}

#[test]
fn en_route_tells_the_arrival_from_the_exact_places() {
    let mut world = World::new(156);
    let (_, rider, ride) = firm_pair(&mut world);
    assert!(world.run_until(5_000, |world| world.state(rider, ride) == Some(RideState::EnRoute)));
    let place = |text: &str| Spot::Point(text.parse::<GeoPoint>().unwrap());
    let speed_kmh = Config::default().speed_kmh;
    let drive = StraightLine { speed_kmh }.drive(place(HERE), place(NEAR));
    assert_eq!(world.view(rider, ride).eta, Some(drive));
}

#[test]
fn where_few_listen_everybody_does() {
    let mut world = World::new(152);
    let (driver, _, _) = firm_pair(&mut world);
    world.run(30_000);
    assert!(topics(&world, driver) > 7);
}
