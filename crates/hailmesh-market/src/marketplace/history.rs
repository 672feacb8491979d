//! Rides as their records tell them: what a restart brings back, and what was forgotten
//! in memory and is still in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use hailmesh_types::{NetworkName, Timestamp};
use hailmesh_wire::{RideState, Signatures};

use crate::journal::{Record, RideId, Role, SlotRef};
use crate::view::{RideView, Step};

use super::Ride;
use super::deal::Deal;
use super::queries::{receipt_of, view_of};
use super::recover::{Draft, RecoverError, add_to_draft, restore_deal};

/// A ride that is in the store, read back from the records of all its slots.
#[derive(Debug)]
pub struct StoredRide {
    ride: RideId,
    entry: Ride,
    /// The slot that counted last.
    deal: Deal,
}

impl StoredRide {
    /// A ride from the records of its slots, in the order described at [`Record`];
    /// nothing when there are none. The statements are checked with `signatures`, those of
    /// the marketplace that wrote them.
    ///
    /// # Errors
    /// [`RecoverError::Damaged`] when the records do not make a ride.
    pub fn read(records: Vec<Record>, signatures: &dyn Signatures) -> Result<Option<Self>, RecoverError> {
        let mut drafts: BTreeMap<SlotRef, Draft> = BTreeMap::new();
        let mut order: Vec<SlotRef> = Vec::new();
        for record in records {
            if let Record::Bound(bound) = &record {
                order.push(bound.slot);
            }
            add_to_draft(&mut drafts, record);
        }
        let mut found: Option<Self> = None;
        for slot in order {
            let Some(draft) = drafts.remove(&slot) else { continue };
            let (deal, steps) = restore_deal(slot, draft, signatures)?;
            let (ride, role, at) = (deal.bound.ride, deal.role(), deal.bound.at);
            let mut entry = match found {
                Some(found) => found.entry,
                None => Ride::begun(role, made(ride, at)),
            };
            entry.went_on(&deal, &steps);
            found = Some(Self { ride, entry, deal });
        }
        Ok(found)
    }

    /// The ride as its user may see it.
    #[must_use]
    pub fn view(&self) -> RideView {
        view_of(self.ride, &self.entry, Some(&self.deal), None)
    }

    /// Its receipt as a file (P10), without openings; none when nothing was agreed.
    ///
    /// A driver's own certificate is in it when the offer of the ride carried it (P13.10).
    #[must_use]
    pub fn receipt(&self, network: &NetworkName) -> Option<Vec<u8>> {
        let certs = self.deal.offer.body().certs.iter();
        receipt_of(&self.deal, network, certs.map(|cert| Arc::from(cert.as_slice())).collect())
    }
}

/// When a ride was begun: its name says it.
pub(super) fn made(ride: RideId, bound: Timestamp) -> Timestamp {
    ride.made().unwrap_or(bound).min(bound)
}

impl Ride {
    /// A ride that was just asked for.
    pub(super) fn begun(role: Role, at: Timestamp) -> Self {
        let state = RideState::Requested;
        Self {
            role,
            state,
            history: vec![Step { at, state, reason: None }],
            created: at,
            slot: None,
            asked: 0,
            settle_ms: None,
            no_match: None,
            choice: None,
        }
    }

    /// Adds what the records of one more slot say, in the order of time.
    pub(super) fn went_on(&mut self, deal: &Deal, steps: &[(RideState, Timestamp)]) {
        let bound = match deal.role() {
            Role::Driver => RideState::Held,
            Role::Rider => RideState::Committed,
        };
        // A slot before this one ended, and the ride went on with a new search (P7.21).
        if self.slot.is_some()
            && let Some(step) = self.history.last_mut()
        {
            step.state = RideState::Requested;
        }
        let firm = deal.firm_at.map(|at| (RideState::Firm, at));
        let ended = deal.ended.map(|ended| (ended.shown, ended.at));
        let mut last = None;
        for (state, at) in
            [(bound, deal.bound.at)].into_iter().chain(firm).chain(steps.iter().copied()).chain(ended)
        {
            // A count of wrong codes repeats the phase it happened in.
            if last != Some(state) {
                self.history.push(Step { at, state, reason: None });
            }
            last = Some(state);
        }
        self.history.sort_by_key(|step| step.at);
        self.state = deal.state();
        self.slot = Some(deal.slot());
        self.asked = self.asked.max(1);
        self.settle_ms = match (deal.firm_at, deal.role()) {
            (Some(firm_at), Role::Rider) => Some(firm_at.millis_since(deal.request.body().issued)),
            _ => self.settle_ms,
        };
    }
}
