//! Rides that end otherwise, people who say yes and no, and what the other side sees.

use hailmesh_node::NodeEvent;
use hailmesh_node::market::{Command, Event, RideId};
use hailmesh_node::wire::RideState;
use hailmesh_types::{Amount, Resolution};
use std::time::Duration;
use tokio::time::Instant;

use crate::city::{Person, Ride, Spec, eventually, is_ride, point, wish};

async fn pair() -> (Person, Person) {
    let driver = Spec::driver().start().await;
    let rider = Spec::rider().knows(&driver).await.start().await;
    (driver, rider)
}

/// After an end, both are free: the next ride goes to its own end, and its chain says
/// how the one before ended.
async fn ride_again(driver: &Person, rider: &Person) {
    let ride = Ride::agreed(driver, rider, rider.request().await).await;
    ride.finish(driver, rider).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_cancels() {
    let (driver, rider) = pair().await;
    let seen = rider.node.last_event_id();
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    driver.command(Command::Cancel(ride.at_driver)).await;
    driver.until(ride.at_driver, &[RideState::Cancelled]).await;
    // The rider is told at once.
    rider.event("the end", seen, is_ride(RideState::Void)).await;
    let facts = driver.receipt(ride.at_driver).await.verify(&[]).unwrap();
    assert!(facts.firm && !facts.cosigned && facts.ended.is_some(), "{facts:?}");
    assert_eq!(facts.fee_claimed.unwrap_or(Amount::ZERO), Amount::ZERO, "a driver cancels for nothing");
    rider.receipt(ride.at_rider).await.verify(&[]).unwrap();
    ride_again(&driver, &rider).await;
    driver.stop().await;
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rider_cancels() {
    let (driver, rider) = pair().await;
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    let view = rider.node.ride(ride.at_rider).await.unwrap().unwrap();
    assert_eq!(view.cancel_fee, Some(Amount::ZERO), "just agreed");
    rider.command(Command::Cancel(ride.at_rider)).await;
    rider.until(ride.at_rider, &[RideState::Cancelled]).await;
    driver.until(ride.at_driver, &[RideState::Cancelled]).await;
    let facts = rider.receipt(ride.at_rider).await.verify(&[]).unwrap();
    assert!(facts.firm && !facts.cosigned && facts.ended.is_some(), "{facts:?}");
    driver.receipt(ride.at_driver).await.verify(&[]).unwrap();
    ride_again(&driver, &rider).await;
    driver.stop().await;
    rider.stop().await;
}

/// A driver whose user is asked, and what it is asked.
async fn asked() -> (Person, Person, RideId, RideId) {
    let driver = Spec::driver().with(|settings| settings.driver.accept = "ask".to_owned());
    let driver = driver.start().await;
    let rider = Spec::rider().knows(&driver).await.start().await;
    let mut short = wish();
    short.patience = hailmesh_types::Duration::from_secs(5);
    let at_rider = rider.request_as(short).await;
    let at_driver = driver
        .event("the question", 0, |event| match event {
            NodeEvent::Market(Event::Asked { ride, fare, .. }) => {
                assert!(fare.minor() > 0);
                Some(*ride)
            }
            _ => None,
        })
        .await;
    let view = rider.node.ride(at_rider).await.unwrap().unwrap();
    assert_eq!(view.state, RideState::Requested, "nothing is settled before the user has spoken");
    (driver, rider, at_driver, at_rider)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_who_is_asked_says_yes() {
    let (driver, rider, at_driver, at_rider) = asked().await;
    driver.command(Command::Accept(at_driver)).await;
    let ride = Ride::agreed(&driver, &rider, at_rider).await;
    assert_eq!(ride.at_driver, at_driver);
    ride.finish(&driver, &rider).await;
    driver.stop().await;
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_who_is_asked_says_no() {
    let (driver, rider, at_driver, at_rider) = asked().await;
    driver.command(Command::Decline(at_driver)).await;
    let view = rider.until(at_rider, &[RideState::Declined, RideState::Expired]).await;
    let why = view.no_match.expect("the rider is told why");
    assert_eq!(why.answers.get("policy"), Some(&1), "{why:?}");
    assert!(view.agreement.is_none() && !view.has_receipt);
    driver.stop().await;
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_position_reaches_the_rider_once_it_is_firm() {
    let (driver, rider) = pair().await;
    rider.sees_drivers(1).await;
    // Before that nothing finer than the cell is known (P14.6).
    driver.command(Command::Move(point("40.7581,-73.9853"))).await;
    let [item] = &rider.search().await.items[..] else { panic!("one driver") };
    assert_eq!(item.cell.resolution(), Resolution::DRIVER);
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    let on_the_way = point("40.7586,-73.9849");
    driver.command(Command::Move(on_the_way)).await;
    let seen = async || rider.node.ride(ride.at_rider).await.unwrap().unwrap().seen_at.map(|(at, _)| at);
    assert_eq!(eventually("the driver's position", seen).await, on_the_way);
    let driver_sees = driver.node.ride(ride.at_driver).await.unwrap().unwrap().seen_at;
    assert_eq!(driver_sees, None, "the rider's own is not shared unasked");
    let waiting = point("40.7592,-73.9848");
    rider.command(Command::Move(waiting)).await;
    rider.command(Command::SharePosition(true)).await;
    let seen = async || driver.node.ride(ride.at_driver).await.unwrap().unwrap().seen_at.map(|(at, _)| at);
    assert_eq!(eventually("the rider's position", seen).await, waiting);
    ride.finish(&driver, &rider).await;
    driver.stop().await;
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_takes_the_offer_back_within_a_second() {
    let (driver, rider) = pair().await;
    rider.sees_drivers(1).await;
    let begun = Instant::now();
    let (_, gone) = tokio::join!(driver.stop(), async {
        rider.sees_drivers(0).await;
        begun.elapsed()
    });
    println!("gone after {gone:?}");
    assert!(gone < Duration::from_secs(1), "{gone:?}");
    assert!(rider.search().await.items.is_empty());
    rider.stop().await;
}
