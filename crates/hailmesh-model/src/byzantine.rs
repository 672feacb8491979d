//! What parties that keep no rule may say next. They hear everything, sign anything with
//! their own keys, and need no state but the network.
//!
//! Only statements that somebody honest takes up are worth forging: a statement void on
//! its face, or about slots that nobody asked for, is refused before the tables are asked.
//! An accomplice's signature is always at hand, so that a driver can show a RELEASE that
//! a rider of its own party signed for an ACCEPT that was somebody else's.

use hailmesh_wire::Outcome;

use crate::city::City;
use crate::evidence::is_valid_for_driver;
use crate::statement::{Id, Key, Prev, Proof, RIDERS_MAX, Statement, Via, driver_key};
use crate::world::World;

impl World {
    /// Statements that a Byzantine party may add to the network.
    pub(crate) fn forgeries(&self, city: &City, found: &mut Vec<Id>) {
        let config = &self.config;
        if config.byzantine_drivers == 0 && config.byzantine_riders == 0 {
            return;
        }
        let sent = self.book.all(&city.net);
        let mut forge = |statement: Statement| {
            let id = self.book.number(statement);
            if !city.is_sent(id) && !found.contains(&id) {
                found.push(id);
            }
        };
        for driver in (0..config.drivers).filter(|driver| !config.is_honest_driver(*driver)) {
            self.forge_as_driver(driver_key(driver, 0), &sent, &mut forge);
        }
        for rider in (0..config.riders).filter(|rider| !config.is_honest_rider(*rider)) {
            self.forge_as_rider(rider, city, &sent, &mut forge);
        }
    }

    fn forge_as_driver(&self, key: Key, sent: &[(Id, Statement)], forge: &mut impl FnMut(Statement)) {
        let config = &self.config;
        let own = |statement: &Statement| statement.signer() == key;
        let accepts: Vec<(Id, Statement)> = sent
            .iter()
            .filter(|(_, statement)| own(statement) && matches!(statement, Statement::Accept { .. }))
            .copied()
            .collect();
        for (id, statement) in sent {
            match *statement {
                Statement::Request { rider, driver, .. }
                    if driver == key && accepts.len() < usize::from(config.forged_accepts) =>
                {
                    for (slot, prev) in self.forged_places(key, &accepts, sent) {
                        forge(Statement::Accept { driver: key, rider, slot, request: *id, prev, nth: 0 });
                    }
                }
                Statement::Confirm { rider, driver, accept, .. } if driver == key => {
                    let Statement::Accept { slot, .. } = self.book.get(accept) else { continue };
                    forge(Statement::Ack { driver: key, rider, slot, confirm: *id });
                    if config.ride {
                        forge(Statement::Complete { driver: key, rider, confirm: *id, nth: 0 });
                    }
                }
                Statement::Confirm { rider, slot, .. } if config.foreign => {
                    forge(Statement::Ack { driver: key, rider, slot, confirm: *id });
                }
                Statement::Accept { rider, slot, driver, .. } if driver == key || config.foreign => {
                    let outcome = Outcome::DriverCancelled;
                    forge(Statement::Void { driver: key, rider, slot, accept: *id, outcome });
                }
                _ => {}
            }
        }
    }

    /// Every slot and `prev` that would be taken up.
    fn forged_places(
        &self,
        key: Key,
        accepts: &[(Id, Statement)],
        sent: &[(Id, Statement)],
    ) -> Vec<(u8, Prev)> {
        let mut places = vec![(0, Prev::FIRST)];
        for (accept, statement) in accepts {
            let Statement::Accept { slot: before, .. } = *statement else { continue };
            let slot = before + 1;
            // A fork: an ACCEPT that nobody ever saw.
            let fork = Prev { outcome: Outcome::HoldLapsed, accept: self.nobody, proof: Proof::None };
            places.push((slot, fork));
            let mut add = |outcome: Outcome, proof: Proof| {
                let prev = Prev { outcome, accept: *accept, proof };
                if is_valid_for_driver(&self.book, slot, &prev) {
                    places.push((slot, prev));
                }
            };
            add(Outcome::HoldLapsed, Proof::None);
            add(Outcome::DriverCancelled, Proof::None);
            add(Outcome::CompletedUnilateral, Proof::Secret { right: false });
            for (id, statement) in sent {
                match statement {
                    Statement::Release { accept: named, .. } if named == accept => {
                        add(Outcome::NotChosen, Proof::Statement(*id));
                    }
                    Statement::Cosign { accept: named, .. } if named == accept => {
                        add(Outcome::Completed, Proof::Statement(*id));
                    }
                    _ => {}
                }
            }
            for rider in (0..self.config.riders).filter(|rider| !self.config.is_honest_rider(*rider)) {
                let release = self.accomplice_release(rider, key, *accept);
                add(Outcome::NotChosen, Proof::Statement(release));
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    fn accomplice_release(&self, rider: Key, driver: Key, accept: Id) -> Id {
        let outcome = Outcome::NotChosen;
        self.book.number(Statement::Release { rider, driver, accept, slot: None, outcome })
    }

    fn forge_as_rider(
        &self,
        rider: Key,
        city: &City,
        sent: &[(Id, Statement)],
        forge: &mut impl FnMut(Statement),
    ) {
        let config = &self.config;
        for driver in 0..config.drivers {
            for attempt in 1..=config.attempts {
                let generation = city.drivers[usize::from(driver)].generation;
                let driver = driver_key(driver, generation);
                forge(Statement::Request { rider, driver, slot: 0, attempt, via: Via::Choice });
            }
        }
        for (id, statement) in sent {
            match *statement {
                Statement::Accept { rider: to, driver, .. } if to == rider || config.foreign => {
                    let prev = Prev::FIRST;
                    forge(Statement::Confirm { rider, driver, slot: 0, accept: *id, prev, nth: 0 });
                    forge(Statement::Release {
                        rider,
                        driver,
                        accept: *id,
                        slot: None,
                        outcome: Outcome::NotChosen,
                    });
                }
                Statement::Complete { rider: to, driver, confirm, .. } if to == rider => {
                    let Statement::Confirm { accept, slot, .. } = self.book.get(confirm) else { continue };
                    forge(Statement::Cosign { rider, driver, slot, accept, complete: *id });
                }
                _ => {}
            }
        }
        debug_assert!(rider < RIDERS_MAX, "a rider's key");
    }
}
