//! The nodes of the demo.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::try_join_all;
use hailmesh_market::Role;
use hailmesh_net::Tap;
use hailmesh_node::config::Settings;
use hailmesh_node::home::Home;
use hailmesh_node::keys::IdentityKey;
use hailmesh_node::{Multiaddr, Node, NodeConfig, NodeHandle, SearchRequest};
use hailmesh_types::GeoPoint;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::DemoConfig;
use super::detour::Detour;
use super::meter::Meter;
use crate::exit::Failure;

/// Times Square: the middle of the city.
const CENTRE: (f64, f64) = (40.758, -73.9855);
/// Half the width and height of the city, degrees: about 2 km each way.
const REACH: f64 = 0.018;
/// Nodes started before it that a node dials.
const DIALS: usize = 5;
/// Nodes that start at a time: each start makes keys and opens ports.
const BATCH: usize = 8;
/// The first stream of draws for links; those below are of people.
const LINKS: u64 = 1 << 32;
/// How long riders may take to see drivers.
const SIGHT: Duration = Duration::from_secs(30);

/// Running nodes.
#[derive(Debug)]
pub(super) struct City {
    pub(super) drivers: Vec<NodeHandle>,
    pub(super) riders: Vec<NodeHandle>,
    pub(super) meter: Meter,
    detours: Vec<Detour>,
}

/// A place somewhere in the city.
pub(super) fn place(rng: &mut ChaCha8Rng) -> GeoPoint {
    let lat = CENTRE.0 + rng.random_range(-REACH..REACH);
    let lon = CENTRE.1 + rng.random_range(-REACH..REACH);
    GeoPoint::from_degrees(lat, lon).expect("the city lies on the globe")
}

impl City {
    /// Starts all nodes, connects them, and waits until every rider sees a driver.
    pub(super) async fn start(config: &DemoConfig) -> Result<Self, Failure> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let (drivers, riders) = (usize::from(config.drivers), usize::from(config.riders));
        let mut city = Self {
            drivers: Vec::with_capacity(drivers),
            riders: Vec::with_capacity(riders),
            meter: Meter::default(),
            detours: Vec::new(),
        };
        let mut started = 0;
        let mut addresses: Vec<Multiaddr> = Vec::new();
        let mut roles: Vec<(Role, usize)> = (0..drivers).map(|number| (Role::Driver, number)).collect();
        roles.extend((0..riders).map(|number| (Role::Rider, number)));
        for batch in roles.chunks(BATCH) {
            let starts = batch.iter().map(|(role, number)| {
                let home = config.home.as_ref().map(|dir| dir.join(format!("{}-{number:03}", role.name())));
                let starting = Starting {
                    role: *role,
                    home,
                    at: place(&mut rng),
                    bootstrap: some(&mut rng, &addresses),
                    tap: city.meter.tap(started),
                    links: config.latency_ms.map(|(least, most)| (least..=most, links(config.seed, started))),
                };
                started += 1;
                starting.start()
            });
            for (role, node, address, detour) in try_join_all(starts.collect::<Vec<_>>()).await? {
                addresses.push(address);
                city.detours.extend(detour);
                match role {
                    Role::Driver => city.drivers.push(node),
                    Role::Rider => city.riders.push(node),
                }
            }
        }
        // The first batch had nobody to dial.
        for (number, node) in city.nodes().take(BATCH).enumerate() {
            let others: Vec<Multiaddr> = addresses
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != number)
                .map(|(_, a)| a.clone())
                .collect();
            for address in some(&mut rng, &others) {
                node.add_peer(address).await.map_err(Failure::failed)?;
            }
        }
        let seen = try_join_all(city.riders.iter().map(sees_a_driver));
        match tokio::time::timeout(SIGHT, seen).await {
            Ok(seen) => seen.map(|_| city),
            Err(_) => {
                Err(Failure::failed(format!("no rider has heard of a driver within {} s", SIGHT.as_secs())))
            }
        }
    }

    /// All nodes, drivers first.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeHandle> {
        self.drivers.iter().chain(&self.riders)
    }

    /// Whether every connection goes through the detour of the node that was dialled; where
    /// there are none, all is well.
    ///
    /// # Errors
    /// One that does not: what was measured is of no use.
    pub(super) async fn check_links(&self) -> Result<(), Failure> {
        if self.detours.is_empty() {
            return Ok(());
        }
        let mut direct = BTreeSet::new();
        for node in self.nodes() {
            direct.extend(node.status().await.map_err(Failure::failed)?.listen);
        }
        for node in self.nodes() {
            for addr in node.peers().await.into_iter().flat_map(|peer| peer.addrs) {
                // A node dials from the port on which it listens if it can: either end of a
                // connection without a detour would show.
                if direct.contains(&addr) {
                    return Err(Failure::failed(format!("a connection with {addr} has no latency")));
                }
            }
        }
        Ok(())
    }

    /// Ends all nodes.
    pub(super) async fn stop(&self) {
        futures::future::join_all(self.nodes().map(NodeHandle::shutdown)).await;
    }
}

