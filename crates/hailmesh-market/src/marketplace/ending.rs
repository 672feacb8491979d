//! How bound slots end, on both sides (W3, W6, W8), and what cancelling costs (P9.5).

use hailmesh_types::{Amount, Duration, StatementId, Timestamp};
use hailmesh_wire::LATE_GRACE;
use hailmesh_wire::{
    Cosign, EndReason, Extensions, Kind, NoShow, Outcome, Release, RideState, Verified, Void, cancel_fee,
    tariff_of,
};

use crate::command::{Answer, CommandError};
use crate::handshake::{DriverEvent, RiderEvent, RiderSend, RiderWrite};
use crate::journal::{Record, RideId, Role, SlotRef};

use super::Marketplace;
use super::deal::Ending;
use super::driver::Lapse;
use super::exchange::Turn;
use super::timers::Timer;

/// Lapses remembered; more than this many in ten minutes change nothing further.
const LAPSES_MAX: usize = 1_024;

/// Why a slot ends, as its end statement says it.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndingTerms {
    pub(super) reason: EndReason,
    pub(super) fee: Amount,
    pub(super) ref_id: Option<StatementId>,
}

impl Default for EndingTerms {
    fn default() -> Self {
        Self { reason: EndReason::User, fee: Amount::ZERO, ref_id: None }
    }
}

impl Marketplace {
    /// Ends a driver's slot: signs the VOID, unless both signed the end, and gives the
    /// records for one transaction.
    pub(super) fn end_driver_slot(
        &mut self,
        now: Timestamp,
        slot: SlotRef,
        outcome: Outcome,
        proof: Option<StatementId>,
        answered: bool,
        terms: EndingTerms,
    ) -> Vec<Record> {
        let Some(driver) = self.driver.as_ref() else { return Vec::new() };
        let Some(deal) = self.deals.get(&slot) else { return Vec::new() };
        let firm = deal.firm_at.is_some();
        let released = deal.last_said(Kind::Release, false).is_some();
        let boarded = outcome == Outcome::CompletedUnilateral;
        let ref_id = terms
            .ref_id
            .or(proof)
            .or_else(|| deal.complete.as_ref().filter(|_| boarded).map(|complete| complete.id()));
        let void = (outcome != Outcome::Completed).then(|| {
            let body = Void {
                to: deal.counterparty(),
                issued: now,
                accept_id: deal.bound.accept,
                agreement_id: firm.then_some(deal.bound.agreement),
                lane: 0,
                slot: slot.slot,
                outcome,
                reason: terms.reason,
                fee: terms.fee,
                ref_id,
                board_secret: deal.boarding_secret().filter(|_| boarded),
                ext: Extensions::NONE,
            };
            self.sign(&driver.signing, body)
        });
        if outcome == Outcome::HoldLapsed {
            self.note_lapse(now, slot);
        }
        self.outbox.done_where(&slot, |kind| kind != Kind::NoShow);
        let mut records = Vec::new();
        if let Some(void) = &void {
            records.extend(self.deals.get_mut(&slot).and_then(|deal| deal.note(void, true)));
            // P5.5: only who is firm relies on hearing it. Whoever is not yet, or has signed
            // an end of its own, repeats that until it is answered, with this.
            if firm && !released && !answered {
                records.extend(self.queue(slot, Kind::Void, void.id(), void.bytes(), now));
            }
        }
        records.push(self.close_deal(now, slot, outcome, proof));
        if self.driver.as_ref().is_some_and(|driver| driver.key == slot.key) {
            self.slot_opened(now, firm);
        }
        records
    }

    fn note_lapse(&mut self, now: Timestamp, slot: SlotRef) {
        let Some(deal) = self.deals.get(&slot) else { return };
        let request = deal.request.clone();
        let held_ms = deal.accept.body().hold.as_millis();
        let body = request.body();
        let standing = self.admission.verify_certificates(
            now,
            request.signer(),
            Role::Rider,
            body.issued,
            body.cert_id,
            &body.certs,
        );
        let identity = standing.as_ref().ok().and_then(|standing| standing.identity);
        let credentialed = standing.is_ok_and(|standing| standing.level >= crate::certificates::Level::L2);
        if let Some(driver) = self.driver.as_mut() {
            driver.lapses.push_back(Lapse { at: now, held_ms, identity, credentialed });
            if driver.lapses.len() > LAPSES_MAX {
                driver.lapses.pop_front();
            }
        }
    }

