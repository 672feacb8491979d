//! A journal in memory: the rules of the schema in plain Rust.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use hailmesh_market::journal::{
    Bound, ENDED_SLOTS_KEPT, KeyRecord, Record, RideId, Role, SecretSeed, SlotRef,
};
use hailmesh_types::{PeerKey, PublicKey, StatementId, Timestamp};
use hailmesh_wire::Outcome;

use crate::Error;
use crate::rows::{
    BANS_KEPT, ERASED_KEYS_KEPT, EVIDENCE_KEPT, End, PEERS_KEPT, Progress, SlotRow, Statement, describe, int,
    is_end, is_phase,
};

/// Ended slots kept in memory. Older ones are forgotten, but for the last of a chain.
const ENDED_KEPT: usize = 4_096;

/// When a key was first stored, what it is, and whether it is erased.
type KeyRow = (u64, KeyRecord, bool);

/// Whom evidence accuses, of what, and its bytes.
type Charge = (PublicKey, u8, Arc<[u8]>);

/// Everything a journal holds, and what takes the last append back.
#[derive(Default)]
pub(crate) struct Memory {
    keys: BTreeMap<PublicKey, KeyRow>,
    sequences: BTreeMap<PublicKey, u64>,
    slots: BTreeMap<SlotRef, (u64, SlotRow)>,
    outbox: BTreeMap<StatementId, (u64, Record)>,
    evidence: BTreeMap<u64, (Charge, Timestamp)>,
    bans: BTreeMap<PublicKey, Option<Timestamp>>,
    /// Least recently good first.
    peers: VecDeque<(PeerKey, String)>,
    pub(crate) start_mark: Option<[u8; 32]>,
    /// The order in which rows were made.
    counter: u64,
    // What is derived from the evidence and the slots.
    charges: BTreeSet<Charge>,
    by_order: BTreeMap<u64, SlotRef>,
    by_request: BTreeMap<(PublicKey, StatementId), SlotRef>,
    by_ride: BTreeSet<(RideId, u64)>,
    live: BTreeSet<SlotRef>,
    // What an append that fails must put back, last first.
    undo: Vec<Undo>,
}

/// A row as it was before the append under way touched it.
enum Undo {
    Key(PublicKey, Option<Box<KeyRow>>),
    Sequence(PublicKey, Option<u64>),
    Slot(SlotRef, Option<Box<(u64, SlotRow)>>),
    Outbox(StatementId, Option<Box<(u64, Record)>>),
    EvidenceAdded(u64),
    Ban(PublicKey, Option<Option<Timestamp>>),
}

impl Memory {
    pub(crate) fn append(&mut self, batches: &[&[Record]]) -> Result<(), Error> {
        let result = self.apply_all(batches);
        if result.is_err() {
            while let Some(undo) = self.undo.pop() {
                self.take_back(undo);
            }
        } else {
            self.undo.clear();
            self.forget_old();
        }
        result
    }

