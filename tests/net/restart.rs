//! Either side is killed at every step of a ride and started again on its home: the ride
//! is where it was, goes to its end, and nobody was bound twice.

use hailmesh_node::NodeEvent;
use hailmesh_node::market::{Answer, Command, Completion, Event, RideView, Role};
use hailmesh_node::wire::{Kind, RideState};
use hailmesh_types::Amount;

use crate::city::{HERE, Person, Ride, Spec, point, wish};
use crate::puppet::Puppet;

/// When the victim is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Firm,
    Arrived,
    InProgress,
    /// The driver has named a fare that needs the rider's word.
    CompleteProposed,
}

/// Tolls of the ride, minor units: nobody co-signs those by itself.
const TOLL: u64 = 650;

/// The ride of this victim, before and after.
async fn crashed(victim: Person, ride: hailmesh_node::market::RideId) -> Person {
    let before = view(&victim, ride).await;
    let victim = victim.crash().await;
    let after = view(&victim, ride).await;
    let went_on = before.state == RideState::Firm && after.state == RideState::EnRoute;
    assert!(after.state == before.state || went_on, "from {} to {}", before.state, after.state);
    assert_eq!(
        (after.agreement, after.counterparty, after.fare, after.role),
        (before.agreement, before.counterparty, before.fare, before.role)
    );
    assert_eq!((after.boarding_code, after.pickup), (before.boarding_code, before.pickup));
    assert_eq!((after.drop, after.vehicle), (before.drop, before.vehicle));
    victim
}

async fn view(person: &Person, ride: hailmesh_node::market::RideId) -> RideView {
    person.node.ride(ride).await.unwrap().expect("the ride is known")
}

/// A ride from request to receipt, in which one side is killed after a step.
async fn a_crash(of: Role, after: Step) {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Spec::driver().at_home(&folder.path().join("driver")).start().await;
    let rider = Spec::rider().at_home(&folder.path().join("rider")).knows(&driver).await;
    let mut rider = rider.start().await;
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    for step in [Step::Firm, Step::Arrived, Step::InProgress, Step::CompleteProposed] {
        match step {
            Step::Firm => {}
            Step::Arrived => ride.arrive(&driver, &rider).await,
            Step::InProgress => ride.board(&driver, &rider).await,
            Step::CompleteProposed => propose(&ride, &driver, &rider).await,
        }
        if step == after {
            match of {
                Role::Driver => driver = crashed(driver, ride.at_driver).await,
                Role::Rider => rider = crashed(rider, ride.at_rider).await,
            }
        }
    }
    rider.command(Command::Accept(ride.at_rider)).await;
    let facts = ride.is_completed(&driver, &rider).await;
    assert_eq!(facts.asked, facts.total);
    // Both are free: they can do it again.
    assert_eq!(driver.status().await.snapshot.open_rides, 0);
    assert_eq!(rider.status().await.snapshot.open_rides, 0);
    driver.stop().await;
    rider.stop().await;
}

async fn propose(ride: &Ride, driver: &Person, rider: &Person) {
    let seen = rider.node.last_event_id();
    let figures = Completion { extra: Some(Amount::from_minor(TOLL).unwrap()), ..Completion::default() };
    driver.command(Command::Complete(ride.at_driver, figures)).await;
    rider
        .event("the fare to be asked for", seen, |event| match event {
            NodeEvent::Market(Event::FareDisputed { ride: of, .. }) if *of == ride.at_rider => Some(()),
            _ => None,
        })
        .await;
}

macro_rules! crashes {
    ($($name:ident: $of:ident $after:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            a_crash(Role::$of, Step::$after).await;
        })*
    };
}

crashes! {
    a_driver_that_is_firm: Driver Firm;
    a_driver_that_has_arrived: Driver Arrived;
    a_driver_under_way: Driver InProgress;
    a_driver_that_has_named_its_fare: Driver CompleteProposed;
    a_rider_that_is_firm: Rider Firm;
    a_rider_whose_driver_has_arrived: Rider Arrived;
    a_rider_under_way: Rider InProgress;
    a_rider_that_is_asked_for_its_word: Rider CompleteProposed;
}

/// The rider comes back under another identity, then the driver at another address: the
/// driver finds the rider by what it wrote down (W12).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rider_and_then_its_driver_who_is_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let driver = Spec::driver().at_home(&folder.path().join("driver")).start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rider = Spec::rider().at_home(&folder.path().join("rider")).knows(&driver).await;
    let rider = rider.with(|settings| settings.network.listen = vec![format!("/ip4/127.0.0.1/tcp/{free}")]);
    let rider = rider.start().await;
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    let (first, rider) = (rider.status().await, crashed(rider, ride.at_rider).await);
    let second = rider.status().await;
    assert_ne!(first.peer_id, second.peer_id);
    assert_eq!(first.listen, second.listen);
    // The driver hears of it.
    ride.arrive(&driver, &rider).await;
    let (first, driver) = (driver.status().await, crashed(driver, ride.at_driver).await);
    let second = driver.status().await;
    assert_eq!(first.peer_id, second.peer_id);
    assert_ne!(first.listen, second.listen);
    ride.board(&driver, &rider).await;
    ride.complete(&driver, &rider).await;
    driver.stop().await;
    rider.stop().await;
}

