//! One bound slot and everything that was said about it.

use std::sync::Arc;

use hailmesh_types::{Amount, Duration, Hash, PeerKey, Private, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{
    Accept, Address, Arrived, Body, Complete, Confirm, Cosign, Counter, DriverOffer, Kind, Opening, Outcome,
    PickupPlace, Purpose, Request, RideState, Signatures, Verified, commit,
};

use crate::budget::Bucket;
use crate::journal::{Bound, Record, Role, SecretPurpose, SlotRef};
use crate::sorted::SortedMap;

use super::sharing::Seen;

/// A statement about a slot, in the order in which it was recorded.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) kind: Kind,
    pub(super) id: StatementId,
    pub(super) own: bool,
    pub(super) bytes: Arc<[u8]>,
}

/// How a slot ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) shown: RideState,
    pub(super) proof: Option<StatementId>,
    pub(super) at: Timestamp,
}

/// A bound slot of this node: live, or ended and still remembered.
#[derive(Debug, Clone)]
pub(super) struct Deal {
    pub(super) bound: Bound,
    pub(super) addrs: Vec<Address>,
    pub(super) said: Vec<Said>,
    pub(super) offer: Verified<DriverOffer>,
    pub(super) counter: Option<Verified<Counter>>,
    pub(super) request: Verified<Request>,
    pub(super) accept: Verified<Accept>,
    pub(super) confirm: Option<Verified<Confirm>>,
    pub(super) complete: Option<Verified<Complete>>,
    pub(super) phase: RideState,
    pub(super) wrong_codes: u8,
    pub(super) secrets: SortedMap<SecretPurpose, Private<Vec<u8>>>,
    pub(super) firm_at: Option<Timestamp>,
    pub(super) arrived_at: Option<Timestamp>,
    pub(super) boarded_at: Option<Timestamp>,
    pub(super) ended: Option<Ending>,
    /// When the other side was last heard.
    pub(super) heard: Timestamp,
    pub(super) eta: Option<Duration>,
    /// Where the other side last said it was (P8.10).
    pub(super) seen: Option<Seen>,
    /// When the other side was last told where we are, and of when that was.
    pub(super) told: Option<(Timestamp, Timestamp)>,
    /// Positions that the other side may send.
    pub(super) positions: Bucket,
    /// When the last EN_ROUTE was signed, by this driver or that of this rider.
    pub(super) en_route_at: Option<Timestamp>,
    pub(super) status_heard: Option<Timestamp>,
}

/// What is wrong with stored statements of a slot.
pub(super) type Missing = &'static str;

impl Deal {
    /// A deal from its binding record and the statements that made it.
    pub(super) fn new(
        bound: Bound,
        offer: Verified<DriverOffer>,
        counter: Option<Verified<Counter>>,
        request: Verified<Request>,
        accept: Verified<Accept>,
    ) -> Self {
        let phase = match bound.role {
            Role::Driver => RideState::Held,
            Role::Rider => RideState::Committed,
        };
        let eta = Some(accept.body().eta);
        let addrs = match bound.role {
            Role::Driver => Vec::new(),
            Role::Rider => offer.body().addrs.clone(),
        };
        Self {
            heard: bound.at,
            bound,
            addrs,
            said: Vec::new(),
            offer,
            counter,
            request,
            accept,
            confirm: None,
            complete: None,
            phase,
            wrong_codes: 0,
            secrets: SortedMap::new(),
            firm_at: None,
            arrived_at: None,
            boarded_at: None,
            ended: None,
            eta,
            seen: None,
            told: None,
            positions: Bucket::default(),
            en_route_at: None,
            status_heard: None,
        }
    }

