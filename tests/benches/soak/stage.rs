//! What everybody in a soak shares: the nodes, what was found out, and where riders and
//! drivers meet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hailmesh::client::Client;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast};

use crate::audit::Audit;
use crate::node::{Node, Role, Told, command};

/// How long a node that runs may say nothing, or that it signs nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that a kill may be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A rider has just asked for a ride.
    Asked(usize),
    /// A driver has just signed an ACCEPT.
    Held(usize),
}

/// A ride that is over, as one side tells it.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) was_firm: bool,
    pub(crate) is_verified: bool,
}

/// What was found out so far.
#[derive(Default)]
pub(crate) struct Board {
    /// Rides that are over, by node and name.
    pub(crate) ended: BTreeMap<(usize, String), Ended>,
    /// Agreements that bind somebody now, by node.
    pub(crate) bound: BTreeMap<usize, String>,
    /// Rides that are not over and statements that wait for an answer, by node.
    pub(crate) open: BTreeMap<usize, (usize, u64)>,
    pub(crate) kills: BTreeMap<&'static str, u64>,
    pub(crate) restarts: u64,
    /// From the start of a process that was killed to `Ready.`.
    pub(crate) ready: Vec<Duration>,
    pub(crate) audit: Audit,
    pub(crate) violations: Vec<String>,
    /// Other things worth knowing, and how often.
    pub(crate) notes: BTreeMap<String, u64>,
    answered: BTreeMap<usize, Instant>,
    halted: BTreeMap<usize, Instant>,
}

/// Rider and driver of an agreement, and the code that the rider says aloud.
#[derive(Debug, Default, Clone)]
pub(crate) struct Meeting {
    pub(crate) rider: Option<usize>,
    pub(crate) driver: Option<usize>,
    pub(crate) code: Option<String>,
}

pub(crate) struct Stage {
    pub(crate) nodes: Vec<Node>,
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) begun: Instant,
    pub(crate) moments: broadcast::Sender<Moment>,
    /// No more wishes and no more kills.
    pub(crate) is_closing: AtomicBool,
    pub(crate) closing: Notify,
    board: Mutex<Board>,
    kerb: Mutex<BTreeMap<String, Meeting>>,
}

impl Stage {
    pub(crate) fn new(nodes: Vec<Node>, folder: PathBuf, seed: u64) -> Self {
        Self {
            nodes,
            folder,
            seed,
            begun: Instant::now(),
            moments: broadcast::Sender::new(64),
            is_closing: AtomicBool::new(false),
            closing: Notify::new(),
            board: Mutex::default(),
            kerb: Mutex::default(),
        }
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn kerb(&self) -> MutexGuard<'_, BTreeMap<String, Meeting>> {
        self.kerb.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.closing.notify_waiters();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    /// Something that must never be.
    pub(crate) fn violation(&self, what: String) {
        let mut board = self.board();
        if !board.violations.contains(&what) {
            println!("{}", json!({ "violation": what, "at_s": self.begun.elapsed().as_secs() }));
            board.violations.push(what);
        }
    }

    pub(crate) fn note(&self, what: String) {
        *self.board().notes.entry(what).or_default() += 1;
    }

    /// What a process told.
    pub(crate) fn told(&self, told: &Told) {
        match told {
            Told::Panic(node, line) => self.violation(format!("{}: {line}", self.nodes[*node].name)),
            Told::Ended(node) => self.violation(format!("{} ended by itself", self.nodes[*node].name)),
            Told::Event(node, event) => self.event(&self.nodes[*node], event),
        }
    }

    fn event(&self, node: &Node, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "ride" => {
                if node.role == Role::Driver && event["state"] == "held" {
                    // Mostly no kill waits for it.
                    let _nobody = self.moments.send(Moment::Held(node.index));
                }
                node.wake.notify_one();
            }
            kind @ ("evidence" | "cloned" | "key_replaced") => {
                self.violation(format!("{}: {kind}: {event}", node.name));
            }
            kind @ ("problem" | "notice" | "fare_disputed" | "boarding_refused") => {
                let words = event["what"].as_str().or_else(|| event["text"].as_str());
                let words = words.or_else(|| event["reason"].as_str()).unwrap_or_default();
                self.note(format!("{kind} ({}): {words}", node.role.name()));
            }
            _ => {}
        }
    }

    /// Looks at a node: its rides that are not over. None when it does not answer.
    pub(crate) async fn look(&self, node: &Node, client: &Client) -> Option<Vec<Value>> {
        let state: Value = client.get("/v1/state").await.ok()?;
        let rides = state["rides"].as_array().cloned().unwrap_or_default();
        let outbox = state["outbox"].as_u64().unwrap_or_default();
        let mut wrong = Vec::new();
        if state["bans"].as_u64() != Some(0) {
            wrong.push(format!("{} has evidence against somebody", node.name));
        }
        let binding: &[&str] = &["committed", "firm", "en_route", "arrived", "in_progress"];
        let binds = |ride: &&Value| {
            let state = ride["state"].as_str().unwrap_or_default();
            binding.contains(&state) || (node.role == Role::Driver && state == "held")
        };
        let bound: Vec<&Value> = rides.iter().filter(binds).collect();
        if bound.len() > 1 {
            wrong.push(format!("{} is bound twice at a time: {bound:?}", node.name));
        }
        {
            let mut board = self.board();
            board.answered.insert(node.index, Instant::now());
            board.open.insert(node.index, (rides.len(), outbox));
            match bound.first().and_then(|ride| ride["agreement"].as_str()) {
                Some(agreement) => board.bound.insert(node.index, agreement.to_owned()),
                None => board.bound.remove(&node.index),
            };
            if state["halted"].is_null() {
                board.halted.remove(&node.index);
            } else {
                board.halted.entry(node.index).or_insert_with(Instant::now);
            }
        }
        for ride in &bound {
            wrong.extend(self.meets(node, ride));
        }
        wrong.into_iter().for_each(|what| self.violation(what));
        Some(rides)
    }

