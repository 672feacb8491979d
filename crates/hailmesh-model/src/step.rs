//! One step of a city: an action applied, crashes included.

use crate::city::City;
use crate::driver::DriverOwn;
use crate::mutant::Mutant;
use crate::rider::RiderOwn;
use crate::statement::{Id, Key, RIDERS_MAX, Statement, Via, driver_of};
use crate::world::World;

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A message arrives. `choice` 0 is what a node does by default.
    Deliver {
        /// Which.
        id: Id,
        /// Which of the ways to take it.
        choice: u8,
        /// The node dies between the commit and the send.
        crash: bool,
    },
    /// A driver's timer or user.
    Drive {
        /// Which driver.
        driver: u8,
        /// What.
        own: DriverOwn,
        /// The node dies between the commit and the send.
        crash: bool,
    },
    /// A rider's timer or user.
    Ride {
        /// Which rider.
        rider: u8,
        /// What.
        own: RiderOwn,
        /// The node dies between the commit and the send.
        crash: bool,
    },
    /// A rider asks a driver.
    Ask {
        /// Which rider.
        rider: u8,
        /// The driver's key.
        driver: Key,
    },
    /// T_req.
    AskEnded {
        /// Which rider.
        rider: u8,
        /// Which REQUEST.
        request: Id,
    },
    /// A driver invites a rider.
    Invite {
        /// Which driver.
        driver: u8,
        /// Which rider.
        rider: u8,
    },
    /// The outbox of a driver is sent.
    ResendDriver(u8),
    /// The outbox of a rider is sent.
    ResendRider(u8),
    /// STATUS: the counterparty of this ACCEPT's open slot says again what it has said.
    Status {
        /// The ACCEPT that names the agreement.
        accept: Id,
        /// The driver asks, rather than the rider.
        driver_asks: bool,
    },
    /// A rider's node dies while it has committed nothing.
    CrashRider(u8),
    /// A driver replaces its key as planned.
    Rotate(u8),
    /// A driver's store comes back, or is copied: its key counts as lost.
    Restore {
        /// Which driver.
        driver: u8,
        /// It comes back without any slot, rather than as it was.
        empty: bool,
    },
    /// A driver ends COMPLETED without any COSIGN: only as a mutant.
    CompleteAlone(u8),
    /// A Byzantine party says something.
    Forge(Id),
}

/// A city while one action is applied to it.
pub struct Step<'w> {
    pub(crate) world: &'w World,
    pub(crate) city: City,
    /// Whether anything became durable.
    pub(crate) wrote: bool,
    /// Whether anything new may be begun.
    pub(crate) new_business: bool,
    said: Vec<Id>,
}

impl<'w> Step<'w> {
    /// Begins.
    #[must_use]
    pub fn new(world: &'w World, city: City) -> Self {
        Self { world, city, wrote: false, new_business: true, said: Vec::new() }
    }

    /// Signs and means to send; a crash in between loses it.
    pub(crate) fn say(&mut self, id: Id) {
        self.said.push(id);
    }

    /// What was said reaches the network.
    fn send_said(&mut self) {
        for id in std::mem::take(&mut self.said) {
            self.city.send(id);
        }
    }

    /// A message arrives at whoever it is for.
    pub(crate) fn deliver(&mut self, id: Id, choice: u8) {
        let statement = self.world.book.get(id);
        let to = statement.to();
        if !self.world.config.is_honest(to) {
            return;
        }
        if to < RIDERS_MAX {
            self.tell_rider(id, statement, choice);
        } else {
            self.tell_driver(id, statement, choice);
        }
    }

