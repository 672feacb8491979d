//! What must hold in every case (P1.5), judged from what each side has heard of the other,
//! from what their nodes showed, and from their journals: that of the victim as the kill
//! left it, and both at the end.
//!
//! The rules are those of the crashes in memory, word for word: [`Watch`] and [`Ledger`]
//! are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use hailmesh_sim::promises::{Ledger, Watch, by_accept, sides};
use hailmesh_types::{PeerKey, StatementId};
use hailmesh_wire::{AnyStatement, Attachment, Ed25519, Frame, FrameContent, Outcome};

use crate::host::{Host, Shown};
use crate::plan::Name;

pub(crate) use hailmesh_sim::promises::Violation;

/// Something that a node has heard.
pub(crate) struct Heard {
    by: Name,
    /// Who said it; none for gossip, which anybody forwards.
    peer: Option<PeerKey>,
    bytes: Vec<u8>,
    said: Vec<(StatementId, String)>,
}

impl Heard {
    /// A frame of an exchange; none when it is none.
    pub(crate) fn frame(by: Name, peer: &str, hex: &str) -> Option<Self> {
        let (peer, bytes) = (peer.parse().ok()?, bytes(hex)?);
        let frame = Frame::decode(&bytes).ok()?;
        let attached = frame.attachments.into_iter().filter_map(|attachment| match attachment {
            Attachment::Statement(bytes) => Some(bytes),
            _ => None,
        });
        let content = match frame.content {
            FrameContent::Statement(bytes) => Some(bytes),
            _ => None,
        };
        let read = |bytes: Vec<u8>| {
            let statement = AnyStatement::decode(bytes).ok()?;
            Some((statement.id(), statement.kind().to_string()))
        };
        let said = content.into_iter().chain(attached).filter_map(read).collect();
        Some(Self { by, peer: Some(peer), bytes, said })
    }

    pub(crate) fn gossip(by: Name, hex: &str) -> Self {
        Self { by, peer: None, bytes: bytes(hex).unwrap_or_default(), said: Vec::new() }
    }

    /// The statements in it.
    pub(crate) fn ids(&self) -> BTreeSet<StatementId> {
        self.said.iter().map(|(id, _)| *id).collect()
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<&str> = self.said.iter().map(|(_, kind)| kind.as_str()).collect();
        f.write_str(&kinds.join(" + "))
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.as_bytes().chunks(2).map(pair).collect()
}

/// Hears everything, and looks at journals.
pub(crate) struct Audit {
    watch: Watch,
    heard: Vec<Heard>,
    ids: BTreeSet<StatementId>,
    /// Whose transport identity is whose: every one that a process has had.
    names: BTreeMap<PeerKey, Name>,
    receipts: BTreeSet<(Name, Vec<u8>)>,
}

impl Audit {
    pub(crate) fn new() -> Self {
        Self {
            watch: Watch::new(Arc::new(Ed25519)),
            heard: Vec::new(),
            ids: BTreeSet::new(),
            names: BTreeMap::new(),
            receipts: BTreeSet::new(),
        }
    }

    pub(crate) fn violation(&mut self, property: &'static str, what: String) {
        self.watch.violation(property, what);
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.watch.violations.clone()
    }

    /// This transport identity is that of this process.
    pub(crate) fn meet(&mut self, peer: PeerKey, name: Name) {
        self.names.insert(peer, name);
    }

    pub(crate) fn hear(&mut self, heard: Heard) {
        self.ids.extend(heard.ids());
        self.heard.push(heard);
    }

    pub(crate) fn has_heard(&self, id: &StatementId) -> bool {
        self.ids.contains(id)
    }

    /// S7.
    pub(crate) fn receipt(&mut self, name: Name, hex: &str) {
        let file = bytes(hex).unwrap_or_default();
        if self.receipts.insert((name, file.clone())) {
            self.watch.receipt(name, &file);
        }
    }

    /// P11.1: what the others have heard of a node that was just killed is in its journal,
    /// as far as it binds, ends or tells of a ride.
    pub(crate) fn after_the_kill(&mut self, hosts: &[Host], victim: Name, journal: Result<Ledger, String>) {
        match journal {
            Ok(ledger) => {
                self.signed(victim, &ledger);
                self.sent(victim, &ledger);
                if ledger.live().count() > 1 || !ledger.rebound.is_empty() {
                    self.violation("S1", format!("host {victim} has two live slots"));
                }
            }
            // Killed before there was one.
            Err(_) if hosts[victim].peer.is_none() => {}
            Err(error) => self.violation("R", format!("host {victim}: {error}")),
        }
    }