    /// An agreement is of one rider and one driver.
    fn meets(&self, node: &Node, ride: &Value) -> Option<String> {
        let agreement = ride["agreement"].as_str()?;
        let mut kerb = self.kerb();
        let meeting = kerb.entry(agreement.to_owned()).or_default();
        let side = if node.role == Role::Driver { &mut meeting.driver } else { &mut meeting.rider };
        let other = side.replace(node.index)?;
        (other != node.index)
            .then(|| format!("{agreement} binds both {} and {}", self.nodes[other].name, node.name))
    }

    /// Nodes that say nothing for too long, or that they sign nothing.
    pub(crate) fn look_for_stuck(&self) {
        let mut stuck = Vec::new();
        {
            let board = self.board();
            for node in self.nodes.iter().filter(|node| !node.is_taken()) {
                let too_long = |at: Option<&Instant>| at.is_some_and(|at| at.elapsed() > PATIENCE);
                if too_long(board.answered.get(&node.index)) {
                    stuck.push(format!("{} does not answer", node.name));
                }
                if too_long(board.halted.get(&node.index)) {
                    stuck.push(format!("{} signs nothing", node.name));
                }
            }
        }
        stuck.into_iter().for_each(|what| self.violation(what));
    }

    /// A node that was down is not to be blamed for its silence.
    pub(crate) fn is_back(&self, node: &Node) {
        let mut board = self.board();
        board.answered.insert(node.index, Instant::now());
        board.halted.remove(&node.index);
    }

    /// Writes down how a ride ended, with its receipt. False when the node did not say.
    pub(crate) async fn finish(&self, node: &Node, client: &Client, ride: &str, last: &str) -> bool {
        let path = format!("/v1/rides/{ride}");
        let view: Value = match client.get(&path).await {
            Ok(view) => view,
            Err(failure) if failure.message.contains("no ride") => {
                // A search lives in memory and binds nobody; everything else is written.
                if last != "requested" {
                    self.violation(format!("{} has forgotten {ride}, which was {last}", node.name));
                }
                self.end(node, ride, "forgotten", &format!("killed while {last}"), false, false);
                return true;
            }
            Err(_) => return false,
        };
        let state = view["state"].as_str().unwrap_or_default().to_owned();
        let history = view["history"].as_array().cloned().unwrap_or_default();
        let was_firm = history.iter().any(|step| step["state"] == "firm");
        let mut reason =
            history.last().and_then(|step| step["reason"].as_str()).unwrap_or_default().to_owned();
        let mut is_verified = false;
        if view["has_receipt"] == true {
            let Ok(bytes) = client.receipt(ride).await else { return false };
            match self.check(node, &bytes).await {
                Ok((verified, ends)) => {
                    is_verified = verified;
                    reason = if reason.is_empty() { ends } else { reason };
                }
                Err(why) => self.violation(format!("{}: receipt of {ride}: {why}", node.name)),
            }
        }
        self.end(node, ride, &state, &reason, was_firm, is_verified);
        true
    }

    fn end(&self, node: &Node, ride: &str, state: &str, reason: &str, was_firm: bool, is_verified: bool) {
        let (state, reason) = (state.to_owned(), reason.to_owned());
        let ended = Ended { state, reason, was_firm, is_verified };
        self.board().ended.insert((node.index, ride.to_owned()), ended);
    }

    /// Whether a receipt shows a completed ride, which `hailmesh verify` has accepted then,
    /// and the signed ends in it.
    async fn check(&self, node: &Node, bytes: &[u8]) -> Result<(bool, String), String> {
        let facts =
            self.board().audit.add(node.index, node.role, bytes).map_err(|error| error.to_string())?;
        let path = self.folder.join("receipts").join(format!("{}-{}", facts.agreement, node.name));
        let ends = facts.ends.iter().map(|(role, outcome)| format!("{role:?} {}", outcome.name()));
        let ends = ends.collect::<Vec<_>>().join(", ").to_lowercase();
        if !facts.cosigned || path.exists() {
            return Ok((facts.cosigned, ends));
        }
        std::fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut verify = command();
        verify.args(["verify", "--json"]).arg(&path);
        let output = tokio::task::spawn_blocking(move || verify.output()).await;
        let output = output.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.success() && told["valid"] == true && told["facts"]["cosigned"] == true {
            Ok((true, ends))
        } else {
            Err(format!("`hailmesh verify` ended with {}: {told}", output.status))
        }
    }
}
