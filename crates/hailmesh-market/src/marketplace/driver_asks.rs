//! REQUESTs that are not answered at once: another fare, a human, a short collection
//! (P5.9, P5.10, P6.22).

use hailmesh_types::{Amount, Timestamp};
use hailmesh_wire::{Counter, Extensions, Frame, FrameContent, RejectReason, Request, RideState, Verified};

use crate::command::{Answer, CommandError};
use crate::handshake::{DriverEvent, Guard};
use crate::journal::{RideId, Role};
use crate::output::Event;
use crate::position::PublishedPosition;

use super::Marketplace;
use super::driver::{Collected, Pending};
use super::exchange::{About, Turn};
use super::timers::Timer;

/// Declined ride keys remembered; a key lives as long as one wanted ride.
const DECLINED_MAX: usize = 64;

impl Marketplace {
    /// P5.10: another fare, at the rider's own limit.
    pub(super) fn counter(&mut self, now: Timestamp, turn: &mut Turn, request: &Verified<Request>) {
        let fare = request.body().max_fare;
        self.say_counter(now, turn, request, fare);
    }

    pub(super) fn say_counter(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        request: &Verified<Request>,
        fare: Amount,
    ) {
        let Some(driver) = self.driver.as_ref() else { return };
        let rider = *request.signer();
        let before = driver.counters.values().filter(|counter| counter.body().to == rider).count();
        let Some(cell) = driver.position.as_ref().and_then(PublishedPosition::cell) else {
            return turn.refuse(RejectReason::Busy);
        };
        let body = Counter {
            to: rider,
            issued: now,
            request_id: request.id(),
            n: u8::try_from(before + 1).unwrap_or(3).min(3),
            fare,
            eta: self.eta(cell, request.body().pickup_cell),
            valid: self.config.timers.counter_valid,
            ext: Extensions::NONE,
        };
        let counter = self.sign(&driver.signing, body);
        let frame = Frame::statement(counter.bytes());
        self.sticky.put(now, request.id(), frame.encode(), &self.config.limits);
        let most = self.config.limits.sticky_answers;
        if let Some(driver) = self.driver.as_mut() {
            let fresh = |counter: &Verified<Counter>| now <= counter.body().issued + counter.body().valid;
            driver.counters.retain(|_, counter| fresh(counter));
            if driver.counters.len() < most {
                driver.counters.insert(counter.id(), counter);
            }
        }
        if let Some(peer) = turn.peer {
            self.say(turn, peer, Vec::new(), frame, About::Once);
        }
    }

    /// P5.9: a human decides.
    pub(super) fn ask_user(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        request: Verified<Request>,
        fare: Amount,
    ) {
        let most = self.config.limits.pending_asks;
        let Some(driver) = self.driver.as_ref() else { return };
        // One no is enough: the phone does not ring again for a ride that was declined.
        let no = if driver.declined.contains(request.signer()) {
            Some(RejectReason::Policy)
        } else {
            (driver.pending.len() >= most).then_some(RejectReason::Busy)
        };
        if let Some(reason) = no {
            let signing = driver.signing.clone();
            let slot = Some(driver.lane.slot);
            return self.reject(now, turn, &signing, *request.signer(), request.id(), reason, slot);
        }
        let Some(peer) = turn.peer else { return };
        let currency = driver.profile.as_ref().map(|profile| profile.tariff.currency);
        let ttl = request.body().ttl;
        let ride = self.new_ride(now, Role::Driver);
        let until = now + ttl;
        if let Some(driver) = self.driver.as_mut() {
            driver.pending.insert(ride, Pending { request, peer });
        }
        self.timers.set(Timer::Pending(ride), until);
        self.notify(Event::Asked {
            ride,
            fare,
            currency: currency.unwrap_or(hailmesh_types::Currency::USD),
            valid_ms: ttl.as_millis(),
        });
        turn.answer(Frame::new(FrameContent::Wait { ms: ttl.as_millis() }));
    }

    pub(super) fn on_pending_overdue(&mut self, now: Timestamp, ride: RideId) {
        let pending = self.driver.as_mut().and_then(|driver| driver.pending.remove(&ride));
        if pending.is_some() {
            self.set_ride(now, ride, RideState::Expired, Some("nobody answered in time"));
        }
    }

    pub(super) fn take_pending(&mut self, ride: RideId) -> Result<Pending, CommandError> {
        let driver = self.driver.as_mut();
        let pending = driver.and_then(|driver| driver.pending.remove(&ride));
        pending.ok_or_else(|| self.wrong_state(ride, &[RideState::Requested]))
    }

