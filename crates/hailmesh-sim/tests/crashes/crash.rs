//! How a host starts, keeps records, and crashes; and what a restart must give back.

use std::sync::Arc;

use hailmesh_market::{Input, Marketplace, Origin, Record, RideId, RideView, Role};
use hailmesh_sim::promises::{Ledger, cast, sides};
use hailmesh_wire::RideState;

use crate::fault::Fault;
use crate::plan::{Crash, Name, Position};
use crate::point::{Point, kind_of, queued};
use crate::world::{Arrival, NOBODY_MS, TROUBLE_MS, World};

/// How long a host is down.
const DOWN_MS: u64 = 1_000;

impl World {
    /// Starts a host from its journal.
    pub(crate) fn start(&mut self, name: Name) {
        let now = self.time();
        let host = &mut self.hosts[name];
        host.has_news = true;
        host.run += 1;
        let keys = cast::keys(name, host.role, host.run);
        let records = match self.fault {
            Some(fault) => fault.recovered(&host.ledger.records),
            None => host.ledger.records.clone(),
        };
        let (config, seed) = (Arc::clone(&host.config), cast::randomness(name, host.run));
        match Marketplace::recover_with(config, keys, seed, records, now, Arc::clone(&self.signatures)) {
            Ok(market) => host.market = Some(Box::new(market)),
            Err(error) => return self.watch.violation("R", format!("host {name} does not recover: {error}")),
        }
        host.person.woke();
        self.note(|| format!("{name} starts"));
        self.check_recovered(name);
        self.learn_identity(name);
        self.drain(name);
        let own = self.hosts[name].peer;
        for other in (0..self.hosts.len()).filter(|other| *other != name).collect::<Vec<_>>() {
            if self.hosts[other].market.is_some() {
                let peer = self.hosts[other].peer;
                self.input(name, Input::PeerConnected { peer, origin: Origin::Loopback });
                self.input(other, Input::PeerConnected { peer: own, origin: Origin::Loopback });
                for topic in self.hosts[other].topics.clone() {
                    self.input(name, Input::PeerSubscribed { peer, topic });
                }
            }
        }
        self.check_receipts(name);
    }

    pub(crate) fn learn_identity(&mut self, name: Name) {
        let now = self.time();
        let host = &mut self.hosts[name];
        if let Some(market) = host.market.as_ref() {
            host.peer = market.snapshot(now).peer;
        }
    }

    /// A crash of the schedule.
    pub(crate) fn crash(&mut self, name: Name) {
        self.hosts[name].crashes += 1;
        self.stop(name);
    }

    /// A host is gone at once, and soon comes back; its journal stays.
    pub(crate) fn stop(&mut self, name: Name) {
        self.note(|| format!("{name} crashes"));
        let host = &mut self.hosts[name];
        host.market = None;
        host.dying = false;
        host.awaits.clear();
        host.topics.clear();
        host.troubled_ms = self.now_ms + DOWN_MS + TROUBLE_MS;
        if self.fault == Some(Fault::LosesLastBatch) {
            let mut records = std::mem::take(&mut host.ledger.records);
            records.truncate(host.before_last);
            host.ledger = Ledger::of(records);
        }
        let (gone, back_ms, troubled_ms) = (host.peer, self.now_ms + DOWN_MS, host.troubled_ms);
        self.network.put(back_ms, name, Arrival::Back);
        self.network.crashed(self.now_ms, name, troubled_ms);
        // What it had not answered breaks off with its connections.
        let open: Vec<u64> =
            self.exchanges.iter().filter(|(_, open)| open.3 == name).map(|(id, _)| *id).collect();
        for id in open {
            if let Some((to, run, ask, _)) = self.exchanges.remove(&id) {
                self.network.put(self.now_ms + NOBODY_MS, to, Arrival::Failed { run, ask, peer: gone });
            }
        }
        for other in 0..self.hosts.len() {
            if other != name {
                self.input(other, Input::PeerGone { peer: gone });
            }
        }
    }

