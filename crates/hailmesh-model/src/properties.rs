//! What must hold in every city (P1.5, P23.3): S1 to S7, A1, L1, and that the journal
//! tells what the tables say (R).

use hailmesh_market::handshake::{LaneState, RiderState};
use hailmesh_wire::Outcome;

use crate::city::{City, DriverRow, RiderRow, accept_of};
use crate::evidence::{contradiction, is_counted_admission, is_void_on_its_face};
use crate::statement::{Id, Key, Proof, RIDERS_MAX, Statement, driver_of};
use crate::world::World;

/// The properties in the order of their bits.
pub const PROPERTIES: [&str; 10] = ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "A1", "L1", "R"];

/// Bits of the properties that do not hold.
pub type Broken = u16;

const S1: Broken = 1;
const S2: Broken = 1 << 1;
const S3: Broken = 1 << 2;
const S4: Broken = 1 << 3;
const S5: Broken = 1 << 4;
const S6: Broken = 1 << 5;
const S7: Broken = 1 << 6;
const A1: Broken = 1 << 7;
const L1: Broken = 1 << 8;
const R: Broken = 1 << 9;

type Numbered = (Id, Statement);

impl World {
    /// Which properties do not hold in this city.
    #[must_use]
    pub fn broken(&self, city: &City) -> Broken {
        let signed = self.signed(city);
        let mut broken = if city.torn { R } else { 0 };
        let mut must = |holds: bool, property: Broken| {
            if !holds {
                broken |= property;
            }
        };
        let honest: Vec<Numbered> = signed
            .iter()
            .filter(|(_, statement)| self.config.is_honest(statement.signer()))
            .copied()
            .collect();
        must(self.no_slot_twice(&honest, true) && self.one_live_slot(city), S1);
        must(self.no_slot_twice(&honest, false), S2);
        must(self.all_but_one_ended(&honest), S3);
        must(self.one_firm_driver(city), S4);
        must(self.firm_means_firm(city), S5);
        must(self.nobody_is_framed(&honest), S6);
        must(self.receipts_are_held(city), S7);
        must(self.double_booking_shows(city, &signed), A1);
        must(self.all_agree_in_the_end(city), L1);
        broken
    }

    /// Everything that was signed: sent, or kept in a journal and not sent yet.
    fn signed(&self, city: &City) -> Vec<Numbered> {
        let mut ids = city.net.clone();
        for driver in &city.drivers {
            for row in &driver.rows {
                ids.extend(self.driver_said(row));
            }
        }
        for rider in &city.riders {
            ids.extend(rider.rows.iter().flat_map(|row| [row.confirm, row.end]).filter(|id| *id != 0));
        }
        ids.sort_unstable();
        ids.dedup();
        self.book.all(&ids)
    }

    /// S1 for ACCEPTs, S2 for CONFIRMs.
    fn no_slot_twice(&self, honest: &[Numbered], drivers: bool) -> bool {
        let mut slots: Vec<(Key, u8)> = honest
            .iter()
            .filter_map(|(_, statement)| match *statement {
                Statement::Accept { driver, slot, .. } if drivers => Some((driver, slot)),
                Statement::Confirm { rider, slot, .. } if !drivers => Some((rider, slot)),
                _ => None,
            })
            .collect();
        let all = slots.len();
        slots.sort_unstable();
        slots.dedup();
        slots.len() == all
    }

    /// P3.4: over all keys of a driver.
    fn one_live_slot(&self, city: &City) -> bool {
        let live = |rows: &[DriverRow]| rows.iter().filter(|row| row.ended.is_none()).count() <= 1;
        self.honest_drivers(city).all(|(_, driver)| live(&driver.rows))
    }

    /// S3.
    fn all_but_one_ended(&self, honest: &[Numbered]) -> bool {
        (0..self.config.riders).filter(|rider| self.config.is_honest_rider(*rider)).all(|key| {
            let open = honest.iter().filter(|(_, statement)| match *statement {
                Statement::Confirm { rider, accept: bound, .. } if rider == key => {
                    !honest.iter().any(|(_, end)| match *end {
                        Statement::Release { rider, accept, .. }
                        | Statement::Cosign { rider, accept, .. } => rider == key && accept == bound,
                        _ => false,
                    })
                }
                _ => false,
            });
            open.count() <= 1
        })
    }

