//! What must hold whatever happens, judged by somebody who sees everything.

use hailmesh_market::Role;
use hailmesh_types::AgreementId;

use crate::judge::{Attacks, Bindings};

/// Something that must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, milliseconds of simulated time.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

/// Violations that are kept; one is a failure already.
const KEPT: usize = 100;

/// The judges of a run, and what they found.
#[derive(Default)]
pub(super) struct Oracle {
    pub(super) bindings: Bindings,
    /// Pieces of evidence that nodes came to hold.
    pub(super) exposures: u64,
    pub(super) attacks: Attacks,
    pub(super) violations: Vec<Violation>,
}

impl Oracle {
    /// A host is bound to an agreement, or no longer.
    pub(super) fn bound(&mut self, at_ms: u64, host: u32, role: Role, agreement: AgreementId, live: bool) {
        for wrong in self.bindings.bound(host, role, agreement, live) {
            self.violation(at_ms, wrong);
        }
    }

    pub(super) fn violation(&mut self, at_ms: u64, what: String) {
        if self.violations.len() < KEPT {
            self.violations.push(Violation { at_ms, what });
        }
    }
}
