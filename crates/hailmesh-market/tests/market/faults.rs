//! Crashes, loss, duplication, partitions, replays: nobody is bound twice, and both
//! sides come to agree.

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_market::{Command, Event, Input, MessageRef, Origin, Record, RideId, Role};
use hailmesh_types::{PublicKey, StatementId};
use hailmesh_wire::{AnyStatement, Frame, FrameContent, Outcome, RideState, Topic};

use crate::scenarios::{HERE, NEAR, THERE, finish, firm_pair};
use crate::world::*;

/// What each host ever signed, taken from its journal: at most one ACCEPT or CONFIRM a
/// slot, and of all CONFIRMs but one an end (S1, S2, S3).
fn check_promises(world: &World) {
    for (name, host) in world.hosts.iter().enumerate() {
        let mut bound: BTreeMap<(PublicKey, u64), StatementId> = BTreeMap::new();
        let mut open: BTreeSet<(PublicKey, u64)> = BTreeSet::new();
        for record in &host.journal {
            match record {
                Record::Bound(one) => {
                    let slot = (one.slot.key, one.slot.slot);
                    assert!(
                        bound.insert(slot, one.accept).is_none(),
                        "host {name} bound slot {} twice",
                        slot.1
                    );
                    open.insert(slot);
                    assert!(open.len() <= 1, "host {name} has two live slots");
                }
                Record::Ended { slot, .. } => {
                    open.remove(&(slot.key, slot.slot));
                }
                _ => {}
            }
        }
    }
}

/// Whether no slot of any host is live, or the two sides of each are firm together.
fn settled(world: &World) -> bool {
    let live = |host: &Host| {
        let mut live: BTreeMap<(PublicKey, u64), (hailmesh_types::AgreementId, bool)> = BTreeMap::new();
        for record in &host.journal {
            match record {
                Record::Bound(one) => {
                    live.insert((one.slot.key, one.slot.slot), (one.agreement, false));
                }
                Record::Firm { slot, .. } => {
                    live.entry((slot.key, slot.slot)).and_modify(|entry| entry.1 = true);
                }
                Record::Ended { slot, .. } => {
                    live.remove(&(slot.key, slot.slot));
                }
                _ => {}
            }
        }
        live
    };
    let mut sides: BTreeMap<hailmesh_types::AgreementId, Vec<bool>> = BTreeMap::new();
    for host in &world.hosts {
        for (agreement, firm) in live(host).into_values() {
            sides.entry(agreement).or_default().push(firm);
        }
    }
    sides.values().all(|sides| sides == &[true, true])
}

#[test]
fn a_crash_at_every_output_of_either_side_leaves_both_agreed() {
    // Every point between two outputs, before and after the records are durable, of the
    // whole ride; the host is back after a second.
    for crash_driver in [true, false] {
        for after in 0..60 {
            let mut world = World::new(1_000 + after as u64);
            let driver = world.driver(HERE);
            let rider = world.rider();
            world.run(500);
            let victim = if crash_driver { driver } else { rider };
            let before = world.hosts[victim].runs();
            world.hosts[victim].crash_after = Some(after);
            let ride = request_if_up(&mut world, rider);
            world.run(1_500);
            if let Some(ride) = ride {
                go_on(&mut world, driver, rider, ride);
            }
            world.hosts[victim].crash_after = None;
            if !world.is_up(victim) {
                world.start(victim);
            }
            if !world.hosts[driver].events.is_empty() && world.is_up(driver) {
                // A driver that came back offers again.
                let at = hailmesh_types::Private(HERE.parse().unwrap());
                world.command(driver, Command::Move(at)).unwrap();
                world.command(driver, Command::GoOnline(profile())).unwrap();
            }
            let _ = before;
            let ended = world.run_until(60_000, settled);
            assert!(ended, "crash_driver {crash_driver}, after {after} outputs:\n{}", world.transcript());
            check_promises(&world);
        }
    }
}