    /// S4.
    fn one_firm_driver(&self, city: &City) -> bool {
        self.honest_riders(city).all(|(rider, node)| {
            let Some(live) = node.live() else { return true };
            let firm_on_it = self.honest_drivers(city).flat_map(|(_, driver)| &driver.rows).filter(|row| {
                row.ended.is_none()
                    && row.confirm != 0
                    && matches!(self.book.get(row.confirm),
                        Statement::Confirm { rider: by, slot, .. } if by == rider && slot == live.slot)
            });
            firm_on_it.count() <= 1
        })
    }

    /// S5. A key that was replaced as lost has admitted what was live under it (P16.3).
    fn firm_means_firm(&self, city: &City) -> bool {
        self.live_pairs(city).all(|(row, driver, accept)| {
            if !row.firm || is_lost(city, driver) {
                return true;
            }
            let theirs = driver_row(city, driver, accept);
            theirs.is_some_and(|theirs| match theirs.ended {
                None => theirs.confirm == row.confirm,
                Some(outcome) => outcome != Outcome::HoldLapsed && theirs.void,
            })
        })
    }

    /// S6, for each honest key.
    fn nobody_is_framed(&self, honest: &[Numbered]) -> bool {
        let pairs = honest.iter().enumerate();
        let mut pairs = pairs.flat_map(|(index, one)| honest[..index].iter().map(move |other| (other, one)));
        !honest.iter().any(|(_, statement)| is_void_on_its_face(&self.book, statement))
            && pairs.all(|(one, other)| contradiction(&self.book, one, other).is_none())
    }

    /// S7: the two signatures of an agreement belong to each other.
    fn receipts_are_held(&self, city: &City) -> bool {
        let drivers = self.honest_drivers(city).flat_map(|(_, driver)| &driver.rows);
        let mut firm = drivers.filter(|row| row.confirm != 0);
        let drivers_hold = firm.all(|row| {
            let Statement::Accept { driver, rider, request, .. } = self.book.get(row.accept) else {
                return false;
            };
            let asked = matches!(self.book.get(request),
                Statement::Request { rider: by, driver: to, .. } if (by, to) == (rider, driver));
            let confirmed = matches!(self.book.get(row.confirm),
                Statement::Confirm { rider: by, accept, .. } if (by, accept) == (rider, row.accept));
            asked && confirmed
        });
        let riders_hold = self.honest_riders(city).all(|(rider, node)| {
            node.rows.iter().all(|row| {
                let Statement::Confirm { driver, accept, .. } = self.book.get(row.confirm) else {
                    return false;
                };
                matches!(self.book.get(accept),
                    Statement::Accept { driver: by, rider: to, .. } if (by, to) == (driver, rider))
            })
        });
        drivers_hold && riders_hold
    }

    /// A1: of two receipts of one driver that are firm at once, with the ACCEPTs of the
    /// slots in between, some pair contradicts itself, or something was admitted. A
    /// boarding secret that the rider did hand over can end a ride falsely (P24.5).
    fn double_booking_shows(&self, city: &City, signed: &[Numbered]) -> bool {
        let firm: Vec<(Id, Statement)> = self
            .honest_riders(city)
            .filter_map(|(_, node)| node.live().filter(|row| row.firm))
            .map(|row| (accept_of(&self.book, row.confirm), row.confirm))
            .filter_map(|(accept, confirm)| {
                let Statement::Accept { driver, rider, slot, .. } = self.book.get(accept) else {
                    return None;
                };
                let ack = self.book.number(Statement::Ack { driver, rider, slot, confirm });
                Some((accept, self.book.get(ack)))
            })
            .collect();
        let slot_of = |id: Id| match self.book.get(id) {
            Statement::Accept { slot, .. } => slot,
            _ => 0,
        };
        firm.iter().all(|(one, ack)| {
            firm.iter().all(|(other, _)| {
                let (from, to) = (slot_of(*one), slot_of(*other));
                let same_driver = self.book.get(*one).signer() == self.book.get(*other).signer();
                if one == other || !same_driver || from > to {
                    return true;
                }
                self.chain_shows(*one, ack, *other, signed)
            })
        })
    }

