//! What a delivery costs where a whole city lives in one process, and what a node weighs:
//! many marketplaces that hear each other's offers, each message read and verified once.
//!
//! `cargo bench -p hailmesh-market --bench crowd`, with the number of drivers as an
//! argument after `--`. Messages go to one node after the other, so that every delivery
//! finds its node's memory cold, as in a simulation.

use std::sync::Arc;
use std::time::Duration as Wall;

use ed25519_dalek::SigningKey;
use hailmesh_market::certificates::Level;
use hailmesh_market::{
    Command, Config, DriverProfile, Input, Keys, Marketplace, MessageRef, Origin, Output, Role,
};
use hailmesh_types::{
    Class, Duration, Features, GeoPoint, PeerKey, Private, Resolution, Seats, Tariff, Text, Timestamp,
};
use hailmesh_wire::{AcceptMode, Heard, SimulatedSignatures, Topic, VehicleCard};

/// Peers that forward to each node.
const PEERS: u64 = 8;
/// Seconds of simulated time: three refreshes of every offer, and a few that ended.
const SPAN_S: u64 = 200;

fn start() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000).unwrap()
}

/// A sequence of numbers that is the same in every run (SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn seed(sort: u8, number: u64) -> [u8; 32] {
    let mut seed = [sort; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    seed
}

/// A place within 2 km of Times Square.
fn place(number: u64) -> GeoPoint {
    let unit = |salt: u64| (mixed(number ^ salt) % 10_000) as f64 / 10_000.0;
    GeoPoint::from_degrees(40.740 + 0.036 * unit(1 << 40), -74.009 + 0.047 * unit(1 << 41)).unwrap()
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

/// Time this thread has spent on a processor: neighbours do not count.
fn busy() -> Wall {
    let nanos = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Wall::from_nanos(nanos.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn crowd(role: Role, nodes: u64, config: &Arc<Config>) -> Vec<Marketplace> {
    let signatures = Arc::new(SimulatedSignatures::new([7; 32]));
    let sort = if role == Role::Driver { 1 } else { 2 };
    (0..nodes)
        .map(|number| {
            let keys = Keys {
                role: Some(role),
                identity: SigningKey::from_bytes(&seed(sort, number)),
                transport: Some(PeerKey::from_bytes(seed(sort + 2, number))),
                lost: false,
                new_host: false,
            };
            let signatures = Arc::clone(&signatures) as Arc<_>;
            let config = Arc::clone(config);
            let mut market =
                Marketplace::new_with(config, keys, seed(sort + 4, number), start(), signatures).unwrap();
            while market.poll_output().is_some() {}
            market
        })
        .collect()
}

fn profile() -> DriverProfile {
    DriverProfile {
        tariff: Tariff::default(),
        class: Class::STANDARD,
        seats: Seats::new(4).unwrap(),
        features: Features::NONE,
        accept_mode: AcceptMode::Auto,
        precision: Resolution::PICKUP,
        discount: 0,
        vehicle: VehicleCard {
            plate: Text::new("HM 1").unwrap(),
            model: Text::new("a car").unwrap(),
            colour: Text::new("blue").unwrap(),
            photo: None,
            credential_salt: None,
        },
    }
}

/// What is on the air.
type Air = Vec<(usize, Topic, Heard)>;

fn drain(market: &mut Marketplace, from: usize, air: &mut Air) -> usize {
    let mut judged = 0;
    while let Some(output) = market.poll_output() {
        match output {
            Output::Publish { topic, bytes } => air.push((from, topic, Heard::from(bytes))),
            Output::Judge { .. } => judged += 1,
            _ => {}
        }
    }
    judged
}

/// What deliveries cost.
#[derive(Default)]
struct Cost {
    took: Wall,
    deliveries: usize,
    timeouts: usize,
    timeouts_took: Wall,
}

impl Cost {
    fn print(&self, what: &str) {
        let each = |took: Wall, n: usize| took.as_secs_f64() * 1e9 / n.max(1) as f64;
        println!(
            "{what:<44} {:>9} deliveries, {:>6.0} ns each; {:>8} timeouts, {:>6.0} ns each",
            self.deliveries,
            each(self.took, self.deliveries),
            self.timeouts,
            each(self.timeouts_took, self.timeouts),
        );
    }
}

fn deliver(markets: &mut [Marketplace], now: Timestamp, air: &mut Air, cost: &mut Cost) {
    let mut next = Vec::new();
    for (from, topic, heard) in air.drain(..) {
        let began = busy();
        let number = cost.deliveries as u64;
        for (to, market) in markets.iter_mut().enumerate().filter(|(to, _)| *to != from) {
            let source = PeerKey::from_bytes(seed(9, mixed(number ^ to as u64) % PEERS));
            let message = MessageRef { id: [number as u8; 16], source };
            market.handle_input(now, Input::Gossip { message, topic: topic.clone(), heard: heard.clone() });
            cost.deliveries += drain(market, to, &mut next);
        }
        cost.took += busy() - began;
    }
    *air = next;
}

fn main() {
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let nodes = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1_000);
    let mut config = Config { driver_level: Level::L0, ..Config::default() };
    // Everything comes from a handful of peers here.
    config.limits.peer.every_us = 100;
    config.limits.peer_topic.every_us = 100;
    config.limits.verifications_per_s = u32::MAX;
    let config = Arc::new(config);

    println!("{nodes} nodes of each side; a Marketplace itself has {} bytes", size_of::<Marketplace>());
    let empty = resident_bytes();
    let riders = crowd(Role::Rider, nodes, &config);
    println!("an idle rider: {} bytes resident", (resident_bytes() - empty) / nodes);
    let empty = resident_bytes();
    let mut drivers = crowd(Role::Driver, nodes, &config);
    println!("an idle driver: {} bytes resident", (resident_bytes() - empty) / nodes);
    drop(riders);

    let mut air = Vec::new();
    for (number, market) in drivers.iter_mut().enumerate() {
        for peer in 0..PEERS {
            let peer = PeerKey::from_bytes(seed(9, peer));
            market.handle_input(start(), Input::PeerConnected { peer, origin: Origin::Loopback });
        }
        market.command(start(), Command::GoOnline(profile())).unwrap();
        market.command(start(), Command::Move(Private(place(number as u64)))).unwrap();
        drain(market, number, &mut air);
    }
    let before = resident_bytes();
    let mut waves = [Cost::default(), Cost::default()];
    for second in 0..SPAN_S {
        let now = start() + Duration::from_secs(second as u32);
        let wave = &mut waves[usize::from(second > 5)];
        let began = busy();
        for (number, market) in drivers.iter_mut().enumerate() {
            while market.poll_timeout().is_some_and(|(at, _)| at <= now) {
                market.handle_input(now, Input::Timeout);
                drain(market, number, &mut air);
                wave.timeouts += 1;
            }
        }
        wave.timeouts_took += busy() - began;
        deliver(&mut drivers, now, &mut air, wave);
        if second == 5 || second == SPAN_S - 1 {
            let heard: u64 = drivers.iter().map(|market| market.snapshot(now).drivers as u64).sum();
            let bytes = resident_bytes() - before;
            println!(
                "after {second} s: {} offers known by each, {} bytes resident per node, {} per offer known",
                heard / nodes,
                bytes / nodes,
                bytes / heard.max(1)
            );
        }
    }
    waves[0].print("new authors, certificates inline");
    waves[1].print("refreshes of known authors");
}