fn request_if_up(world: &mut World, rider: Name) -> Option<RideId> {
    let wish = wish(NEAR, THERE);
    match world.command(rider, Command::RequestRide(Box::new(wish))) {
        Ok(hailmesh_market::Answer::Ride(ride)) => Some(ride),
        _ => None,
    }
}

/// Takes the ride as far as the hosts are up for.
fn go_on(world: &mut World, driver: Name, rider: Name, ride: RideId) {
    let Some(at_driver) =
        world.is_up(driver).then(|| world.last_ride(driver)).flatten().map(|ride| ride.ride)
    else {
        return;
    };
    let _ = world.command(driver, Command::Arrive(at_driver));
    world.run(500);
    let code = world
        .is_up(rider)
        .then(|| world.hosts[rider].market.as_ref().unwrap().ride(ride, world.time(rider)))
        .flatten()
        .and_then(|view| view.boarding_code);
    if let (Some(code), true) = (code, world.is_up(driver)) {
        let _ = world.command(driver, Command::Board(at_driver, code.0));
    }
    world.run(500);
    if world.is_up(driver) {
        let _ = world.command(driver, Command::Complete(at_driver, hailmesh_market::Completion::default()));
    }
    world.run(500);
}

/// Each side sees all that it must know of the other at this stage (P8.7).
fn all_is_shown(world: &World, driver: Name, rider: Name, ride: RideId) -> bool {
    let at_driver = world.last_ride(driver);
    at_driver.is_some_and(|view| view.pickup.is_some() && view.drop.is_some())
        && world.view(rider, ride).vehicle.is_some()
}

#[test]
fn the_destination_reaches_the_driver_though_the_answer_that_brought_it_was_lost() {
    // Begun late enough the BOARDED arrives and only its answer is lost; what comes next may
    // say that the BOARDED itself was heard.
    let pauses = [0, 5, 10, 15, 20, 30, 50];
    let lengths = [1_000, 5_000, 10_000, 12_000, 20_000, 30_000];
    for (pause, length) in pauses.into_iter().flat_map(|pause| lengths.map(|length| (pause, length))) {
        for what in ["answers", "questions", "driver", "rider"] {
            let mut world = World::new(pause * 1_000_000 + length);
            let (driver, rider, ride) = firm_pair(&mut world);
            let at_driver = world.last_ride(driver).unwrap().ride;
            world.command(driver, Command::Arrive(at_driver)).unwrap();
            world.run(1_000);
            let secret = world.view(rider, ride).boarding_secret.unwrap().0;
            world.command(driver, Command::Board(at_driver, secret)).unwrap();
            world.run(pause);
            match what {
                "answers" => drop(world.cut.insert((rider, driver))),
                "questions" => drop(world.cut.insert((driver, rider))),
                "driver" => world.crash(driver),
                _ => world.crash(rider),
            }
            world.run(length);
            world.cut.clear();
            for host in [driver, rider] {
                if !world.is_up(host) {
                    world.start(host);
                }
            }
            let shown = world.run_until(25_000, |world| {
                world.state(rider, ride) == Some(RideState::InProgress)
                    && all_is_shown(world, driver, rider, ride)
            });
            assert!(shown, "{what} lost {pause} ms after boarding, for {length} ms:\n{}", world.transcript());
        }
    }
}

#[test]
fn a_restart_of_both_in_the_middle_of_a_ride_changes_nothing() {
    let mut world = World::new(30);
    let (driver, rider, ride) = firm_pair(&mut world);
    let at_driver = world.last_ride(driver).unwrap().ride;
    world.command(driver, Command::Arrive(at_driver)).unwrap();
    world.run(1_000);
    world.crash(driver);
    world.crash(rider);
    world.run(5_000);
    world.start(driver);
    world.start(rider);
    world.run(3_000);
    assert_eq!(world.state(driver, at_driver), Some(RideState::Arrived));
    assert_eq!(world.state(rider, ride), Some(RideState::Arrived));
    let code = world.view(rider, ride).boarding_code.unwrap().0;
    world.command(driver, Command::Board(at_driver, code)).unwrap();
    world.run(2_000);
    assert_eq!(world.state(rider, ride), Some(RideState::InProgress));
    world.crash(rider);
    world.command(driver, Command::Complete(at_driver, hailmesh_market::Completion::default())).unwrap();
    world.run(5_000);
    world.start(rider);
    assert!(world.run_until(40_000, |world| world.state(driver, at_driver) == Some(RideState::Completed)));
    let bytes = world.hosts[rider].market.as_ref().unwrap().receipt(ride).unwrap();
    assert!(hailmesh_wire::Receipt::decode(&bytes).unwrap().verify(&[]).unwrap().cosigned);
}