    /// Marks a deal as ended, in memory and for the user.
    pub(super) fn close_deal(
        &mut self,
        now: Timestamp,
        slot: SlotRef,
        outcome: Outcome,
        proof: Option<StatementId>,
    ) -> Record {
        let shown = outcome.shown_as().unwrap_or(RideState::Void);
        for timer in [
            Timer::Hold(slot),
            Timer::Doubt(slot),
            Timer::Status(slot),
            Timer::Cosign(slot),
            Timer::EnRoute(slot),
        ] {
            self.timers.clear(timer);
        }
        self.end_sharing(&slot);
        if let Some(deal) = self.deals.get(&slot) {
            let key = deal.counterparty();
            self.book.unpin(&key);
            // P16.4: this node itself holds a co-signed receipt with the identity.
            if outcome == Outcome::Completed {
                let identity =
                    self.book.driver(&key).and_then(|booked| booked.identity().copied()).unwrap_or(key);
                self.admission.remember(&identity, crate::certificates::Level::L1);
            }
        }
        let ride = self.deals.get_mut(&slot).map(|deal| {
            deal.ended = Some(Ending { outcome, shown, proof, at: now });
            (deal.bound.ride, deal.role())
        });
        if let Some((ride, Role::Driver)) = ride {
            self.set_ride(now, ride, shown, None);
        }
        Record::Ended { slot, outcome, shown, proof, at: now }
    }

    /// Applies an event to the chain of a rider's slot and does what it asks for.
    pub(super) fn ride_on(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        slot: SlotRef,
        event: RiderEvent,
        record: Option<Record>,
        terms: EndingTerms,
    ) {
        let Some(chain) = self.rider.as_mut().and_then(|rider| rider.chains.get_mut(&slot.key)) else {
            return;
        };
        let was_firm = self.deals.get(&slot).is_some_and(|deal| deal.firm_at.is_some());
        let step = chain.chain.transition(event);
        let mut records: Vec<Record> = record.into_iter().collect();
        let mut ended = None;
        for write in &step.writes {
            if let RiderWrite::End { slot: number, outcome } = *write {
                let slot = SlotRef { slot: number, ..slot };
                records.extend(self.end_rider_slot(now, slot, outcome, turn.is_asked(), terms));
                ended = Some((slot, outcome));
            }
        }
        if !records.is_empty() {
            self.persist(records);
        }
        // P5.5: without a change, the stored end would be answered by the other side's
        // stored end, and that by ours, for ever.
        if !(turn.is_answer() && step.writes.is_empty()) {
            self.ride_sends(now, turn, slot, &step.sends);
        }
        if let Some((slot, outcome)) = ended {
            self.after_rider_end(now, slot, outcome, was_firm);
        }
    }

    fn end_rider_slot(
        &mut self,
        now: Timestamp,
        slot: SlotRef,
        outcome: Outcome,
        answered: bool,
        terms: EndingTerms,
    ) -> Vec<Record> {
        let Some(chain) = self.rider.as_ref().and_then(|rider| rider.chains.get(&slot.key)) else {
            return Vec::new();
        };
        let Some(deal) = self.deals.get(&slot) else { return Vec::new() };
        let to = deal.counterparty();
        let (kind, id, bytes) = match (outcome, deal.complete.as_ref()) {
            (Outcome::Completed, Some(complete)) => {
                let body = Cosign {
                    to,
                    issued: now,
                    agreement_id: deal.bound.agreement,
                    accept_id: deal.bound.accept,
                    complete_id: complete.id(),
                    slot: slot.slot,
                    total: complete.body().total,
                    ext: Extensions::NONE,
                };
                let cosign = self.sign(&chain.signing, body);
                (Kind::Cosign, cosign.id(), cosign.bytes().clone())
            }
            _ => {
                let body = Release {
                    to,
                    issued: now,
                    accept_id: deal.bound.accept,
                    agreement_id: Some(deal.bound.agreement),
                    slot: Some(slot.slot),
                    outcome,
                    reason: terms.reason,
                    fee: terms.fee,
                    ref_id: terms.ref_id,
                    ext: Extensions::NONE,
                };
                let release = self.sign(&chain.signing, body);
                (Kind::Release, release.id(), release.bytes().clone())
            }
        };
        self.outbox.done_where(&slot, |kind| kind != Kind::NoShow);
        let mut records = Vec::new();
        records.extend(self.deals.get_mut(&slot).and_then(|deal| deal.note_bytes(kind, id, true, &bytes)));
        // Also when it goes as an answer: one that is lost with this process could not be
        // asked for again, since a rider that comes back has another transport identity.
        let due = if answered { now + self.config.timers.outbox } else { now };
        records.extend(self.queue(slot, kind, id, &bytes, due));
        records.push(self.close_deal(now, slot, outcome, None));
        records
    }

