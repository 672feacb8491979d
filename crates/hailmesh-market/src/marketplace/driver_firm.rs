//! From HELD to FIRM and to the end on the driver's side (P6.6 to P6.19), and how
//! transitions of the lane are carried out.

use hailmesh_types::{Duration, PublicKey, StatementId, Timestamp};
use hailmesh_wire::{
    Ack, Attachment, ChainAsk, Confirm, Cosign, Extensions, Frame, FrameContent, Kind, Opening, PickupPlace,
    Purpose, RejectReason, Release, RideState, Verified,
};

use crate::handshake::{DriverEvent, DriverSend, DriverWrite, LaneState};
use crate::journal::{Record, Role, SecretPurpose, SlotRef};

use super::Marketplace;
use super::deal::{Deal, opening_bytes};
use super::exchange::Turn;
use super::timers::Timer;

impl Marketplace {
    /// P6.6 to P6.9.
    pub(super) fn on_confirm(&mut self, now: Timestamp, turn: &mut Turn, confirm: Verified<Confirm>) {
        let body = confirm.body();
        let (rider, to) = (*confirm.signer(), body.to);
        let pickup = turn.attachments.iter().find_map(|attachment| match attachment {
            Attachment::PickupOpening(opening) => Some(opening.clone()),
            _ => None,
        });
        let slot = self.deal_by_accept(&body.accept_id);
        let deal = slot.and_then(|slot| self.deals.get(&slot));
        let sound = deal.is_some_and(|deal| {
            body.agreement_id == deal.bound.agreement
                && body.drop_commit.is_some() == deal.request.body().drop_cell.is_some()
                && body.slot == deal.request.body().rider_slot
                && body.prev.check_rider(body.slot).is_ok()
        });
        let place = pickup.as_ref().and_then(|opening| PickupPlace::from_opening(opening).ok());
        let opened = pickup.as_ref().is_some_and(|opening| Deal::opens(body, Purpose::Pickup, opening));
        let Some(lane) = self.driver.as_mut().and_then(|driver| driver.lane_of(&to)) else {
            return turn.refuse(RejectReason::Unknown);
        };
        let event = DriverEvent::Confirm {
            confirm: confirm.id(),
            accept: body.accept_id,
            rider,
            sound,
            opened: opened && place.is_some(),
        };
        let step = lane.transition(event);
        let ours =
            slot.is_some_and(|slot| self.deals.get(&slot).is_some_and(|deal| deal.counterparty() == rider));
        let witnessed = self.witness.observe_confirm(now, &confirm, ours);
        self.accuse(now, witnessed);
        if let Some(slot) = slot
            && self.deals.get(&slot).is_some_and(|deal| deal.counterparty() == rider)
        {
            self.follow_peer(now, slot, turn.peer);
            match step.writes.as_slice() {
                [DriverWrite::Firm { .. }] => self.firm_driver(now, slot, &confirm, pickup, place),
                [DriverWrite::Contradiction { .. }] => {
                    let record = self.note_theirs(now, slot, &confirm);
                    self.persist(record.into_iter().collect());
                }
                _ => {}
            }
        }
        self.drive_sends(now, turn, to, &step.sends);
    }

