//! What the receipts of all nodes show. No node is trusted: everything here is read from
//! signed statements.

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_types::{AgreementId, PublicKey};
use hailmesh_wire::{AnyStatement, DecodeError, Receipt, ReceiptFacts};

use crate::node::Role;

/// When somebody was bound, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    from: u64,
    until: u64,
}

/// Who holds a receipt of an agreement, and whether it shows the ride completed.
#[derive(Debug, Default)]
struct Copies {
    drivers: BTreeMap<usize, bool>,
    riders: BTreeMap<usize, bool>,
}

/// All receipts seen so far. The same one may come again: only the last one counts.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Agreements by the driver slot they use up.
    driver_slots: BTreeMap<(PublicKey, u8, u64), BTreeSet<AgreementId>>,
    /// Agreements by the rider slot they use up.
    rider_slots: BTreeMap<(PublicKey, u64), BTreeSet<AgreementId>>,
    /// When the person behind each node was bound, over all its keys.
    spans: BTreeMap<usize, BTreeMap<AgreementId, Span>>,
    copies: BTreeMap<AgreementId, Copies>,
}

impl Audit {
    /// Takes in a receipt that this node holds.
    ///
    /// # Errors
    /// The first clause that fails.
    pub(crate) fn add(&mut self, node: usize, role: Role, bytes: &[u8]) -> Result<ReceiptFacts, DecodeError> {
        let receipt = Receipt::decode(bytes)?;
        let facts = receipt.verify(&[])?;
        let (mut accept, mut confirm) = (None, None);
        let (mut void, mut release, mut cosign) = (None, None, None);
        for bytes in &receipt.statements {
            let statement = AnyStatement::decode(bytes.clone())?;
            let issued = statement.issued().map(|at| at.as_millis());
            match statement {
                AnyStatement::Accept(statement) => {
                    accept = Some((statement.body().lane, statement.body().slot, issued));
                }
                AnyStatement::Confirm(statement) => confirm = Some((statement.body().slot, issued)),
                AnyStatement::Void(_) => void = issued,
                AnyStatement::Release(_) => release = issued,
                AnyStatement::Cosign(_) => cosign = issued,
                _ => {}
            }
        }
        let missing = || DecodeError::new("P10.2", "an agreement without ACCEPT and CONFIRM");
        let (accept, confirm) = accept.zip(confirm).ok_or_else(missing)?;
        let agreement = facts.agreement;
        let copies = self.copies.entry(agreement).or_default();
        // Everybody is bound from their own signature, and free from their own end. Only
        // where that is not in the receipt does the other side's count.
        let (from, end, other) = if role == Role::Driver {
            copies.drivers.insert(node, facts.cosigned);
            (accept.2, void, release)
        } else {
            copies.riders.insert(node, facts.cosigned);
            (confirm.1, release, void)
        };
        let until = end.into_iter().chain(cosign).min().or(other).unwrap_or(u64::MAX);
        let span = Span { from: from.unwrap_or(u64::MAX), until };
        self.driver_slots.entry((facts.driver, accept.0, accept.1)).or_default().insert(agreement);
        self.rider_slots.entry((facts.rider, confirm.0)).or_default().insert(agreement);
        self.spans.entry(node).or_default().insert(agreement, span);
        Ok(facts)
    }

    /// Slots that were used up twice, and people who were bound twice at a time, in words.
    pub(crate) fn double_bookings(&self) -> Vec<String> {
        let mut found = Vec::new();
        for ((key, lane, slot), agreements) in &self.driver_slots {
            if agreements.len() > 1 {
                found.push(format!("driver {key}, lane {lane}, slot {slot}: {agreements:?}"));
            }
        }
        for ((key, slot), agreements) in &self.rider_slots {
            if agreements.len() > 1 {
                found.push(format!("rider {key}, slot {slot}: {agreements:?}"));
            }
        }
        for (agreement, copies) in &self.copies {
            if copies.drivers.len() > 1 || copies.riders.len() > 1 {
                found.push(format!("{agreement} is of several nodes of one side: {copies:?}"));
            }
        }
        for (node, spans) in &self.spans {
            let mut by_start: Vec<(Span, AgreementId)> =
                spans.iter().map(|(id, span)| (*span, *id)).collect();
            by_start.sort_unstable_by_key(|(span, _)| *span);
            for pair in by_start.windows(2) {
                if pair[1].0.from < pair[0].0.until {
                    found.push(format!("node {node} is bound twice at a time: {pair:?}"));
                }
            }
        }
        found
    }

    /// Completed rides of which not both sides hold a receipt that shows it.
    pub(crate) fn one_sided(&self) -> Vec<String> {
        let one_sided = self.copies.iter().filter(|(_, copies)| {
            let completed = |side: &BTreeMap<usize, bool>| side.values().any(|cosigned| *cosigned);
            completed(&copies.drivers) != completed(&copies.riders)
        });
        one_sided.map(|(agreement, copies)| format!("{agreement}: {copies:?}")).collect()
    }

    /// Agreements, and those of them that both sides show completed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let completed = |copies: &&Copies| {
            copies.drivers.values().any(|cosigned| *cosigned)
                && copies.riders.values().any(|cosigned| *cosigned)
        };
        (self.copies.len(), self.copies.values().filter(completed).count())
    }

    /// Receipts that were taken in.
    pub(crate) fn receipts(&self) -> usize {
        self.spans.values().map(BTreeMap::len).sum()
    }
}