    fn apply_all(&mut self, batches: &[&[Record]]) -> Result<(), Error> {
        // As the deferred foreign keys of the databases, a reference is checked when
        // everything is there.
        let mut waiting: Vec<&Record> = Vec::new();
        let mut owners: Vec<(PublicKey, Option<Role>, &Record)> = Vec::new();
        for record in batches.iter().copied().flatten() {
            match record {
                Record::Statement { slot, .. } | Record::Secret { slot, .. }
                    if !self.slots.contains_key(slot) =>
                {
                    waiting.push(record);
                    continue;
                }
                Record::Bound(bound) => owners.push((bound.slot.key, Some(bound.role), record)),
                Record::SeqReserved { key, .. } => owners.push((*key, None, record)),
                _ => {}
            }
            self.apply(record).map_err(|error| error.about(|| describe(record)))?;
            if let Record::Bound(bound) = record {
                let of_slot = |record: &&Record| match record {
                    Record::Statement { slot, .. } | Record::Secret { slot, .. } => *slot == bound.slot,
                    _ => false,
                };
                let (now, later): (Vec<&Record>, Vec<&Record>) = waiting.into_iter().partition(of_slot);
                waiting = later;
                for record in now {
                    self.apply(record).map_err(|error| error.about(|| describe(record)))?;
                }
            }
        }
        if let Some(record) = waiting.first() {
            return Err(Error::conflict("the slot is not bound").about(|| describe(record)));
        }
        for (key, role, record) in owners {
            let known =
                self.keys.get(&key).is_some_and(|(_, stored, _)| role.is_none_or(|role| role == stored.role));
            if !known {
                return Err(
                    Error::conflict("its key is not stored with this role").about(|| describe(record))
                );
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> Result<(), Error> {
        match record {
            Record::Key(key) => self.put_key(key),
            Record::KeyErased { key } => self.erase_key(key),
            Record::SeqReserved { key, below } => {
                int(*below)?;
                let stored = self.sequences.get(key).copied();
                if stored.is_none_or(|stored| *below > stored) {
                    self.undo.push(Undo::Sequence(*key, stored));
                    self.sequences.insert(*key, *below);
                }
                Ok(())
            }
            Record::Bound(bound) => self.bind(bound),
            Record::Peer { slot, peer } => self.change(slot, |row| {
                row.bound.peer = *peer;
                Ok(())
            }),
            Record::Firm { slot, at } => self.change(slot, |row| {
                match (row.firm, row.end) {
                    (Some(_), _) => {}
                    (None, None) => row.firm = Some(*at),
                    (None, Some(_)) => return Err(Error::conflict("the slot has ended")),
                }
                Ok(())
            }),
            Record::Progress { slot, phase, wrong_codes, at } => self.change(slot, |row| {
                let new = Progress { phase: *phase, wrong_codes: *wrong_codes, at: *at };
                if row.progress.contains(&new) {
                    return Ok(());
                }
                if !is_phase(*phase) {
                    return Err(Error::conflict("not a phase of a firm ride"));
                }
                if row.end.is_some() {
                    return Err(Error::conflict("the slot has ended"));
                }
                if row.progress.iter().any(|step| *wrong_codes < step.wrong_codes) {
                    return Err(Error::conflict("wrong codes are not taken back"));
                }
                row.progress.push(new);
                Ok(())
            }),
            Record::Ended { slot, outcome, shown, proof, at } => self.change(slot, |row| {
                end(row, End { outcome: *outcome, shown: *shown, proof: *proof, at: *at })
            }),
            Record::Statement { slot, kind, id, own, bytes } => {
                let new = Statement { kind: *kind, id: *id, own: *own, bytes: bytes.clone() };
                if new.bytes.is_empty() {
                    return Err(Error::conflict("the statement is empty"));
                }
                self.change(slot, |row| put_statement(row, new))
            }
            Record::Secret { slot, purpose, bytes } => self.change(slot, |row| {
                row.secrets.insert(*purpose, bytes.clone());
                Ok(())
            }),
            Record::OutboxPut { slot, statement, bytes, .. } => {
                int(slot.slot)?;
                match self.outbox.get(statement) {
                    None => {
                        let order = self.next();
                        self.undo.push(Undo::Outbox(*statement, None));
                        self.outbox.insert(*statement, (order, record.clone()));
                        Ok(())
                    }
                    Some((_, Record::OutboxPut { bytes: stored, .. })) if stored == bytes => Ok(()),
                    Some(_) => Err(Error::conflict("the statement waits there with other bytes")),
                }
            }
            Record::OutboxDone { statement } => {
                if let Some(row) = self.outbox.remove(statement) {
                    self.undo.push(Undo::Outbox(*statement, Some(Box::new(row))));
                }
                Ok(())
            }
            Record::Evidence { accused, kind, bytes, at } => {
                let charge = (*accused, *kind, bytes.clone());
                if self.charges.insert(charge.clone()) {
                    let order = self.next();
                    self.undo.push(Undo::EvidenceAdded(order));
                    self.evidence.insert(order, (charge, *at));
                }
                Ok(())
            }
            Record::Ban { key, until } => {
                self.undo.push(Undo::Ban(*key, self.bans.insert(*key, *until)));
                Ok(())
            }
        }
    }

    fn put_key(&mut self, new: &KeyRecord) -> Result<(), Error> {
        let stored = self.keys.get(&new.key).cloned();
        let row = match &stored {
            None => (self.next(), new.clone(), false),
            // The same key may come again with a newer certificate.
            Some((order, old, false)) if same_key(old, new) => (*order, new.clone(), false),
            Some(_) => return Err(Error::conflict("it is stored otherwise, or erased")),
        };
        self.undo.push(Undo::Key(new.key, stored.map(Box::new)));
        self.keys.insert(new.key, row);
        Ok(())
    }

    fn erase_key(&mut self, key: &PublicKey) -> Result<(), Error> {
        let Some(row) = self.keys.get_mut(key) else {
            return Err(Error::conflict("it is not stored"));
        };
        if !row.2 {
            // Kept until the append is whole, which may need it back.
            self.undo.push(Undo::Key(*key, Some(Box::new(row.clone()))));
            row.1.secret = SecretSeed([0; 32]);
            row.2 = true;
        }
        Ok(())
    }

    fn bind(&mut self, bound: &Bound) -> Result<(), Error> {
        let slot = bound.slot;
        int(slot.slot)?;
        let first = SlotRef { slot: 0, ..slot };
        let last = SlotRef { slot: u64::MAX, ..slot };
        let newest = self.slots.range(first..=last).next_back();
        if newest.map_or(0, |(before, _)| before.slot + 1) != slot.slot {
            return Err(Error::conflict("not the next slot of its chain"));
        }
        if newest.is_some_and(|(_, (_, row))| row.end.is_none()) {
            return Err(Error::conflict("the slot before it has not ended"));
        }
        for live in &self.live {
            let role = self.slots.get(live).map(|(_, row)| row.bound.role);
            if bound.role == Role::Driver && role == Some(Role::Driver) && live.lane == slot.lane {
                return Err(Error::conflict("another slot of this lane is live"));
            }
            if bound.role == Role::Rider && role == Some(Role::Rider) && live.key == slot.key {
                return Err(Error::conflict("another slot of this rider key is live"));
            }
        }
        if self.by_request.contains_key(&(slot.key, bound.request)) {
            return Err(Error::conflict("this REQUEST has bound a slot before"));
        }
        let order = self.next();
        self.undo.push(Undo::Slot(slot, None));
        self.set_slot(slot, Some((order, SlotRow::new(bound.clone()))));
        Ok(())
    }

    /// Changes a bound slot, or leaves it untouched when that fails.
    fn change(
        &mut self,
        slot: &SlotRef,
        change: impl FnOnce(&mut SlotRow) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(row) = self.slots.get_mut(slot) else {
            return Err(Error::conflict("the slot is not bound"));
        };
        let before = row.clone();
        change(&mut row.1)?;
        if row.1.end.is_some() {
            self.live.remove(slot);
        }
        self.undo.push(Undo::Slot(*slot, Some(Box::new(before))));
        Ok(())
    }

    /// Puts a row, or none, with all that is derived from it.
    fn set_slot(&mut self, slot: SlotRef, row: Option<(u64, SlotRow)>) {
        if let Some((order, old)) = self.slots.remove(&slot) {
            self.by_order.remove(&order);
            self.by_request.remove(&(slot.key, old.bound.request));
            self.by_ride.remove(&(old.bound.ride, order));
            self.live.remove(&slot);
        }
        if let Some((order, new)) = row {
            self.by_order.insert(order, slot);
            self.by_request.insert((slot.key, new.bound.request), slot);
            self.by_ride.insert((new.bound.ride, order));
            if new.end.is_none() {
                self.live.insert(slot);
            }
            self.slots.insert(slot, (order, new));
        }
    }

    fn take_back(&mut self, undo: Undo) {
        fn restore<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        match undo {
            Undo::Key(key, row) => restore(&mut self.keys, key, row.map(|row| *row)),
            Undo::Sequence(key, below) => restore(&mut self.sequences, key, below),
            Undo::Slot(slot, row) => self.set_slot(slot, row.map(|row| *row)),
            Undo::Outbox(statement, row) => restore(&mut self.outbox, statement, row.map(|row| *row)),
            Undo::EvidenceAdded(order) => {
                if let Some((charge, _)) = self.evidence.remove(&order) {
                    self.charges.remove(&charge);
                }
            }
            Undo::Ban(key, until) => restore(&mut self.bans, key, until),
        }
    }

    /// Keeps what strangers can fill within its limits (P20).
    fn forget_old(&mut self) {
        while self.evidence.len() > EVIDENCE_KEPT {
            if let Some((_, (charge, _))) = self.evidence.pop_first() {
                self.charges.remove(&charge);
            }
        }
        while self.bans.len() > BANS_KEPT {
            // The ones for ever stay, then those that end last.
            let first_to_end = self
                .bans
                .iter()
                .min_by_key(|(key, until)| (until.is_none(), **until, std::cmp::Reverse(**key)));
            match first_to_end.map(|(key, _)| *key) {
                Some(key) => drop(self.bans.remove(&key)),
                None => break,
            }
        }
        let ended = self.slots.len() - self.live.len();
        if ended > ENDED_KEPT {
            let old: Vec<SlotRef> = self.by_order.values().copied().take(ended - ENDED_KEPT).collect();
            for slot in old {
                if !self.live.contains(&slot) && !self.is_last(&slot) {
                    self.set_slot(slot, None);
                }
            }
        }
    }

    fn is_last(&self, slot: &SlotRef) -> bool {
        let last = SlotRef { slot: u64::MAX, ..*slot };
        let next = self.slots.range((Excluded(*slot), Excluded(last))).next();
        next.is_none_or(|(next, _)| (next.key, next.lane) != (slot.key, slot.lane))
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn load(&self) -> Vec<Record> {
        let not_erased = |key: &PublicKey| self.keys.get(key).is_some_and(|(_, _, erased)| !erased);
        let ended = self.by_order.iter().rev().filter(|(_, slot)| !self.live.contains(slot));
        let newest: BTreeSet<u64> = ended.take(ENDED_SLOTS_KEPT).map(|(order, _)| *order).collect();
        let given = |order: &u64, slot: &SlotRef| {
            self.live.contains(slot)
                || newest.contains(order)
                || (not_erased(&slot.key) && self.is_last(slot))
        };
        let slots: Vec<&SlotRef> =
            self.by_order.iter().filter(|(order, slot)| given(order, slot)).map(|(_, slot)| slot).collect();
        let named: BTreeSet<PublicKey> = slots.iter().map(|slot| slot.key).collect();

        let mut keys: Vec<_> = self.keys.values().collect();
        keys.sort_by_key(|(order, _, _)| *order);
        let erased = keys.iter().rev().filter(|(_, _, erased)| *erased);
        let last_erased: BTreeSet<u64> = erased.take(ERASED_KEYS_KEPT).map(|(order, _, _)| *order).collect();
        keys.retain(|(order, key, erased)| {
            !erased || named.contains(&key.key) || last_erased.contains(order)
        });

        let mut records = Vec::new();
        let mut reserved = BTreeMap::new();
        for (_, key, erased) in keys {
            records.push(Record::Key(key.clone()));
            if *erased {
                records.push(Record::KeyErased { key: key.key });
            }
            reserved.extend(self.sequences.get(&key.key).map(|below| (key.key, *below)));
        }
        records.extend(reserved.into_iter().map(|(key, below)| Record::SeqReserved { key, below }));
        for slot in slots {
            self.records_of(slot, &mut records);
        }
        let mut outbox: Vec<_> = self.outbox.values().collect();
        outbox.sort_by_key(|(order, _)| *order);
        records.extend(outbox.into_iter().map(|(_, record)| record.clone()));
        records.extend(self.evidence.values().map(|((accused, kind, bytes), at)| Record::Evidence {
            accused: *accused,
            kind: *kind,
            bytes: bytes.clone(),
            at: *at,
        }));
        records.extend(self.bans.iter().map(|(key, until)| Record::Ban { key: *key, until: *until }));
        records
    }

    pub(crate) fn ended(&self, before: Option<RideId>, limit: usize) -> Vec<Vec<Record>> {
        let end = before.map_or(Unbounded, |before| Excluded((before, 0)));
        let mut rides: Vec<RideId> = Vec::new();
        for (ride, _) in self.by_ride.range((Unbounded, end)).rev() {
            if rides.last() != Some(ride) {
                let over = self.slots_of(*ride).all(|slot| !self.live.contains(slot));
                if rides.len() == limit {
                    break;
                }
                if over {
                    rides.push(*ride);
                }
            }
        }
        rides.into_iter().map(|ride| self.ride(ride)).collect()
    }

    pub(crate) fn ride(&self, ride: RideId) -> Vec<Record> {
        let mut records = Vec::new();
        for slot in self.slots_of(ride) {
            self.records_of(slot, &mut records);
        }
        records
    }

    fn slots_of(&self, ride: RideId) -> impl Iterator<Item = &SlotRef> {
        self.by_ride.range((ride, 0)..=(ride, u64::MAX)).filter_map(|(_, order)| self.by_order.get(order))
    }

    fn records_of(&self, slot: &SlotRef, out: &mut Vec<Record>) {
        if let Some((_, row)) = self.slots.get(slot) {
            row.clone().records(out);
        }
    }

    pub(crate) fn peers(&self) -> Vec<(PeerKey, String)> {
        self.peers.iter().rev().cloned().collect()
    }

    pub(crate) fn remember_peers(&mut self, peers: &[(PeerKey, String)]) {
        for peer in peers {
            self.peers.retain(|known| known != peer);
            self.peers.push_back(peer.clone());
        }
        while self.peers.len() > PEERS_KEPT {
            self.peers.pop_front();
        }
    }
}

fn same_key(old: &KeyRecord, new: &KeyRecord) -> bool {
    old.secret == new.secret
        && old.role == new.role
        && old.created == new.created
        && old.replaces_lost == new.replaces_lost
}

fn end(row: &mut SlotRow, end: End) -> Result<(), Error> {
    if let Some(stored) = row.end {
        return if stored == (End { at: stored.at, ..end }) {
            Ok(())
        } else {
            Err(Error::conflict("the slot has ended otherwise"))
        };
    }
    if !is_end(end.shown) {
        return Err(Error::conflict("not a state that a ride can end in"));
    }
    // P3.8: which side may end a slot how.
    let number = end.outcome.code();
    let of_role = match row.bound.role {
        Role::Driver => matches!(number, 1..=5 | 8 | 9 | 11),
        Role::Rider => matches!(number, 5..=10),
    };
    // P3.6, P3.7: a firm slot did not lapse, and one that was not firm was not released from.
    let of_state = match end.outcome {
        Outcome::HoldLapsed | Outcome::NotChosen | Outcome::NoAck => row.firm.is_none(),
        Outcome::RiderReleased => row.firm.is_some(),
        _ => true,
    };
    if !(of_role && of_state) {
        return Err(Error::conflict("not an end that such a slot can have"));
    }
    row.end = Some(end);
    Ok(())
}

fn put_statement(row: &mut SlotRow, new: Statement) -> Result<(), Error> {
    match row.statements.iter().find(|stored| stored.id == new.id) {
        None => row.statements.push(new),
        // The other side may sign the same words twice, with two signatures: the first counts.
        Some(stored) if !new.own && !stored.own && stored.kind == new.kind => {}
        Some(stored) if new.own && stored.own && stored.kind == new.kind && stored.bytes == new.bytes => {}
        Some(_) => return Err(Error::conflict("the statement is stored with other bytes")),
    }
    Ok(())
}
