//! Who is bound to what, as nodes tell their users.

use std::collections::{BTreeMap, BTreeSet};

use hailmesh_market::Role;
use hailmesh_types::AgreementId;

/// Live agreements of honest hosts: nobody is in two at a time, and no two of one side
/// share one.
#[derive(Default)]
pub struct Bindings {
    /// Live agreements of every host.
    live: BTreeMap<u32, BTreeSet<AgreementId>>,
    /// The parties of an agreement.
    parties: BTreeMap<AgreementId, [Option<u32>; 2]>,
    double_bookings: u64,
    firm: u64,
}

impl Bindings {
    /// A host is bound to an agreement, or no longer. Says what must not be.
    pub fn bound(&mut self, host: u32, role: Role, agreement: AgreementId, live: bool) -> Vec<String> {
        if !live {
            if let Some(open) = self.live.get_mut(&host) {
                open.remove(&agreement);
            }
            return Vec::new();
        }
        let mut wrong = Vec::new();
        let open = self.live.entry(host).or_default();
        open.insert(agreement);
        if open.len() > 1 {
            self.double_bookings += 1;
            wrong.push(format!("{} {host} is bound to two agreements", role.name()));
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
                wrong.push(format!("{} {host} and {other} hold one agreement", role.name()));
            }
            Some(_) => {}
        }
        wrong
    }

    /// A host's journal was restored from an older one: what it was bound to it has given
    /// up, and its keys with it (P16.3).
    pub fn forgot(&mut self, host: u32) {
        self.live.remove(&host);
    }

    /// Times that somebody was bound to one agreement more than one may be.
    #[must_use]
    pub const fn double_bookings(&self) -> u64 {
        self.double_bookings
    }

    /// Agreements that both sides have held.
    #[must_use]
    pub const fn firm(&self) -> u64 {
        self.firm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_live_agreements_of_one_person_are_seen() {
        let mut bindings = Bindings::default();
        let agreement = |n| AgreementId::from_bytes([n; 32]);
        let mut wrong = bindings.bound(7, Role::Driver, agreement(1), true);
        wrong.extend(bindings.bound(8, Role::Rider, agreement(1), true));
        wrong.extend(bindings.bound(7, Role::Driver, agreement(1), false));
        wrong.extend(bindings.bound(7, Role::Driver, agreement(2), true));
        assert_eq!((bindings.double_bookings(), wrong.len(), bindings.firm()), (0, 0, 1));
        assert_eq!(bindings.bound(7, Role::Driver, agreement(3), true).len(), 1);
        assert_eq!(bindings.double_bookings(), 1);
        let second = bindings.bound(9, Role::Rider, agreement(1), true);
        assert_eq!(second.len(), 1, "a second rider of one agreement");
    }
}
