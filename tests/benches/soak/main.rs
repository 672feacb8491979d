//! An hour in a city of real nodes whose processes are killed all the time.
//!
//! A relay, drivers and riders, each the shipped program with its defaults in a process of
//! its own (journal in SQLite with full durability, loopback, a network of its own). People
//! use them through the local API: ask, arrive, board with the code, complete, cancel, do
//! not come. Meanwhile processes are killed with SIGKILL by a plan that follows from the
//! seed (at any time, in the middle of a settlement, in the middle of a ride, both sides at
//! once, the relay) and started again on the same home.
//!
//! What must hold, at every look and at the end over all rides of all nodes:
//!
//! * nobody is in two agreements at a time: no node shows two rides that bind, no slot is
//!   used twice, the agreements of one person do not overlap, none binds two of one side;
//! * a ride that bound somebody is not forgotten;
//! * a completed ride has a receipt on both sides that `hailmesh verify` accepts;
//! * nobody has evidence against anybody, no key is replaced, nothing panics;
//! * every process starts again and none ends by itself, stays silent or signs nothing;
//! * when the kills are over every ride comes to an end within [`DRAIN`].
//!
//! `cargo bench -p hailmesh-tests --bench soak -- --minutes 60`; a JSON line every minute,
//! a summary at the end, also after an interrupt; the exit code is 1 after a violation, and
//! then the homes are kept. With `--roll-back` drivers that were killed come back with an old
//! copy of their home, which nobody may do: a soak that finds nothing then is of no use.
#![forbid(unsafe_code)]

mod audit;
mod figures;
mod kills;
mod node;
mod people;
mod stage;

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hailmesh::signals::Signals;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use figures::Samples;
use node::{Node, Role};
use people::{Person, draws, place};
use stage::Stage;

/// How long the last rides may take once nobody is killed any more. The longest is one
/// whose driver waits three minutes for somebody who does not come, or two for the
/// signature of a rider.
const DRAIN: Duration = Duration::from_secs(300);
/// How often the processes are looked at.
const SAMPLE: Duration = Duration::from_secs(15);
/// The draws of where drivers begin; those below are of people, those above of kills.
const PLACES: u64 = 1 << 31;

struct Args {
    minutes: u64,
    nodes: usize,
    seed: u64,
    kills_per_minute: u32,
    keep: bool,
    roll_back: bool,
}