    /// Whether the chain from one ACCEPT to a later one is broken or admits an end,
    /// whatever the driver shows for the slots in between.
    fn chain_shows(&self, from: Id, ack: &Statement, to: Id, signed: &[Numbered]) -> bool {
        let (first, last) = ((from, self.book.get(from)), (to, self.book.get(to)));
        let (Statement::Accept { slot: start, .. }, Statement::Accept { slot, prev, driver, .. }) =
            (first.1, last.1)
        else {
            return true;
        };
        let ack = (self.book.number(*ack), *ack);
        let shows = |one: &Numbered, other: &Numbered| contradiction(&self.book, one, other).is_some();
        let ended_alone = prev.proof == Proof::Secret { right: true };
        if shows(&first, &last) || shows(&ack, &last) || is_counted_admission(prev.outcome) || ended_alone {
            return true;
        }
        if slot <= start + 1 {
            return false;
        }
        // The driver shows one of what it signed for the slot before; any will do.
        signed
            .iter()
            .filter(|(_, statement)| {
                matches!(statement, Statement::Accept { driver: by, slot: number, .. }
                    if *by == driver && *number + 1 == slot)
            })
            .all(|between| shows(between, &last) || self.chain_shows(from, &ack.1, between.0, signed))
    }

    /// L1: when everything was delivered both sides of every pair agree; when the timers
    /// have run down, too, nobody is held or in doubt.
    fn all_agree_in_the_end(&self, city: &City) -> bool {
        let settled = self.settled(city);
        if !self.agrees(&settled, false) {
            return false;
        }
        let run_down = self.run_down(&settled);
        let nobody_waits = self
            .honest_drivers(&run_down)
            .flat_map(|(_, driver)| &driver.lanes)
            .all(|lane| !matches!(lane.state, LaneState::Held(_)))
            && self
                .honest_riders(&run_down)
                .all(|(_, node)| !matches!(node.chain.state, RiderState::Committed(_)));
        nobody_waits && self.agrees(&run_down, true)
    }

    fn agrees(&self, city: &City, run_down: bool) -> bool {
        let riders = self.live_pairs(city).all(|(row, driver, accept)| {
            if is_lost(city, driver) {
                return !run_down;
            }
            let theirs = driver_row(city, driver, accept);
            row.firm && theirs.is_some_and(|theirs| theirs.ended.is_none() && theirs.confirm == row.confirm)
        });
        let drivers = self.honest_drivers(city).flat_map(|(_, driver)| &driver.rows);
        let mut live = drivers.filter(|row| row.ended.is_none());
        riders
            && live.all(|row| {
                let Statement::Accept { rider, .. } = self.book.get(row.accept) else { return false };
                if !self.config.is_honest_rider(rider) {
                    return true;
                }
                let theirs = city.riders[usize::from(rider)].live();
                theirs.is_some_and(|theirs| theirs.firm && theirs.confirm == row.confirm)
            })
    }

    /// Open slots of honest riders with honest drivers: the row, the driver's key, the
    /// ACCEPT.
    fn live_pairs<'c>(&'c self, city: &'c City) -> impl Iterator<Item = (&'c RiderRow, Key, Id)> {
        self.honest_riders(city).filter_map(|(_, node)| {
            let row = node.live()?;
            let Statement::Confirm { driver, accept, .. } = self.book.get(row.confirm) else { return None };
            self.config.is_honest(driver).then_some((row, driver, accept))
        })
    }

    fn honest_drivers<'c>(&'c self, city: &'c City) -> impl Iterator<Item = (u8, &'c crate::city::Driver)> {
        (0..).zip(&city.drivers).filter(|(driver, _)| self.config.is_honest_driver(*driver))
    }

    fn honest_riders<'c>(&'c self, city: &'c City) -> impl Iterator<Item = (u8, &'c crate::city::Rider)> {
        (0..RIDERS_MAX).zip(&city.riders).filter(|(rider, _)| self.config.is_honest_rider(*rider))
    }
}

fn driver_row(city: &City, key: Key, accept: Id) -> Option<&DriverRow> {
    city.drivers[usize::from(driver_of(key).0)].rows.iter().find(|row| row.accept == accept)
}

fn is_lost(city: &City, key: Key) -> bool {
    let (driver, generation) = driver_of(key);
    let node = &city.drivers[usize::from(driver)];
    node.lost && generation < node.generation
}
