//! The process that is killed: a node as it ships, its person, and a watch over its fail
//! points. It is this very test program, started again.
//!
//! What it has to say goes out as lines that begin with [`MARK`]; what the others have to
//! tell its person comes in as lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hailmesh_market::{Record, Role};
use hailmesh_net::{Tap, Tapped};
use hailmesh_node::home::Home;
use hailmesh_node::keys::IdentityKey;
use hailmesh_node::{FailPoint, FailPoints, Node, NodeConfig, NodeHandle};
use hailmesh_types::{PublicKey, StatementId};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::fault::{BEFORE, copy_journal};
use crate::person::{Look, Person};
use crate::plan::{FailAt, Moment};
use crate::point::{kind_of, queued};
use crate::scenario::scenario;

/// Tells this program to be a node: its home.
pub(crate) const HOME: &str = "HAILMESH_KILL_HOME";
/// Its role, the scenario, where to find the others (with blanks between), where the
/// journal is when it is not a file in the home, where to die, and what its person knows.
pub(crate) const ROLE: &str = "HAILMESH_KILL_ROLE";
pub(crate) const SCENARIO: &str = "HAILMESH_KILL_SCENARIO";
pub(crate) const BOOTSTRAP: &str = "HAILMESH_KILL_BOOTSTRAP";
pub(crate) const STORE: &str = "HAILMESH_KILL_STORE";
pub(crate) const AT: &str = "HAILMESH_KILL_AT";
pub(crate) const KEEP_BEFORE: &str = "HAILMESH_KILL_KEEP_BEFORE";
pub(crate) const RATED: &str = "HAILMESH_KILL_RATED";
/// This is not its first process.
pub(crate) const AGAIN: &str = "HAILMESH_KILL_AGAIN";

/// How the lines of a node begin.
pub(crate) const MARK: &str = "HM ";
/// How often its person looks at a node.
const LOOK: Duration = Duration::from_millis(50);
/// How long a start waits for a journal that is still locked for a process that is dead.
const LOCKED: Duration = Duration::from_secs(15);

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn say(line: &str) {
    println!("\n{MARK}{line}");
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// Not a test of its own: the node that the tests start and kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(home) = setting(HOME) else { return };
    let home = PathBuf::from(home);
    let scenario = setting(SCENARIO).and_then(|name| scenario(&name)).expect("a scenario");
    let role = if setting(ROLE).as_deref() == Some("driver") { Role::Driver } else { Role::Rider };
    let mut settings = scenario.settings();
    settings.network.bootstrap =
        setting(BOOTSTRAP).map(|all| all.split(' ').map(str::to_owned).collect()).unwrap_or_default();
    settings.store.url = setting(STORE);
    let watch = Watch::new(role, setting(AT), setting(KEEP_BEFORE).map(|_| home.clone()));
    let deadline = Instant::now() + LOCKED;
    let (node, task) = loop {
        let home = Home::open(&home).expect("a home");
        let identity = IdentityKey::load_or_create(&home, None).expect("an identity");
        let (settings, registry) = (settings.clone(), Registry::default());
        let config = NodeConfig { role: Some(role), settings, home: Some(home), identity, registry };
        let started = Node::start_with_fail_points(config, watch.points(), |network| {
            // Gossip as everywhere, with less time between two looks at who is there.
            network.gossip.heartbeat = Duration::from_millis(200);
            network.gossip.heartbeat_delay = Duration::from_millis(50);
            network.discovery.redial_min = Duration::from_millis(200);
            network.tap = Some(Tap::new(tell));
        });
        match started.await {
            Ok(started) => break started,
            Err(error) if error.exit_code() == 6 && Instant::now() < deadline => {
                tokio::time::sleep(LOOK).await;
            }
            Err(error) => panic!("the node does not start: {error}"),
        }
    };
    let person = Person::new(scenario, role, setting(RATED).is_some(), setting(AGAIN).is_none());
    live(&node, person).await;
    node.shutdown().await;
    task.await.expect("the loop ends").expect("in order");
    say("ENDED");
}