    /// P6.6, W2: CONFIRM is in, ACK goes out.
    pub(super) fn firm_driver(
        &mut self,
        now: Timestamp,
        slot: SlotRef,
        confirm: &Verified<Confirm>,
        pickup: Option<Opening>,
        place: Option<PickupPlace>,
    ) {
        let Some(driver) = self.driver.as_ref() else { return };
        let Some(deal) = self.deals.get(&slot) else { return };
        let body = Ack {
            to: deal.counterparty(),
            issued: now,
            agreement_id: deal.bound.agreement,
            confirm_id: confirm.id(),
            lane: 0,
            slot: slot.slot,
            ext: Extensions::NONE,
        };
        let ack = self.sign(&driver.signing, body);
        let ride = deal.bound.ride;
        self.outbox.done_where(&slot, |kind| kind == Kind::Accept);
        let mut records = vec![Record::Firm { slot, at: now }];
        if let Some(deal) = self.deals.get_mut(&slot) {
            deal.heard = now;
            deal.phase = RideState::Firm;
            deal.firm_at = Some(now);
            deal.confirm = Some(confirm.clone());
            records.extend(deal.note(confirm, false));
            records.extend(deal.note(&ack, true));
            records.extend(pickup.map(|opening| deal.keep(SecretPurpose::Pickup, opening_bytes(&opening))));
            if let Some(place) = place {
                deal.addrs = place.addrs;
            }
        }
        let retry = now + self.config.timers.outbox;
        records.extend(self.queue(slot, Kind::Ack, ack.id(), ack.bytes(), retry));
        self.persist(records);
        self.timers.clear(Timer::Hold(slot));
        self.timers.set(Timer::Status(slot), now + self.config.timers.status);
        self.timers.set(Timer::EnRoute(slot), now + Duration::from_secs(1));
        self.begin_sharing(now);
        self.close_invites();
        self.expect_end(now, slot);
        self.set_ride(now, ride, RideState::Firm, None);
    }

    pub(super) fn on_release(&mut self, now: Timestamp, turn: &mut Turn, release: Verified<Release>) {
        let body = release.body();
        let event =
            DriverEvent::Release { release: release.id(), accept: body.accept_id, rider: *release.signer() };
        let slot = self.deal_by_accept(&body.accept_id);
        if let Some(slot) = slot
            && self.deals.get(&slot).is_some_and(|deal| deal.counterparty() == *release.signer())
        {
            self.follow_peer(now, slot, turn.peer);
            self.heard_where(now, &slot, |kind| kind == Kind::Void);
            let record = self.note_theirs(now, slot, &release);
            let contradiction = self.witness.observe_release(now, &release);
            self.accuse(now, contradiction);
            self.drive_with(now, turn, body.to, event, record, None);
        } else {
            self.drive(now, turn, body.to, event);
        }
    }

    pub(super) fn on_cosign(&mut self, now: Timestamp, turn: &mut Turn, cosign: Verified<Cosign>) {
        let body = cosign.body();
        let slot = self.deal_by_accept(&body.accept_id);
        let deal = slot.and_then(|slot| self.deals.get(&slot));
        // P6.17: of those proposed, the COMPLETE that it names.
        let named = deal.and_then(|deal| deal.complete_by_id(&body.complete_id, &*self.signatures));
        let same_total = deal.is_some_and(|deal| deal.bound.agreement == body.agreement_id)
            && named.as_ref().is_some_and(|complete| complete.body().total == body.total);
        let event = DriverEvent::Cosign {
            cosign: cosign.id(),
            accept: body.accept_id,
            complete: body.complete_id,
            rider: *cosign.signer(),
            same_total,
        };
        let party = deal.is_some_and(|deal| deal.counterparty() == *cosign.signer());
        let ours = party && same_total;
        if party {
            let witnessed = self.witness.observe_cosign(now, &cosign);
            self.accuse(now, witnessed);
        }
        let record = match slot {
            Some(slot) if ours => {
                self.follow_peer(now, slot, turn.peer);
                self.heard_where(now, &slot, |kind| kind == Kind::Void);
                if let (Some(deal), Some(named)) = (self.deals.get_mut(&slot), named) {
                    deal.complete = Some(named);
                }
                self.note_theirs(now, slot, &cosign)
            }
            _ => None,
        };
        self.drive_with(now, turn, body.to, event, record, None);
    }

    /// P5.12: shows other steps of the own chain.
    pub(super) fn on_chain_ask(&mut self, now: Timestamp, turn: &mut Turn, ask: &Verified<ChainAsk>) {
        let body = ask.body();
        let known = self.deal_by_accept(&body.accept_id).and_then(|slot| self.deals.get(&slot));
        let party =
            known.is_some_and(|deal| deal.role() == Role::Driver && deal.counterparty() == *ask.signer());
        if !party || !self.statuses.take(ask.signer(), now) {
            return turn.refuse(RejectReason::Unknown);
        }
        let mut frame = Frame::new(FrameContent::None);
        for slot in body.from_slot..=body.to_slot {
            let deal = self.deals.get(&SlotRef { key: body.to, lane: 0, slot });
            if let Some(said) = deal.and_then(|deal| deal.last_said(Kind::Accept, true)) {
                frame = frame.with(Attachment::Statement(said.bytes.to_vec()));
            }
        }
        turn.answer(frame);
    }

