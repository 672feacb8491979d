//! A rider whose every peer is an attacker that passes nothing on.

use std::collections::BTreeSet;

use hailmesh_net::peer_id;
use hailmesh_node::wire::RideState;
use hailmesh_sim::adversary::Behaviour;
use hailmesh_types::Duration;
use tokio::sync::watch;

use super::court::Court;
use super::host::{Attacker, Victims};
use super::town::{listen, quick, setup};
use crate::city::{Person, Ride, Spec, eventually, point, wish};

/// Those around the victim.
const RING: u32 = 4;

/// How long offers of the driver live.
const TTL_MS: u64 = 10_000;

/// Offers as short as they may be, so that what the ring says again is stale before long.
fn brief(settings: &mut hailmesh_node::config::Settings) {
    quick(settings);
    settings.timers.offer_ttl_ms = TTL_MS;
    settings.timers.offer_refresh_ms = 9_000;
}

/// Peers that a node is connected to, but for those in `known`.
async fn others(person: &Person, known: &BTreeSet<hailmesh_net::PeerId>) -> usize {
    person.node.peers().await.iter().filter(|peer| !known.contains(&peer_id(&peer.key))).count()
}

pub(super) async fn whoever_is_surrounded_is_not_bound_to_anybody_and_is_served_once_it_gets_out() {
    let court = Court::new();
    let driver = Spec::driver().tapped(court.tap(0)).with(brief).start().await;
    let rider = Spec::rider().knows(&driver).await.tapped(court.tap(1)).with(quick).start().await;
    let mut around = Victims::new();
    listen(&mut around, &driver, None).await;
    let (tell, victims) = watch::channel(around.clone());
    // Where the victim is, and keen on what it asks for.
    let mut ring = Vec::new();
    let mut peers = BTreeSet::new();
    for number in 0..RING {
        let mut place = setup([11; 32], number);
        place.place = point(crate::city::NEAR).0;
        let attacker = Attacker::start(100 + number, Behaviour::Eclipse, place, &court, victims.clone());
        peers.insert(attacker.peer());
        ring.push(attacker);
    }
    // They learn what is true now; by the time that the victim hears it, it is not.
    let heard = async || (others(&driver, &BTreeSet::new()).await > RING as usize).then_some(());
    eventually("the ring at the driver", heard).await;
    let first = Ride::agreed(&driver, &rider, rider.request().await).await;
    first.finish(&driver, &rider).await;

    // What they have kept is the oldest that they heard.
    let issued = async || driver.status().await.snapshot.offer.map(|(_, issued)| issued);
    let begun = eventually("an offer", issued).await;
    let later =
        async || issued().await.filter(|issued| issued.millis_since(begun) > TTL_MS + 1_000).map(drop);
    eventually("a driver that has gone on", later).await;
    let victim = Spec::rider().tapped(court.tap(2)).with(quick).start().await;
    listen(&mut around, &victim, None).await;
    tell.send_replace(around);
    let followers = [(0, &driver), (1, &rider), (2, &victim)]
        .map(|(host, person)| tokio::spawn(court.clone().follow(host, person.node.clone())));
    // What they repeat of the driver has ended by now.
    victim.sees_drivers(RING as usize).await;
    assert_eq!(others(&victim, &peers).await, 0, "all of its peers are attackers");

    let mut hasty = wish();
    hasty.patience = Duration::from_secs(5);
    let alone = victim.request_as(hasty).await;
    // Meanwhile honest people do not notice.
    let second = Ride::agreed(&driver, &rider, rider.request().await).await;
    second.finish(&driver, &rider).await;
    let view = victim.until(alone, &[RideState::Expired, RideState::Declined]).await;
    assert!(view.agreement.is_none() && view.no_match.is_some(), "{view:?}");
    assert_eq!(others(&victim, &peers).await, 0, "it is still surrounded");
    assert_eq!(driver.node.rides().await.unwrap().len(), 2, "the driver was bound to the other rider only");

    // One honest address is all that it takes.
    let way_out = driver.status().await.listen[0].clone();
    victim.node.add_peer(way_out).await.unwrap();
    victim.sees_drivers(RING as usize + 1).await;
    let third = Ride::agreed(&driver, &victim, victim.request().await).await;
    third.finish(&driver, &victim).await;
    for attacker in ring {
        assert!(attacker.stop().await.attempts() > 0, "it was told something");
    }
    for person in [driver, rider, victim] {
        person.stop().await;
    }
    for follower in followers {
        follower.await.unwrap();
    }
    assert_eq!(court.faults(), [""; 0]);
}
