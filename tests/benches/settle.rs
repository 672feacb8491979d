//! How long a ride takes from the wish to the agreement, between two processes on
//! loopback.
//!
//! This process runs a rider node; it starts itself again as a driver node. A sample is
//! the time from handing [`Command::RequestRide`] to the rider's node to its event that
//! the ride is firm: both sides then hold the doubly signed agreement, each in its
//! journal. The rider cancels at once, so that the driver is free for the next one.
//!
//! Beside each sample, in the same two processes and at the same pace, two bare
//! exchanges are timed: the network service alone, with frames of the sizes that the
//! handshake has, answered at once. With SQLite the disk is timed likewise: 4 KiB
//! appended to a file, and fsync.
//!
//! `cargo bench -p hailmesh-tests --bench settle`; takes about two minutes. Words after
//! `--` pick scenarios: `tcp`, `quic`, `memory`, `sqlite`.
#![forbid(unsafe_code)]

mod common;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Other, Times, judge, machine};
use hailmesh_market::{Answer, Command, Event, RideId, Role, Wish};
use hailmesh_net::{self as net, Multiaddr, Service};
use hailmesh_node::config::Settings;
use hailmesh_node::home::Home;
use hailmesh_node::keys::IdentityKey;
use hailmesh_node::{EventItem, EventStream, Node, NodeConfig, NodeEvent, NodeHandle, SearchRequest};
use hailmesh_types::{Class, Features, GeoPoint, NetworkName, PeerKey, Private, Seats, Text};
use hailmesh_wire::{
    Address, AnyStatement, Attachment, Frame, Kind, PickupPlace, Receipt, RideState, VehicleCard,
};

const HERE: &str = "40.7580,-73.9855";
const NEAR: &str = "40.7590,-73.9845";
const THERE: &str = "40.7484,-73.9857";
const NETWORK: &str = "bench";
/// Rides before those that count.
const WARM_UP: usize = 20;
/// A ride costs its rider three exchanges with the driver, and a peer gets 20 a second (P20).
const PACE: Duration = Duration::from_millis(155);
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(40);
/// Bytes written before each fsync.
const BLOCK: [u8; 4_096] = [0x5a; 4_096];

/// Two nodes, how they are connected, and where they keep their journals.
struct Scenario {
    transport: &'static str,
    listen: &'static str,
    store: &'static str,
    rides: usize,
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

const SCENARIOS: [Scenario; 4] = [
    Scenario { transport: "tcp", listen: TCP, store: "memory", rides: 200 },
    Scenario { transport: "quic", listen: QUIC, store: "memory", rides: 200 },
    Scenario { transport: "tcp", listen: TCP, store: "sqlite", rides: 100 },
    Scenario { transport: "quic", listen: QUIC, store: "sqlite", rides: 100 },
];

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Some(part) = common::part() {
        return runtime.block_on(driver(&part));
    }
    machine();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted =
        |scenario: &&Scenario| wanted.iter().all(|word| word == scenario.transport || word == scenario.store);
    let mut memory = Vec::new();
    for scenario in SCENARIOS.iter().filter(is_wanted) {
        let figures = runtime.block_on(rider(scenario));
        figures.print(scenario);
        if scenario.store == "memory" {
            memory.push((scenario.transport, figures.settle.ms(0.5)));
            figures.judge_memory();
        } else if let Some((_, memory)) = memory.iter().find(|(name, _)| *name == scenario.transport) {
            figures.judge_sqlite(*memory);
        }
    }
}

// ---- what is measured ----

#[derive(Default)]
struct Figures {
    settle: Times,
    /// One exchange with the service alone.
    bare: Times,
    /// Two of them, one after the other.
    bare_pair: Times,
    fsync: Times,
    /// Rides that did not become firm at the first REQUEST.
    again: usize,
    sizes: Sizes,
}