    // ---- carrying out transitions ----

    /// Applies an event to the lane of `key` and does what it asks for.
    pub(super) fn drive(&mut self, now: Timestamp, turn: &mut Turn, key: PublicKey, event: DriverEvent) {
        self.drive_with(now, turn, key, event, None, None);
    }

    /// The same, with a record that belongs into the same transaction, and the NO_SHOW
    /// that an end refers to.
    pub(super) fn drive_with(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        key: PublicKey,
        event: DriverEvent,
        record: Option<Record>,
        ending: Option<super::ending::EndingTerms>,
    ) {
        let Some(lane) = self.driver.as_mut().and_then(|driver| driver.lane_of(&key)) else {
            return turn.refuse(RejectReason::Unknown);
        };
        let step = lane.transition(event);
        let mut records: Vec<Record> = record.into_iter().collect();
        for write in &step.writes {
            if let DriverWrite::End { slot, outcome, proof } = *write {
                let slot = SlotRef { key, lane: 0, slot };
                let answered = turn.is_asked();
                let more =
                    self.end_driver_slot(now, slot, outcome, proof, answered, ending.unwrap_or_default());
                records.extend(more);
            }
        }
        if !records.is_empty() {
            self.persist(records);
        }
        // P5.5: an answer that changes nothing is not answered.
        if !(turn.is_answer() && step.writes.is_empty()) {
            self.drive_sends(now, turn, key, &step.sends);
        }
    }

    /// Says what a transition asks for, from what is stored.
    pub(super) fn drive_sends(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        key: PublicKey,
        sends: &[DriverSend],
    ) {
        for send in sends {
            let stored = |market: &Self, slot: u64, kind: Kind| {
                let slot = SlotRef { key, lane: 0, slot };
                let id = market.deals.get(&slot)?.last_said(kind, true)?.id;
                Some((slot, id))
            };
            let found = match *send {
                DriverSend::Accept(slot) => stored(self, slot, Kind::Accept),
                DriverSend::Ack(slot) => stored(self, slot, Kind::Ack),
                DriverSend::Void(slot) => stored(self, slot, Kind::Void),
                DriverSend::NoShow(slot) => stored(self, slot, Kind::NoShow),
                DriverSend::Reject(about, reason) => {
                    self.refuse_signed(now, turn, about, reason);
                    None
                }
                DriverSend::Counter(_) => None,
                DriverSend::WithdrawOffer => {
                    let delay = self.jitter(self.config.timers.withdraw);
                    self.timers.set(Timer::Withdraw, now + delay);
                    None
                }
                DriverSend::Nothing => {
                    turn.nothing();
                    None
                }
            };
            if let Some((slot, id)) = found {
                self.say_stored(now, turn, slot, id);
            }
        }
    }

    pub(super) fn refuse_signed(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        about: StatementId,
        reason: RejectReason,
    ) {
        let (Some(driver), Some(to)) = (self.driver.as_ref(), turn.signer) else { return };
        let (signing, slot) = (driver.signing.clone(), Some(driver.lane.slot));
        // Whoever asks has not heard of the withdrawal. A hold may end soon; what was offered
        // before a ride or the end of a shift is over.
        let is_over = matches!(driver.lane.state, LaneState::Firm { .. }) || !driver.online;
        let retry = if reason == RejectReason::Busy && is_over {
            self.config.timers.offer_ttl
        } else {
            Duration::ZERO
        };
        self.reject_until(now, turn, &signing, to, about, reason, slot, retry);
    }

    /// P14.6: from the centre of one cell to that of the other, rounded up to 30 s.
    pub(super) fn eta(&self, from: hailmesh_types::Cell, to: hailmesh_types::Cell) -> Duration {
        use crate::matching::{Spot, told};
        told(self.travel.drive(Spot::Cell(from), Spot::Cell(to)))
    }
}