#[test]
fn loss_and_duplication_cost_time_and_nothing_else() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.loss = 0.25;
        world.duplication = 0.3;
        world.latency_ms = (20, 400);
        let drivers = [world.driver(HERE), world.driver(NEAR), world.driver(THERE)];
        let riders = [world.rider(), world.rider(), world.rider()];
        world.run(2_000);
        let rides = riders.map(|rider| world.request(rider, NEAR, THERE));
        world.run(90_000);
        world.loss = 0.0;
        world.duplication = 0.0;
        assert!(world.run_until(60_000, settled), "seed {seed}");
        check_promises(&world);
        let live = |state: Option<RideState>| matches!(state, Some(RideState::Firm | RideState::EnRoute));
        let firm_riders = (0..3).filter(|i| live(world.state(riders[*i], rides[*i]))).count();
        let firm_drivers = drivers.iter().filter(|driver| live(world.last_state(**driver))).count();
        assert_eq!(firm_riders, firm_drivers, "seed {seed}");
    }
}

#[test]
fn a_partition_after_the_confirm_ends_in_agreement() {
    // The CONFIRM gets through, no ACK comes back: the rider is in doubt, releases, and
    // the driver, firm meanwhile, learns of it when the network heals.
    let mut world = World::new(31);
    let driver = world.driver(HERE);
    let rider = world.rider();
    world.run(500);
    let ride = world.request(rider, NEAR, THERE);
    assert!(world.run_until(2_000, |world| world.state(rider, ride) == Some(RideState::Committed)));
    world.cut.insert((driver, rider));
    world.run(30_000);
    assert_ne!(world.state(rider, ride), Some(RideState::Committed), "doubt has an end");
    world.cut.clear();
    assert!(world.run_until(60_000, settled));
    check_promises(&world);
}

#[test]
fn a_driver_whose_rider_says_nothing_is_free_again_after_the_hold() {
    let mut world = World::new(32);
    let driver = world.driver(HERE);
    let rider = world.rider();
    world.run(500);
    let ride = world.request(rider, NEAR, THERE);
    assert!(world.run_until(2_000, |world| world.last_state(driver) == Some(RideState::Held)));
    world.crash(rider);
    world.run(9_000);
    assert_eq!(world.last_state(driver), Some(RideState::Expired));
    let _ = ride;
    let other = world.rider();
    let ride = world.request(other, NEAR, THERE);
    assert!(world.run_until(20_000, |world| world.state(other, ride) == Some(RideState::Firm)));
    check_promises(&world);
}

#[test]
fn replaying_every_frame_ever_sent_changes_nothing() {
    let mut world = World::new(33);
    let (driver, rider, ride) = firm_pair(&mut world);
    finish(&mut world, driver, rider, ride);
    world.run(5_000);
    let at_driver = world.last_ride(driver).unwrap().ride;
    let before = (
        world.hosts[driver].journal.len(),
        world.view(driver, at_driver).state,
        world.view(rider, ride).state,
    );
    let stranger = hailmesh_types::PeerKey::from_bytes([7; 32]);
    for name in [driver, rider] {
        world.input(name, Input::PeerConnected { peer: stranger, origin: Origin::Loopback });
    }
    for (_, to, frame) in world.sent.clone() {
        for name in [driver, rider] {
            if world.peer(name) == to {
                let exchange = hailmesh_market::ExchangeId(900_000);
                world.run(100);
                world.input(name, Input::Request { exchange, peer: stranger, frame: frame.clone() });
            }
        }
    }
    // A replayed statement fetches nobody's address: the stranger got no opening.
    for (_, to, frame) in &world.sent {
        if *to == stranger {
            let frame = Frame::decode(frame).unwrap();
            assert!(frame.attachments.is_empty(), "a stranger was shown an opening");
        }
    }
    check_promises(&world);
    assert_eq!(world.view(driver, at_driver).state, before.1);
    assert_eq!(world.view(rider, ride).state, before.2);
    let added = &world.hosts[driver].journal[before.0..];
    assert!(
        !added
            .iter()
            .any(|record| matches!(record, Record::Bound(_) | Record::Ended { .. } | Record::Firm { .. }))
    );
}

