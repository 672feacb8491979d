//! What is in the book, and what leaves it.

use std::collections::BTreeSet;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use hailmesh_net::{Command as Net, Event, Service};
use hailmesh_node::clock::Clock;
use hailmesh_node::config::Settings;
use hailmesh_node::market::Command;
use hailmesh_node::wire::{
    AcceptMode, DriverOffer, DriverTerms, Extensions, NetworkId, RideState, Topic, Verified,
};
use hailmesh_types::{Cell, Class, Features, GeoPoint, NetworkName, Resolution, Seats, Tariff, Timestamp};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, timeout};

use crate::city::{DEADLINE, NEAR, NETWORK, Spec, eventually, point, wish};
use crate::puppet::net_config;

/// Offers that stand no longer than the protocol's least.
fn short(settings: &mut Settings) {
    settings.timers.offer_ttl_ms = 10_000;
    settings.timers.offer_refresh_ms = 8_000;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offer_of_a_driver_that_is_gone_expires() {
    let relay = Spec::relay().start().await;
    let rider = Spec::rider().knows(&relay).await.start().await;
    rider.listens().await;
    let driver = Spec::driver().knows(&relay).await.with(short).start().await;
    rider.sees_drivers(1).await;
    let killed = Instant::now();
    driver.kill().await;
    // No withdrawal comes, and the connection was none of the rider's.
    assert_eq!(rider.status().await.snapshot.drivers, 1);
    rider.sees_drivers(0).await;
    let after = killed.elapsed();
    assert!(after < Duration::from_secs(12), "an offer of 10 s was kept for {after:?}");
    let mut brief = wish();
    brief.patience = hailmesh_types::Duration::from_secs(1);
    let ride = rider.request_as(brief).await;
    let why = rider.until(ride, &[RideState::Expired]).await.no_match.expect("the rider is told why");
    assert_eq!((why.asked, why.explain.heard), (0, 0), "{why:?}");
    rider.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_moves_away_is_seen_where_it_is_and_then_no_more() {
    let relay = Spec::relay().start().await;
    let rider = Spec::rider().knows(&relay).await.start().await;
    rider.listens().await;
    let driver = Spec::driver().knows(&relay).await.with(short).start().await;
    rider.sees_drivers(1).await;
    let [item] = &rider.search().await.items[..] else { panic!("one driver") };
    assert!(item.bounds.upper_m < 1_000.0, "{:?}", item.bounds);

    // A kilometre and a half north: another cell, maybe another topic, the same author.
    let north: GeoPoint = "40.7720,-73.9855".parse().unwrap();
    driver.command(Command::Move(point("40.7720,-73.9855"))).await;
    let moved = async || {
        let answer = rider.search().await;
        assert!(answer.items.len() <= 1, "one live offer an author");
        let item = answer.items.first()?.clone();
        (item.cell == Cell::at(north, Resolution::DRIVER)).then_some(item)
    };
    let item = eventually("the driver in its new cell", moved).await;
    assert!(item.bounds.lower_m > 500.0 && item.bounds.upper_m < 3_000.0, "{:?}", item.bounds);

    // Thirty kilometres on: out of all that the rider listens to.
    driver.command(Command::Move(point("41.0340,-73.7629"))).await;
    rider.sees_drivers(0).await;
    assert!(rider.search().await.items.is_empty());
    for person in [driver, rider, relay] {
        person.stop().await;
    }
}

/// One free car among others does not listen to them; whoever comes hears it all the same,
/// though it is in none of the topic's meshes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_driver_that_does_not_listen_is_heard_and_settles() {
    let crowded = |settings: &mut Settings| {
        // As often as an author may (P20).
        settings.timers.offer_refresh_ms = 10_000;
        settings.policy.idle_crowd = 1;
    };
    let relay = Spec::relay().start().await;
    let one = Spec::driver().knows(&relay).await.with(crowded).start().await;
    let other = Spec::driver().knows(&relay).await.with(crowded).start().await;
    for driver in [&one, &other] {
        eventually("a driver that has heard enough", async || {
            let snapshot = driver.status().await.snapshot;
            (snapshot.away && snapshot.state == "free").then_some(())
        })
        .await;
    }
    assert!(one.status().await.hints.iter().any(|hint| hint.contains("many cars are free")));
    let rider = Spec::rider().knows(&relay).await.start().await;
    rider.sees_drivers(2).await;
    let view = rider.until_agreed(rider.request().await).await;
    assert!(view.agreement.is_some(), "{view:?}");
    for person in [rider, one, other, relay] {
        person.stop().await;
    }
}

const OFFERS: usize = 1_000;
/// Peers that publish them: one may forward 800 at once, and 200 of a topic, which may be
/// the same for all that are near.
const PEERS: usize = 6;
/// Offers that wait for their verdict at a time.
const WINDOW: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_offers_of_a_thousand_keys_are_all_booked_and_found() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let network: NetworkName = NETWORK.parse().unwrap();
    let clock = Clock::start();
    let offers: Vec<_> = (0..OFFERS).map(|_| offer(&mut rng, &network, clock.now())).collect();
    let topics: BTreeSet<Topic> = offers.iter().map(|(topic, _)| topic.clone()).collect();
    println!("{} topics", topics.len());

    let rider = Spec::rider().start().await;
    let mut publishers = Vec::new();
    for _ in 0..PEERS {
        let settings = Spec::relay().knows(&rider).await.settings;
        let seed = rng.random();
        let (handle, mut events, _task) = Service::start(net_config(&settings), &seed, None).await.unwrap();
        let mut heard = BTreeSet::new();
        let listening = async {
            while !topics.is_subset(&heard) {
                if let Event::Subscribed { topic, .. } = events.next().await.expect("the service runs") {
                    heard.insert(topic);
                }
            }
        };
        timeout(DEADLINE, listening).await.expect("the rider listens to every topic");
        // Whatever else comes is of no interest, but somebody must take it.
        tokio::spawn(async move { while events.next().await.is_some() {} });
        publishers.push(handle);
    }
    let begun = Instant::now();
    for (number, (topic, bytes)) in offers.iter().enumerate() {
        let publish = Net::Publish { topic: topic.clone(), data: bytes.clone() };
        publishers[number % PEERS].send(publish).await.unwrap();
        if (number + 1) % WINDOW == 0 {
            rider.sees_drivers(number + 1).await;
        }
    }
    println!("{OFFERS} offers booked in {:?}", begun.elapsed());
    let snapshot = rider.status().await.snapshot;
    assert_eq!(snapshot.drivers, OFFERS);
    assert_eq!(snapshot.stopped.values().sum::<u64>(), 0, "{:?}", snapshot.stopped);

    let asked = Instant::now();
    let answer = rider.search().await;
    println!("search took {:?}", asked.elapsed());
    assert_eq!((answer.items.len(), answer.explain.heard), (500, 1_000));
    let nearest: Vec<f64> = answer.items.iter().map(|item| item.bounds.lower_m).collect();
    assert!(nearest[0] < 1_000.0, "{}", nearest[0]);
    let authors: BTreeSet<_> = answer.items.iter().map(|item| item.author).collect();
    assert_eq!(authors.len(), 500, "nobody is shown twice");
    rider.stop().await;
}

