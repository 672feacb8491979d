//! What comes after: nothing goes wrong any more, people end what is open, and both sides of
//! every agreement agree (L1).

use hailmesh_market::{Command, Completion, RideView, Role};
use hailmesh_sim::promises::sides;
use hailmesh_types::PeerKey;
use hailmesh_wire::RideState;

use super::world::{Arrival, Name, World};

/// How often people look at their nodes.
const LOOK_MS: u64 = 2_000;
/// How long it may take until all is said and done: an exchange that was lost, an outbox
/// that waits its longest pause, and every timeout of the protocol one after the other.
const SETTLE_MS: u64 = 900_000;
/// How long people wait for the other side of a ride that has begun, before they end it.
const ALONE_MS: u64 = 60_000;

impl World {
    /// Runs until nothing more comes of it, then judges the end.
    pub(super) fn comes_to_its_end(&mut self) {
        for host in &mut self.hosts {
            host.store_fault = None;
        }
        let began_ms = self.now_ms;
        let mut look_ms = self.now_ms;
        loop {
            if !self.watch.violations.is_empty() {
                return;
            }
            if self.now_ms > began_ms + SETTLE_MS {
                let why = self.unsettled().unwrap_or_default();
                self.watch.now_ms = self.now_ms;
                return self.watch.violation("L1", format!("not settled in time: {why}"));
            }
            if self.next_due().is_some_and(|due_ms| due_ms <= look_ms) {
                self.next_event();
                continue;
            }
            self.now_ms = self.now_ms.max(look_ms);
            for name in 0..self.hosts.len() {
                self.winds_up(name, self.now_ms - began_ms);
            }
            if self.unsettled().is_none() {
                break;
            }
            look_ms = self.now_ms + LOOK_MS;
        }
        self.judge_the_end();
    }

    /// Whoever sits at this host wants to go home.
    fn winds_up(&mut self, name: Name, since_ms: u64) {
        let rides = self.rides(name);
        if self.hosts[name].role == Role::Driver {
            self.command(name, Command::GoOffline);
        }
        for ride in rides.iter().filter(|ride| !ride.state.is_over()) {
            if let Some(command) = last_command(self.hosts[name].role, ride, since_ms) {
                self.command(name, command);
            }
        }
    }

    /// What is still to come, if anything.
    fn unsettled(&self) -> Option<String> {
        for (name, host) in self.hosts.iter().enumerate() {
            let Some(market) = host.market.as_ref() else { return Some(format!("host {name} is down")) };
            if let Some(live) = host.ledger.live().next() {
                return Some(format!("host {name} holds slot {}", live.bound.slot.slot));
            }
            if let Some(open) = self.rides(name).iter().find(|ride| !ride.state.is_over()) {
                return Some(format!("a ride of host {name} is {}", open.state));
            }
            let (owed, all) = (self.owed(name), host.ledger.outbox.len());
            if owed > 0 || market.snapshot(self.time()).outbox > all {
                return Some(format!("host {name} owes {owed} statements"));
            }
        }
        let is_direct = |arrival: &Arrival| !matches!(arrival, Arrival::Gossip { .. });
        let on_its_way = self.flights.iter().any(|flight| is_direct(&flight.arrival));
        on_its_way.then(|| "something is on its way".to_owned())
    }

    /// Statements that a host owes to somebody who can be found. A rider that starts again
    /// has another transport identity (P3.1); what bound it, it asks about under the new one,
    /// and whether it heard how that ended is judged by the journals.
    fn owed(&self, name: Name) -> usize {
        let is_reached = |peer: &PeerKey| self.hosts.iter().any(|host| host.peer == *peer);
        self.hosts[name].ledger.outbox.values().filter(|(_, peer)| is_reached(peer)).count()
    }

    fn judge_the_end(&mut self) {
        self.watch.now_ms = self.now_ms;
        for name in 0..self.hosts.len() {
            self.check_receipts(name);
        }
        self.watch.look_for_evidence(|_| true);
        let (drivers, riders) = sides(self.hosts.iter().map(|host| (host.role, &host.ledger)));
        self.watch.look_at_ends(&drivers, &riders);
        for name in self.names(Role::Driver) {
            let state = self.hosts[name].market.as_ref().map(|market| market.snapshot(self.time()).state);
            if state.is_some_and(|state| !matches!(state, "free" | "offline")) {
                self.watch.violation("L1", format!("the lane of host {name} is {state:?}"));
            }
        }
    }
}

/// How somebody ends this ride, so long after the last trouble.
fn last_command(role: Role, ride: &RideView, since_ms: u64) -> Option<Command> {
    let id = ride.ride;
    match (role, ride.state) {
        (Role::Driver, RideState::Requested) => Some(Command::Decline(id)),
        (_, RideState::InProgress) if since_ms > ALONE_MS => Some(Command::EndAlone(id)),
        (Role::Driver, RideState::InProgress) if ride.total.is_none() => {
            Some(Command::Complete(id, Completion::default()))
        }
        (Role::Rider, RideState::InProgress) if ride.total.is_some() => Some(Command::Accept(id)),
        (_, RideState::InProgress) => None,
        _ => Some(Command::Cancel(id)),
    }
}