    /// R: what a node had shown of what binds, all of it durable, it shows again or has
    /// gone on from there.
    pub(crate) fn came_back(&mut self, name: Name, before: &[Shown], after: &[Shown]) {
        for ride in before.iter().filter(|ride| ride.agreement.is_some() && rank(&ride.state) >= HELD) {
            let again = after.iter().find(|other| other.ride == ride.ride);
            let stands = again.is_some_and(|again| {
                let same = again.agreement == ride.agreement && (again.firm || !ride.firm);
                let is_over = rank(&ride.state) >= OVER;
                same && if is_over {
                    again.state == ride.state
                } else {
                    rank(&again.state) >= rank(&ride.state)
                }
            });
            if !stands {
                let what = format!("host {name} showed {ride:?} and shows {again:?} after a restart");
                self.violation("R", what);
            }
        }
    }

    /// Everything that was signed, in the order in which it was.
    fn signed(&mut self, name: Name, ledger: &Ledger) {
        self.watch.keep(name, &ledger.records);
    }

    /// Everything that others have heard of a node, held against its journal.
    fn sent(&mut self, name: Name, ledger: &Ledger) {
        for heard in self.heard.iter().filter(|heard| heard.by != name) {
            match heard.peer {
                Some(peer) if self.names.get(&peer) == Some(&name) => {
                    self.watch.send(name, ledger, &heard.bytes);
                }
                _ => {}
            }
        }
    }

    /// When everybody has ended.
    pub(crate) fn at_the_end(&mut self, hosts: &[Host], journals: Vec<Result<Ledger, String>>) {
        let mut ledgers = Vec::new();
        for (name, journal) in journals.into_iter().enumerate() {
            match journal {
                Ok(ledger) => ledgers.push((name, ledger)),
                Err(error) => self.violation("R", format!("host {name}: {error}")),
            }
        }
        for (name, ledger) in &ledgers {
            self.signed(*name, ledger);
            self.sent(*name, ledger);
        }
        for heard in self.heard.iter().filter(|heard| heard.peer.is_none()) {
            // Whoever hears gossip has not written it, and with two of them it is clear who
            // has.
            self.watch.sign(hosts.len() - 1 - heard.by, &heard.bytes.clone().into());
        }
        for heard in
            self.heard.iter().filter(|heard| heard.peer.is_some_and(|peer| !self.names.contains_key(&peer)))
        {
            let what = format!("host {} hears somebody who never said who it is", heard.by);
            self.watch.violation("R", what);
        }
        let (drivers, riders) = sides(ledgers.iter().map(|(name, ledger)| (hosts[*name].role, ledger)));
        self.watch.look(&drivers, &riders);
        self.watch.look_for_evidence(|_| true);
        self.look_at_firm_riders(&drivers, &riders);
        self.watch.look_at_ends(&drivers, &riders);
        for (name, ledger) in &ledgers {
            for (statement, (kind, _)) in &ledger.outbox {
                self.watch.violation("L1", format!("host {name} still owes {kind:?} {statement:?}"));
            }
            for slot in ledger.live() {
                self.watch.violation("L1", format!("host {name} still holds slot {}", slot.bound.slot.slot));
            }
        }
    }

    /// S5 over slots that are over: if the rider was firm its driver was, on the same CONFIRM,
    /// or has signed an end that is no lapse.
    fn look_at_firm_riders(&mut self, drivers: &[&Ledger], riders: &[&Ledger]) {
        let (drivers, riders) = (by_accept(drivers), by_accept(riders));
        for (accept, rider) in riders.iter().filter(|(_, rider)| rider.firm) {
            let stands = drivers.get(accept).is_some_and(|driver| {
                let was_firm = driver.firm && driver.confirm == rider.confirm;
                was_firm || (driver.void && driver.ended.is_some_and(|end| end != Outcome::HoldLapsed))
            });
            if !stands {
                self.watch.violation("S5", "a rider was firm and its driver was not");
            }
        }
    }
}

const HELD: usize = 1;
const OVER: usize = 7;

/// How far a ride is: 0 while nobody is bound, [`OVER`] when it is.
fn rank(state: &str) -> usize {
    ["requested", "held", "committed", "firm", "en_route", "arrived", "in_progress"]
        .iter()
        .position(|known| *known == state)
        .unwrap_or(OVER)
}