/// A valid offer of a new key within 500 m of the rider: in a crowd it listens no farther
/// than it must (P13.2).
pub(crate) fn offer(rng: &mut ChaCha8Rng, network: &NetworkName, now: Timestamp) -> (Topic, Vec<u8>) {
    let here: GeoPoint = NEAR.parse().unwrap();
    let mut off = || rng.random_range(-0.003..0.003);
    let place = GeoPoint::from_degrees(here.lat() + off(), here.lon() + off()).unwrap();
    let cell = Cell::at(place, Resolution::PICKUP);
    let body = DriverOffer {
        seq: 1,
        issued: now,
        ttl: hailmesh_types::Duration::from_secs(120),
        cell,
        slot: 0,
        live: Some(DriverTerms {
            class: Class::STANDARD,
            seats: Seats::new(4).unwrap(),
            features: Features::NONE,
            tariff: Tariff::default(),
            accept_mode: AcceptMode::Auto,
        }),
        addrs: Vec::new(),
        cert_id: None,
        certs: Vec::new(),
        pow: None,
        head: None,
        ext: Extensions::NONE,
    };
    let key = SigningKey::from_bytes(&rng.random());
    let signed = Verified::sign(&key, NetworkId::of(network), body);
    (Topic::drivers(network, cell), signed.bytes().to_vec())
}
