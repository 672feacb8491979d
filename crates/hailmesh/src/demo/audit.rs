//! Looks through every receipt of every node, and trusts none of them.

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_node::NodeHandle;
use hailmesh_types::{AgreementId, PublicKey, Timestamp};
use hailmesh_wire::{Accept, AnyStatement, Confirm, DecodeError, Receipt, RideState};

use super::city::City;
use crate::exit::Failure;

/// What the receipts of a city show.
#[derive(Debug, Default)]
pub struct Audit {
    /// Agreements by the driver slot they use up.
    driver_slots: BTreeMap<(PublicKey, u8, u64), BTreeSet<AgreementId>>,
    /// Agreements by the rider slot they use up.
    rider_slots: BTreeMap<(PublicKey, u64), BTreeSet<AgreementId>>,
    /// When each person was bound, by the node that holds the receipt.
    spans: BTreeMap<usize, BTreeMap<AgreementId, (Timestamp, Timestamp)>>,
    /// How many valid receipts there are of each completed agreement: two is right.
    completed: BTreeMap<AgreementId, u32>,
    /// Rides agreed before this are of an earlier run, from journals on disk: they count
    /// for double bookings only.
    since: Option<Timestamp>,
    refused: u32,
}

impl Audit {
    /// Collects and checks the receipts of all nodes.
    pub(super) async fn of(city: &City, since: Option<Timestamp>) -> Result<Self, Failure> {
        let mut audit = Self { since, ..Self::default() };
        for (number, node) in city.nodes().enumerate() {
            for receipt in receipts(node).await? {
                if let Err(error) = audit.add(number, &receipt) {
                    tracing::error!(node = number, clause = error.clause, what = %error.what, "a receipt is refused");
                    audit.refused += 1;
                }
            }
        }
        Ok(audit)
    }

    /// Takes in a receipt that the node with this number holds.
    ///
    /// # Errors
    /// The first clause that fails.
    pub fn add(&mut self, holder: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        let receipt = Receipt::decode(bytes)?;
        let facts = receipt.verify(&[])?;
        let mut accept: Option<Accept> = None;
        let mut confirm: Option<Confirm> = None;
        let mut last = facts.agreed_at;
        for bytes in &receipt.statements {
            let statement = AnyStatement::decode(bytes.clone())?;
            if let Some(issued) = statement.issued() {
                last = last.max(issued);
            }
            match statement {
                AnyStatement::Accept(statement) => accept = Some(statement.body().clone()),
                AnyStatement::Confirm(statement) => confirm = Some(statement.body().clone()),
                _ => {}
            }
        }
        let missing = || DecodeError::new("P10.2", "an agreement without ACCEPT and CONFIRM");
        let (accept, confirm) = accept.zip(confirm).ok_or_else(missing)?;
        let agreement = facts.agreement;
        self.driver_slots.entry((facts.driver, accept.lane, accept.slot)).or_default().insert(agreement);
        self.rider_slots.entry((facts.rider, confirm.slot)).or_default().insert(agreement);
        // A ride that has no end yet binds until for ever.
        let is_over = facts.cosigned || facts.ended.is_some();
        let until = if is_over { last } else { Timestamp::MAX };
        self.spans.entry(holder).or_default().insert(agreement, (facts.agreed_at, until));
        let is_of_this_run = self.since.is_none_or(|since| facts.agreed_at >= since);
        if is_of_this_run && facts.cosigned && facts.states.contains(&RideState::Completed) {
            *self.completed.entry(agreement).or_default() += 1;
        }
        Ok(())
    }

    /// Slots that were used up twice, and people who were bound twice at a time.
    #[must_use]
    pub fn double_bookings(&self) -> usize {
        let drivers = self.driver_slots.values().filter(|agreements| agreements.len() > 1).count();
        let riders = self.rider_slots.values().filter(|agreements| agreements.len() > 1).count();
        drivers + riders + self.spans.values().map(overlaps).sum::<usize>()
    }

    /// Completed rides of which both sides hold a receipt that verifies.
    #[must_use]
    pub fn verified(&self) -> usize {
        self.completed.values().filter(|copies| **copies == 2).count()
    }

    /// Receipts that do not verify.
    #[must_use]
    pub const fn refused(&self) -> u32 {
        self.refused
    }
}

/// Pairs of agreements of one person that overlap in time.
fn overlaps(spans: &BTreeMap<AgreementId, (Timestamp, Timestamp)>) -> usize {
    let mut by_start: Vec<(Timestamp, Timestamp)> = spans.values().copied().collect();
    by_start.sort_unstable();
    by_start.windows(2).filter(|pair| pair[1].0 < pair[0].1).count()
}

async fn receipts(node: &NodeHandle) -> Result<Vec<Vec<u8>>, Failure> {
    let mut receipts = Vec::new();
    for ride in node.rides().await.map_err(Failure::failed)? {
        if ride.has_receipt
            && let Some(receipt) = node.receipt(ride.ride).await.map_err(Failure::failed)?
        {
            receipts.push(receipt);
        }
    }
    Ok(receipts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + 1_000 * s).unwrap()
    }

    fn agreement(n: u8) -> AgreementId {
        AgreementId::from_bytes([n; 32])
    }

    #[test]
    fn people_who_are_bound_twice_at_a_time_are_found() {
        let mut spans = BTreeMap::from([(agreement(1), (at(0), at(10))), (agreement(2), (at(10), at(20)))]);
        assert_eq!(overlaps(&spans), 0);
        spans.insert(agreement(3), (at(15), at(25)));
        assert_eq!(overlaps(&spans), 1);
        spans.insert(agreement(4), (at(30), Timestamp::MAX));
        spans.insert(agreement(5), (at(99), Timestamp::MAX));
        assert_eq!(overlaps(&spans), 2);
    }

    #[test]
    fn a_slot_that_was_used_up_twice_is_found() {
        let mut audit = Audit::default();
        let mut key = [0; 32];
        key.copy_from_slice(ed25519_base_point());
        let driver = PublicKey::from_bytes(&key).unwrap();
        audit.driver_slots.entry((driver, 0, 4)).or_default().extend([agreement(1), agreement(2)]);
        assert_eq!(audit.double_bookings(), 1);
    }

    /// The encoding of a point of the curve: its y is 4/5.
    fn ed25519_base_point() -> &'static [u8] {
        const POINT: [u8; 32] = {
            let mut bytes = [0x66; 32];
            bytes[0] = 0x58;
            bytes
        };
        &POINT
    }
}