impl Figures {
    fn print(&self, scenario: &Scenario) {
        let Scenario { transport, store, .. } = scenario;
        let Sizes { request, accept, confirm, ack } = self.sizes;
        println!("\n{transport}, {store} store on both sides");
        Times::head();
        self.settle.print("settlement, wish to firm");
        self.bare.print("bare exchange of the same sizes");
        self.bare_pair.print("two of them in a row");
        if *store == "sqlite" {
            self.fsync.print("4 KiB appended and fsync");
        }
        println!(
            "frames without filler, bytes: REQUEST {request}, ACCEPT {accept}, CONFIRM {confirm}, ACK {ack}"
        );
        println!("rides that took more than one REQUEST: {}", self.again);
    }

    /// The most that a settlement may take without a disk: 5 ms, and three times two bare
    /// exchanges.
    fn limit_ms(&self) -> f64 {
        (6.0 * self.bare.ms(0.5)).min(5.0)
    }

    fn judge_memory(&self) {
        judge("settlement p50", self.settle.ms(0.5), 5.0, "ms");
        let ratio = self.settle.ms(0.5) / (2.0 * self.bare.ms(0.5));
        judge("settlement p50 / (2 x bare exchange p50)", ratio, 3.0, "");
    }

    /// With a disk four times a sync comes on top: of the limit, and more strictly of what
    /// the memory store took in this run.
    fn judge_sqlite(&self, memory_ms: f64) {
        let (found, syncs) = (self.settle.ms(0.5), 4.0 * self.fsync.ms(0.5));
        judge("settlement p50, limit without a disk + 4 x fsync p50", found, self.limit_ms() + syncs, "ms");
        judge("the same, found without a disk + 4 x fsync p50", found, memory_ms + syncs, "ms");
    }
}

/// Sizes of the four frames of a handshake, bytes without length and filler.
#[derive(Clone, Copy, Default)]
struct Sizes {
    request: usize,
    accept: usize,
    confirm: usize,
    ack: usize,
}

impl Sizes {
    /// Those of this agreement.
    fn of(receipt: &[u8], addrs: Vec<Address>) -> Self {
        let receipt = Receipt::decode(receipt).expect("a receipt");
        let size = |kind: Kind, with: Option<Attachment>| {
            let mut found = receipt.statements.iter().filter(|bytes| {
                AnyStatement::decode(bytes.to_vec()).is_ok_and(|statement| statement.kind() == kind)
            });
            let frame = Frame::statement(found.next().expect("a settled ride has all of them"));
            with.into_iter().fold(frame, Frame::with).encode().len()
        };
        let pickup = PickupPlace {
            point: NEAR.parse().expect("a place"),
            name: text("Ada"),
            phone: text("555 0100"),
            note: text("blue door"),
            peer: PeerKey::from_bytes([0; 32]),
            addrs,
        };
        let vehicle = VehicleCard {
            plate: text("T123"),
            model: text("Toyota Prius"),
            colour: text("white"),
            photo: None,
            credential_salt: None,
        };
        Self {
            request: size(Kind::Request, None),
            accept: size(Kind::Accept, None),
            confirm: size(Kind::Confirm, Some(Attachment::PickupOpening(pickup.to_opening([7; 32])))),
            ack: size(Kind::Ack, Some(Attachment::VehicleOpening(vehicle.to_opening([7; 32])))),
        }
    }
}

fn text<const N: usize>(text: &str) -> Text<N> {
    Text::new(text).expect("short enough")
}

// ---- the two processes ----

fn settings(listen: &str) -> Settings {
    let mut settings = Settings::default();
    settings.network.name = NETWORK.to_owned();
    settings.network.listen = vec![listen.to_owned()];
    settings.network.mdns = false;
    settings
}

/// A node in a folder of its own, with a journal there if it is to have one.
async fn start(role: Role, mut settings: Settings, store: &str, dir: &Path) -> NodeHandle {
    if store == "memory" {
        settings.store.url = Some("memory".to_owned());
    }
    let home = Home::open(dir).expect("a home");
    let mut config = NodeConfig::ephemeral(Some(role), settings).expect("randomness");
    config.identity = IdentityKey::load_or_create(&home, None).expect("a key");
    config.home = Some(home);
    Node::start(config).await.expect("a node").0
}

