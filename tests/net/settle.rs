//! Two nodes make a ride of it, with nobody in between or with a relay that both know.

use hailmesh_node::market::{Command, Completion};
use hailmesh_node::wire::RideState;
use hailmesh_types::{Duration, Private, Text};

use crate::city::{Person, Ride, Spec, eventually, point};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_settle_and_complete_a_ride() {
    let driver = Spec::driver().start().await;
    let rider = Spec::rider().knows(&driver).await.start().await;
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    let view = driver.node.ride(ride.at_driver).await.unwrap().unwrap();
    assert_eq!(view.pickup, Some(point(crate::city::NEAR)), "the chosen driver is told where to go");
    assert_eq!(view.contact.map(|Private([name, ..])| name).as_deref(), Some("Ada"));
    assert_eq!(view.drop, None, "the destination is shown at boarding");
    let view = rider.node.ride(ride.at_rider).await.unwrap().unwrap();
    assert_eq!(view.vehicle.expect("the vehicle is shown").expose().plate.as_str(), "HM 1");

    ride.arrive(&driver, &rider).await;
    ride.board(&driver, &rider).await;
    let view = driver.node.ride(ride.at_driver).await.unwrap().unwrap();
    assert_eq!(view.drop, Some(point(crate::city::THERE)));
    let figures = Completion {
        dist_m: Some(1_300),
        ride_time: Some(Duration::from_secs(300)),
        ..Completion::default()
    };
    driver.command(Command::Complete(ride.at_driver, figures)).await;
    ride.is_completed(&driver, &rider).await;

    rider.command(Command::Rate(ride.at_rider, 5, Text::new("thanks").unwrap())).await;
    let rated = async || {
        let facts = driver.receipt(ride.at_driver).await.verify(&[]).unwrap();
        (!facts.rated.is_empty()).then_some(facts.rated)
    };
    let [(by, stars)] = eventually("the rating", rated).await[..] else { panic!("one rating") };
    assert_eq!((by, stars), (rider.receipt(ride.at_rider).await.verify(&[]).unwrap().rider, 5));
    // Nothing is left to be said.
    for person in [&driver, &rider] {
        let said = async || (person.status().await.snapshot.outbox == 0).then_some(());
        eventually("an empty outbox", said).await;
    }
    driver.stop().await;
    rider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_carries_gossip_between_nodes_that_know_only_it() {
    let relay = Spec::relay().start().await;
    let rider = Spec::rider().knows(&relay).await.start().await;
    rider.listens().await;
    let driver = Spec::driver().knows(&relay).await.start().await;
    rider.sees_drivers(1).await;
    let known = async |person: &Person| -> Vec<_> {
        person.node.peers().await.iter().map(|peer| hailmesh_node::peer_id(&peer.key)).collect()
    };
    for person in [&driver, &rider] {
        assert_eq!(known(person).await, [relay.node.peer_id()], "the offer came through the relay");
    }
    let [item] = &rider.search().await.items[..] else { panic!("one driver") };
    assert_eq!(Some(item.author), driver.status().await.key);

    // What is settled is nobody else's business: that needs a connection of its own.
    let ride = Ride::agreed(&driver, &rider, rider.request().await).await;
    assert!(known(&rider).await.contains(&driver.node.peer_id()));
    ride.finish(&driver, &rider).await;
    let relayed = relay.status().await.snapshot;
    assert_eq!((relayed.open_rides, relayed.key), (0, None), "the relay has no part in it");
    for person in [driver, rider, relay] {
        person.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rider_who_is_first_is_found_by_a_driver_who_comes_later() {
    let relay = Spec::relay().start().await;
    let rider = Spec::rider().knows(&relay).await.start().await;
    let ride = rider.request().await;
    rider
        .event("the wish is made known", 0, |event| match event {
            hailmesh_node::NodeEvent::Market(hailmesh_node::market::Event::OfferPublished { .. }) => Some(()),
            _ => None,
        })
        .await;
    assert_eq!(rider.node.ride(ride).await.unwrap().unwrap().state, RideState::Requested);
    let driver = Spec::driver().knows(&relay).await.start().await;
    let ride = Ride::agreed(&driver, &rider, ride).await;
    ride.finish(&driver, &rider).await;
    for person in [driver, rider, relay] {
        person.stop().await;
    }
}
