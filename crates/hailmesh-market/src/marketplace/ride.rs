//! The ride after FIRM (P8, P9): its phases inform, they neither bind nor free a slot.

use hailmesh_types::{AgreementId, Amount, Cell, Duration, Resolution, Text, Timestamp};
use hailmesh_wire::{
    Arrived, Attachment, BoardAsk, Boarded, Body, Complete, Dispute, EnRoute, Extensions, Figures, Frame,
    FrameContent, Kind, Rating, RejectReason, RideState, Verified, check_complete, final_fare, tariff_of,
};
use subtle::ConstantTimeEq;

use crate::command::{Answer, CommandError, Completion};
use crate::handshake::{DriverEvent, RiderEvent};
use crate::journal::{Record, RideId, Role, SecretPurpose, SlotRef};
use crate::matching::Spot;
use crate::output::Event;

use super::Marketplace;
use super::deal::Deal;
use super::ending::EndingTerms;
use super::exchange::{About, Turn};
use super::timers::Timer;

/// Least time between two EN_ROUTE (P8.2).
const EN_ROUTE_EVERY_MS: u64 = 30_000;
/// Longest ride that a COMPLETE states by itself.
const RIDE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// The alphabet of the boarding secret as text (Crockford base 32).
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Marketplace {
    /// The live, firm deal of a ride of ours, in one of these phases.
    fn firm_deal(&self, ride: RideId, role: Role, phases: &[RideState]) -> Result<SlotRef, CommandError> {
        let slot = self.deal_of(ride, Some(role)).map_err(|error| match error {
            CommandError::WrongState { .. } => self.wrong_state(ride, phases),
            other => other,
        })?;
        match self.deals.get(&slot) {
            Some(deal) if deal.is_firm() && phases.contains(&deal.phase) => Ok(slot),
            _ => Err(self.wrong_state(ride, phases)),
        }
    }

    /// Signs a statement of ours about a deal, keeps it, and sends it until it is heard.
    fn state<T: Body>(
        &mut self,
        now: Timestamp,
        slot: SlotRef,
        body: T,
        mut more: Vec<Record>,
    ) -> Option<Verified<T>> {
        let signing = self.signing_for(&slot.key)?;
        let statement = self.sign(&signing, body);
        let mut records: Vec<Record> = Vec::new();
        records.extend(self.deals.get_mut(&slot).and_then(|deal| deal.note(&statement, true)));
        records.append(&mut more);
        records.extend(self.queue(slot, T::KIND, statement.id(), statement.bytes(), now));
        self.persist(records);
        self.say_stored(now, &mut Turn::own(), slot, statement.id());
        Some(statement)
    }

    fn progress(&mut self, now: Timestamp, slot: SlotRef, phase: RideState) -> Option<Record> {
        let deal = self.deals.get_mut(&slot)?;
        deal.phase = phase;
        Some(Record::Progress { slot, phase, wrong_codes: deal.wrong_codes, at: now })
    }

    // ---- the driver's part ----

    /// P8.2: on the way.
    pub(super) fn set_out(
        &mut self,
        now: Timestamp,
        ride: RideId,
        eta: Duration,
    ) -> Result<Answer, CommandError> {
        let slot = self.firm_deal(ride, Role::Driver, &[RideState::Firm, RideState::EnRoute])?;
        self.say_en_route(now, slot, eta);
        Ok(Answer::Ride(ride))
    }

    pub(super) fn on_en_route_due(&mut self, now: Timestamp, slot: SlotRef) {
        let Some(deal) = self.deals.get(&slot).filter(|deal| deal.is_firm()) else { return };
        if deal.phase == RideState::Firm {
            // Both places are known exactly now, which the ACCEPT guessed from cells.
            let here = self.driver.as_ref().and_then(|driver| driver.position.as_ref()?.position());
            let drive = here
                .zip(deal.pickup())
                .map(|(here, pickup)| self.travel.drive(Spot::Point(here), Spot::Point(pickup.point)));
            let eta = drive.or(deal.eta).unwrap_or_default();
            self.say_en_route(now, slot, eta);
        }
    }

    fn say_en_route(&mut self, now: Timestamp, slot: SlotRef, eta: Duration) {
        let most = usize::from(self.config.limits.en_route);
        let Some(deal) = self.deals.get_mut(&slot) else { return };
        let said = deal.own_said().filter(|said| said.kind == Kind::EnRoute).count();
        let recent = deal.en_route_at.is_some_and(|at| now.millis_since(at) < EN_ROUTE_EVERY_MS);
        if said >= most || recent {
            return;
        }
        deal.en_route_at = Some(now);
        deal.eta = Some(eta);
        let (ride, to, agreement_id) = (deal.bound.ride, deal.counterparty(), deal.bound.agreement);
        let progress = self.progress(now, slot, RideState::EnRoute);
        let body = EnRoute { to, issued: now, agreement_id, eta, ext: Extensions::NONE };
        self.state(now, slot, body, progress.into_iter().collect());
        self.timers.clear(Timer::EnRoute(slot));
        self.set_ride(now, ride, RideState::EnRoute, None);
    }

    /// P8.3: at the pickup.
    pub(super) fn arrive(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        let slot = self.firm_deal(ride, Role::Driver, &[RideState::Firm, RideState::EnRoute])?;
        let here = self.driver.as_ref().and_then(|driver| driver.position.as_ref()?.position());
        let Some(deal) = self.deals.get_mut(&slot) else { return Err(CommandError::UnknownRide(ride)) };
        let place = here.or_else(|| deal.pickup().map(|place| place.point));
        let cell = place.map_or(deal.request.body().pickup_cell, |point| Cell::at(point, Resolution::PICKUP));
        let (to, agreement_id) = (deal.counterparty(), deal.bound.agreement);
        deal.arrived_at = Some(now);
        self.timers.clear(Timer::EnRoute(slot));
        let progress = self.progress(now, slot, RideState::Arrived);
        let body = Arrived { to, issued: now, agreement_id, cell, ext: Extensions::NONE };
        self.state(now, slot, body, progress.into_iter().collect());
        self.drive(now, &mut Turn::own(), slot.key, DriverEvent::Arrived);
        self.set_ride(now, ride, RideState::Arrived, None);
        Ok(Answer::Ride(ride))
    }

    /// P8.6: six digits ask the rider's node for the secret, 26 characters are it.
    pub(super) fn board(&mut self, now: Timestamp, ride: RideId, code: &str) -> Result<Answer, CommandError> {
        let phases = [RideState::Firm, RideState::EnRoute, RideState::Arrived];
        let slot = self.firm_deal(ride, Role::Driver, &phases)?;
        let text: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        if let Some(secret) = read_crockford(&text) {
            return if self.boarded(now, slot, secret) {
                Ok(Answer::Ride(ride))
            } else {
                Err(CommandError::Boarding("these 26 characters are not the secret of this ride"))
            };
        }
        let digits: Option<[u8; 6]> = text.as_bytes().try_into().ok();
        let Some(code) = digits.filter(|digits| digits.iter().all(u8::is_ascii_digit)) else {
            return Err(CommandError::BadValue {
                what: "boarding code",
                value: format!("of {} characters", text.len()),
                expected: "the six digits that the rider says, or the 26 characters of the QR code",
            });
        };
        let Some(deal) = self.deals.get(&slot) else { return Err(CommandError::UnknownRide(ride)) };
        let body = BoardAsk {
            to: deal.counterparty(),
            issued: now,
            agreement_id: deal.bound.agreement,
            code,
            ext: Extensions::NONE,
        };
        let (peer, addrs) = (deal.peer(), deal.addrs.clone());
        let Some(signing) = self.signing_for(&slot.key) else { return Err(CommandError::UnknownRide(ride)) };
        let ask = self.sign(&signing, body);
        self.say(&mut Turn::own(), peer, addrs, Frame::statement(ask.bytes()), About::Board(slot));
        Ok(Answer::Ride(ride))
    }

    /// The rider's node gave the secret for the code.
    pub(super) fn on_board_answer(&mut self, now: Timestamp, slot: SlotRef, turn: &Turn) {
        let secret = turn.attachments.iter().find_map(|attachment| match attachment {
            Attachment::BoardingSecret(secret) => Some(*secret),
            _ => None,
        });
        match secret {
            Some(secret) if self.boarded(now, slot, secret) => self.take_opening(slot, turn),
            _ => self.on_boarding_refused(slot, "the rider's node did not give the secret"),
        }
    }

    pub(super) fn on_boarding_refused(&mut self, slot: SlotRef, reason: &'static str) {
        if let Some(ride) = self.deals.get(&slot).map(|deal| deal.bound.ride) {
            self.notify(Event::BoardingRefused { ride, reason });
        }
    }

    /// P8.4: the secret shows that the parties met. Says whether it was the right one.
    fn boarded(&mut self, now: Timestamp, slot: SlotRef, secret: [u8; 16]) -> bool {
        let Some(deal) = self.deals.get_mut(&slot).filter(|deal| deal.is_firm()) else { return false };
        if !deal.board_hash().is_some_and(|hash| super::rider::opens_board(&secret, hash)) {
            return false;
        }
        if deal.is_boarded() {
            return true;
        }
        deal.boarded_at = Some(now);
        let (ride, to, agreement_id) = (deal.bound.ride, deal.counterparty(), deal.bound.agreement);
        let kept = deal.keep(SecretPurpose::Boarding, secret.to_vec());
        let mut records = vec![kept];
        records.extend(self.progress(now, slot, RideState::InProgress));
        let body = Boarded { to, issued: now, agreement_id, board_secret: secret, ext: Extensions::NONE };
        self.state(now, slot, body, records);
        self.timers.clear(Timer::EnRoute(slot));
        self.drive(now, &mut Turn::own(), slot.key, DriverEvent::Boarded);
        self.expect_end(now, slot);
        self.set_ride(now, ride, RideState::InProgress, None);
        true
    }

    /// The drop opening that came with an answer to BOARDED.
    pub(super) fn take_drop_opening(&mut self, statement: hailmesh_types::StatementId, turn: &Turn) {
        let of = |deal: &&Deal| deal.knows(&statement);
        let slot = self.deals.values().find(of).map(Deal::slot);
        if let Some(slot) = slot {
            self.take_opening(slot, turn);
        }
    }

    /// P9.3: proposes the final fare.
    pub(super) fn complete(
        &mut self,
        now: Timestamp,
        ride: RideId,
        figures: Completion,
    ) -> Result<Answer, CommandError> {
        let slot = self.firm_deal(ride, Role::Driver, &[RideState::InProgress])?;
        let most = usize::from(self.config.limits.complete);
        let Some(deal) = self.deals.get(&slot) else { return Err(CommandError::UnknownRide(ride)) };
        if deal.own_said().filter(|said| said.kind == Kind::Complete).count() >= most {
            return Err(CommandError::Boarding(
                "the final fare was proposed as often as it may be: wait for the rider, or end the ride alone",
            ));
        }
        let (request, accept) = (deal.request.body(), deal.accept.body());
        let Some(tariff) = tariff_of(deal.offer.body()) else { return Err(CommandError::UnknownRide(ride)) };
        let measured = Figures {
            dist: figures.dist_m.unwrap_or(request.dist),
            ride_time: figures.ride_time.unwrap_or(request.ride_time).min(RIDE_MAX),
            wait: deal.waited(),
        };
        let extra = figures.extra.unwrap_or(Amount::ZERO);
        let fare = final_fare(tariff, request, accept, deal.counter.is_some(), measured, extra);
        let fare = fare.map_err(|error| CommandError::BadValue {
            what: "fare",
            value: error.to_string(),
            expected: "at most 1,000,000,000 minor units",
        })?;
        let Some(confirm) = deal.confirm.as_ref() else { return Err(CommandError::UnknownRide(ride)) };
        let body = Complete {
            to: deal.counterparty(),
            issued: now,
            agreement_id: deal.bound.agreement,
            confirm_id: confirm.id(),
            board_secret: deal.boarding_secret(),
            dist: measured.dist,
            ride_time: measured.ride_time,
            wait: measured.wait,
            items: fare.items,
            total: fare.total,
            amended: fare.amended,
            ext: Extensions::NONE,
        };
        let Some(complete) = self.state(now, slot, body, Vec::new()) else {
            return Err(CommandError::UnknownRide(ride));
        };
        if let Some(deal) = self.deals.get_mut(&slot) {
            deal.complete = Some(complete.clone());
        }
        self.drive(now, &mut Turn::own(), slot.key, DriverEvent::Complete { complete: complete.id() });
        self.timers.set(Timer::Cosign(slot), now + self.config.timers.cosign);
        Ok(Answer::Ride(ride))
    }

    // ---- the rider's part ----

    /// The slot of ours that a driver's statement about an agreement belongs to.
    fn rider_slot(
        &self,
        turn: &mut Turn,
        agreement: &AgreementId,
        signer: &hailmesh_types::PublicKey,
    ) -> Option<SlotRef> {
        let slot = self.deal_by_agreement(agreement).filter(|slot| {
            self.deals
                .get(slot)
                .is_some_and(|deal| deal.role() == Role::Rider && deal.counterparty() == *signer)
        });
        if slot.is_none() {
            turn.refuse(RejectReason::Unknown);
        }
        slot
    }

    pub(super) fn on_en_route(&mut self, now: Timestamp, turn: &mut Turn, en_route: Verified<EnRoute>) {
        let Some(slot) = self.rider_slot(turn, &en_route.body().agreement_id, en_route.signer()) else {
            return;
        };
        let most = usize::from(self.config.limits.en_route);
        let Some(deal) = self.deals.get_mut(&slot) else { return };
        if deal.ended.is_some() {
            return turn.nothing();
        }
        if !matches!(deal.phase, RideState::Firm | RideState::EnRoute) {
            // Not firm here yet: it will come again. Past that: heard.
            return if deal.firm_at.is_none() { turn.refuse(RejectReason::Busy) } else { turn.nothing() };
        }
        if deal.knows(&en_route.id()) {
            return turn.nothing();
        }
        if deal.heard_of(Kind::EnRoute) >= most {
            return turn.refuse(RejectReason::Rate);
        }
        // Of two that overtook each other the later one knew better.
        if deal.en_route_at.is_none_or(|at| at <= en_route.body().issued) {
            deal.en_route_at = Some(en_route.body().issued);
            deal.eta = Some(en_route.body().eta);
        }
        let ride = deal.bound.ride;
        let mut records: Vec<Record> = self.note_theirs(now, slot, &en_route).into_iter().collect();
        records.extend(self.progress(now, slot, RideState::EnRoute));
        self.persist(records);
        turn.nothing();
        self.set_ride(now, ride, RideState::EnRoute, None);
    }

    pub(super) fn on_arrived(&mut self, now: Timestamp, turn: &mut Turn, arrived: Verified<Arrived>) {
        let Some(slot) = self.rider_slot(turn, &arrived.body().agreement_id, arrived.signer()) else {
            return;
        };
        let most = usize::from(self.config.limits.arrived);
        let Some(deal) = self.deals.get_mut(&slot) else { return };
        if deal.firm_at.is_none() {
            return turn.refuse(RejectReason::Busy);
        }
        if deal.ended.is_some()
            || !matches!(deal.phase, RideState::Firm | RideState::EnRoute | RideState::Arrived)
        {
            return turn.nothing();
        }
        if deal.knows(&arrived.id()) {
            return turn.nothing();
        }
        if deal.heard_of(Kind::Arrived) >= most {
            return turn.refuse(RejectReason::Rate);
        }
        deal.arrived_at.get_or_insert(now);
        let ride = deal.bound.ride;
        let mut records: Vec<Record> = self.note_theirs(now, slot, &arrived).into_iter().collect();
        records.extend(self.progress(now, slot, RideState::Arrived));
        self.persist(records);
        turn.nothing();
        self.set_ride(now, ride, RideState::Arrived, None);
    }

    /// P8.6: the driver typed what the rider said.
    pub(super) fn on_board_ask(&mut self, now: Timestamp, turn: &mut Turn, ask: &Verified<BoardAsk>) {
        let Some(slot) = self.rider_slot(turn, &ask.body().agreement_id, ask.signer()) else { return };
        let most = self.config.limits.wrong_codes;
        let Some(deal) = self.deals.get_mut(&slot).filter(|deal| deal.is_firm()) else {
            return turn.refuse(RejectReason::Ended);
        };
        // Only to the driver itself: a replayed question must not fetch the secret.
        if turn.peer != Some(deal.counterparty().to_peer_key()) {
            return turn.refuse(RejectReason::Policy);
        }
        deal.heard = now;
        let code = deal.secrets.get(&SecretPurpose::Code).map(|code| code.expose().clone());
        let (Some(code), Some(secret)) = (code, deal.boarding_secret()) else {
            return turn.refuse(RejectReason::Unknown);
        };
        if deal.wrong_codes >= most {
            return turn.refuse(RejectReason::Rate);
        }
        if bool::from(code.as_slice().ct_eq(&ask.body().code)) {
            let mut frame = Frame::new(FrameContent::None).with(Attachment::BoardingSecret(secret));
            if let Some(drop) = deal.opening(SecretPurpose::Drop) {
                frame = frame.with(Attachment::DropOpening(drop));
            }
            return turn.answer(frame);
        }
        deal.wrong_codes += 1;
        let record = Record::Progress { slot, phase: deal.phase, wrong_codes: deal.wrong_codes, at: now };
        self.persist(vec![record]);
        let Some(signing) = self.signing_for(&slot.key) else { return };
        self.reject(now, turn, &signing, *ask.signer(), ask.id(), RejectReason::Bad, None);
    }

    pub(super) fn on_boarded(&mut self, now: Timestamp, turn: &mut Turn, boarded: Verified<Boarded>) {
        let Some(slot) = self.rider_slot(turn, &boarded.body().agreement_id, boarded.signer()) else {
            return;
        };
        let secret = boarded.body().board_secret;
        let Some(deal) = self.deals.get(&slot) else { return };
        if deal.firm_at.is_none() {
            return turn.refuse(RejectReason::Busy);
        }
        if deal.boarding_secret().is_none_or(|own| !bool::from(own.ct_eq(&secret))) {
            return turn.refuse(RejectReason::Bad);
        }
        let to_driver = turn.peer == Some(deal.counterparty().to_peer_key());
        let drop = deal.opening(SecretPurpose::Drop).filter(|_| to_driver);
        let frame = Frame::new(FrameContent::None);
        turn.answer(match drop {
            Some(drop) => frame.with(Attachment::DropOpening(drop)),
            None => frame,
        });
        let record = self.note_theirs(now, slot, &boarded);
        self.rider_boarded(now, turn, slot, record);
    }

    fn rider_boarded(&mut self, now: Timestamp, turn: &mut Turn, slot: SlotRef, record: Option<Record>) {
        let Some(deal) = self.deals.get_mut(&slot) else { return };
        if deal.ended.is_some() || deal.is_boarded() {
            return;
        }
        deal.boarded_at = Some(now);
        let (ride, accept) = (deal.bound.ride, deal.bound.accept);
        let mut records: Vec<Record> = record.into_iter().collect();
        records.extend(self.progress(now, slot, RideState::InProgress));
        self.persist(records);
        self.ride_on(now, turn, slot, RiderEvent::Boarded { accept }, None, EndingTerms::default());
        self.set_ride(now, ride, RideState::InProgress, None);
    }

    /// P7.15, P7.16, P9.4.
    pub(super) fn on_complete(&mut self, now: Timestamp, turn: &mut Turn, complete: Verified<Complete>) {
        let Some(slot) = self.rider_slot(turn, &complete.body().agreement_id, complete.signer()) else {
            return;
        };
        let most = usize::from(self.config.limits.complete);
        let Some(deal) = self.deals.get(&slot) else { return };
        let accept = deal.bound.accept;
        let driver = *complete.signer();
        if deal.ended.is_some() {
            let event = RiderEvent::Complete { accept, driver, agreed: false };
            return self.ride_on(now, turn, slot, event, None, EndingTerms::default());
        }
        if deal.firm_at.is_none() {
            return turn.refuse(RejectReason::Busy);
        }
        let known = deal.knows(&complete.id());
        if !known && deal.heard_of(Kind::Complete) >= most {
            return turn.refuse(RejectReason::Rate);
        }
        let body = complete.body();
        let names = deal.confirm.as_ref().is_some_and(|confirm| confirm.id() == body.confirm_id);
        let secret = deal.boarding_secret();
        let shows = body.board_secret.is_some() && body.board_secret == secret;
        if !names {
            return turn.refuse(RejectReason::Bad);
        }
        if shows && !deal.is_boarded() {
            self.rider_boarded(now, &mut Turn::own(), slot, None);
        }
        let Some(deal) = self.deals.get_mut(&slot) else { return };
        let tariff = tariff_of(deal.offer.body());
        let countered = deal.counter.is_some();
        let judged = tariff.map(|tariff| {
            check_complete(tariff, deal.request.body(), deal.accept.body(), countered, complete.body())
        });
        deal.complete = Some(complete.clone());
        let (ride, boarded) = (deal.bound.ride, deal.is_boarded());
        let record = self.note_theirs(now, slot, &complete);
        match judged {
            Some(Ok(true)) if boarded => {
                let event = RiderEvent::Complete { accept, driver, agreed: true };
                self.ride_on(now, turn, slot, event, record, EndingTerms::default());
            }
            Some(Ok(_)) => {
                self.persist(record.into_iter().collect());
                turn.nothing();
                if !known {
                    self.notify(Event::FareDisputed { ride, total: complete.body().total });
                }
            }
            _ => {
                self.persist(record.into_iter().collect());
                let stated = self.say_dispute(now, slot, "the items do not make this fare");
                if stated {
                    self.notify(Event::FareDisputed { ride, total: complete.body().total });
                }
                turn.nothing();
            }
        }
    }

    /// The user agrees to an amended fare.
    pub(super) fn agree_to_fare(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        let slot = self.firm_deal(ride, Role::Rider, &[RideState::InProgress])?;
        let Some(deal) = self.deals.get(&slot) else { return Err(CommandError::UnknownRide(ride)) };
        let Some(complete) = deal.complete.as_ref() else {
            return Err(CommandError::Boarding("the driver has not proposed a final fare yet"));
        };
        let tariff = tariff_of(deal.offer.body());
        let sound = tariff.is_some_and(|tariff| {
            check_complete(
                tariff,
                deal.request.body(),
                deal.accept.body(),
                deal.counter.is_some(),
                complete.body(),
            )
            .is_ok()
        });
        if !sound {
            return Err(CommandError::Boarding(
                "the items do not make this fare: the driver must correct it",
            ));
        }
        let event =
            RiderEvent::Complete { accept: deal.bound.accept, driver: deal.counterparty(), agreed: true };
        self.ride_on(now, &mut Turn::own(), slot, event, None, EndingTerms::default());
        Ok(Answer::Ride(ride))
    }

    /// The user does not.
    pub(super) fn dispute_fare(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        let slot = self.firm_deal(ride, Role::Rider, &[RideState::InProgress])?;
        if self.deals.get(&slot).is_none_or(|deal| deal.complete.is_none()) {
            return Err(CommandError::Boarding("the driver has not proposed a final fare yet"));
        }
        if self.say_dispute(now, slot, "the rider does not agree to this fare") {
            Ok(Answer::Ride(ride))
        } else {
            Err(CommandError::Boarding("this ride was disputed as often as it may be"))
        }
    }

    fn say_dispute(&mut self, now: Timestamp, slot: SlotRef, why: &str) -> bool {
        let most = usize::from(self.config.limits.disputes);
        let Some(deal) = self.deals.get(&slot) else { return false };
        if deal.own_said().filter(|said| said.kind == Kind::Dispute).count() >= most {
            return false;
        }
        let Some(about) = deal.complete.as_ref().map(|complete| complete.id()) else { return false };
        let body = Dispute {
            to: deal.counterparty(),
            issued: now,
            agreement_id: deal.bound.agreement,
            about,
            code: 1,
            text: Text::new(why).unwrap_or_default(),
            ext: Extensions::NONE,
        };
        self.state(now, slot, body, Vec::new()).is_some()
    }

    // ---- either side ----

    /// NO_SHOW, DISPUTE, RATING of the other side: kept with the receipt (P6.19).
    pub(super) fn on_opinion<T: Body>(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        agreement: &AgreementId,
        statement: &Verified<T>,
    ) {
        let limits = &self.config.limits;
        let most = usize::from(match T::KIND {
            Kind::Rating => limits.ratings,
            _ => limits.disputes,
        });
        let slot = self.deal_by_agreement(agreement);
        let deal = slot.and_then(|slot| self.deals.get(&slot));
        let Some(deal) = deal.filter(|deal| deal.counterparty() == *statement.signer()) else {
            return turn.refuse(RejectReason::Unknown);
        };
        if !deal.knows(&statement.id()) && deal.heard_of(T::KIND) >= most {
            return turn.refuse(RejectReason::Rate);
        }
        let slot = deal.slot();
        self.follow_peer(now, slot, turn.peer);
        let record = self.note_theirs(now, slot, statement);
        self.persist(record.into_iter().collect());
        turn.nothing();
    }

    /// P8.12: an opinion, once per ride.
    pub(super) fn rate(
        &mut self,
        now: Timestamp,
        ride: RideId,
        stars: u8,
        text: Text<140>,
    ) -> Result<Answer, CommandError> {
        if !(1..=5).contains(&stars) {
            return Err(CommandError::BadValue {
                what: "stars",
                value: stars.to_string(),
                expected: "1 to 5",
            });
        }
        let slot = self.deal_of(ride, None)?;
        let Some(deal) = self.deals.get(&slot) else { return Err(CommandError::UnknownRide(ride)) };
        if deal.state() != RideState::Completed {
            return Err(self.wrong_state(ride, &[RideState::Completed]));
        }
        if deal.last_said(Kind::Rating, true).is_some() {
            return Err(CommandError::Boarding("this ride is rated already"));
        }
        let body = Rating {
            to: deal.counterparty(),
            issued: now,
            agreement_id: deal.bound.agreement,
            complete_id: deal.complete.as_ref().map(|complete| complete.id()),
            stars,
            tags: 0,
            text,
            ext: Extensions::NONE,
        };
        match self.state(now, slot, body, Vec::new()) {
            Some(_) => Ok(Answer::Ride(ride)),
            None => Err(CommandError::Boarding("the key of this ride is erased")),
        }
    }
}