    /// A batch of records is to be made durable: here schedules have their say.
    pub(crate) fn persist(&mut self, name: Name, records: Vec<Record>) {
        self.watch.now_ms = self.now_ms;
        let host = &mut self.hosts[name];
        let kind = kind_of(&records, &host.ledger.roles);
        let rows = queued(&records);
        // One that goes elsewhere now is done and put again.
        let done = |record: &Record| match record {
            Record::OutboxDone { statement } => host.awaits.contains(statement) && !rows.contains(statement),
            _ => false,
        };
        if host.dying || records.iter().any(done) {
            return self.crash(name);
        }
        let batch = host.batches;
        host.batches += 1;
        self.note(|| format!("{name} keeps {batch}: {kind}"));
        self.points.push(Point { host: name, batch, kind, queued: !rows.is_empty() });
        let here = |crash: &&Crash| (crash.host, crash.batch) == (name, batch);
        let position = self.plan.crashes.iter().find(here).map(|crash| crash.position);
        let host = &mut self.hosts[name];
        if position == Some(Position::Before) {
            if self.fault == Some(Fault::SendsFirst) {
                host.dying = true;
                return;
            }
            return self.crash(name);
        }
        host.before_last = host.ledger.records.len();
        let records = match (self.fault, position) {
            (Some(fault), Some(_)) => fault.torn(records),
            _ => records,
        };
        self.keep(name, records);
        match position {
            Some(Position::After) => self.crash(name),
            Some(Position::Sent) => self.hosts[name].dying = true,
            Some(Position::Heard) => self.hosts[name].awaits = rows,
            Some(Position::Before) | None => {}
        }
    }

    fn keep(&mut self, name: Name, records: Vec<Record>) {
        self.watch.keep(name, &records);
        self.hosts[name].ledger.append(records);
        let (drivers, riders) = sides(self.hosts.iter().map(|host| (host.role, &host.ledger)));
        self.watch.look(&drivers, &riders);
    }

    /// Whether something that the host waits for was heard, and the outbox still holds it.
    pub(crate) fn is_heard(&self, name: Name) -> bool {
        let host = &self.hosts[name];
        if host.awaits.is_empty() {
            return false;
        }
        let left = host.market.as_ref().map_or(0, |market| market.snapshot(self.time()).outbox);
        left < host.ledger.outbox.len()
    }

    /// R: the journal alone gives back what was shown of every agreement. What goes on in a
    /// search after one, or came of it, is not kept (P11.2).
    fn check_recovered(&mut self, name: Name) {
        let seen = std::mem::take(&mut self.hosts[name].seen);
        let shown = self.rides(name);
        let searched = |ride: &RideView| ride.state == RideState::Requested || ride.no_match.is_some();
        for before in seen.iter().filter(|ride| ride.agreement.is_some() && !searched(ride)) {
            let after = shown.iter().find(|ride| ride.ride == before.ride);
            if after.map(lasting) != Some(lasting(before)) {
                let what = format!("host {name} showed {before:?} and shows {after:?} after a restart");
                self.watch.violation("R", what);
            }
        }
    }

    /// S7 for every ride of a host that is bound or was.
    pub(crate) fn check_receipts(&mut self, name: Name) {
        let now = self.time();
        let Some(market) = self.hosts[name].market.as_ref() else { return };
        let rides = market.rides(now);
        let agreed = rides.iter().filter(|ride| ride.has_receipt).map(|ride| ride.ride);
        for ride in agreed.collect::<Vec<RideId>>() {
            self.check_receipt(name, ride);
        }
        let host = &self.hosts[name];
        let live = host.ledger.live().filter(|slot| slot.firm || slot.bound.role == Role::Rider);
        let missing = live.filter(|slot| !rides.iter().any(|ride| ride.ride == slot.bound.ride)).count();
        if missing > 0 {
            self.watch.violation("S7", format!("host {name} has forgotten a ride"));
        }
    }

    /// S7: whoever is bound holds what both signed, for anybody to check.
    pub(crate) fn check_receipt(&mut self, name: Name, ride: RideId) {
        let Some(market) = self.hosts[name].market.as_ref() else { return };
        let Some(bytes) = market.receipt(ride) else {
            return self.watch.violation("S7", format!("host {name} is bound without a receipt"));
        };
        self.watch.receipt(name, &bytes);
    }
}

/// What a restart must not change of a ride: everything but how it came about, what the
/// other side told in passing, and what depends on the moment.
fn lasting(ride: &RideView) -> RideView {
    let mut ride = RideView { history: Vec::new(), no_match: None, choice: None, ..ride.clone() };
    (ride.eta, ride.settle_ms, ride.asked) = (None, None, 0);
    (ride.seen_at, ride.sharing, ride.cancel_fee) = (None, false, None);
    ride
}