#[test]
fn garbage_on_every_door_is_answered_or_ignored() {
    let mut world = World::new(34);
    let (driver, rider, ride) = firm_pair(&mut world);
    let peer = hailmesh_types::PeerKey::from_bytes([9; 32]);
    let frames: Vec<Vec<u8>> = world.sent.iter().map(|(_, _, frame)| frame.clone()).collect();
    let mut mangled = Vec::new();
    for frame in frames {
        for at in 0..frame.len() {
            let mut copy = frame.clone();
            copy[at] ^= 0x41;
            mangled.push(copy);
        }
    }
    for name in [driver, rider] {
        world.input(name, Input::PeerConnected { peer, origin: Origin::Loopback });
        for frame in mangled.iter().step_by(7) {
            let exchange = hailmesh_market::ExchangeId(1);
            world.now_ms += 60;
            world.input(name, Input::Request { exchange, peer, frame: frame.clone() });
        }
        let topic = Topic::evidence(&"main".parse().unwrap());
        for byte in 0..=255_u8 {
            let message = MessageRef { id: [byte; 16], source: peer };
            world.input(
                name,
                Input::Gossip { message, topic: topic.clone(), heard: vec![byte; usize::from(byte)].into() },
            );
        }
    }
    world.run(2_000);
    assert!(matches!(world.state(rider, ride), Some(RideState::EnRoute | RideState::Firm)));
    check_promises(&world);
}

#[test]
fn a_broken_store_signs_nothing() {
    let mut world = World::new(35);
    let driver = world.driver(HERE);
    let rider = world.rider();
    world.run(500);
    world.hosts[driver].store_broken = true;
    let ride = world.request(rider, NEAR, THERE);
    world.run(5_000);
    assert!(!world.is_up(driver), "it stopped at the commit");
    // P11.1: its offer is withdrawn, and nothing else was signed; an INVITE binds nobody and
    // came before.
    assert_eq!(drivers_known(&world, rider), 0);
    let transcript = world.transcript();
    let said = transcript.lines().filter(|line| line.starts_with(&format!("{driver}: ")));
    assert!(said.clone().all(|line| line.ends_with("INVITE")), "{transcript}");
    assert_eq!(world.state(rider, ride), Some(RideState::Requested));
    world.hosts[driver].store_broken = false;
    world.start(driver);
    world.command(driver, Command::Move(hailmesh_types::Private(HERE.parse().unwrap()))).unwrap();
    world.command(driver, Command::GoOnline(profile())).unwrap();
    assert!(world.run_until(50_000, |world| world.state(rider, ride) == Some(RideState::Firm)));
    check_promises(&world);
}

fn drivers_known(world: &World, name: Name) -> usize {
    world.hosts[name].market.as_ref().unwrap().snapshot(world.time(name)).drivers
}

