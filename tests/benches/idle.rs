//! How much memory an idle driver node takes, with 1,000 offers of others in its book.
//!
//! The node is the shipped program, `hailmesh driver` with its defaults (journal in
//! SQLite, local API, QUIC and TCP), in a process of its own. This process is one peer
//! that publishes the offers of 1,000 drivers around it, each with its own key, shift
//! certificate and address. When `hailmesh status` counts them all, the node is left alone
//! and its resident memory is read once a second; the greatest value counts.
//!
//! `cargo bench -p hailmesh-tests --bench idle`; takes about a minute; Linux only.
#![forbid(unsafe_code)]

mod common;

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::{Other, judge, machine};
use ed25519_dalek::SigningKey;
use hailmesh_net::{self as net, Multiaddr, Service};
use hailmesh_types::{
    Cell, Class, Features, GeoPoint, NetworkName, PublicKey, Resolution, Seats, Tariff, Timestamp,
};
use hailmesh_wire::{
    AcceptMode, Address, DriverOffer, DriverTerms, Extensions, NetworkId, Role, ShiftCert, Subject, Topic,
    Verified,
};
use serde_json::Value;

const HERE: &str = "40.7580,-73.9855";
const NETWORK: &str = "bench";
const OFFERS: u32 = 1_000;
/// The most resident memory, MiB.
const TARGET_MIB: f64 = 60.0;
/// A peer may forward 50 offers a second on a topic (P20).
const PACE: Duration = Duration::from_millis(21);
/// How long the node is left alone before it is looked at, and while it is.
const REST: Duration = Duration::from_secs(8);
/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if common::part().is_some() {
        return hailmesh::main();
    }
    machine();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure());
    ExitCode::SUCCESS
}

async fn measure() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let home = dir.path();
    let mut command = common::command("node");
    command.arg("driver").arg("--home").arg(home).args(["--at", HERE, "--network", NETWORK]);
    // It is to hear them all, not to find that it need not.
    command.env("HAILMESH_TIMERS__LISTEN_AHEAD_MS", "0");
    command.args(["--no-mdns", "--quiet", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"]);
    command.args(["--listen", "/ip4/127.0.0.1/tcp/0"]);
    let node = Other::start(command);
    let id = node.id();
    wait_until("the node is ready", async || home.join("api.json").exists()).await;
    tokio::time::sleep(REST / 4).await;
    let (empty, _) = memory_mib(id);

    let addr = address(home);
    let (handle, mut events, topic) = join(addr).await;
    let began = Instant::now();
    for number in 0..OFFERS {
        let data = offer(number, &topic);
        let publish = net::Command::Publish { topic: topic.clone(), data };
        handle.send(publish).await.expect("the service runs");
        while let Ok(Some(_)) = tokio::time::timeout(PACE, events.next()).await {}
    }
    let drain = tokio::spawn(async move { while events.next().await.is_some() {} });
    wait_until("every offer is in the book", async || drivers(home) >= u64::from(OFFERS)).await;
    let filled = began.elapsed();
    tokio::time::sleep(REST).await;
    let (mut most, mut peak) = (0.0_f64, 0.0_f64);
    for _ in 0..REST.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (resident, highest) = memory_mib(id);
        (most, peak) = (most.max(resident), highest);
    }
    let left = drivers(home);
    assert!(left >= u64::from(OFFERS), "only {left} offers are left: nothing was measured");
    println!("\nhailmesh driver, idle; {left} offers in its book, heard in {:.1} s", filled.as_secs_f64());
    println!("resident without any offer                      {empty:>8.1} MiB");
    println!("highest resident since its start                {peak:>8.1} MiB");
    judge("resident with the offers", most, TARGET_MIB, "MiB");
    drop(drain);
}

/// Resident memory of a process now, and its highest so far.
fn memory_mib(process: u32) -> (f64, f64) {
    let status =
        std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux, and the node runs");
    let read = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says it");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1_024.0
    };
    (read("VmRSS:"), read("VmHWM:"))
}

/// Where the node listens by TCP, with its peer id.
fn address(home: &Path) -> Multiaddr {
    let file = std::fs::read(home.join("api.json")).expect("the file of the API");
    let file: Value = serde_json::from_slice(&file).expect("JSON");
    let mut listen = file["listen"].as_array().expect("addresses").iter().filter_map(Value::as_str);
    let tcp = listen.find(|addr| addr.contains("/tcp/")).expect("it listens by TCP");
    format!("{tcp}/p2p/{}", file["peer_id"].as_str().expect("a peer id")).parse().expect("an address")
}

