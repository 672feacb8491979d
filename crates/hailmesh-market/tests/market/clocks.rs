//! Clocks that jump and journals that are gone: what a driver is certified for, and what
//! is on its way.

use hailmesh_market::{Command, Event, Record};
use hailmesh_types::Private;
use hailmesh_wire::{AnyStatement, Receipt, Replacement, RideState, ShiftCert, Verified};

use crate::scenarios::{HERE, NEAR, THERE, firm_pair};
use crate::world::*;

const DAY_MS: i64 = 86_400_000;

/// Back from its journal, and to be found again.
fn restart(world: &mut World, driver: Name, lost: bool) {
    world.start_with(driver, lost).unwrap();
    world.command(driver, Command::Move(Private(HERE.parse().unwrap()))).unwrap();
    world.command(driver, Command::GoOnline(profile())).unwrap();
}

fn certs(world: &World, driver: Name) -> Vec<Verified<ShiftCert>> {
    let of_key = |record: &Record| match record {
        Record::Key(key) => key.cert.clone(),
        _ => None,
    };
    let certs = world.hosts[driver].journal.iter().filter_map(of_key);
    let read = |bytes: std::sync::Arc<[u8]>| match AnyStatement::decode(bytes) {
        Ok(AnyStatement::ShiftCert(cert)) => cert.verify().unwrap(),
        other => panic!("a certificate: {other:?}"),
    };
    certs.map(read).collect()
}

fn nobody_is_accused(world: &World) {
    for host in &world.hosts {
        let accused = host.events.iter().find(|event| matches!(event, Event::Evidence { .. }));
        assert_eq!(accused, None);
    }
}

#[test]
fn whoever_lost_the_whole_journal_is_not_framed_by_two_certificates() {
    let mut world = World::new(90);
    let driver = world.driver(HERE);
    let rider = world.rider();
    world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    world.run(20_000);
    world.crash(driver);
    // A backup from before the first start: the start mark tells that keys are lost.
    world.hosts[driver].journal.clear();
    restart(&mut world, driver, true);
    world.run(20_000);
    let [cert] = certs(&world, driver).try_into().unwrap();
    let replaces = cert.body().replaces.clone().expect("it replaces all that were issued before");
    assert_eq!((replaces.cert, replaces.how), (None, Replacement::Lost));
    nobody_is_accused(&world);
    // The lost one lasts for some seconds more than the next planned replacement: that one
    // must not speak against it either.
    let heard = world.hosts[rider].events.len();
    world.run(12 * 3_600_000 - 1_000_000);
    let certs = certs(&world, driver);
    assert_eq!(certs.len(), 2, "replaced half an hour before its end");
    assert_eq!(certs[1].body().replaces.as_ref().map(|replaces| replaces.cert), Some(None));
    assert!(world.hosts[rider].events.len() >= heard);
    nobody_is_accused(&world);
}

#[test]
fn a_key_of_a_clock_that_was_a_day_ahead_signs_nothing_when_it_is_right() {
    let mut world = World::new(91);
    let driver = world.driver(HERE);
    let rider = world.rider();
    world.command(rider, Command::Move(Private(NEAR.parse().unwrap()))).unwrap();
    world.run(20_000);
    world.hosts[driver].skew_ms += DAY_MS;
    // The shift key is past its life by this clock, and is replaced.
    world.run(120_000);
    assert_eq!(certs(&world, driver).len(), 2);
    world.hosts[driver].skew_ms -= DAY_MS;
    // A node whose clock goes back returns to its journal.
    world.crash(driver);
    restart(&mut world, driver, false);
    world.run(20_000);
    let ride = world.request(rider, NEAR, THERE);
    assert!(world.run_until(20_000, |world| world.state(rider, ride) == Some(RideState::Firm)));
    let bytes = world.hosts[rider].market.as_ref().unwrap().receipt(ride).unwrap();
    assert!(Receipt::decode(&bytes).unwrap().verify(&[]).unwrap().firm);
    nobody_is_accused(&world);
}

#[test]
fn a_clock_that_jumps_by_a_day_puts_no_end_to_sleep() {
    let mut world = World::new(92);
    let (driver, rider, ride) = firm_pair(&mut world);
    world.cut.insert((driver, rider));
    world.cut.insert((rider, driver));
    world.command(rider, Command::Cancel(ride)).unwrap();
    world.run(5_000);
    world.hosts[rider].skew_ms += DAY_MS;
    world.run(60_000);
    // The driver's STATUS, which would ask for it, does not come through.
    world.cut.remove(&(rider, driver));
    let heard = world.run_until(60_000, |world| world.last_state(driver) == Some(RideState::Cancelled));
    assert!(heard, "{}", world.transcript());
}