    /// The user agrees to a REQUEST that waits (P5.9).
    pub(super) fn accept_request(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        let busy = self.driver.as_ref().is_some_and(|driver| !driver.is_free());
        if busy {
            let live = self.deals.values().find(|deal| deal.ended.is_none()).map(|deal| deal.bound.ride);
            return Err(CommandError::Busy(live.unwrap_or(ride)));
        }
        let pending = self.take_pending(ride)?;
        let (request, peer) = (pending.request.clone(), pending.peer);
        if let Some(driver) = self.driver.as_mut() {
            driver.pending.insert(ride, pending);
        }
        let mut turn = Turn::toward(peer, *request.signer());
        match self.plan(now, &request) {
            Ok(plan) => {
                self.bind_driver(now, &mut turn, &request, plan);
                Ok(Answer::Ride(ride))
            }
            Err(_) => {
                self.timers.clear(Timer::Pending(ride));
                self.take_pending(ride)?;
                self.set_ride(now, ride, RideState::Expired, Some("the request no longer fits the offer"));
                Err(self.wrong_state(ride, &[RideState::Requested]))
            }
        }
    }

    /// The user does not agree.
    pub(super) fn decline_request(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        let pending = self.take_pending(ride)?;
        self.timers.clear(Timer::Pending(ride));
        let Some(driver) = self.driver.as_mut() else { return Err(CommandError::UnknownRide(ride)) };
        let (signing, slot) = (driver.signing.clone(), Some(driver.lane.slot));
        let mut turn = Turn::toward(pending.peer, *pending.request.signer());
        let request = pending.request;
        driver.declined.truncate(DECLINED_MAX - 1);
        driver.declined.push_front(*request.signer());
        self.reject(now, &mut turn, &signing, *request.signer(), request.id(), RejectReason::Policy, slot);
        self.set_ride(now, ride, RideState::Declined, None);
        Ok(Answer::Ride(ride))
    }

    /// The user names another fare.
    pub(super) fn counter_ride(
        &mut self,
        now: Timestamp,
        ride: RideId,
        fare: Amount,
    ) -> Result<Answer, CommandError> {
        let pending = self.take_pending(ride)?;
        self.timers.clear(Timer::Pending(ride));
        let mut turn = Turn::toward(pending.peer, *pending.request.signer());
        self.say_counter(now, &mut turn, &pending.request, fare);
        self.set_ride(now, ride, RideState::Declined, Some("another fare was proposed"));
        Ok(Answer::Ride(ride))
    }

    /// P6.22: waits a little for others.
    pub(super) fn collect(&mut self, now: Timestamp, turn: &mut Turn, request: Verified<Request>) {
        let Some(peer) = turn.peer else { return };
        let most = self.config.limits.pending_asks.max(16);
        let Some(driver) = self.driver.as_mut() else { return };
        if driver.collected.len() >= most {
            return turn.refuse(RejectReason::Busy);
        }
        let exchange = turn.defer();
        driver.collected.push(Collected { exchange, peer, request });
        self.timers.set_by(Timer::Collect, now + self.config.timers.collect);
    }

    /// Answers the REQUEST that is worth most first; the table refuses the others.
    pub(super) fn on_collected(&mut self, now: Timestamp) {
        let Some(driver) = self.driver.as_mut() else { return };
        let collected = std::mem::take(&mut driver.collected);
        let key = driver.key;
        // Equal worth: by the number of the request, which nobody chooses freely.
        let mut ranked: Vec<(i64, Collected)> = collected
            .into_iter()
            .map(|one| (self.worth_of(now, one.request.body().pickup_cell), one))
            .collect();
        ranked.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.request.id().cmp(&b.1.request.id())));
        for (_, one) in ranked {
            let mut turn = match one.exchange {
                Some(exchange) => Turn::resumed(one.peer, exchange),
                None => Turn::toward(one.peer, *one.request.signer()),
            };
            turn.signer = Some(*one.request.signer());
            let (id, rider) = (one.request.id(), *one.request.signer());
            let free = self.driver.as_ref().is_some_and(|driver| driver.is_free());
            match if free { self.plan(now, &one.request) } else { Err(Guard::Refuse(RejectReason::Busy)) } {
                Ok(plan) => self.bind_driver(now, &mut turn, &one.request, plan),
                Err(guard) => {
                    let event = DriverEvent::Request { request: id, rider, guard, accept: id };
                    self.drive(now, &mut turn, key, event);
                }
            }
            self.conclude(turn);
        }
    }
}