    /// STATUS to the other side of an open slot, and what it brings back (P8.8).
    pub(crate) fn status(&mut self, accept: Id, driver_asks: bool) {
        let Statement::Accept { driver, rider, .. } = self.world.book.get(accept) else { return };
        let row = self.city.riders[usize::from(rider)]
            .rows
            .iter()
            .find(|row| crate::city::accept_of(&self.world.book, row.confirm) == accept)
            .copied();
        let said = if driver_asks {
            if self.world.is(Mutant::StatusBelieved) {
                self.believe(driver, accept, row.is_none_or(|row| row.ended.is_some()));
            }
            row.map(|row| vec![row.confirm, row.end]).unwrap_or_default()
        } else {
            let rows = &self.city.drivers[usize::from(driver_of(driver).0)].rows;
            let row = rows.iter().find(|row| row.accept == accept).copied();
            row.map(|row| self.world.driver_said(&row)).unwrap_or_default()
        };
        for id in said.into_iter().filter(|id| *id != 0) {
            self.say(id);
        }
    }

    /// M11.
    fn believe(&mut self, driver: Key, accept: Id, is_over: bool) {
        let (driver, _) = driver_of(driver);
        let rows = &mut self.city.drivers[usize::from(driver)].rows;
        let row = rows.iter_mut().find(|row| row.accept == accept && row.ended.is_none());
        if let Some(row) = row.filter(|_| is_over) {
            row.ended = Some(hailmesh_wire::Outcome::RiderReleased);
            self.wrote = true;
            self.reload_driver(driver);
        }
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Deliver { id, choice, .. } => self.deliver(id, choice),
            Action::Drive { driver, own, .. } => self.drive_own(driver, own),
            Action::Ride { rider, own, .. } => self.ride_own(rider, own),
            Action::Ask { rider, driver } => self.ask(rider, driver, Via::Choice),
            Action::AskEnded { rider, request } => self.give_up_ask(rider, request),
            Action::Invite { driver, rider } => self.invite(driver, rider),
            Action::ResendDriver(driver) => {
                for id in self.world.driver_outbox(&self.city.drivers[usize::from(driver)]) {
                    self.say(id);
                }
            }
            Action::ResendRider(rider) => {
                for id in self.world.rider_outbox(&self.city.riders[usize::from(rider)]) {
                    self.say(id);
                }
            }
            Action::Status { accept, driver_asks } => self.status(accept, driver_asks),
            Action::CrashRider(rider) => self.reload_rider(rider),
            Action::Rotate(driver) => self.rotate_key(driver),
            Action::Restore { driver, empty } => self.restore_driver(driver, empty),
            Action::CompleteAlone(driver) => self.complete_alone(driver),
            Action::Forge(id) => self.say(id),
        }
    }
}

impl World {
    /// The city after an action; nothing when it does not change anything.
    #[must_use]
    pub fn after(&self, before: &City, action: Action) -> Option<City> {
        let crash = match action {
            Action::Deliver { crash, .. } | Action::Drive { crash, .. } | Action::Ride { crash, .. } => crash,
            Action::CrashRider(_) | Action::Restore { .. } => true,
            _ => false,
        };
        let mut step = Step::new(self, before.clone());
        step.take(action);
        let dies_in_between = crash && !matches!(action, Action::CrashRider(_) | Action::Restore { .. });
        if dies_in_between {
            if !step.wrote {
                // Nothing was committed: no different from dying at any other time.
                return None;
            }
            step.city.compare_with_journal(&self.book);
            let is_rider = match action {
                Action::Deliver { id, .. } => self.book.get(id).to() < RIDERS_MAX,
                Action::Ride { .. } => true,
                _ => false,
            };
            if self.is(Mutant::SendBeforePersist) || (is_rider && self.is(Mutant::RiderSendsFirst)) {
                // Sent first, and then the write did not happen.
                step.send_said();
                let net = std::mem::take(&mut step.city.net);
                step.city = City { net, ..before.clone() };
            }
            self.restart(&mut step, action);
        } else {
            step.send_said();
            step.city.compare_with_journal(&self.book);
        }
        step.city.crashes += u8::from(crash);
        (step.city != *before).then_some(step.city)
    }