/// Time enough to restart while the other side waits.
fn patient(settings: &mut hailmesh_node::config::Settings) {
    settings.timers.hold_ms = 20_000;
    settings.timers.doubt_ms = 30_000;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Spec::relay().start().await;
    let spec = Spec::driver().at_home(folder.path()).knows(&relay).await.with(patient);
    let driver = spec.start().await;
    let spec = Spec::rider().knows(&relay).await.with(patient);
    let mut rider = Puppet::start(Role::Rider, &spec, [Kind::Confirm]).await;
    let Answer::Ride(at_rider) = rider.command(Command::RequestRide(Box::new(wish()))).await else {
        panic!("a ride was asked for")
    };
    let held = driver.any("is held", |view| view.state == RideState::Held).await;
    let committed = rider.until(&[RideState::Committed]).await;
    assert_eq!((committed.ride, committed.agreement), (at_rider, held.agreement));

    let driver = crashed(driver, held.ride).await;
    assert_eq!(driver.status().await.snapshot.state, "held");
    rider.let_speak();
    let firm = driver.until_agreed(held.ride).await;
    let theirs = rider.until(&[RideState::Firm, RideState::EnRoute]).await;
    assert_eq!(theirs.agreement, firm.agreement);

    // And to its end.
    driver.command(Command::Arrive(held.ride)).await;
    rider.until(&[RideState::Arrived]).await;
    let code = theirs.boarding_code.expect("a code").expose().clone();
    driver.board(held.ride, &code).await;
    driver.command(Command::Complete(held.ride, Completion::default())).await;
    driver.until(held.ride, &[RideState::Completed]).await;
    rider.until(&[RideState::Completed]).await;
    let facts = driver.receipt(held.ride).await.verify(&[]).unwrap();
    assert!(facts.cosigned, "{facts:?}");
    driver.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rider_that_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Spec::relay().start().await;
    let spec = Spec::driver().knows(&relay).await.with(patient);
    let mut driver = Puppet::start(Role::Driver, &spec, [Kind::Ack]).await;
    driver.command(Command::Move(point(HERE))).await;
    driver.command(Command::GoOnline(spec.settings.driver.profile().unwrap())).await;
    let spec = Spec::rider().at_home(folder.path()).knows(&relay).await.with(patient);
    let rider = spec.start().await;
    let ride = rider.request().await;
    let committed = rider.until(ride, &[RideState::Committed]).await;
    // The driver is firm already; its word of it was lost.
    let firm = driver.until(&[RideState::Firm, RideState::EnRoute]).await;
    assert_eq!(firm.agreement, committed.agreement);

    let rider = crashed(rider, ride).await;
    assert_eq!(rider.status().await.snapshot.state, "committed");
    driver.let_speak();
    let agreed = rider.until_agreed(ride).await;
    assert_eq!(agreed.agreement, firm.agreement);
    assert!(agreed.vehicle.is_some(), "the new connection is shown the vehicle");

    driver.command(Command::Arrive(firm.ride)).await;
    let code = rider.until(ride, &[RideState::Arrived]).await.boarding_code.expect("a code");
    driver.command(Command::Board(firm.ride, code.expose().clone())).await;
    rider.until(ride, &[RideState::InProgress]).await;
    driver.until(&[RideState::InProgress]).await;
    driver.command(Command::Complete(firm.ride, Completion::default())).await;
    rider.until(ride, &[RideState::Completed]).await;
    driver.until(&[RideState::Completed]).await;
    assert!(rider.receipt(ride).await.verify(&[]).unwrap().cosigned);
    rider.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rider_that_was_only_looking_has_promised_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Spec::relay().start().await;
    let rider = Spec::rider().at_home(folder.path()).knows(&relay).await.start().await;
    let ride = rider.request().await;
    let rider = rider.crash().await;
    // Searches are not stored (P11.2).
    assert_eq!(rider.node.ride(ride).await.unwrap(), None);
    let driver = Spec::driver().knows(&relay).await.start().await;
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    ride.finish(&driver, &rider).await;
    assert_eq!(driver.node.rides().await.unwrap().len(), 1);
    for person in [driver, rider, relay] {
        person.stop().await;
    }
}

/// What a driver that starts again has left of its home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The identity key alone: another machine, or a disk that was lost.
    Key,
    /// Everything, but the journal was in memory.
    Memory,
}

/// Two shift certificates of one identity that overlap, neither replacing the other, are
/// evidence against it (E7). A driver that has lost its journal knows nothing of the ones
/// before: it says so in the new one (P16.3), and nobody holds it against it.
async fn an_honest_driver_without_its_journal(left: Left) {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("driver");
    let rider = Spec::rider().start().await;
    let spec = Spec::driver().at_home(&home).knows(&rider).await;
    let spec = match left {
        Left::Key => spec,
        Left::Memory => spec.with(|settings| settings.store.url = Some("memory".to_owned())),
    };
    let driver = spec.start().await;
    rider.sees_drivers(1).await;
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    ride.finish(&driver, &rider).await;
    let before = driver.status().await.snapshot.key;
    let spec = driver.stop().await;
    rider.sees_drivers(0).await;
    if left == Left::Key {
        for entry in std::fs::read_dir(&home).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name != "identity.key") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    let driver = spec.start().await;
    assert_ne!(driver.status().await.snapshot.key, before, "{left:?}");
    rider.sees_drivers(1).await;
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    ride.finish(&driver, &rider).await;
    for person in [&driver, &rider] {
        let seen = person.status().await.snapshot;
        assert_eq!((seen.bans, seen.evidence), (0, 0), "{left:?}");
    }
    driver.stop().await;
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_has_only_its_key_is_not_framed() {
    an_honest_driver_without_its_journal(Left::Key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_whose_journal_was_in_memory_is_not_framed() {
    an_honest_driver_without_its_journal(Left::Memory).await;
}