    /// A deal from the records of its slot.
    pub(super) fn restore(
        bound: Bound,
        said: Vec<Said>,
        signatures: &dyn Signatures,
    ) -> Result<Self, Missing> {
        let offer = typed(&said, Kind::DriverOffer, signatures)?.ok_or("the DRIVER_OFFER is missing")?;
        let request = typed(&said, Kind::Request, signatures)?.ok_or("the REQUEST is missing")?;
        let accept = typed(&said, Kind::Accept, signatures)?.ok_or("the ACCEPT is missing")?;
        let mut deal = Self::new(bound, offer, typed(&said, Kind::Counter, signatures)?, request, accept);
        // The first: one that came later contradicts it and counts for nothing (P6.9).
        let confirm = said.iter().find(|said| said.kind == Kind::Confirm);
        deal.confirm = confirm.map(|said| verified(said, signatures)).transpose()?;
        let cosign = typed::<Cosign>(&said, Kind::Cosign, signatures)?;
        deal.complete = match cosign.and_then(|cosign| find(&said, &cosign.body().complete_id)) {
            // The last word is what both signed, not what was proposed last (P6.17).
            Some(cosigned) => Some(verified(cosigned, signatures)?),
            None => typed(&said, Kind::Complete, signatures)?,
        };
        if let Some(arrived) = typed::<Arrived>(&said, Kind::Arrived, signatures)? {
            deal.arrived_at = Some(arrived.body().issued);
        }
        deal.said = said;
        Ok(deal)
    }

    pub(super) fn slot(&self) -> SlotRef {
        self.bound.slot
    }

    pub(super) fn role(&self) -> Role {
        self.bound.role
    }

    pub(super) fn counterparty(&self) -> PublicKey {
        self.bound.counterparty
    }

    pub(super) fn peer(&self) -> PeerKey {
        self.bound.peer
    }

    pub(super) fn is_firm(&self) -> bool {
        self.firm_at.is_some() && self.ended.is_none()
    }

    pub(super) fn is_boarded(&self) -> bool {
        self.phase == RideState::InProgress
    }

    /// The state its user is shown.
    pub(super) fn state(&self) -> RideState {
        self.ended.map_or(self.phase, |ended| ended.shown)
    }

    /// Notes a statement and gives the record that makes it durable; nothing when it is
    /// noted already.
    pub(super) fn note<T: Body>(&mut self, statement: &Verified<T>, own: bool) -> Option<Record> {
        self.note_bytes(T::KIND, statement.id(), own, statement.bytes())
    }

    pub(super) fn note_bytes(
        &mut self,
        kind: Kind,
        id: StatementId,
        own: bool,
        bytes: &Arc<[u8]>,
    ) -> Option<Record> {
        if self.knows(&id) {
            return None;
        }
        let bytes = Arc::clone(bytes);
        self.said.push(Said { kind, id, own, bytes: Arc::clone(&bytes) });
        Some(Record::Statement { slot: self.slot(), kind, id, own, bytes })
    }

    /// Whether this statement is noted.
    pub(super) fn knows(&self, id: &StatementId) -> bool {
        self.said.iter().any(|said| said.id == *id)
    }

    /// How many statements of a kind the other side has made (P20).
    pub(super) fn heard_of(&self, kind: Kind) -> usize {
        self.said.iter().filter(|said| said.kind == kind && !said.own).count()
    }

    /// Keeps a secret and gives the record that makes it durable.
    pub(super) fn keep(&mut self, purpose: SecretPurpose, bytes: Vec<u8>) -> Record {
        let bytes = Private(bytes);
        self.secrets.insert(purpose, bytes.clone());
        Record::Secret { slot: self.slot(), purpose, bytes }
    }

    /// The latest statement of a kind and side.
    pub(super) fn last_said(&self, kind: Kind, own: bool) -> Option<&Said> {
        self.said.iter().rev().find(|said| said.kind == kind && said.own == own)
    }

    /// The own statement that ended the slot: VOID of a driver, RELEASE or COSIGN of a
    /// rider.
    pub(super) fn own_end(&self) -> Option<&Said> {
        let kinds: &[Kind] = match self.role() {
            Role::Driver => &[Kind::Void],
            Role::Rider => &[Kind::Release, Kind::Cosign],
        };
        self.said.iter().rev().find(|said| said.own && kinds.contains(&said.kind))
    }