/// The 26 characters that stand for a boarding secret.
pub(super) fn crockford(secret: &[u8; 16]) -> String {
    let number = u128::from_be_bytes(*secret);
    let digit = |place: u32| {
        let index = usize::try_from((number >> (5 * place)) & 31).unwrap_or(0);
        char::from(CROCKFORD[index])
    };
    (0..26).rev().map(digit).collect()
}

/// The boarding secret that 26 characters stand for; I, L and O are read as 1, 1 and 0.
fn read_crockford(text: &str) -> Option<[u8; 16]> {
    if text.len() != 26 {
        return None;
    }
    let mut number: u128 = 0;
    for (place, c) in text.bytes().enumerate() {
        let c = match c.to_ascii_uppercase() {
            b'I' | b'L' => b'1',
            b'O' => b'0',
            other => other,
        };
        let digit = CROCKFORD.iter().position(|known| *known == c)?;
        if place == 0 && digit > 7 {
            return None;
        }
        number = (number << 5) | u128::try_from(digit).ok()?;
    }
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boarding_secrets_round_trip_as_text() {
        for secret in [[0; 16], [0xff; 16], *b"sixteen bytes ok"] {
            let text = crockford(&secret);
            assert_eq!(text.len(), 26);
            assert_eq!(read_crockford(&text), Some(secret));
            assert_eq!(read_crockford(&text.to_lowercase()), Some(secret));
        }
        assert_eq!(read_crockford(&"Z".repeat(26)), None, "more than 128 bits");
        assert_eq!(read_crockford("short"), None);
    }
}
