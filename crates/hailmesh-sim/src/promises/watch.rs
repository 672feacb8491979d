//! What must hold in every schedule (P1.5), judged by somebody who hears everything that
//! was signed and sees every journal.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use hailmesh_market::Record;
use hailmesh_types::{PublicKey, StatementId};
use hailmesh_wire::{
    AnyStatement, AnyVerified, Attachment, EvidenceKind, Frame, FrameContent, Kind, Outcome, Receipt,
    Signatures, evidence,
};

use super::ledger::{Ledger, Slot, agree, by_accept};

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// S1 to S7 and L1 of P1.5, P11.1 for what was sent and is not durable, R for a journal
    /// that gives nothing back.
    pub property: &'static str,
    /// Milliseconds since the start.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms: {}", self.property, self.at_ms, self.what)
    }
}

/// Violations kept of one run.
const KEPT: usize = 40;
/// Statements and receipts remembered from one run to the next.
const REMEMBERED: usize = 20_000;

thread_local! {
    // Schedules begin alike, down to the bytes, and half of their time went into reading
    // the same statements again.
    static STATEMENTS: RefCell<BTreeMap<Arc<[u8]>, AnyVerified>> = const { RefCell::new(BTreeMap::new()) };
    static RECEIPTS: RefCell<BTreeSet<Vec<u8>>> = const { RefCell::new(BTreeSet::new()) };
}

/// A statement, verified once a thread.
fn read(bytes: &Arc<[u8]>, signatures: &dyn Signatures) -> Option<AnyVerified> {
    if let Some(known) = STATEMENTS.with_borrow(|known| known.get(bytes).cloned()) {
        return Some(known);
    }
    let statement = AnyStatement::decode(Arc::clone(bytes)).ok()?.verify_with(signatures).ok()?;
    STATEMENTS.with_borrow_mut(|known| {
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(Arc::clone(bytes), statement.clone());
    });
    Some(statement)
}

/// Hears everything.
pub struct Watch {
    signatures: Arc<dyn Signatures>,
    /// Milliseconds since the start, for violations that are found from now on.
    pub now_ms: u64,
    /// Everything that was signed: sent, or in a journal.
    said: BTreeMap<StatementId, AnyVerified>,
    /// The ACCEPT of a driver's slot, the CONFIRM of a rider's.
    bound: BTreeMap<(PublicKey, u64), StatementId>,
    /// By host: ACCEPTs that it confirmed, and those of them that it has ended.
    confirmed: BTreeMap<usize, BTreeSet<StatementId>>,
    ended: BTreeMap<usize, BTreeSet<StatementId>>,
    /// What did not hold, at most 40.
    pub violations: Vec<Violation>,
}