fn alone(listen: &str) -> net::Config {
    let network: NetworkName = NETWORK.parse().expect("a name");
    let listen = vec![listen.parse().expect("an address")];
    net::Config { network, listen, mdns: false, ..net::Config::default() }
}

/// The other process: a driver, and a service that answers at once. Its part is
/// `LISTEN STORE DIR`.
async fn driver(part: &str) {
    let words: Vec<&str> = part.splitn(3, ' ').collect();
    let [listen, store, dir] = words.as_slice() else { panic!("{part:?}: expected LISTEN STORE DIR") };
    let mut settings = settings(listen);
    settings.driver.at = Some(HERE.to_owned());
    settings.driver.vehicle.plate = "T123".to_owned();
    settings.driver.vehicle.model = "Toyota Prius".to_owned();
    settings.driver.vehicle.colour = "white".to_owned();
    let node = start(Role::Driver, settings, store, Path::new(dir)).await;
    let (handle, mut events, _) = Service::start(alone(listen), &[2; 32], None).await.expect("a service");
    let addr = handle.listeners().remove(0).with_p2p(net::peer_id(&handle.local_peer())).expect("an address");
    println!("{}\n{addr}", node.invite().await.expect("an address"));
    let echo = async {
        while let Some(event) = events.next().await {
            if let net::Event::Request { exchange, frame, .. } = event {
                // It says how long an answer it wants.
                let wanted = u16::from_be_bytes([frame[0], frame[1]]);
                let frame = vec![1; usize::from(wanted)];
                handle.send(net::Command::Reply { exchange, frame }).await.expect("the service runs");
            }
        }
    };
    tokio::select! {
        () = echo => panic!("the service has ended"),
        () = common::told_to_end() => node.shutdown().await,
    }
}

/// This process: the rider, and what is measured.
async fn rider(scenario: &Scenario) -> Figures {
    let Scenario { listen, store, rides, .. } = scenario;
    // Not below /tmp, which is no disk on some machines.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let home = dir.path().join("driver");
    let part = format!("{listen} {store} {}", home.display());
    let mut other = Other::start(common::command(&part));
    let (invite, echo) = (other.line(), other.line());

    let mut bare = Bare::connect(listen, &echo).await;
    let mut settings = settings(listen);
    settings.network.bootstrap = vec![invite];
    settings.rider.at = Some(NEAR.to_owned());
    let node = start(Role::Rider, settings, store, &dir.path().join("rider")).await;
    let mut log = File::create(dir.path().join("block")).expect("a file");
    let mut events = node.events(None);

    let mut figures = Figures::default();
    let mut next = Instant::now();
    for number in 0..WARM_UP + rides {
        wait_for_offer(&node).await;
        tokio::time::sleep_until(next.into()).await;
        next = Instant::now() + PACE;
        let counts = number >= WARM_UP;

        let begin = Instant::now();
        let ride = request(&node).await;
        wait_firm(&mut events, ride).await;
        let settled = begin.elapsed();
        let view = node.ride(ride).await.expect("the node runs").expect("the ride is known");
        if number == 0 {
            let receipt = node.receipt(ride).await.expect("the node runs").expect("a receipt");
            let status = node.status().await.expect("the node runs");
            let addrs = status.addresses.iter().map(|addr| Address::new(addr.to_vec()).expect("an address"));
            figures.sizes = Sizes::of(&receipt, addrs.collect());
        }
        node.command(Command::Cancel(ride)).await.expect("a firm ride can be cancelled");
        wait_heard(&node).await;
        // As far from what was before as the ride was.
        tokio::time::sleep(PACE / 3).await;

        let begin = Instant::now();
        let first = bare.exchange(figures.sizes.request, figures.sizes.accept).await;
        let second = bare.exchange(figures.sizes.confirm, figures.sizes.ack).await;
        let pair = begin.elapsed();
        let synced = (*store == "sqlite").then(|| {
            let begin = Instant::now();
            log.write_all(&BLOCK).and_then(|()| log.sync_all()).expect("the disk works");
            begin.elapsed()
        });
        if counts {
            figures.settle.add(settled);
            figures.bare.add(first);
            figures.bare.add(second);
            figures.bare_pair.add(pair);
            synced.into_iter().for_each(|time| figures.fsync.add(time));
            figures.again += usize::from(view.asked > 1);
        }
    }
    node.shutdown().await;
    other.stop();
    figures
}

