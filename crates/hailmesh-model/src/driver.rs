//! What surrounds the driver's table in the model: what `marketplace/driver*.rs` and
//! `marketplace/ending.rs` do in a node, without anything that binds nobody.

use hailmesh_market::handshake::{DriverEvent, DriverSend, DriverWrite, Guard, LaneState};
use hailmesh_wire::{Outcome, RejectReason};

use crate::city::{Driver, DriverRow, completes, held};
use crate::mutant::Mutant;
use crate::statement::{
    Id, Key, Prev, Proof, Statement, Via, driver_key, driver_of, number, public, wire_id,
};
use crate::step::Step;
use crate::world::{EVENTS, World};

/// What a driver's own timers and user do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DriverOwn {
    /// The hold timer.
    HoldEnded,
    /// The user cancels.
    Cancel,
    /// The user claims a no-show.
    NoShow,
    /// ARRIVED is signed.
    Arrived,
    /// The rider hands over the boarding secret.
    Boarded,
    /// COMPLETE is signed.
    Complete,
    /// No COSIGN came in time.
    EndAlone,
}

impl Step<'_> {
    /// A verified statement for a driver's key.
    pub(crate) fn tell_driver(&mut self, id: Id, statement: Statement, choice: u8) {
        let to = statement.to();
        match statement {
            Statement::Request { rider, via, .. } => self.on_request(to, id, rider, via, choice),
            Statement::Confirm { rider, slot, accept, prev, .. } => {
                let sound =
                    self.asked_slot(accept) == Some(slot) && crate::evidence::is_valid_for_rider(slot, &prev);
                let rider =
                    if self.world.is(Mutant::AnyConfirm) { self.holder(to).unwrap_or(rider) } else { rider };
                let accept = if self.world.is(Mutant::AnyConfirm) {
                    self.held_accept(to).unwrap_or(accept)
                } else {
                    accept
                };
                let event = DriverEvent::Confirm {
                    confirm: wire_id(id),
                    accept: wire_id(accept),
                    rider: public(rider),
                    sound: sound || self.world.is(Mutant::AnyConfirm),
                    opened: choice == 0,
                };
                self.drive(to, event, false);
                if self.world.is(Mutant::AckAfterLapse) {
                    self.ack_after_lapse(to, id, accept);
                }
            }
            Statement::Release { rider, accept, .. } => {
                let free = self.world.is(Mutant::AnyRelease);
                let accept = self.held_accept(to).filter(|_| free).unwrap_or(accept);
                let rider = self.holder(to).filter(|_| free).unwrap_or(rider);
                let event = DriverEvent::Release {
                    release: wire_id(id),
                    accept: wire_id(accept),
                    rider: public(rider),
                };
                self.drive(to, event, true);
            }
            Statement::Cosign { rider, accept, complete, .. } => {
                let any = self.world.is(Mutant::AnyCosign);
                let under_way = self.lane(to).and_then(|lane| match &lane.state {
                    LaneState::Firm { held, completes, .. } => {
                        completes.last().map(|complete| (number(&held.accept), number(complete)))
                    }
                    _ => None,
                });
                let (accept, complete) = under_way.filter(|_| any).unwrap_or((accept, complete));
                let rider = self.holder(to).filter(|_| any).unwrap_or(rider);
                let event = DriverEvent::Cosign {
                    cosign: wire_id(id),
                    accept: wire_id(accept),
                    complete: wire_id(complete),
                    rider: public(rider),
                    same_total: true,
                };
                self.drive(to, event, false);
            }
            _ => {}
        }
    }

    /// Timers and the own user of a driver, on the key in use.
    pub(crate) fn drive_own(&mut self, driver: u8, own: DriverOwn) {
        let key = self.current_key(driver);
        let event = match own {
            DriverOwn::HoldEnded => DriverEvent::HoldEnded,
            DriverOwn::Cancel => DriverEvent::Cancel,
            DriverOwn::NoShow => DriverEvent::NoShow,
            DriverOwn::Arrived => DriverEvent::Arrived,
            DriverOwn::Boarded => DriverEvent::Boarded,
            DriverOwn::EndAlone => DriverEvent::EndAlone,
            DriverOwn::Complete => {
                let confirm = match self.lane(key).map(|lane| &lane.state) {
                    Some(LaneState::Firm { confirm, .. }) => number(confirm),
                    // In no other state is there anything to propose (P6.23).
                    _ => 0,
                };
                DriverEvent::Complete { complete: wire_id(self.next_complete(key, confirm)) }
            }
        };
        self.drive(key, event, false);
    }

    /// The user has begun to claim that the ride is over, with nobody's signature (M10).
    pub(crate) fn complete_alone(&mut self, driver: u8) {
        let key = self.current_key(driver);
        let Some(lane) = self.lane(key) else { return };
        if let (LaneState::Firm { boarded: true, .. }, slot) = (lane.state.clone(), lane.slot) {
            let write = DriverWrite::End { slot, outcome: Outcome::Completed, proof: None };
            self.persist_driver(key, &write, false);
            self.reload_driver(driver_of(key).0);
        }
    }

    /// P5.11: binds nobody.
    pub(crate) fn invite(&mut self, driver: u8, rider: u8) {
        let key = self.current_key(driver);
        if let Some(lane) = self.lane(key).filter(|lane| lane.state == LaneState::Free) {
            let slot = u8::try_from(lane.slot).expect("few slots");
            let invite = self.world.book.number(Statement::Invite { driver: key, rider, slot });
            self.say(invite);
        }
    }

    /// What was given up under a lost key is closed without a signature, and the key is
    /// replaced (P16.3, P11.8). With `empty`, the store that came back is as old as can be.
    pub(crate) fn restore_driver(&mut self, driver: u8, empty: bool) {
        let node = &mut self.city.drivers[usize::from(driver)];
        if empty {
            node.rows.clear();
        }
        if !self.world.is(Mutant::OldStore) {
            for row in node.rows.iter_mut().filter(|row| row.ended.is_none()) {
                row.ended = Some(Outcome::DriverCancelled);
            }
            node.generation = 1;
            node.lost = true;
        }
        self.wrote = true;
        self.reload_driver(driver);
    }

    /// A planned replacement, which only happens in FREE (P16.3).
    pub(crate) fn rotate_key(&mut self, driver: u8) {
        let key = self.current_key(driver);
        let free = self.lane(key).is_some_and(|lane| lane.state == LaneState::Free);
        if free || self.world.is(Mutant::RotateWhileBound) {
            self.city.drivers[usize::from(driver)].generation = 1;
            self.wrote = true;
            self.reload_driver(driver);
        }
    }

    /// A restart: lanes as the journal tells them (P11.6).
    pub(crate) fn reload_driver(&mut self, driver: u8) {
        let node = &self.city.drivers[usize::from(driver)];
        let lanes = (0..=node.generation)
            .map(|generation| node.lane_of_journal(driver_key(driver, generation), &self.world.book))
            .collect();
        self.city.drivers[usize::from(driver)].lanes = lanes;
    }

    pub(crate) fn current_key(&self, driver: u8) -> Key {
        driver_key(driver, self.city.drivers[usize::from(driver)].generation)
    }

    /// As `on_ride_request` does.
    fn on_request(&mut self, to: Key, id: Id, rider: Key, via: Via, choice: u8) {
        let current = self.current_key(driver_of(to).0) == to;
        let Some(lane) = self.lane(to) else { return };
        let reuse = self.world.is(Mutant::AcceptWhileHeld)
            && matches!(&lane.state, LaneState::Held(held) if held.request != wire_id(id));
        let known =
            lane.state != LaneState::Free || lane.past.values().any(|past| past.held.request == wire_id(id));
        if !current || (known && !reuse) {
            let guard = Guard::Refuse(RejectReason::Unknown);
            let event = DriverEvent::Request {
                request: wire_id(id),
                rider: public(rider),
                guard,
                accept: wire_id(id),
            };
            return self.drive(to, event, false);
        }
        if !self.new_business {
            return;
        }
        let slot = u8::try_from(lane.slot).expect("few slots");
        let full = slot >= self.world.config.driver_slots;
        let guard = match choice {
            0 if full => Guard::Refuse(RejectReason::Busy),
            0 => Guard::Pass,
            _ if via == Via::Choice => Guard::Counter,
            _ => return,
        };
        if reuse {
            self.set_free(to);
        }
        let accept = if guard == Guard::Pass {
            let (prev, nth) = (self.driver_prev(to, slot), self.accepts_signed(to, slot));
            let accept = Statement::Accept { driver: to, rider, slot, request: id, prev, nth };
            self.world.book.number(accept)
        } else {
            id
        };
        let event = DriverEvent::Request {
            request: wire_id(id),
            rider: public(rider),
            guard,
            accept: wire_id(accept),
        };
        self.drive(to, event, false);
    }

    /// Applies an event to the lane of `key`, makes durable what it asks for and then
    /// sends. `answered`: what it sends goes as the answer to the statement (P5.5).
    fn drive(&mut self, key: Key, event: DriverEvent, answered: bool) {
        let (driver, generation) = driver_of(key);
        let node = &mut self.city.drivers[usize::from(driver)];
        let Some(lane) = node.lanes.get_mut(usize::from(generation)) else { return };
        self.world.coverage.note(state_number(&lane.state) * EVENTS + event_number(&event));
        let slot = lane.slot;
        let before = lane.state.clone();
        let mut step = lane.transition(event);
        if self.world.is(Mutant::SilentLapse) {
            let lapsed =
                |slot: &u64| lane.past.get(slot).is_some_and(|past| past.outcome == Outcome::HoldLapsed);
            step.sends.retain(|send| !matches!(send, DriverSend::Void(slot) if lapsed(slot)));
        }
        // P5.5: a rider that has signed an end repeats it until it is answered.
        let repeats = !answered && !matches!(event, DriverEvent::Release { .. });
        for write in &step.writes {
            self.persist_driver(key, write, repeats);
            if let (
                DriverWrite::Ride { slot },
                DriverEvent::Arrived | DriverEvent::Boarded | DriverEvent::Complete { .. },
            ) = (*write, event)
            {
                let slot = u8::try_from(slot).expect("few slots");
                let Some(row) = self.city.drivers[usize::from(driver)].row(key, slot) else { continue };
                match event {
                    DriverEvent::Arrived => row.arrived = true,
                    DriverEvent::Boarded => row.boarded = true,
                    DriverEvent::Complete { complete } => row.complete = number(&complete),
                    _ => {}
                }
                let row = *row;
                for said in self.world.said_firm(&row) {
                    self.say(said);
                }
            }
        }
        if self.world.is(Mutant::SilentCancel) && event == DriverEvent::Cancel && before != LaneState::Free {
            step.sends.clear();
            let slot = u8::try_from(slot).expect("few slots");
            if let Some(row) = self.city.drivers[usize::from(driver)].row(key, slot) {
                (row.void, row.queued) = (false, false);
            }
        }
        for send in &step.sends {
            self.drive_send(key, *send);
        }
    }

    /// `repeats`: a VOID to a rider that is firm is said until it is heard.
    fn persist_driver(&mut self, key: Key, write: &DriverWrite, repeats: bool) {
        self.wrote = true;
        let proof_lost = self.world.is(Mutant::ProofLost);
        let reused = self.world.is(Mutant::SlotReused);
        let forgotten = self.world.is(Mutant::FirmForgotten);
        let small = |slot: u64| u8::try_from(slot).expect("few slots");
        let node = &mut self.city.drivers[usize::from(driver_of(key).0)];
        match *write {
            DriverWrite::Bind { slot, held } => node.rows.push(DriverRow {
                key,
                slot: small(slot),
                accept: number(&held.accept),
                confirm: 0,
                complete: 0,
                arrived: false,
                boarded: false,
                ended: None,
                proof: 0,
                void: false,
                queued: false,
            }),
            DriverWrite::Firm { slot, confirm } => {
                if let Some(row) = node.row(key, small(slot)).filter(|_| !forgotten) {
                    row.confirm = number(&confirm);
                }
            }
            DriverWrite::End { slot, outcome: Outcome::HoldLapsed, .. } if reused => {
                node.rows.retain(|row| row.key != key || row.slot != small(slot));
            }
            DriverWrite::End { slot, outcome, proof } => {
                if let Some(row) = node.row(key, small(slot)) {
                    row.ended = Some(outcome);
                    row.proof = proof.filter(|_| !proof_lost).map_or(0, |proof| number(&proof));
                    row.void = outcome != Outcome::Completed;
                    row.queued = row.void && repeats && row.confirm != 0;
                }
            }
            // W7 is noted by whoever signs the statement. Evidence and late COSIGNs are
            // kept beside the slot and change nothing.
            DriverWrite::Ride { .. } | DriverWrite::Contradiction { .. } | DriverWrite::Keep { .. } => {}
        }
    }

    /// Says what the table asks for, from what is stored.
    fn drive_send(&mut self, key: Key, send: DriverSend) {
        let small = |slot: u64| u8::try_from(slot).expect("few slots");
        let mut row = |slot: u64| {
            self.city.drivers[usize::from(driver_of(key).0)].row(key, small(slot)).map(|row| *row)
        };
        let said = match send {
            DriverSend::Accept(slot) => row(slot).map(|row| row.accept),
            DriverSend::Ack(slot) => row(slot).and_then(|row| self.world.said_firm(&row).first().copied()),
            DriverSend::Void(slot) => row(slot).and_then(|row| self.world.void_of(&row)),
            DriverSend::Counter(request) => {
                let request = number(&request);
                let rider = self.world.book.get(request).signer();
                Some(self.world.book.number(Statement::Counter { driver: key, rider, request }))
            }
            // Bind nobody and change nothing that the model has.
            DriverSend::Reject(..)
            | DriverSend::NoShow(_)
            | DriverSend::WithdrawOffer
            | DriverSend::Nothing => None,
        };
        if let Some(said) = said {
            self.say(said);
        }
    }

    /// As `driver_prev` does (P3.5).
    fn driver_prev(&self, key: Key, slot: u8) -> Prev {
        let (driver, generation) = driver_of(key);
        let node = &self.city.drivers[usize::from(driver)];
        let Some(before) = slot.checked_sub(1) else {
            let lost = Prev { outcome: Outcome::KeyReplaced, ..Prev::FIRST };
            return if node.lost && generation == 1 { lost } else { Prev::FIRST };
        };
        let past = node.lanes[usize::from(generation)].past[&u64::from(before)];
        let proof = match (past.outcome, past.proof) {
            (Outcome::CompletedUnilateral, _) => Proof::Secret { right: true },
            (_, Some(proof)) => Proof::Statement(number(&proof)),
            (_, None) => Proof::None,
        };
        Prev { outcome: past.outcome, accept: number(&past.held.accept), proof }
    }

    fn accepts_signed(&self, key: Key, wanted: u8) -> u8 {
        let sent = self.world.book.all(&self.city.net).into_iter();
        let is_one = |statement: Statement| matches!(statement, Statement::Accept { driver, slot, .. } if driver == key && slot == wanted);
        let of_net = sent.filter(|(_, statement)| is_one(*statement)).map(|(id, _)| id);
        let rows = &self.city.drivers[usize::from(driver_of(key).0)].rows;
        let stored = rows.iter().filter(|row| row.key == key && row.slot == wanted).map(|row| row.accept);
        let mut all: Vec<Id> = of_net.chain(stored).collect();
        all.sort_unstable();
        all.dedup();
        u8::try_from(all.len()).expect("few of them")
    }

    /// The COMPLETE that would be signed next.
    fn next_complete(&self, key: Key, confirm: Id) -> Id {
        if confirm == 0 {
            return 0;
        }
        let Statement::Confirm { rider, .. } = self.world.book.get(confirm) else { return 0 };
        let rows = &self.city.drivers[usize::from(driver_of(key).0)].rows;
        let last = rows.iter().find(|row| row.confirm == confirm).map_or(0, |row| row.complete);
        let nth = match last {
            0 => 0,
            last => match self.world.book.get(last) {
                Statement::Complete { nth, .. } => nth + 1,
                _ => 0,
            },
        };
        self.world.book.number(Statement::Complete { driver: key, rider, confirm, nth })
    }

    /// The rider slot that the REQUEST behind an ACCEPT names.
    fn asked_slot(&self, accept: Id) -> Option<u8> {
        let Statement::Accept { request, .. } = self.world.book.get(accept) else { return None };
        match self.world.book.get(request) {
            Statement::Request { slot, .. } => Some(slot),
            _ => None,
        }
    }

    fn lane(&self, key: Key) -> Option<&hailmesh_market::handshake::DriverLane> {
        let (driver, generation) = driver_of(key);
        self.city.drivers[usize::from(driver)].lanes.get(usize::from(generation))
    }

    fn held_accept(&self, key: Key) -> Option<Id> {
        Some(number(&self.lane(key)?.held()?.accept))
    }

    fn holder(&self, key: Key) -> Option<Key> {
        Some(crate::statement::key_of(&self.lane(key)?.held()?.rider))
    }

    fn set_free(&mut self, key: Key) {
        let (driver, generation) = driver_of(key);
        self.city.drivers[usize::from(driver)].lanes[usize::from(generation)].state = LaneState::Free;
    }

    /// M7.
    fn ack_after_lapse(&mut self, key: Key, confirm: Id, accept: Id) {
        let (driver, _) = driver_of(key);
        let lapsed = self.city.drivers[usize::from(driver)]
            .rows
            .iter()
            .any(|row| row.accept == accept && row.ended == Some(Outcome::HoldLapsed));
        if lapsed && held(&self.world.book, accept).rider == public(self.world.book.get(confirm).signer()) {
            let Statement::Accept { rider, slot, .. } = self.world.book.get(accept) else { return };
            let ack = self.world.book.number(Statement::Ack { driver: key, rider, slot, confirm });
            self.say(ack);
        }
    }
}