impl Watch {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(signatures: Arc<dyn Signatures>) -> Self {
        Self {
            signatures,
            now_ms: 0,
            said: BTreeMap::new(),
            bound: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            ended: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// Notes a violation, each only once.
    pub fn violation(&mut self, property: &'static str, what: impl Into<String>) {
        let what = what.into();
        let known = self.violations.iter().any(|one| one.property == property && one.what == what);
        if !known && self.violations.len() < KEPT {
            self.violations.push(Violation { property, at_ms: self.now_ms, what });
        }
    }

    /// Something that a host says to another: P11.1, then everything in [`Watch::sign`].
    pub fn send(&mut self, host: usize, ledger: &Ledger, frame: &[u8]) {
        let Ok(frame) = Frame::decode(frame) else {
            return self.violation("R", format!("host {host} sends a frame that cannot be read"));
        };
        let attached = frame.attachments.into_iter().filter_map(|attachment| match attachment {
            Attachment::Statement(bytes) | Attachment::DriverOffer(bytes) => Some(bytes),
            _ => None,
        });
        let said = match frame.content {
            FrameContent::Statement(bytes) => Some(bytes),
            _ => None,
        };
        for bytes in said.into_iter().chain(attached) {
            if let Some(statement) = self.sign(host, &bytes.into())
                && promises(&statement)
                && !ledger.kept.contains_key(&statement.id())
            {
                let what = format!("host {host} sends a {} that its journal lacks", statement.kind());
                self.violation("P11.1", what);
            }
        }
    }

    /// Something that a host has signed.
    pub fn sign(&mut self, host: usize, bytes: &Arc<[u8]>) -> Option<AnyVerified> {
        let Some(statement) = read(bytes, &*self.signatures) else {
            self.violation("R", format!("host {host} signs what cannot be read"));
            return None;
        };
        if self.said.insert(statement.id(), statement.clone()).is_none() {
            self.judge(host, &statement);
        }
        Some(statement)
    }

    /// What a host writes down: everything in it that it has signed itself.
    pub fn keep(&mut self, host: usize, records: &[Record]) {
        for record in records {
            match record {
                Record::Statement { own: true, bytes, .. } | Record::OutboxPut { bytes, .. } => {
                    self.sign(host, bytes);
                }
                Record::Key(key) => {
                    if let Some(cert) = &key.cert {
                        self.sign(host, cert);
                    }
                }
                _ => {}
            }
        }
    }

    /// S7: what both signed, for anybody to check.
    pub fn receipt(&mut self, host: usize, file: &[u8]) {
        if RECEIPTS.with_borrow(|known| known.contains(file)) {
            return;
        }
        let facts = Receipt::decode(file).and_then(|read| read.verify_with(&[], &*self.signatures));
        match facts {
            Ok(_) => RECEIPTS.with_borrow_mut(|known| {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(file.to_vec());
            }),
            Err(error) => self.violation("S7", format!("a receipt of host {host} does not verify: {error}")),
        }
    }

    fn judge(&mut self, host: usize, statement: &AnyVerified) {
        let id = statement.id();
        match statement {
            AnyVerified::Accept(accept) => {
                let slot = (*accept.signer(), accept.body().slot);
                if self.bound.insert(slot, id).is_some() {
                    self.violation("S1", format!("host {host} accepts twice in slot {}", slot.1));
                }
            }
            AnyVerified::Confirm(confirm) => {
                let slot = (*confirm.signer(), confirm.body().slot);
                if self.bound.insert(slot, id).is_some() {
                    self.violation("S2", format!("host {host} confirms twice in slot {}", slot.1));
                }
                self.confirmed.entry(host).or_default().insert(confirm.body().accept_id);
                let ended = self.ended.entry(host).or_default();
                if self.confirmed[&host].difference(ended).count() > 1 {
                    self.violation("S3", format!("host {host} confirms before the last one has ended"));
                }
            }
            AnyVerified::Release(release) => {
                self.ended.entry(host).or_default().insert(release.body().accept_id);
            }
            AnyVerified::Cosign(cosign) => {
                self.ended.entry(host).or_default().insert(cosign.body().accept_id);
            }
            _ => {}
        }
    }

    /// S1 and S3 to S5 over the journals as they are now: drivers first, then riders.
    pub fn look(&mut self, drivers: &[&Ledger], riders: &[&Ledger]) {
        for ledger in drivers.iter().chain(riders) {
            if !ledger.rebound.is_empty() || ledger.live().count() > 1 {
                self.violation("S1", "two live slots, or one that was bound twice");
            }
        }
        for rider in riders {
            for live in rider.live() {
                let on_it = drivers.iter().flat_map(|driver| driver.live());
                let firm = on_it
                    .filter(|slot| slot.firm && slot.bound.counterparty == live.bound.slot.key)
                    .filter(|slot| self.rider_slot(slot.confirm) == Some(live.bound.slot.slot));
                if firm.count() > 1 {
                    self.violation("S4", "two drivers are firm on one slot of a rider");
                }
                if live.firm {
                    let mut theirs = drivers.iter().flat_map(|driver| driver.slots.values());
                    let theirs = theirs.find(|slot| slot.bound.accept == live.bound.accept);
                    let stands = theirs.is_some_and(|slot| match slot.ended {
                        None => slot.firm && slot.confirm == live.confirm,
                        Some(outcome) => slot.void && outcome != Outcome::HoldLapsed,
                    });
                    if !stands {
                        self.violation("S5", "a rider is firm and its driver is not");
                    }
                }
            }
        }
    }

    /// L1: when all is over both sides of every ACCEPT tell the same end of it.
    pub fn look_at_ends(&mut self, drivers: &[&Ledger], riders: &[&Ledger]) {
        let (drivers, riders) = (by_accept(drivers), by_accept(riders));
        for accept in drivers.keys().chain(riders.keys()).collect::<BTreeSet<_>>() {
            let (driver, rider) = (drivers.get(accept).copied(), riders.get(accept).copied());
            if !agree(driver, rider) {
                let how = |slot: Option<&Slot>| match slot {
                    None => "never bound".to_owned(),
                    Some(slot) => format!("{:?}", slot.ended),
                };
                self.violation("L1", format!("driver {}, rider {}", how(driver), how(rider)));
            }
        }
    }

    fn rider_slot(&self, confirm: Option<StatementId>) -> Option<u64> {
        match self.said.get(&confirm?)? {
            AnyVerified::Confirm(confirm) => Some(confirm.body().slot),
            _ => None,
        }
    }

    /// S6: nothing that these keys have signed is evidence against them. What was signed is
    /// never unsigned, so that once at the end is as good as after every step.
    pub fn look_for_evidence(&mut self, honest: impl Fn(&PublicKey) -> bool) {
        use EvidenceKind::{E1, E2, E3, E4a, E4b, E4c, E4d, E5a, E5b, E6, E7, E8, E9};
        let mut by_key: BTreeMap<PublicKey, Vec<&AnyVerified>> = BTreeMap::new();
        for statement in self.said.values().filter(|statement| honest(statement.signer())) {
            by_key.entry(*statement.signer()).or_default().push(statement);
        }
        let named = [Kind::Confirm, Kind::Request];
        let mut found = Vec::new();
        for (key, statements) in &by_key {
            let mut charge = |kinds: &[EvidenceKind], statements: &[&AnyVerified]| {
                let statements: Vec<AnyVerified> = statements.iter().copied().cloned().collect();
                for kind in kinds {
                    if evidence::contradicts(*kind, key, &statements, &*self.signatures) {
                        found.push(format!("{kind} against a key"));
                    }
                }
            };
            for (index, one) in statements.iter().enumerate() {
                charge(&[E4d], &[one]);
                for other in &statements[..index] {
                    let kinds: &[EvidenceKind] = match (one.kind(), other.kind()) {
                        (Kind::DriverOffer | Kind::RiderOffer, Kind::DriverOffer | Kind::RiderOffer) => {
                            &[E6, E9]
                        }
                        (Kind::ShiftCert, Kind::ShiftCert) => &[E7],
                        (Kind::DriverOffer, Kind::Accept) | (Kind::Accept, Kind::DriverOffer) => &[E5a, E9],
                        (one, other) if is_bond(one) && is_bond(other) => &[E1, E2, E3, E4a, E4b, E8],
                        _ => continue,
                    };
                    charge(kinds, &[one, other]);
                }
            }
            // Of the other side, what a statement of this key names.
            let others = self.said.values().filter(|one| named.contains(&one.kind()));
            let of = |kinds: &'static [Kind]| {
                statements.iter().copied().filter(move |one| kinds.contains(&one.kind()))
            };
            for other in others {
                for accept in of(&[Kind::Accept]) {
                    for ack in of(&[Kind::Ack]) {
                        charge(&[E4c], &[ack, other, accept]);
                    }
                    for terms in of(&[Kind::DriverOffer, Kind::Counter]) {
                        charge(&[E5b], &[terms, other, accept]);
                    }
                }
            }
        }
        for what in found {
            self.violation("S6", what);
        }
    }
}

/// What binds its signer or ends what did, and every word about a ride: it is durable
/// before it is sent. REQUEST, REJECT, COUNTER, INVITE, STATUS, BOARD_ASK and offers are
/// not (P11.2), and a RELEASE of what was never bound ends nothing.
fn promises(statement: &AnyVerified) -> bool {
    match statement {
        AnyVerified::Release(release) => release.body().agreement_id.is_some(),
        _ => matches!(
            statement.kind(),
            Kind::Accept
                | Kind::Confirm
                | Kind::Ack
                | Kind::Void
                | Kind::Cosign
                | Kind::EnRoute
                | Kind::Arrived
                | Kind::Boarded
                | Kind::Complete
                | Kind::NoShow
                | Kind::Dispute
                | Kind::Rating
        ),
    }
}

/// What P18 reads together.
const fn is_bond(kind: Kind) -> bool {
    matches!(kind, Kind::Accept | Kind::Confirm | Kind::Ack | Kind::Void | Kind::Release | Kind::Cosign)
}