impl Args {
    fn read() -> Result<Self, String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(1, |now| now.as_secs());
        let mut args =
            Self { minutes: 60, nodes: 30, seed, kills_per_minute: 6, keep: false, roll_back: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().unwrap_or_default();
                value.parse::<u64>().map_err(|_| format!("{word} {value:?}: expected a number"))
            };
            let small = |value: u64| u32::try_from(value).map_err(|error| error.to_string());
            match word.as_str() {
                "--minutes" => args.minutes = number()?,
                "--nodes" => args.nodes = usize::try_from(number()?).unwrap_or_default(),
                "--seed" => args.seed = number()?,
                "--kills-per-minute" => args.kills_per_minute = small(number()?)?,
                "--keep" => args.keep = true,
                "--roll-back" => args.roll_back = true,
                // Cargo says so to every bench.
                "--bench" => {}
                _ => {
                    return Err(format!(
                        "{word}: expected --minutes, --nodes, --seed, --kills-per-minute, --keep, --roll-back"
                    ));
                }
            }
        }
        if args.nodes < 6 {
            return Err(format!("--nodes {}: expected at least 6", args.nodes));
        }
        Ok(args)
    }
}

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", args.seed);
    println!("program {}", node::program().display());
    if !Samples::is_possible() {
        println!("no /proc here: memory, open files and processor time are not measured");
    }
    // Not below /tmp, which is no disk on some machines.
    let folder = tempfile::Builder::new().prefix("soak-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.expect("a folder");
    std::fs::create_dir(folder.path().join("receipts")).expect("a folder");
    println!("homes {}", folder.path().display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let is_sound = runtime.block_on(soak(&args, folder.path().to_owned()));
    if args.keep || !is_sound {
        println!("kept: {}", folder.keep().display());
    }
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn soak(args: &Args, folder: PathBuf) -> bool {
    let mut signals = Signals::new().expect("signals can be listened to");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let nodes = city(args, &folder, &tell).await;
    let stage = Arc::new(Stage::new(nodes, folder, args.seed));
    let mut everybody = JoinSet::new();
    for index in 0..stage.nodes.len() {
        let stage = Arc::clone(&stage);
        everybody.spawn(async move {
            let node = &stage.nodes[index];
            match node.role {
                Role::Driver => Person::new(&stage, node).drive().await,
                Role::Rider => Person::new(&stage, node).travel().await,
                Role::Relay => watch(&stage, node).await,
            }
        });
    }
    let listening = Arc::clone(&stage);
    everybody.spawn(async move {
        while let Some(told) = told.recv().await {
            listening.told(&told);
        }
    });
    let kills = tokio::spawn(kills::run(Arc::clone(&stage), args.kills_per_minute, args.roll_back));

    let load = Duration::from_secs(60 * args.minutes);
    let mut samples = Samples::default();
    let mut looks = interval(SAMPLE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut minute = 0;
    while stage.begun.elapsed() < load {
        tokio::select! {
            _ = looks.tick() => {}
            // What was measured until then counts.
            () = signals.next() => break,
        }
        samples.take(&stage);
        stage.look_for_stuck();
        if stage.begun.elapsed().as_secs() / 60 > minute {
            minute += 1;
            let found = stage.board().audit.double_bookings();
            found.into_iter().for_each(|what| stage.violation(what));
            figures::minute(&stage, &samples, minute);
        }
    }

    let load = stage.begun.elapsed();
    stage.close();
    kills.await.expect("kills do not panic");
    let begun = Instant::now();
    let drained = tokio::select! {
        over = timeout(DRAIN, until_over(&stage)) => over.is_ok(),
        () = signals.next() => false,
    };
    let drained = drained.then(|| begun.elapsed());
    samples.take(&stage);
    if drained.is_none() {
        let board = stage.board().open.clone();
        let open = board.iter().filter(|(_, (rides, outbox))| *rides > 0 || *outbox > 0);
        let open: Vec<String> = open
            .map(|(node, (rides, outbox))| format!("{} ({rides}, {outbox})", stage.nodes[*node].name))
            .collect();
        stage.violation(format!(
            "{} s after the last kill these have rides that are not over or statements without an answer: {}",
            begun.elapsed().as_secs(),
            open.join(", ")
        ));
    }
    everybody.abort_all();
    while everybody.join_next().await.is_some() {}
    read_everything(&stage).await;
    for node in &stage.nodes {
        match node.terminate().await {
            Ok(0) => {}
            Ok(code) => stage.violation(format!("{} ended with code {code} after a SIGTERM", node.name)),
            Err(why) => stage.violation(format!("{} after a SIGTERM: {why}", node.name)),
        }
    }
    figures::summary(&stage, &samples, load, drained);
    stage.board().violations.is_empty()
}

/// Starts all nodes: a relay that everybody knows, a third riders, the rest drivers.
async fn city(
    args: &Args,
    folder: &std::path::Path,
    tell: &tokio::sync::mpsc::UnboundedSender<node::Told>,
) -> Vec<Node> {
    let mut rng = draws(args.seed, PLACES);
    let network = format!("soak-{}", args.seed % 100_000);
    let mut ports = free_ports();
    let mut nodes: Vec<Node> = Vec::new();
    let mut invite = None;
    let riders = args.nodes / 3;
    for index in 0..args.nodes {
        let (role, number) = match index {
            0 => (Role::Relay, 0),
            _ if index < args.nodes - riders => (Role::Driver, index),
            _ => (Role::Rider, index - (args.nodes - riders) + 1),
        };
        let name = format!("{}-{number:02}", role.name());
        // Relay and drivers are where others expect them; riders are where they happen to be.
        let port = if role == Role::Rider { 0 } else { ports.next().expect("a free port") };
        let (lat, lon) = place(&mut rng);
        let mut words = vec![role.name().to_owned(), "--network".to_owned(), network.clone()];
        words.extend(["--no-mdns".to_owned(), "--listen".to_owned(), format!("/ip4/127.0.0.1/tcp/{port}")]);
        if role != Role::Relay {
            words.push(format!("--at={lat},{lon}"));
        }
        if let Some(invite) = &invite {
            words.extend(["--bootstrap".to_owned(), String::clone(invite)]);
        }
        let node = Node::new(index, name, role, folder, words, tell.clone());
        node.start().await.unwrap_or_else(|why| panic!("{}: {why}", node.name));
        if role == Role::Relay {
            let client = node.client().expect("it is ready");
            let told: Value = client.get("/v1/invite").await.expect("a relay is reachable");
            invite = told["invite"].as_str().map(str::to_owned);
        }
        nodes.push(node);
    }
    nodes
}

/// Ports that are free now and that no system hands out by itself. Two soaks at a time look
/// in different places: what a node that is down has listened on is not free.
fn free_ports() -> impl Iterator<Item = u16> {
    let first = 21_000 + 100 * u16::try_from(std::process::id() % 100).unwrap_or_default();
    (first..32_000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

/// Somebody looks at the relay, too.
async fn watch(stage: &Stage, node: &Node) {
    let mut looks = interval(SAMPLE);
    loop {
        looks.tick().await;
        if let Some(client) = node.client() {
            stage.look(node, &client).await;
        }
    }
}

/// Until nobody has a ride that is not over, or something to say that is not answered.
async fn until_over(stage: &Stage) {
    let mut looks = interval(Duration::from_secs(1));
    while stage.board().open.values().any(|(rides, outbox)| *rides > 0 || *outbox > 0) {
        looks.tick().await;
    }
}

/// Every ride and every receipt of every node, once more.
async fn read_everything(stage: &Stage) {
    for node in &stage.nodes {
        let Some(client) = node.client() else {
            stage.violation(format!("{} does not run at the end", node.name));
            continue;
        };
        let mut before: Option<String> = None;
        loop {
            let query = before.as_ref().map_or_else(String::new, |before| format!("&before={before}"));
            let page: Value = match client.get(&format!("/v1/rides?limit=100{query}")).await {
                Ok(page) => page,
                Err(failure) => {
                    stage.violation(format!("{}: its rides: {}", node.name, failure.message));
                    break;
                }
            };
            for ride in page["items"].as_array().into_iter().flatten() {
                let (Some(id), Some(state)) = (ride["ride_id"].as_str(), ride["state"].as_str()) else {
                    continue;
                };
                if matches!(state, "held" | "committed" | "firm" | "en_route" | "arrived" | "in_progress") {
                    stage.violation(format!("{}: {id} is still {state} at the end", node.name));
                }
                if !stage.finish(node, &client, id, state).await {
                    stage.violation(format!("{} does not tell of {id}", node.name));
                }
            }
            before = page["next"].as_str().map(str::to_owned);
            if before.is_none() {
                break;
            }
        }
    }
    let (found, one_sided) = {
        let board = stage.board();
        (board.audit.double_bookings(), board.audit.one_sided())
    };
    found.into_iter().for_each(|what| stage.violation(what));
    one_sided.into_iter().for_each(|what| stage.violation(format!("completed on one side only: {what}")));
}