/// What this process is told.
fn told() -> mpsc::UnboundedReceiver<String> {
    let (tell, told) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        // Ends with the process, or before it when nobody listens.
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

/// What the others have said.
fn tell(tapped: Tapped<'_>) {
    match tapped {
        Tapped::Asked { peer, frame } | Tapped::Answered { peer, frame } => {
            say(&format!("FRAME {peer} {}", hex(frame)));
        }
        Tapped::Received { data, .. } => say(&format!("GOSSIP {}", hex(data))),
        _ => {}
    }
}

/// Until somebody says that it is over.
async fn live(node: &NodeHandle, mut person: Person) {
    let mut said = String::new();
    // The first look is at what the journal gave back.
    look(node, &mut person, &mut said, 0).await;
    receipts(node).await;
    let status = node.status().await.expect("a node that runs");
    say(&format!("READY {} {}", status.snapshot.peer, node.invite().await.expect("it listens")));
    let mut told = told();
    let mut every = interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events = node.events(None);
    loop {
        tokio::select! {
            line = told.recv() => {
                let line = line.unwrap_or_else(|| "END".to_owned());
                match line.split(' ').collect::<Vec<_>>()[..] {
                    ["CODE", agreement, code] => person.hear(agreement, code),
                    ["LOOK", number] => {
                        look(node, &mut person, &mut said, number.parse().expect("a number")).await;
                    }
                    ["END"] => {
                        receipts(node).await;
                        return;
                    }
                    _ => panic!("told {line:?}"),
                }
            }
            Some(_) = events.next() => {}
            _ = every.tick() => {}
        }
        person.act(node).await;
        look(node, &mut person, &mut said, 0).await;
    }
}

/// Says how everything stands when that has changed. What a node shows is durable.
async fn look(node: &NodeHandle, person: &mut Person, said: &mut String, number: u64) {
    let (Ok(rides), Ok(status)) = (node.rides().await, node.status().await) else { return };
    for line in person.tells(&rides) {
        say(&line);
    }
    let look = |number| Look::of(&rides, &status.snapshot, person.is_done(&rides), number).to_string();
    if *said != look(0) || number > 0 {
        say(&format!("LOOK {}", look(number)));
        *said = look(0);
    }
}

/// Says every receipt there is.
async fn receipts(node: &NodeHandle) {
    for ride in node.rides().await.unwrap_or_default() {
        if ride.has_receipt
            && let Ok(Some(file)) = node.receipt(ride.ride).await
        {
            say(&format!("RECEIPT {} {}", ride.ride, hex(&file)));
        }
    }
}

/// Names the points that the node passes, and stops at one of them.
#[derive(Clone)]
struct Watch(Arc<Mutex<Passed>>);

struct Passed {
    target: Option<FailAt>,
    /// Where the journal is kept as it was before the batch at the target.
    keep_before: Option<PathBuf>,
    role: Role,
    roles: BTreeMap<PublicKey, Role>,
    counts: BTreeMap<&'static str, usize>,
    armed: Option<Armed>,
}

/// The batch at the target is on its way to the journal.
struct Armed {
    /// What it says that goes to somebody.
    own: BTreeSet<StatementId>,
    /// What it puts into the outbox.
    rows: BTreeSet<StatementId>,
    is_durable: bool,
}

impl Watch {
    fn new(role: Role, target: Option<String>, keep_before: Option<PathBuf>) -> Self {
        let target = target.map(|target| target.parse().expect("a fail point"));
        let (roles, counts) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Passed { target, keep_before, role, roles, counts, armed: None })))
    }

    fn points(&self) -> FailPoints {
        let watch = self.clone();
        FailPoints::new(move |point| {
            let stop = watch.0.lock().unwrap_or_else(PoisonError::into_inner).pass(point);
            if let Some(line) = stop {
                say(&line);
                // Whatever else this thread has to do goes on elsewhere: what was sent
                // leaves the process.
                tokio::task::block_in_place(|| {
                    loop {
                        std::thread::park();
                    }
                });
            }
        })
    }
}

impl Passed {
    /// What to say before the node stops for ever, if it does.
    fn pass(&mut self, point: FailPoint<'_>) -> Option<String> {
        let moment = self.target.as_ref().map(|target| target.moment);
        match point {
            FailPoint::BeforeCommit(batches) => {
                let heard = |armed: &Armed| batches.iter().any(|batch| clears(batch, &armed.rows));
                if moment == Some(Moment::Heard) && self.armed.as_ref().is_some_and(heard) {
                    return Some("AT".to_owned());
                }
                batches.iter().find_map(|batch| self.name(batch))
            }
            FailPoint::AfterCommit(_) => {
                let armed = self.armed.as_mut()?;
                armed.is_durable = true;
                (moment == Some(Moment::After)).then(|| "AT".to_owned())
            }
            FailPoint::AfterSend => {
                let armed = self.armed.as_ref().filter(|armed| armed.is_durable)?;
                let sent: Vec<String> = armed.own.iter().map(StatementId::to_string).collect();
                (moment == Some(Moment::Sent)).then(|| format!("AT {}", sent.join(" ")))
            }
        }
    }

    fn name(&mut self, batch: &[Record]) -> Option<String> {
        for record in batch {
            // All keys of a node stand on its side; those that it had before it was killed are
            // in no record of this run.
            let key = match record {
                Record::Key(key) => key.key,
                Record::Firm { slot, .. } | Record::Ended { slot, .. } => slot.key,
                _ => continue,
            };
            self.roles.insert(key, self.role);
        }
        let kind = kind_of(batch, &self.roles);
        let clause = if kind.clause == "-" { "note" } else { kind.clause };
        let count = self.counts.entry(clause).or_default();
        let name = format!("{clause}.{count}");
        *count += 1;
        let rows = queued(batch);
        say(&format!("POINT {name} {} {}", u8::from(!rows.is_empty()), kind.records));
        let target = self.target.as_ref().filter(|target| target.batch == name && self.armed.is_none())?;
        if let Some(home) = &self.keep_before {
            copy_journal(home, &home.join(BEFORE));
        }
        self.armed = Some(Armed { own: spoken(batch, &rows), rows, is_durable: false });
        match target.moment {
            Moment::Before => Some("AT".to_owned()),
            Moment::Within => {
                say("SOON");
                None
            }
            _ => None,
        }
    }
}

/// Whether a batch takes one of these out of the outbox. One that goes elsewhere now is
/// taken out and put in again.
fn clears(batch: &[Record], rows: &BTreeSet<StatementId>) -> bool {
    let put = queued(batch);
    let done = |record: &Record| match record {
        Record::OutboxDone { statement } => rows.contains(statement) && !put.contains(statement),
        _ => false,
    };
    batch.iter().any(done)
}

/// The statements of a batch that go to somebody.
fn spoken(batch: &[Record], rows: &BTreeSet<StatementId>) -> BTreeSet<StatementId> {
    let own = |record: &Record| match record {
        Record::Statement { own: true, id, .. } => Some(*id),
        _ => None,
    };
    batch.iter().filter_map(own).chain(rows.iter().copied()).collect()
}
