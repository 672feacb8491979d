//! What surrounds the rider's table in the model: what `marketplace/rider*.rs`, `ride.rs`
//! and `ending.rs` do in a node, without anything that binds nobody.

use hailmesh_market::handshake::{RiderEvent, RiderSend, RiderState, RiderWrite};
use hailmesh_wire::Outcome;

use crate::city::{Rider, RiderRow, accept_of};
use crate::mutant::Mutant;
use crate::statement::{Id, Key, Prev, Proof, Statement, Via, number, public, wire_id};
use crate::step::Step;
use crate::world::{EVENTS, STATES, World};

/// What a rider's own timers and user do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RiderOwn {
    /// A ride is wanted.
    Want,
    /// No more.
    Stop,
    /// No ACK and no VOID for T_doubt.
    DoubtEnded,
    /// The user cancels.
    Cancel,
    /// The user claims a no-show.
    NoShow,
    /// The user ends the ride without agreement.
    EndAlone,
}

impl Step<'_> {
    /// A verified statement for a rider's key.
    pub(crate) fn tell_rider(&mut self, id: Id, statement: Statement, choice: u8) {
        let rider = statement.to();
        match statement {
            Statement::Accept { driver, request, .. } => self.on_accept(rider, id, driver, request),
            Statement::Ack { driver, confirm, .. } => {
                let named = match self.world.book.get(confirm) {
                    Statement::Confirm { driver, .. } => driver,
                    _ => driver,
                };
                let driver = if self.world.is(Mutant::AnyAck) { named } else { driver };
                let event = RiderEvent::Ack { confirm: wire_id(confirm), driver: public(driver) };
                self.ride(rider, event, 0);
            }
            Statement::Void { driver, accept, .. } => {
                let event = RiderEvent::Void { accept: wire_id(accept), driver: public(driver) };
                self.ride(rider, event, 0);
            }
            Statement::Counter { driver, request, .. } => {
                let taken = self.take_ask(rider, request, driver) && self.new_business;
                let again = matches!(self.world.book.get(request), Statement::Request { via, .. } if via != Via::Counter);
                if taken && again {
                    self.ask(rider, driver, Via::Counter);
                }
            }
            Statement::Invite { driver, .. } => {
                let shopping = self.chain(rider).state == RiderState::Shopping;
                if shopping && self.new_business {
                    self.ask(rider, driver, Via::Invite);
                }
            }
            Statement::Boarded { driver, confirm, .. } => {
                let Some(row) = self.row_of(rider, confirm, driver) else { return };
                if row.ended.is_none() && row.firm {
                    let accept = wire_id(accept_of(&self.world.book, confirm));
                    self.ride(rider, RiderEvent::Boarded { accept }, 0);
                }
            }
            Statement::Complete { driver, confirm, .. } => {
                self.on_complete(rider, id, driver, confirm, choice)
            }
            _ => {}
        }
    }

    /// Timers and the own user of a rider.
    pub(crate) fn ride_own(&mut self, rider: u8, own: RiderOwn) {
        let event = match own {
            RiderOwn::Want => RiderEvent::Want,
            RiderOwn::Stop => RiderEvent::Stop,
            RiderOwn::DoubtEnded => RiderEvent::DoubtEnded,
            RiderOwn::Cancel => RiderEvent::Cancel,
            RiderOwn::NoShow => RiderEvent::NoShow,
            RiderOwn::EndAlone => RiderEvent::EndAlone,
        };
        let was = self.chain(rider).state.clone();
        self.ride(rider, event, 0);
        let node = &mut self.city.riders[usize::from(rider)];
        if own == RiderOwn::Want && was == RiderState::Idle {
            node.attempts += 1;
            node.asks.clear();
        }
        if own == RiderOwn::Stop {
            node.asks.clear();
        }
    }

    /// P7.1: a REQUEST, one for each driver, reason and search.
    pub(crate) fn ask(&mut self, rider: u8, driver: Key, via: Via) {
        let node = &self.city.riders[usize::from(rider)];
        let slot = u8::try_from(node.chain.slot).expect("few slots");
        let request = Statement::Request { rider, driver, slot, attempt: node.attempts, via };
        let request = self.world.book.number(request);
        if !self.city.is_sent(request) {
            self.say(request);
            let asks = &mut self.city.riders[usize::from(rider)].asks;
            asks.push(request);
            asks.sort_unstable();
        }
    }

    /// A REQUEST is no longer waited for (P7.4).
    pub(crate) fn give_up_ask(&mut self, rider: u8, request: Id) {
        self.city.riders[usize::from(rider)].asks.retain(|ask| *ask != request);
    }

    /// A restart: the chain as the journal tells it, and no search (P11.6).
    pub(crate) fn reload_rider(&mut self, rider: u8) {
        let chain = self.city.riders[usize::from(rider)].chain_of_journal(&self.world.book);
        let node = &mut self.city.riders[usize::from(rider)];
        node.chain = chain;
        node.asks.clear();
    }

    /// The row of a CONFIRM, if it was to this driver.
    fn row_of(&self, rider: u8, confirm: Id, driver: Key) -> Option<RiderRow> {
        let to = match self.world.book.get(confirm) {
            Statement::Confirm { driver, .. } => driver,
            _ => return None,
        };
        let rows = &self.city.riders[usize::from(rider)].rows;
        rows.iter().find(|row| row.confirm == confirm && to == driver).copied()
    }

    fn chain(&self, rider: u8) -> &hailmesh_market::handshake::RiderChain {
        &self.city.riders[usize::from(rider)].chain
    }

    fn take_ask(&mut self, rider: u8, request: Id, driver: Key) -> bool {
        let asked = match self.world.book.get(request) {
            Statement::Request { driver, .. } => driver,
            _ => return false,
        };
        let asks = &mut self.city.riders[usize::from(rider)].asks;
        let before = asks.len();
        asks.retain(|ask| *ask != request || asked != driver);
        before != asks.len()
    }

    /// As `on_accept` and `take_accept` do. What is wrong with a fare or on its face is
    /// turned down there; here nothing is.
    fn on_accept(&mut self, rider: u8, id: Id, driver: Key, request: Id) {
        let asked = self.take_ask(rider, request, driver);
        let chain = self.chain(rider);
        let shopping = chain.state == RiderState::Shopping;
        let forgets = self.world.is(Mutant::ConfirmReleased) && chain.released.contains(&wire_id(id));
        let chosen = shopping && (asked || forgets);
        let confirm = if chosen {
            let slot = u8::try_from(chain.slot).expect("few slots");
            let prev = self.rider_prev(rider, slot);
            let nth = self.confirms_signed(rider, slot);
            self.world.book.number(Statement::Confirm { rider, driver, slot, accept: id, prev, nth })
        } else {
            id
        };
        if forgets {
            self.city.riders[usize::from(rider)].chain.released.remove(&wire_id(id));
        }
        let event = RiderEvent::Accept {
            accept: wire_id(id),
            driver: public(driver),
            chosen,
            confirm: wire_id(confirm),
        };
        self.ride(rider, event, 0);
        if self.chain(rider).binding().is_some() {
            // The search is paused; a later one begins anew (`search_again`).
            self.city.riders[usize::from(rider)].asks.clear();
        }
    }

    /// As `on_complete` of a node does. `choice` 1: the user does not agree.
    fn on_complete(&mut self, rider: u8, id: Id, driver: Key, confirm: Id, choice: u8) {
        let Some(row) = self.row_of(rider, confirm, driver) else { return };
        let accept = wire_id(accept_of(&self.world.book, confirm));
        let driver = public(driver);
        if row.ended.is_some() {
            return self.ride(rider, RiderEvent::Complete { accept, driver, agreed: false }, id);
        }
        if !row.firm {
            return;
        }
        if !row.boarded {
            // It shows the boarding secret.
            self.ride(rider, RiderEvent::Boarded { accept }, 0);
        }
        self.ride(rider, RiderEvent::Complete { accept, driver, agreed: choice == 0 }, id);
    }

    /// Applies an event to the chain, makes durable what it asks for and then sends.
    /// `complete`: the COMPLETE that a COSIGN would name.
    fn ride(&mut self, rider: u8, event: RiderEvent, complete: Id) {
        let chain = &mut self.city.riders[usize::from(rider)].chain;
        let pair = (STATES + state_number(&chain.state)) * EVENTS + event_number(&event);
        self.world.coverage.note(pair);
        let step = chain.transition(event);
        for write in &step.writes {
            self.persist_rider(rider, write, &event, complete);
        }
        for send in &step.sends {
            let row = |slot: u64| {
                let rows = &self.city.riders[usize::from(rider)].rows;
                rows.iter().find(|row| u64::from(row.slot) == slot).copied()
            };
            let said = match *send {
                RiderSend::Confirm(slot) => row(slot).map(|row| row.confirm),
                RiderSend::End(slot) => row(slot).map(|row| row.end).filter(|end| *end != 0),
                RiderSend::NotChosen(accept, driver) => Some(self.world.book.number(Statement::Release {
                    rider,
                    driver: crate::statement::key_of(&driver),
                    accept: number(&accept),
                    slot: None,
                    outcome: Outcome::NotChosen,
                })),
                // Bind nobody and change nothing that the model has.
                RiderSend::NoShow(_)
                | RiderSend::Dispute(_)
                | RiderSend::WithdrawOffer
                | RiderSend::Nothing => None,
            };
            if let Some(said) = said {
                self.say(said);
            }
        }
    }

    fn persist_rider(&mut self, rider: u8, write: &RiderWrite, event: &RiderEvent, complete: Id) {
        self.wrote = true;
        let book = &self.world.book;
        let no_release = self.world.is(Mutant::NoRelease) && *event == RiderEvent::DoubtEnded;
        let rows = &mut self.city.riders[usize::from(rider)].rows;
        let last = rows.last_mut();
        match (*write, last) {
            (RiderWrite::Bind { slot, binding }, _) => rows.push(RiderRow {
                slot: u8::try_from(slot).expect("few slots"),
                confirm: number(&binding.confirm),
                firm: false,
                boarded: false,
                ended: None,
                end: 0,
            }),
            (RiderWrite::Firm { .. }, Some(row)) => row.firm = true,
            (RiderWrite::Ride { .. }, Some(row)) => {
                row.boarded |= matches!(event, RiderEvent::Boarded { .. });
            }
            (RiderWrite::End { outcome, .. }, Some(row)) => {
                row.ended = Some(outcome);
                let Statement::Confirm { driver, slot, accept, .. } = book.get(row.confirm) else { return };
                let end = if outcome == Outcome::Completed {
                    Statement::Cosign { rider, driver, slot, accept, complete }
                } else {
                    Statement::Release { rider, driver, accept, slot: Some(slot), outcome }
                };
                row.end = if no_release { 0 } else { book.number(end) };
            }
            (_, None) => {}
        }
    }

    fn rider_prev(&self, rider: u8, slot: u8) -> Prev {
        let Some(before) = slot.checked_sub(1) else { return Prev::FIRST };
        let past = &self.chain(rider).past[&u64::from(before)];
        Prev { outcome: past.outcome, accept: number(&past.binding.accept), proof: Proof::None }
    }

    fn confirms_signed(&self, key: Key, wanted: u8) -> u8 {
        let sent = self.world.book.all(&self.city.net).into_iter();
        let is_one = |statement: Statement| matches!(statement, Statement::Confirm { rider, slot, .. } if rider == key && slot == wanted);
        let of_net = sent.filter(|(_, statement)| is_one(*statement)).map(|(id, _)| id);
        let rows = &self.city.riders[usize::from(key)].rows;
        let stored = rows.iter().filter(|row| row.slot == wanted).map(|row| row.confirm);
        let mut all: Vec<Id> = of_net.chain(stored).collect();
        all.sort_unstable();
        all.dedup();
        u8::try_from(all.len()).expect("few of them")
    }
}