/// A store that fails at every batch of a whole ride, of either side. What was withdrawn
/// from memory that had run ahead of the store contradicts nothing that is signed later.
#[test]
fn a_store_that_breaks_anywhere_leaves_no_evidence() {
    for breaks_at_driver in [true, false] {
        let mut broken = 0;
        for after in 0..14 {
            let mut world = World::new(3_500 + after as u64);
            let driver = world.driver(HERE);
            let rider = world.rider();
            let watcher = world.rider();
            let near = hailmesh_types::Private(NEAR.parse().unwrap());
            world.command(watcher, Command::Move(near)).unwrap();
            world.run(500);
            let victim = if breaks_at_driver { driver } else { rider };
            world.hosts[victim].store_breaks_after = Some(after);
            let ride = request_if_up(&mut world, rider);
            world.run(3_000);
            if let Some(ride) = ride {
                go_on(&mut world, driver, rider, ride);
            }
            world.run(4_000);
            let broke = !world.is_up(victim);
            broken += usize::from(broke);
            if broke && breaks_at_driver {
                assert_eq!(drivers_known(&world, watcher), 0, "after {after}: withdrawn or engaged");
            }
            world.hosts[victim].store_breaks_after = None;
            world.hosts[victim].store_broken = false;
            if broke {
                world.start(victim);
            }
            let here = hailmesh_types::Private(HERE.parse().unwrap());
            world.command(driver, Command::Move(here)).unwrap();
            world.command(driver, Command::GoOnline(profile())).unwrap();
            assert!(world.run_until(60_000, settled), "after {after}:\n{}", world.transcript());
            // The rest of the ride, then a second one: the chains, heads and sequence
            // numbers of the first go on.
            if let (Some(ride), Some(at_driver)) = (ride, world.last_ride(driver))
                && !matches!(at_driver.state, RideState::Completed)
            {
                let _ = world.command(driver, Command::Cancel(at_driver.ride));
                let _ = world.command(driver, Command::EndAlone(at_driver.ride));
                world.run(130_000);
                let _ = world.command(rider, Command::Cancel(ride));
            }
            world.run(30_000);
            check_promises(&world);
            for (name, host) in world.hosts.iter().enumerate() {
                let caught = host
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Evidence { .. } | Event::Cloned { .. }));
                assert!(
                    !caught,
                    "host {name}, after {after} at driver {breaks_at_driver}: {:?}",
                    host.events
                );
            }
        }
        println!("broke {broken} times, at driver {breaks_at_driver}");
        assert!(broken >= 6, "{broken}");
    }
}

#[test]
fn an_old_backup_replaces_its_key_before_it_signs() {
    let mut world = World::new(36);
    let (driver, rider, ride) = firm_pair(&mut world);
    let old = world.hosts[driver].journal.clone();
    finish(&mut world, driver, rider, ride);
    let key_before = world.peer(driver);
    world.crash(driver);
    world.hosts[driver].journal = old;
    world.start_with(driver, true).unwrap();
    assert_ne!(world.peer(driver), key_before, "a restored store must not go on with its key");
    world.command(driver, Command::Move(hailmesh_types::Private(HERE.parse().unwrap()))).unwrap();
    world.command(driver, Command::GoOnline(profile())).unwrap();
    let again = world.request(rider, NEAR, THERE);
    assert!(world.run_until(60_000, |world| world.state(rider, again) == Some(RideState::Firm)));
    check_promises(&world);
}

#[test]
fn an_old_backup_of_a_rider_signs_nothing_with_its_old_keys() {
    let mut world = World::new(41);
    let (driver, rider, ride) = firm_pair(&mut world);
    let old = world.hosts[rider].journal.clone();
    finish(&mut world, driver, rider, ride);
    world.crash(rider);
    world.hosts[rider].journal = old;
    let sent = world.sent.len();
    world.start_with(rider, true).unwrap();
    assert_eq!(world.state(rider, ride), Some(RideState::Cancelled));
    world.run(60_000);
    let spoke = world.sent[sent..].iter().any(|(from, _, frame)| {
        let content = Frame::decode(frame).unwrap().content;
        *from == rider && matches!(content, FrameContent::Statement(_))
    });
    assert!(!spoke, "a key that may have signed something else was used");
    let again = world.request(rider, NEAR, THERE);
    assert!(world.run_until(60_000, |world| world.state(rider, again) == Some(RideState::Firm)));
    check_promises(&world);
}