impl World {
    /// The statements that one driver repeats until they are heard (P11.3).
    pub(crate) fn driver_outbox(&self, driver: &Driver) -> Vec<Id> {
        let mut rows = Vec::new();
        for row in &driver.rows {
            match row.ended {
                None if row.confirm == 0 => rows.push(row.accept),
                None => rows.extend(self.said_firm(row)),
                Some(_) if row.queued => rows.extend(self.void_of(row)),
                Some(_) => {}
            }
        }
        rows
    }

    /// Everything a driver has said about an agreement, as STATUS brings it (P8.8).
    pub(crate) fn driver_said(&self, row: &DriverRow) -> Vec<Id> {
        let mut said = vec![row.accept];
        said.extend(self.said_firm(row));
        said.extend(self.void_of(row));
        said
    }

    pub(crate) fn void_of(&self, row: &DriverRow) -> Option<Id> {
        let outcome = row.ended.filter(|_| row.void)?;
        let Statement::Accept { driver, rider, slot, .. } = self.book.get(row.accept) else { return None };
        let void = Statement::Void { driver, rider, slot, accept: row.accept, outcome };
        Some(self.book.number(void))
    }

    fn said_firm(&self, row: &DriverRow) -> Vec<Id> {
        let mut said = Vec::new();
        if let Statement::Accept { driver, rider, slot, .. } = self.book.get(row.accept)
            && row.confirm != 0
        {
            said.push(self.book.number(Statement::Ack { driver, rider, slot, confirm: row.confirm }));
            if row.boarded {
                let boarded = Statement::Boarded { driver, rider, confirm: row.confirm };
                said.push(self.book.number(boarded));
            }
            said.extend(completes(&self.book, row.complete));
        }
        said
    }
}

/// Which of [`DRIVER_STATES`](crate::world::DRIVER_STATES).
fn state_number(state: &LaneState) -> usize {
    match state {
        LaneState::Free => 0,
        LaneState::Held(_) => 1,
        LaneState::Firm { completes, .. } if !completes.is_empty() => 4,
        LaneState::Firm { boarded: true, .. } => 3,
        LaneState::Firm { .. } => 2,
    }
}

/// Which of [`DRIVER_EVENTS`](crate::world::DRIVER_EVENTS).
const fn event_number(event: &DriverEvent) -> usize {
    match event {
        DriverEvent::Request { .. } => 0,
        DriverEvent::Confirm { .. } => 1,
        DriverEvent::Release { .. } => 2,
        DriverEvent::Cosign { .. } => 3,
        DriverEvent::HoldEnded => 4,
        DriverEvent::Cancel => 5,
        DriverEvent::NoShow => 6,
        DriverEvent::Arrived => 7,
        DriverEvent::Boarded => 8,
        DriverEvent::Complete { .. } => 9,
        DriverEvent::EndAlone => 10,
    }
}
