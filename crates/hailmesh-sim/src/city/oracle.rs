//! What must hold whatever happens, judged by somebody who sees everything.

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_market::Role;
use hailmesh_types::AgreementId;

use super::attacks::Attacks;

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

/// Who is bound to what, as their nodes told their users.
#[derive(Default)]
pub(super) struct Oracle {
    /// Live agreements of every host.
    live: BTreeMap<u32, BTreeSet<AgreementId>>,
    /// The parties of an agreement.
    parties: BTreeMap<AgreementId, [Option<u32>; 2]>,
    pub(super) double_bookings: u64,
    pub(super) firm: u64,
    /// Pieces of evidence that nodes came to hold.
    pub(super) exposures: u64,
    pub(super) attacks: Attacks,
    pub(super) violations: Vec<Violation>,
}

impl Oracle {
    /// A host is bound to an agreement, or no longer.
    pub(super) fn bound(&mut self, at_ms: u64, host: u32, role: Role, agreement: AgreementId, live: bool) {
        if !live {
            if let Some(open) = self.live.get_mut(&host) {
                open.remove(&agreement);
            }
            return;
        }
        let open = self.live.entry(host).or_default();
        open.insert(agreement);
        if open.len() > 1 {
            self.double_bookings += 1;
            self.violation(at_ms, format!("{} {host} is bound to two agreements", role.name()));
        }
        let parties = self.parties.entry(agreement).or_default();
        let side = match role {
            Role::Driver => 0,
            Role::Rider => 1,
        };
        match parties[side] {
            None => {
                parties[side] = Some(host);
                self.firm += u64::from(parties.iter().all(Option::is_some));
            }
            Some(other) if other != host => {
                let text = format!("{} {host} and {other} hold one agreement", role.name());
                self.violation(at_ms, text);
            }
            Some(_) => {}
        }
    }

    /// A host's journal was restored from an older one: what it was bound to it has given
    /// up, and its keys with it (P16.3).
    pub(super) fn forgot(&mut self, host: u32) {
        self.live.remove(&host);
    }

    pub(super) fn violation(&mut self, at_ms: u64, what: String) {
        if self.violations.len() < KEPT {
            self.violations.push(Violation { at_ms, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_live_agreements_of_one_person_are_seen() {
        let mut oracle = Oracle::default();
        let agreement = |n| AgreementId::from_bytes([n; 32]);
        oracle.bound(1, 7, Role::Driver, agreement(1), true);
        oracle.bound(2, 8, Role::Rider, agreement(1), true);
        oracle.bound(3, 7, Role::Driver, agreement(1), false);
        oracle.bound(4, 7, Role::Driver, agreement(2), true);
        assert_eq!((oracle.double_bookings, oracle.violations.len(), oracle.firm), (0, 0, 1));
        oracle.bound(5, 7, Role::Driver, agreement(3), true);
        assert_eq!((oracle.double_bookings, oracle.violations.len()), (1, 1));
        oracle.bound(6, 9, Role::Rider, agreement(1), true);
        assert_eq!(oracle.violations.len(), 2, "a second rider of one agreement");
    }
}