#[test]
fn a_running_copy_of_the_home_is_noticed() {
    let mut world = World::new(37);
    let driver = world.driver(HERE);
    world.run(1_000);
    let copy = world.add(Some(Role::Driver), hailmesh_market::Config::default());
    world.crash(copy);
    world.hosts[copy].journal = world.hosts[driver].journal.clone();
    world.start(copy);
    world.command(copy, Command::Move(hailmesh_types::Private(HERE.parse().unwrap()))).unwrap();
    world.command(copy, Command::GoOnline(profile())).unwrap();
    world.run(120_000);
    let noticed =
        |name: Name| world.hosts[name].events.iter().any(|event| matches!(event, Event::Cloned { .. }));
    assert!(noticed(driver) || noticed(copy));
}

#[test]
fn on_a_new_host_a_driver_listens_before_it_offers() {
    let mut world = World::new(40);
    let driver = world.driver(HERE);
    world.run(1_000);
    world.crash(driver);
    world.new_host = true;
    world.start(driver);
    world.command(driver, Command::Move(hailmesh_types::Private(HERE.parse().unwrap()))).unwrap();
    world.command(driver, Command::GoOnline(profile())).unwrap();
    let offered = |world: &World| {
        let seen = |event: &&Event| matches!(event, Event::OfferPublished { .. });
        world.hosts[driver].events.iter().filter(seen).count()
    };
    world.run(99_000);
    assert_eq!(offered(&world), 1, "only the one of the first run");
    world.run(10_000);
    assert_eq!(offered(&world), 2);
}

#[test]
fn a_driver_that_accepts_twice_is_found_out() {
    // A driver whose store forgets: it signs two ACCEPTs for one slot to two riders. The
    // second rider's node and the first's hear both once the first is shown the chain.
    let mut world = World::new(38);
    let driver = world.driver(HERE);
    let rider = world.rider();
    world.run(500);
    let journal = world.hosts[driver].journal.clone();
    let first = world.request(rider, NEAR, THERE);
    assert!(world.run_until(3_000, |world| world.state(rider, first) == Some(RideState::Firm)));
    world.crash(driver);
    world.hosts[driver].journal = journal;
    world.start(driver);
    world.command(driver, Command::Move(hailmesh_types::Private(HERE.parse().unwrap()))).unwrap();
    world.command(driver, Command::GoOnline(profile())).unwrap();
    let second = world.rider();
    let again = world.request(second, NEAR, THERE);
    assert!(world.run_until(30_000, |world| world.state(second, again) == Some(RideState::Firm)));
    world.run(1_000);
    finish(&mut world, driver, second, again);
    // Its next offers name the second ACCEPT as head: the first rider holds the other.
    world.run(180_000);
    let found =
        |name: Name| world.hosts[name].events.iter().any(|event| matches!(event, Event::Evidence { .. }));
    let own = world.hosts[driver].events.iter().any(|event| matches!(event, Event::Cloned { .. }));
    assert!(found(rider) || found(second) || own, "nobody noticed");
}

#[test]
fn nothing_binding_is_ever_said_twice_differently() {
    let mut world = World::new(39);
    world.loss = 0.3;
    world.duplication = 0.5;
    let (driver, rider) = (world.driver(HERE), world.rider());
    world.run(1_000);
    world.request(rider, NEAR, THERE);
    world.run(120_000);
    let mut accepts: BTreeMap<(PublicKey, u64), StatementId> = BTreeMap::new();
    let mut outcomes: BTreeMap<(PublicKey, StatementId), Outcome> = BTreeMap::new();
    for (_, _, frame) in &world.sent {
        let Ok(Frame { content: FrameContent::Statement(bytes), .. }) = Frame::decode(frame) else {
            continue;
        };
        match AnyStatement::decode(bytes).unwrap() {
            AnyStatement::Accept(accept) => {
                let slot = (*accept.signer(), accept.body().slot);
                assert_eq!(*accepts.entry(slot).or_insert(accept.id()), accept.id());
            }
            AnyStatement::Void(void) => {
                let about = (*void.signer(), void.body().accept_id);
                assert_eq!(*outcomes.entry(about).or_insert(void.body().outcome), void.body().outcome);
            }
            _ => {}
        }
    }
    let _ = driver;
}