/// How many live offers of drivers `hailmesh status` counts.
fn drivers(home: &Path) -> u64 {
    let mut command = common::command("status");
    command.args(["status", "--json", "--home"]).arg(home).stderr(Stdio::inherit());
    let done = command.output().expect("this program can be started");
    let status: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    status["offers"]["drivers"].as_u64().expect("a number")
}

/// A peer of the node, and the topic of the node's own cell: the only one of its ring that
/// it follows however many offers it knows (P13.2).
async fn join(addr: Multiaddr) -> (net::Handle, net::Events, Topic) {
    let network: NetworkName = NETWORK.parse().expect("a name");
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    let here: GeoPoint = HERE.parse().expect("a place");
    let home = Topic::drivers(&network, Cell::at(here, Resolution::TOPIC));
    let config = net::Config { network, listen, mdns: false, ..net::Config::default() };
    let (handle, mut events, _) = Service::start(config, &[3; 32], None).await.expect("a service");
    handle.send(net::Command::Dial { addr }).await.expect("the service runs");
    let deadline = Instant::now() + DEADLINE;
    loop {
        match tokio::time::timeout_at(deadline.into(), events.next()).await {
            Ok(Some(net::Event::Subscribed { topic, .. })) if topic == home => break,
            Ok(Some(_)) => {}
            Ok(None) => panic!("the service has ended"),
            Err(_) => panic!("the node does not follow the topic of its own cell"),
        }
    }
    (handle, events, home)
}

/// The offer of driver `number`, somewhere in the cell of `topic`.
fn offer(number: u32, topic: &Topic) -> Vec<u8> {
    let Subject::Drivers(district) = topic.subject() else { panic!("not a topic of offers") };
    let network = NetworkId::of(topic.network());
    let (driver, identity) = (key(number, 1), key(number, 2));
    let ms = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
    let now = Timestamp::from_millis(u64::try_from(ms).expect("before the end of time")).expect("a time");
    let subject = PublicKey::from(driver.verifying_key());
    let cert = ShiftCert {
        serial: number.into(),
        issued: now,
        subject,
        role: Role::Driver,
        from: now,
        until: now + hailmesh_types::Duration::from_secs(12 * 3_600),
        cred_id: None,
        replaces: None,
        ext: Extensions::NONE,
    };
    let cert = Verified::sign(&identity, network, cert);
    let addr: Multiaddr =
        format!("/ip4/203.0.113.{}/udp/4001/quic-v1", number % 256).parse().expect("an address");
    let body = DriverOffer {
        seq: 1,
        issued: now,
        ttl: hailmesh_types::Duration::from_secs(120),
        cell: place(number, district),
        slot: 0,
        live: Some(DriverTerms {
            class: Class::STANDARD,
            seats: Seats::new(4).expect("a number of seats"),
            features: Features::NONE,
            tariff: Tariff::default(),
            accept_mode: AcceptMode::Auto,
        }),
        addrs: vec![Address::new(addr.to_vec()).expect("a short address")],
        cert_id: Some(cert.id()),
        certs: vec![cert.bytes().to_vec()],
        pow: None,
        head: None,
        ext: Extensions::NONE,
    };
    Verified::sign(&driver, network, body).bytes().to_vec()
}

/// A key for every number and purpose.
fn key(number: u32, purpose: u8) -> SigningKey {
    let mut seed = [purpose; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&seed)
}

/// A cell of the precision of drivers in this district: a spiral from its centre.
fn place(number: u32, district: Cell) -> Cell {
    let centre = district.centre();
    let turn = f64::from(number) * 2.4;
    let far_e7 = 70_000.0 * (f64::from(number) / f64::from(OFFERS)).sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "a fraction of a degree")]
    let shifted = |e7: i32, by: f64| e7 + (by * far_e7) as i32;
    let point = GeoPoint::from_e7(shifted(centre.lat_e7(), turn.sin()), shifted(centre.lon_e7(), turn.cos()));
    let cell = Cell::at(point.expect("a place"), Resolution::PICKUP);
    if cell.parent(Resolution::TOPIC) == district { cell } else { Cell::at(centre, Resolution::PICKUP) }
}

async fn wait_until(what: &str, done: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