/// The network service alone.
struct Bare {
    handle: net::Handle,
    events: net::Events,
    peer: PeerKey,
    asked: u64,
}

impl Bare {
    async fn connect(listen: &str, to: &str) -> Self {
        let to: Multiaddr = to.parse().expect("an address");
        let (handle, mut events, _) = Service::start(alone(listen), &[1; 32], None).await.expect("a service");
        handle.send(net::Command::Dial { addr: to }).await.expect("the service runs");
        let peer = loop {
            match tokio::time::timeout(DEADLINE, events.next()).await.expect("a connection") {
                Some(net::Event::Connected { peer, .. }) => break peer,
                Some(_) => {}
                None => panic!("the service has ended"),
            }
        };
        Self { handle, events, peer, asked: 0 }
    }

    /// One exchange with frames of these sizes.
    async fn exchange(&mut self, request: usize, answer: usize) -> Duration {
        self.asked += 1;
        let mut frame = vec![1; request];
        frame[..2].copy_from_slice(&u16::try_from(answer).expect("a frame").to_be_bytes());
        let begin = Instant::now();
        let command = net::Command::Send { ask: self.asked, peer: self.peer, addrs: Vec::new(), frame };
        self.handle.send(command).await.expect("the service runs");
        loop {
            match self.events.next().await {
                Some(net::Event::Response { ask, frame, .. }) if ask == self.asked => {
                    assert_eq!(frame.len(), answer);
                    return begin.elapsed();
                }
                Some(net::Event::SendFailed { reason, .. }) => panic!("a bare exchange failed: {reason}"),
                Some(_) => {}
                None => panic!("the service has ended"),
            }
        }
    }
}

// ---- one ride ----

fn wish() -> Box<Wish> {
    let point = |text: &str| Private(text.parse::<GeoPoint>().expect("a place"));
    Box::new(Wish {
        from: point(NEAR),
        to: Some(point(THERE)),
        max_fare: None,
        currency: None,
        class: Class::STANDARD,
        party: Seats::ONE,
        features: Features::NONE,
        patience: hailmesh_types::Duration::from_secs(30),
        pickup_within: None,
        // Nobody is to be invited: the driver is there.
        open: false,
        name: text("Ada"),
        phone: text("555 0100"),
        note: text("blue door"),
    })
}

async fn request(rider: &NodeHandle) -> RideId {
    match rider.command(Command::RequestRide(wish())).await.expect("a rider that is free may ask") {
        Answer::Ride(ride) => ride,
        Answer::Done => panic!("a ride was asked for"),
    }
}

async fn wait_firm(events: &mut EventStream, wanted: RideId) {
    let firm = async {
        loop {
            let item = events.next().await.expect("the node runs");
            let EventItem::Numbered(numbered) = item else { panic!("events were lost") };
            let NodeEvent::Market(Event::Ride { ride, state, reason, .. }) = numbered.event else { continue };
            match state {
                RideState::Firm if ride == wanted => return,
                RideState::Requested | RideState::Committed => {}
                _ if ride != wanted => {}
                state => panic!("the ride became {state}: {reason:?}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, firm).await.expect("a ride becomes firm");
}

/// Until the driver has heard that the ride is off.
async fn wait_heard(rider: &NodeHandle) {
    poll("the driver hears of the end", async || {
        rider.status().await.expect("the node runs").snapshot.outbox == 0
    })
    .await;
}

/// A driver that was let go may have just taken its offer back.
async fn wait_for_offer(rider: &NodeHandle) {
    poll("the driver's offer is known", async || {
        !rider.search(SearchRequest::default()).await.expect("the node runs").items.is_empty()
    })
    .await;
}

async fn poll(what: &str, done: impl AsyncFn() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