    fn restart(&self, step: &mut Step<'_>, action: Action) {
        let to = match action {
            Action::Deliver { id, .. } => self.book.get(id).to(),
            Action::Drive { driver, .. } => step.current_key(driver),
            Action::Ride { rider, .. } => rider,
            _ => return,
        };
        if to < RIDERS_MAX { step.reload_rider(to) } else { step.reload_driver(driver_of(to).0) }
    }

    /// A city in which everything was delivered, and repeated until nothing new was said,
    /// and nobody began anything new (P23.3). What was on its way is lost: only what
    /// outboxes and STATUS say again counts, and what is said because of it. That older
    /// messages arrive after all is among the steps that lead from city to city.
    #[must_use]
    pub fn settled(&self, city: &City) -> City {
        let mut step = Step::new(self, City { net: Vec::new(), ..city.clone() });
        step.new_business = false;
        step.settle();
        step.city
    }

    /// The same, and then every timer has run down and whoever still waits for a key that
    /// was lost has cancelled (T_unreach, P7.12).
    #[must_use]
    pub fn run_down(&self, settled: &City) -> City {
        let mut step = Step::new(self, settled.clone());
        step.new_business = false;
        for driver in (0..self.config.drivers).filter(|driver| self.config.is_honest_driver(*driver)) {
            step.drive_own(driver, DriverOwn::HoldEnded);
        }
        for rider in (0..self.config.riders).filter(|rider| self.config.is_honest_rider(*rider)) {
            step.ride_own(rider, RiderOwn::DoubtEnded);
            let waits_in_vain = step.city.riders[usize::from(rider)].live().is_some_and(|row| {
                let Statement::Confirm { driver, .. } = self.book.get(row.confirm) else { return false };
                step.is_lost(driver)
            });
            if waits_in_vain {
                step.ride_own(rider, RiderOwn::Cancel);
                step.ride_own(rider, RiderOwn::EndAlone);
            }
        }
        step.settle();
        step.city
    }
}

impl Step<'_> {
    /// Whether a driver's key was replaced as lost.
    pub(crate) fn is_lost(&self, key: Key) -> bool {
        let (driver, generation) = driver_of(key);
        let node = &self.city.drivers[usize::from(driver)];
        node.lost && generation < node.generation
    }

    fn settle(&mut self) {
        let config = &self.world.config;
        loop {
            let before = self.city.clone();
            self.send_said();
            for driver in (0..config.drivers).filter(|driver| config.is_honest_driver(*driver)) {
                if !self.world.is(Mutant::NoResend) {
                    for id in self.world.driver_outbox(&self.city.drivers[usize::from(driver)]) {
                        self.say(id);
                    }
                }
                let open: Vec<Id> = self.city.drivers[usize::from(driver)]
                    .rows
                    .iter()
                    .filter(|row| row.ended.is_none())
                    .map(|row| row.accept)
                    .collect();
                for accept in open {
                    let Statement::Accept { rider, .. } = self.world.book.get(accept) else { continue };
                    if config.status && config.is_honest_rider(rider) {
                        self.status(accept, true);
                    }
                }
            }
            for rider in (0..config.riders).filter(|rider| config.is_honest_rider(*rider)) {
                if !self.world.is(Mutant::NoResend) {
                    for id in self.world.rider_outbox(&self.city.riders[usize::from(rider)]) {
                        self.say(id);
                    }
                }
                let live = self.city.riders[usize::from(rider)].live().copied();
                if let Some(Statement::Confirm { driver, accept, .. }) =
                    live.map(|row| self.world.book.get(row.confirm))
                    && config.status
                    && config.is_honest(driver)
                {
                    self.status(accept, false);
                }
            }
            self.send_said();
            for id in self.city.net.clone() {
                self.deliver(id, 0);
                self.send_said();
            }
            if self.city == before {
                return;
            }
        }
    }
}
