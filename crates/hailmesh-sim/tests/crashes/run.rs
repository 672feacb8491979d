//! One schedule, run until nothing more comes of it.

use std::sync::Arc;

use hailmesh_market::Role;
use hailmesh_sim::promises::{Violation, sides};
use hailmesh_types::PeerKey;
use hailmesh_wire::{Kind, SimulatedSignatures};

use crate::fault::Fault;
use crate::person::LOOK_MS;
use crate::plan::{Name, Plan};
use crate::point::Point;
use crate::scenario::Scenario;
use crate::world::World;

/// How long a run without faults may take at the most.
const CALM_MS: u64 = 900_000;
/// How much longer each crash may make a run until both sides agree about the end and
/// nothing is on its way.
const SETTLE_MS: u64 = 60_000;

/// What came of a schedule.
pub(crate) struct Ran {
    pub(crate) violations: Vec<Violation>,
    pub(crate) points: Vec<Point>,
    /// Crashes that fell: fewer than planned when a position was never reached.
    pub(crate) crashes: usize,
    pub(crate) took_ms: u64,
    pub(crate) transcript: Vec<String>,
}

/// Runs a schedule. `calm_ms` is what the scenario takes without any.
pub(crate) fn run(
    scenario: Scenario,
    plan: &Plan,
    fault: Option<Fault>,
    calm_ms: Option<u64>,
    is_told: bool,
) -> Ran {
    let signatures = Arc::new(SimulatedSignatures::new([7; 32]));
    let mut world = World::new(scenario, plan.clone(), fault, signatures);
    world.transcript = is_told.then(Vec::new);
    for name in 0..world.hosts.len() {
        world.start(name);
    }
    let limit = calm_ms.map_or(CALM_MS, |calm| calm + SETTLE_MS * plan.crashes.len() as u64);
    let mut look_ms = 0;
    loop {
        let timer = world.next_timer();
        let next = [world.network.next(), timer.map(|(at, _)| at), Some(look_ms)];
        let next = next.into_iter().flatten().min().unwrap_or(look_ms).max(world.now_ms);
        world.now_ms = next;
        if world.now_ms > limit {
            let why = world.unsettled().unwrap_or_default();
            world.watch.now_ms = world.now_ms;
            world.watch.violation("L1", format!("not settled in time: {why}"));
            break;
        }
        if world.network.next().is_some_and(|at| at <= next) {
            if let Some((to, arrival)) = world.network.pop() {
                world.arrive(to, arrival);
            }
        } else if let Some((_, name)) = timer.filter(|(at, _)| *at <= next) {
            world.timeout(name);
        } else {
            for name in 0..world.hosts.len() {
                world.act(name);
            }
            if world.unsettled().is_none() {
                break;
            }
            look_ms = world.now_ms + LOOK_MS;
        }
    }
    world.judge_the_end();
    Ran {
        violations: std::mem::take(&mut world.watch.violations),
        points: std::mem::take(&mut world.points),
        crashes: world.hosts.iter().map(|host| host.crashes).sum(),
        took_ms: world.now_ms,
        transcript: world.transcript.take().unwrap_or_default(),
    }
}

impl World {
    /// What is still to come, if anything.
    fn unsettled(&self) -> Option<String> {
        for (name, host) in self.hosts.iter().enumerate() {
            let Some(market) = host.market.as_ref() else { return Some(format!("host {name} is down")) };
            if let Some(live) = host.ledger.live().next() {
                return Some(format!("host {name} holds slot {}", live.bound.slot.slot));
            }
            if !host.person.done {
                return Some(format!("somebody waits at host {name}"));
            }
            let (owed, all) = (self.owed(name), host.ledger.outbox.len());
            if owed > 0 || market.snapshot(self.time()).outbox > all {
                return Some(format!("host {name} owes {owed} statements"));
            }
        }
        (!self.network.is_quiet()).then(|| "something is on its way".to_owned())
    }

    /// Statements that a host owes. A rider that starts again has another transport
    /// identity, and nobody is told of it unless the rider still owes something itself: an
    /// opinion or a claim of its former driver, which bind nobody, then reach it no more.
    fn owed(&self, name: Name) -> usize {
        let is_reached = |peer: &PeerKey| self.hosts.iter().any(|host| host.peer == *peer);
        let binds = |kind: &Option<Kind>| !matches!(kind, Some(Kind::Rating | Kind::NoShow));
        let rows = self.hosts[name].ledger.outbox.values();
        rows.filter(|(kind, peer)| binds(kind) || is_reached(peer)).count()
    }

    fn judge_the_end(&mut self) {
        self.watch.now_ms = self.now_ms;
        for name in 0..self.hosts.len() {
            self.check_receipts(name);
        }
        self.watch.look_for_evidence(|_| true);
        let (drivers, riders) = sides(self.hosts.iter().map(|host| (host.role, &host.ledger)));
        self.watch.look_at_ends(&drivers, &riders);
        for name in self.names(Role::Driver).collect::<Vec<_>>() {
            let host = &self.hosts[name];
            let state = host.market.as_ref().map(|market| market.snapshot(self.time()).state);
            if state.is_some_and(|state| state != "free") {
                self.watch.violation("L1", format!("the lane of host {name} is {state:?}"));
            }
        }
    }
}