impl World {
    /// The statements that one rider repeats until they are heard (P11.3).
    pub(crate) fn rider_outbox(&self, rider: &Rider) -> Vec<Id> {
        let mut rows = Vec::new();
        for row in &rider.rows {
            match row.ended {
                None if !row.firm => rows.push(row.confirm),
                None => {}
                Some(_) if row.end != 0 => rows.push(row.end),
                Some(_) => {}
            }
        }
        rows
    }
}

/// Which of [`RIDER_STATES`](crate::world::RIDER_STATES).
const fn state_number(state: &RiderState) -> usize {
    match state {
        RiderState::Idle => 0,
        RiderState::Shopping => 1,
        RiderState::Committed(_) => 2,
        RiderState::Firm { boarded: false, .. } => 3,
        RiderState::Firm { .. } => 4,
    }
}

/// Which of [`RIDER_EVENTS`](crate::world::RIDER_EVENTS).
const fn event_number(event: &RiderEvent) -> usize {
    match event {
        RiderEvent::Want => 0,
        RiderEvent::Stop => 1,
        RiderEvent::Accept { .. } => 2,
        RiderEvent::Ack { .. } => 3,
        RiderEvent::Void { .. } => 4,
        RiderEvent::DoubtEnded => 5,
        RiderEvent::Cancel => 6,
        RiderEvent::NoShow => 7,
        RiderEvent::Boarded { .. } => 8,
        RiderEvent::Complete { .. } => 9,
        RiderEvent::EndAlone => 10,
    }
}