    /// Says what a rider's transition asks for, from what is stored.
    pub(super) fn ride_sends(&mut self, now: Timestamp, turn: &mut Turn, slot: SlotRef, sends: &[RiderSend]) {
        for send in sends {
            let at = |number: u64| SlotRef { slot: number, ..slot };
            let found = match *send {
                RiderSend::Confirm(number) => self.stored(at(number), Kind::Confirm),
                RiderSend::End(number) => {
                    let slot = at(number);
                    let end = self.deals.get(&slot).and_then(|deal| deal.own_end());
                    end.map(|said| (slot, said.id))
                }
                RiderSend::NoShow(number) => self.stored(at(number), Kind::NoShow),
                RiderSend::Dispute(number) => self.stored(at(number), Kind::Dispute),
                RiderSend::NotChosen(accept, driver) => {
                    self.say_not_chosen(now, turn, slot, accept, driver);
                    None
                }
                RiderSend::WithdrawOffer => {
                    self.withdraw_rider_offer(now);
                    None
                }
                RiderSend::Nothing => {
                    turn.nothing();
                    None
                }
            };
            if let Some((slot, id)) = found {
                self.say_stored(now, turn, slot, id);
            }
        }
    }

    fn stored(&self, slot: SlotRef, kind: Kind) -> Option<(SlotRef, StatementId)> {
        let id = self.deals.get(&slot)?.last_said(kind, true)?.id;
        Some((slot, id))
    }

    /// What becomes of the ride when its slot has ended: over, or looked for again.
    fn after_rider_end(&mut self, now: Timestamp, slot: SlotRef, outcome: Outcome, was_firm: bool) {
        let Some(deal) = self.deals.get(&slot) else { return };
        let ride = deal.bound.ride;
        let void = deal.last_said(Kind::Void, false);
        let void: Option<Verified<Void>> =
            void.and_then(|said| Verified::from_own_journal(said.bytes.clone(), &*self.signatures).ok());
        let reason = match outcome {
            Outcome::NoAck => Some("the driver did not acknowledge in time"),
            Outcome::CounterpartyVoid => void.map(|void| match void.body().outcome {
                Outcome::HoldLapsed => "the driver's hold had run out",
                Outcome::DriverCancelled => "the driver cancelled",
                Outcome::NoShowClaimed => "the driver says that nobody came",
                Outcome::CompletedUnilateral => "the driver ended the ride alone",
                _ => "the driver let go",
            }),
            _ => None,
        };
        let again = matches!(outcome, Outcome::NoAck | Outcome::CounterpartyVoid) && !was_firm;
        if again && self.search_again(now, ride, deal_driver(self, slot)) {
            self.set_ride(now, ride, RideState::Requested, reason);
            return;
        }
        let shown = outcome.shown_as().unwrap_or(RideState::Void);
        self.drop_search(now, ride);
        self.set_ride(now, ride, shown, reason);
    }

    // ---- the user's own ends ----

    /// P6.14, P7.6, P7.12: ends a ride before boarding, or a search.
    pub(super) fn cancel_ride(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        let entry = self.rides.get(&ride).ok_or(CommandError::UnknownRide(ride))?;
        let allowed = [
            RideState::Requested,
            RideState::Held,
            RideState::Committed,
            RideState::Firm,
            RideState::EnRoute,
            RideState::Arrived,
        ];
        if !allowed.contains(&entry.state) {
            return Err(self.wrong_state(ride, &allowed));
        }
        let role = entry.role;
        let live = entry.slot.filter(|slot| self.deals.get(slot).is_some_and(|deal| deal.ended.is_none()));
        match (role, live) {
            (Role::Driver, None) => return self.decline_request(now, ride),
            (Role::Rider, None) => self.stop_search(now, RideState::Cancelled, None),
            (Role::Driver, Some(slot)) => {
                self.drive(now, &mut Turn::own(), slot.key, DriverEvent::Cancel);
            }
            (Role::Rider, Some(slot)) => {
                let fee = self.fee_to_cancel(now, slot);
                let terms = EndingTerms { fee, ..EndingTerms::default() };
                self.ride_on(now, &mut Turn::own(), slot, RiderEvent::Cancel, None, terms);
            }
        }
        Ok(Answer::Ride(ride))
    }

    /// P9.5: what it costs this side to cancel now.
    pub(super) fn fee_to_cancel(&self, now: Timestamp, slot: SlotRef) -> Amount {
        let Some(deal) = self.deals.get(&slot) else { return Amount::ZERO };
        let Some(tariff) = tariff_of(deal.offer.body()) else { return Amount::ZERO };
        let by = match deal.role() {
            Role::Driver => hailmesh_wire::Role::Driver,
            Role::Rider => hailmesh_wire::Role::Rider,
        };
        let since_ack = deal.firm_at.map_or(Duration::ZERO, |at| Duration::between(at, now));
        let late = deal.arrived_at.is_none() && now > deal.accept.body().pickup_by + LATE_GRACE;
        cancel_fee(tariff, by, deal.phase, since_ack, late).unwrap_or(Amount::ZERO)
    }

