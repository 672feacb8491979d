//! What the kinds of store have in common: limits, and how what is kept about a slot
//! becomes records again.

use std::collections::BTreeMap;
use std::sync::Arc;

use hailmesh_market::journal::{Bound, Record, Role, SecretPurpose, SlotRef};
use hailmesh_types::{Private, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{Kind, Outcome, RideState};

/// Evidence kept and given back, newest first to stay (P20).
pub const EVIDENCE_KEPT: usize = 10_000;
/// Bans kept (P20); those that end first make room.
pub const BANS_KEPT: usize = 10_000;
/// Addresses of good peers kept (P20); the least recently good ones make room.
pub const PEERS_KEPT: usize = 1_000;
/// A peer's address longer than this many bytes is not kept.
pub const PEER_ADDRESS_BYTES_MAX: usize = 512;
/// Of the erased keys that no slot given back refers to, only this many of the newest
/// are given back: enough to name the last ones in `replaces` (P16.3).
pub const ERASED_KEYS_KEPT: usize = 64;

/// How a slot ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) shown: RideState,
    pub(crate) proof: Option<StatementId>,
    pub(crate) at: Timestamp,
}

/// A step of a ride between firm and its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) phase: RideState,
    pub(crate) wrong_codes: u8,
    pub(crate) at: Timestamp,
}

#[derive(Clone)]
pub(crate) struct Statement {
    pub(crate) kind: Kind,
    pub(crate) id: StatementId,
    pub(crate) own: bool,
    pub(crate) bytes: Arc<[u8]>,
}

/// Everything that is kept about one bound slot.
#[derive(Clone)]
pub(crate) struct SlotRow {
    pub(crate) bound: Bound,
    pub(crate) firm: Option<Timestamp>,
    pub(crate) progress: Vec<Progress>,
    pub(crate) end: Option<End>,
    pub(crate) statements: Vec<Statement>,
    pub(crate) secrets: BTreeMap<SecretPurpose, Private<Vec<u8>>>,
}

impl SlotRow {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            bound,
            firm: None,
            progress: Vec::new(),
            end: None,
            statements: Vec::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Appends the records of this slot in the order that [`Record`] asks for.
    pub(crate) fn records(self, out: &mut Vec<Record>) {
        let slot = self.bound.slot;
        out.push(Record::Bound(self.bound));
        out.extend(self.statements.into_iter().map(|statement| Record::Statement {
            slot,
            kind: statement.kind,
            id: statement.id,
            own: statement.own,
            bytes: statement.bytes,
        }));
        out.extend(self.secrets.into_iter().map(|(purpose, bytes)| Record::Secret { slot, purpose, bytes }));
        out.extend(self.firm.map(|at| Record::Firm { slot, at }));
        out.extend(self.progress.into_iter().map(|now| Record::Progress {
            slot,
            phase: now.phase,
            wrong_codes: now.wrong_codes,
            at: now.at,
        }));
        out.extend(self.end.map(|end| Record::Ended {
            slot,
            outcome: end.outcome,
            shown: end.shown,
            proof: end.proof,
            at: end.at,
        }));
    }
}

pub(crate) const fn role_code(role: Role) -> i64 {
    match role {
        Role::Driver => 1,
        Role::Rider => 2,
    }
}

pub(crate) const fn role_from_code(code: i64) -> Option<Role> {
    match code {
        1 => Some(Role::Driver),
        2 => Some(Role::Rider),
        _ => None,
    }
}

pub(crate) fn state_from_name(name: &str) -> Option<RideState> {
    RideState::ALL.iter().copied().find(|state| state.name() == name)
}

/// The phases a firm ride can be in.
pub(crate) const fn is_phase(state: RideState) -> bool {
    matches!(state, RideState::Firm | RideState::EnRoute | RideState::Arrived | RideState::InProgress)
}

/// The states a ride can end in.
pub(crate) const fn is_end(state: RideState) -> bool {
    use RideState::{Cancelled, Completed, Declined, Expired, NoShow, Released, Void};
    matches!(state, Completed | Cancelled | Released | Void | NoShow | Expired | Declined)
}

/// A number of the journal as the databases keep it, which have no unsigned ones.
pub(crate) fn int(number: u64) -> Result<i64, crate::Error> {
    i64::try_from(number)
        .map_err(|_| crate::Error::conflict(format!("{number} is greater than {}", i64::MAX)))
}

/// What a record is about, for an error text; no more than the beginning of one key.
pub(crate) fn describe(record: &Record) -> String {
    let of = |slot: &SlotRef| format!("slot {} of {:?}", slot.slot, slot.key);
    let key = |key: &PublicKey| format!("{key:?}");
    match record {
        Record::Key(record) => format!("key {}", key(&record.key)),
        Record::KeyErased { key: erased } => format!("erasing key {}", key(erased)),
        Record::SeqReserved { key: author, below } => format!("sequence below {below} of {}", key(author)),
        Record::Bound(bound) => format!("binding {}", of(&bound.slot)),
        Record::Peer { slot, .. } => format!("another peer for {}", of(slot)),
        Record::Firm { slot, .. } => format!("firm {}", of(slot)),
        Record::Progress { slot, phase, .. } => format!("{} of {}", phase.name(), of(slot)),
        Record::Ended { slot, outcome, .. } => format!("end {} of {}", outcome.name(), of(slot)),
        Record::Statement { slot, kind, .. } => format!("{} of {}", kind.name(), of(slot)),
        Record::Secret { slot, purpose, .. } => format!("secret {purpose:?} of {}", of(slot)),
        Record::OutboxPut { slot, .. } => format!("outbox of {}", of(slot)),
        Record::OutboxDone { statement } => format!("outbox {statement:?}"),
        Record::Evidence { accused, .. } => format!("evidence about {}", key(accused)),
        Record::Ban { key: banned, .. } => format!("ban of {}", key(banned)),
    }
}