/// A few of these.
fn some(rng: &mut ChaCha8Rng, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    let mut chosen = BTreeSet::new();
    while chosen.len() < DIALS.min(addresses.len()) {
        chosen.insert(rng.random_range(0..addresses.len()));
    }
    chosen.into_iter().map(|number| addresses[number].clone()).collect()
}

/// The draws of the links to a node.
fn links(seed: u64, node: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(LINKS + node as u64);
    rng
}

/// A node to be started.
struct Starting {
    role: Role,
    home: Option<PathBuf>,
    at: GeoPoint,
    bootstrap: Vec<Multiaddr>,
    tap: Tap,
    /// Latencies of the connections to it, milliseconds, and their draws.
    links: Option<(RangeInclusive<u32>, ChaCha8Rng)>,
}

impl Starting {
    fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        settings.network.name = "demo".to_owned();
        settings.network.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        settings.network.bootstrap = self.bootstrap.iter().map(ToString::to_string).collect();
        settings.network.mdns = false;
        // Here everybody is everywhere within a second: waiting for a nearer car gains nothing.
        settings.timers.turnover_ms = 0;
        // A ride is over before whoever left a topic may be in its mesh again (10 s in
        // gossipsub); in a real city it takes minutes.
        settings.timers.listen_ahead_ms = 0;
        if self.home.is_none() {
            settings.store.url = Some("memory".to_owned());
        }
        let here = Some(format!("{},{}", self.at.lat(), self.at.lon()));
        match self.role {
            Role::Driver => settings.driver.at = here,
            Role::Rider => settings.rider.at = here,
        }
        settings
    }

    /// Starts it: with its address, and its detour if links take their time.
    async fn start(self) -> Result<(Role, NodeHandle, Multiaddr, Option<Detour>), Failure> {
        let mut config = NodeConfig::ephemeral(Some(self.role), self.settings()).map_err(Failure::failed)?;
        if let Some(dir) = self.home {
            let home = Home::open(dir).map_err(Failure::failed)?;
            config.identity = IdentityKey::load_or_create(&home, None).map_err(Failure::failed)?;
            config.home = Some(home);
        }
        let detour = match self.links {
            Some((latency_ms, rng)) => Some(Detour::open(latency_ms, rng).await.map_err(Failure::failed)?),
            None => None,
        };
        let front = detour.as_ref().map(|detour| tcp(detour.at())).transpose()?;
        let (node, _task) = Node::start_with_network(config, |network| {
            network.tap = Some(self.tap);
            // Nobody may learn of a way past the detour.
            network.tell_listeners = front.is_none();
            network.external.extend(front.clone());
        })
        .await
        .map_err(Failure::failed)?;
        let status = node.status().await.map_err(Failure::failed)?;
        let own = status.listen.first().ok_or_else(|| Failure::failed("a node listens nowhere"))?;
        if let Some(detour) = &detour {
            detour.leads_to(socket(own)?);
        }
        let address = front.as_ref().unwrap_or(own);
        let address = format!("{address}/p2p/{}", status.peer_id).parse().map_err(unreadable)?;
        Ok((self.role, node, address, detour))
    }
}

fn tcp(at: SocketAddr) -> Result<Multiaddr, Failure> {
    format!("/ip4/{}/tcp/{}", at.ip(), at.port()).parse().map_err(unreadable)
}

/// The socket of an address `/ip4/…/tcp/…`.
fn socket(addr: &Multiaddr) -> Result<SocketAddr, Failure> {
    let text = addr.to_string();
    match text.split('/').collect::<Vec<_>>().as_slice() {
        ["", "ip4", ip, "tcp", port] => format!("{ip}:{port}").parse().map_err(unreadable),
        _ => Err(Failure::failed(format!("{text} is not /ip4/…/tcp/…"))),
    }
}

fn unreadable(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("address of a node: {error}"))
}

/// Returns when this rider's book holds a driver. Offers are no events, so it looks.
async fn sees_a_driver(node: &NodeHandle) -> Result<(), Failure> {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        let answer = node.search(SearchRequest { limit: 1, ..SearchRequest::default() }).await;
        if !answer.map_err(Failure::failed)?.items.is_empty() {
            return Ok(());
        }
    }
}