    /// P6.15, P7.18: claims that the other side did not come.
    pub(super) fn claim_no_show(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        let slot = self.deal_of(ride, None)?;
        let Some(deal) = self.deals.get(&slot) else { return Err(CommandError::UnknownRide(ride)) };
        let role = deal.role();
        let timers = self.config.timers;
        let tariff = deal.offer.body().live.as_ref().map(|terms| terms.tariff);
        let (since, wait, allowed) = match role {
            Role::Driver => {
                let free = tariff.map_or(Duration::ZERO, |tariff| tariff.wait_free);
                (deal.arrived_at, timers.no_show_wait.max(free), vec![RideState::Arrived])
            }
            Role::Rider => {
                let since = deal.arrived_at.is_none().then_some(deal.accept.body().pickup_by);
                (since, timers.no_show_late, vec![RideState::Firm, RideState::EnRoute])
            }
        };
        let (true, Some(since)) = (deal.is_firm() && !deal.is_boarded(), since) else {
            return Err(self.wrong_state(ride, &allowed));
        };
        let possible = since + wait;
        if now < possible {
            return Err(CommandError::TooEarly(possible.millis_since(now).div_ceil(1_000)));
        }
        let fee = match (role, tariff) {
            (Role::Driver, Some(tariff)) => Amount::from_minor(tariff.no_show_fee.into()).unwrap_or_default(),
            _ => Amount::ZERO,
        };
        // P9.7: a STATUS of the other side that names ARRIVED raises the grade.
        let heard = deal.last_said(Kind::Status, false).map(|said| said.bytes.to_vec());
        let body = NoShow {
            to: deal.counterparty(),
            issued: now,
            agreement_id: deal.bound.agreement,
            arrived_id: deal.last_said(Kind::Arrived, true).map(|said| said.id),
            waited: Duration::between(since, now),
            fee,
            heard: heard.filter(|bytes| bytes.len() <= 400),
            ext: Extensions::NONE,
        };
        let Some(signing) = self.signing_for(&slot.key) else { return Err(CommandError::UnknownRide(ride)) };
        let no_show = self.sign(&signing, body);
        let id = no_show.id();
        let mut records: Vec<Record> = Vec::new();
        records.extend(self.deals.get_mut(&slot).and_then(|deal| deal.note(&no_show, true)));
        records.extend(self.queue(slot, Kind::NoShow, id, no_show.bytes(), now));
        self.persist(records);
        let terms = EndingTerms { reason: EndReason::Late, fee, ref_id: Some(id) };
        match role {
            Role::Driver => {
                self.drive_with(now, &mut Turn::own(), slot.key, DriverEvent::NoShow, None, Some(terms));
            }
            Role::Rider => self.ride_on(now, &mut Turn::own(), slot, RiderEvent::NoShow, None, terms),
        }
        Ok(Answer::Ride(ride))
    }

    /// P6.18, P7.17: ends a ride after boarding without the other's signature.
    pub(super) fn end_alone(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        let slot = self.deal_of(ride, None)?;
        let deal = self.deals.get(&slot);
        let proposed = deal.is_some_and(|deal| deal.complete.is_some());
        match deal.map(|deal| (deal.role(), deal.is_boarded() && deal.ended.is_none())) {
            Some((Role::Driver, true)) if proposed => {
                self.drive(now, &mut Turn::own(), slot.key, DriverEvent::EndAlone);
            }
            Some((Role::Rider, true)) => {
                let terms = EndingTerms { reason: EndReason::FareDispute, ..EndingTerms::default() };
                self.ride_on(now, &mut Turn::own(), slot, RiderEvent::EndAlone, None, terms);
            }
            _ => return Err(self.wrong_state(ride, &[RideState::InProgress])),
        }
        Ok(Answer::Ride(ride))
    }

    pub(super) fn on_hold_ended(&mut self, now: Timestamp, slot: SlotRef) {
        let current = self.driver.as_ref().is_some_and(|driver| driver.slot_ref(driver.lane.slot) == slot);
        if current {
            self.drive(now, &mut Turn::own(), slot.key, DriverEvent::HoldEnded);
        }
    }

    pub(super) fn on_doubt_ended(&mut self, now: Timestamp, slot: SlotRef) {
        let terms = EndingTerms { reason: EndReason::Unreachable, ..EndingTerms::default() };
        self.ride_on(now, &mut Turn::own(), slot, RiderEvent::DoubtEnded, None, terms);
    }

    pub(super) fn on_cosign_overdue(&mut self, now: Timestamp, slot: SlotRef) {
        self.drive(now, &mut Turn::own(), slot.key, DriverEvent::EndAlone);
    }
}

fn deal_driver(market: &Marketplace, slot: SlotRef) -> Option<hailmesh_types::PublicKey> {
    market.deals.get(&slot).map(|deal| deal.counterparty())
}