    /// Own statements from the binding on, in order: what STATUS counts (P8.8).
    pub(super) fn own_said(&self) -> impl DoubleEndedIterator<Item = &Said> {
        self.said.iter().filter(|said| {
            let preliminary = [Kind::DriverOffer, Kind::Request, Kind::Counter];
            said.own && !preliminary.contains(&said.kind)
        })
    }

    /// The COMPLETEs that this side signed, in order.
    pub(super) fn completes(&self) -> Vec<StatementId> {
        self.own_said().filter(|said| said.kind == Kind::Complete).map(|said| said.id).collect()
    }

    /// A COMPLETE of this agreement, either side's.
    pub(super) fn complete_by_id(
        &self,
        id: &StatementId,
        signatures: &dyn Signatures,
    ) -> Option<Verified<Complete>> {
        find(&self.said, id).and_then(|said| verified(said, signatures).ok())
    }

    /// The last statement of the other side.
    pub(super) fn last_heard(&self) -> Option<&Said> {
        self.said.iter().rev().find(|said| !said.own)
    }

    /// The opening kept under a purpose.
    pub(super) fn opening(&self, purpose: SecretPurpose) -> Option<Opening> {
        let bytes = self.secrets.get(&purpose)?.expose();
        let (salt, content) = bytes.split_at_checked(32)?;
        Some(Opening { salt: salt.try_into().ok()?, content: content.to_vec() })
    }

    pub(super) fn boarding_secret(&self) -> Option<[u8; 16]> {
        self.secrets.get(&SecretPurpose::Boarding)?.expose().as_slice().try_into().ok()
    }

    /// Hash that a boarding secret must have.
    pub(super) fn board_hash(&self) -> Option<Hash> {
        self.confirm.as_ref().map(|confirm| confirm.body().board_hash)
    }

    /// The exact pickup as opened to, or by, this node.
    pub(super) fn pickup(&self) -> Option<PickupPlace> {
        PickupPlace::from_opening(&self.opening(SecretPurpose::Pickup)?).ok()
    }

    /// Whether an opening is the one that the CONFIRM committed to.
    pub(super) fn opens(confirm: &Confirm, purpose: Purpose, opening: &Opening) -> bool {
        let promised = match purpose {
            Purpose::Pickup => Some(confirm.pickup_commit),
            Purpose::Drop => confirm.drop_commit,
            Purpose::Vehicle => None,
        };
        promised == Some(commit(purpose, opening))
    }

    /// What waiting at the pickup cost, in time (P9.3): from ARRIVED to BOARDED.
    pub(super) fn waited(&self) -> Duration {
        match (self.arrived_at, self.boarded_at) {
            (Some(arrived), Some(boarded)) => {
                Duration::between(arrived, boarded).min(Duration::from_secs(3_600))
            }
            _ => Duration::ZERO,
        }
    }

    /// What the driver charged in the end.
    pub(super) fn total(&self) -> Option<Amount> {
        self.complete.as_ref().map(|complete| complete.body().total)
    }
}

/// Opening bytes as a secret holds them: salt, then content.
pub(super) fn opening_bytes(opening: &Opening) -> Vec<u8> {
    let mut bytes = opening.salt.to_vec();
    bytes.extend_from_slice(&opening.content);
    bytes
}

fn typed<T: Body>(
    said: &[Said],
    kind: Kind,
    signatures: &dyn Signatures,
) -> Result<Option<Verified<T>>, Missing> {
    said.iter().rev().find(|said| said.kind == kind).map(|said| verified(said, signatures)).transpose()
}

fn find<'s>(said: &'s [Said], id: &StatementId) -> Option<&'s Said> {
    said.iter().find(|said| said.id == *id)
}

fn verified<T: Body>(said: &Said, signatures: &dyn Signatures) -> Result<Verified<T>, Missing> {
    Verified::from_own_journal(Arc::clone(&said.bytes), signatures)
        .map_err(|_| "a stored statement does not verify")
}
