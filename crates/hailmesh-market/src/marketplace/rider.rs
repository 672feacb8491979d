//! The rider's side of the handshake: what surrounds the table of P7.

use std::collections::VecDeque;

use ed25519_dalek::SigningKey;
use hailmesh_types::{GeoPoint, Hash, Private, PublicKey, StatementId, Timestamp};

use hailmesh_wire::{
    Accept, Ack, Attachment, Confirm, Counter, DropPlace, Extensions, Frame, Kind, Opening, Outcome,
    PickupPlace, Prev, Purpose, Reject, RejectReason, Release, RideState, Verified, Void, agreement_id,
    board_hash, commit, fare_limit, tariff_hash,
};

use crate::budget::Bucket;
use crate::command::{Answer, CommandError};
use crate::handshake::{RiderChain, RiderEvent, RiderState, RiderWrite};
use crate::journal::{Bound, Record, RideId, Role, SecretPurpose, SlotRef};
use crate::matching::TOLD_STEP;
use crate::output::Event;
use crate::sorted::SortedMap;

use super::Marketplace;
use super::deal::{Deal, opening_bytes};
use super::ending::EndingTerms;
use super::exchange::{About, Turn};
use super::rider_search::{Pending, Search};
use super::timers::Timer;

/// Everything a rider has beyond its deals.
pub(super) struct RiderSide {
    /// The key of the next wanted ride, durable already so that a search starts at once.
    pub(super) spare: Option<(SigningKey, Timestamp)>,
    pub(super) chains: SortedMap<PublicKey, Chain>,
    pub(super) search: Option<Search>,
    /// The last REQUESTs of this node, the oldest first: an answer that comes after the
    /// search may still break what was offered, and is kept before what nobody asked for.
    pub(super) lately: VecDeque<Pending>,
    pub(super) here: Option<Private<GeoPoint>>,
    /// Whether the driver of a firm ride may see where this rider is (P8.10).
    pub(super) sharing: bool,
    /// Has left the topics of offers while it is bound.
    pub(super) away: bool,
    pub(super) invites: Bucket,
    pub(super) unasked: Bucket,
}

/// The chain of one ride key.
pub(super) struct Chain {
    pub(super) signing: SigningKey,
    pub(super) until: Timestamp,
    pub(super) chain: RiderChain,
    pub(super) seq: u64,
    pub(super) seq_limit: u64,
}

impl RiderSide {
    pub(super) fn new(sharing: bool) -> Self {
        Self {
            spare: None,
            chains: SortedMap::new(),
            search: None,
            lately: VecDeque::new(),
            here: None,
            sharing,
            away: false,
            invites: Bucket::default(),
            unasked: Bucket::default(),
        }
    }

    /// The slot that is bound now, if one is (P3.4).
    pub(super) fn bound(&self) -> Option<SlotRef> {
        self.chains.iter().find_map(|(key, chain)| {
            chain.chain.binding()?;
            Some(SlotRef { key: *key, lane: 0, slot: chain.chain.slot })
        })
    }
}

impl Marketplace {
    /// An ACCEPT that is addressed to one of our ride keys (P7.2, P7.3, P7.7, P7.8).
    pub(super) fn on_accept(&mut self, now: Timestamp, turn: &mut Turn, accept: Verified<Accept>) {
        let body = accept.body();
        let (driver, to) = (*accept.signer(), body.to);
        let pending = self.take_ask(&to, &body.request_id, &driver);
        // One that comes too late is not taken, but it is an answer all the same.
        let late = if pending.is_none() { self.asked_lately(&body.request_id, &driver) } else { None };
        self.witness_accept(now, &accept, pending.as_ref().or(late.as_ref()));
        if pending.is_none() && self.is_offered(&accept) {
            // In hand, and not decided upon yet (P7.23).
            return turn.nothing();
        }
        let pending = match pending {
            Some(pending) if self.accept_guard(now, &pending, &accept).is_ok() => {
                match self.keep_offered(now, turn, pending, &accept) {
                    Ok(()) => return,
                    Err(pending) => Some(pending),
                }
            }
            pending => pending,
        };
        self.take_accept(now, turn, pending.as_ref(), &accept);
        if pending.is_some() {
            self.shop(now);
        }
    }

    /// Takes an ACCEPT, if it is good and none is taken yet; otherwise turns it down.
    pub(super) fn take_accept(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        pending: Option<&Pending>,
        accept: &Verified<Accept>,
    ) {
        let (driver, to, id) = (*accept.signer(), accept.body().to, accept.id());
        let verdict = match pending {
            Some(pending) => self.accept_guard(now, pending, accept),
            None => Err("not asked"),
        };
        // Nothing is even drafted while another ACCEPT is taken.
        let draft = match (&verdict, pending) {
            (Ok(()), Some(pending)) if self.is_shopping() => self.draft_confirm(now, pending, accept),
            _ => None,
        };
        let Some(chain) = self.rider.as_mut().and_then(|rider| rider.chains.get_mut(&to)) else {
            return turn.refuse(RejectReason::Unknown);
        };
        let confirm = draft.as_ref().map_or(id, |draft| draft.confirm.id());
        let event = RiderEvent::Accept { accept: id, driver, chosen: draft.is_some(), confirm };
        let step = chain.chain.transition(event);
        let slot = SlotRef { key: to, lane: 0, slot: chain.chain.slot };
        if let ([RiderWrite::Bind { .. }], Some(draft), Some(pending)) =
            (step.writes.as_slice(), draft, pending)
        {
            self.commit_rider(now, slot, pending, accept, draft);
        } else if let (Err(why), Some(_)) = (&verdict, pending) {
            self.note_answer(now, &driver, why);
        }
        self.ride_sends(now, turn, slot, &step.sends);
    }

    /// P7.20. What fails is named as the user is told it.
    fn accept_guard(
        &mut self,
        now: Timestamp,
        pending: &Pending,
        accept: &Verified<Accept>,
    ) -> Result<(), &'static str> {
        let body = accept.body();
        let request = pending.request.body();
        let offer = &pending.offer.offer;
        let Some(terms) = offer.body().live.as_ref() else { return Err("withdrawn") };
        if self.halted.is_some() || self.outbox.len() >= self.config.limits.outbox {
            return Err("node halted");
        }
        if body.offer_id != request.offer_id || body.offer_id != offer.id() {
            return Err("another offer");
        }
        if body.tariff_hash != tariff_hash(&terms.tariff) {
            return Err("another tariff");
        }
        if body.lane != 0 || body.slot < request.driver_slot {
            return Err("an old slot");
        }
        if body.prev.check_driver(body.slot, &*self.signatures).is_err() {
            return Err("a broken chain");
        }
        let counter = pending.counter.as_ref().map(|counter| counter.body());
        match fare_limit(&terms.tariff, request, counter) {
            Ok(limit) if body.fare <= limit => {}
            _ => return Err("a fare above the limit"),
        }
        if self.admission.is_banned(accept.signer(), pending.offer.identity(), now) {
            return Err("banned");
        }
        let left = self.rider.as_ref().and_then(|rider| rider.search.as_ref()?.pickup_left(now));
        // Told times are rounded up: only the least that one can mean counts.
        if left.is_some_and(|left| body.eta.saturating_sub(TOLD_STEP) > left) {
            return Err("a pickup too late");
        }
        Ok(())
    }

    fn draft_confirm(
        &mut self,
        now: Timestamp,
        pending: &Pending,
        accept: &Verified<Accept>,
    ) -> Option<Draft> {
        let (pickup_salt, drop_salt) = (self.random(), self.random());
        let secret: [u8; 16] = self.random();
        let code = self.random::<8>();
        let code = format!("{:06}", u64::from_le_bytes(code) % 1_000_000);
        let rider = self.rider.as_ref()?;
        let key = pending.request.signer();
        let chain = rider.chains.get(key)?;
        let wish = &rider.search.as_ref()?.wish;
        let slot = chain.chain.slot;
        let prev = match slot.checked_sub(1) {
            None => Prev::FIRST,
            Some(before) => {
                let past = chain.chain.past.get(&before)?;
                Prev { outcome: past.outcome, accept_id: Some(past.binding.accept), proof: None }
            }
        };
        let name = if wish.name.is_empty() { self.config.rider_name.clone() } else { wish.name.clone() };
        let place = PickupPlace {
            point: *wish.from.expose(),
            name,
            phone: wish.phone.clone(),
            note: wish.note.clone(),
            peer: self.transport,
            addrs: self.addresses.clone(),
        };
        let pickup = place.to_opening(pickup_salt);
        let drop = wish.to.as_ref().map(|to| {
            DropPlace { point: *to.expose(), note: hailmesh_types::Text::default() }.to_opening(drop_salt)
        });
        let body = Confirm {
            to: *accept.signer(),
            issued: now,
            accept_id: accept.id(),
            agreement_id: agreement_id(&pending.request.id(), &accept.id()),
            slot,
            prev,
            pickup_commit: commit(Purpose::Pickup, &pickup),
            drop_commit: drop.as_ref().map(|drop| commit(Purpose::Drop, drop)),
            board_hash: board_hash(&secret),
            ext: Extensions::NONE,
        };
        let confirm = self.sign(&chain.signing, body);
        Some(Draft { confirm, pickup, drop, secret, code })
    }

    /// P7.2, W4: the CONFIRM uses up the slot.
    fn commit_rider(
        &mut self,
        now: Timestamp,
        slot: SlotRef,
        pending: &Pending,
        accept: &Verified<Accept>,
        draft: Draft,
    ) {
        let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) else { return };
        let ride = search.ride;
        search.paused = true;
        let body = accept.body();
        let driver = *accept.signer();
        let currency = pending.offer.offer.body().live.as_ref().map(|terms| terms.tariff.currency);
        let bound = Bound {
            slot,
            role: Role::Rider,
            ride,
            counterparty: driver,
            peer: driver.to_peer_key(),
            request: pending.request.id(),
            accept: accept.id(),
            agreement: draft.confirm.body().agreement_id,
            fare: body.fare,
            currency: currency.unwrap_or(hailmesh_types::Currency::USD),
            at: now,
            deadline: now + self.config.timers.doubt,
        };
        let mut deal = Deal::new(
            bound.clone(),
            pending.offer.offer.clone(),
            pending.counter.clone(),
            pending.request.clone(),
            accept.clone(),
        );
        deal.confirm = Some(draft.confirm.clone());
        let mut records = vec![Record::Bound(bound)];
        records.extend(deal.note(&pending.offer.offer, false));
        records.extend(pending.counter.as_ref().and_then(|counter| deal.note(counter, false)));
        records.extend(deal.note(&pending.request, true));
        records.extend(deal.note(accept, false));
        records.extend(deal.note(&draft.confirm, true));
        records.push(deal.keep(SecretPurpose::Pickup, opening_bytes(&draft.pickup)));
        records.extend(draft.drop.map(|drop| deal.keep(SecretPurpose::Drop, opening_bytes(&drop))));
        records.push(deal.keep(SecretPurpose::Boarding, draft.secret.to_vec()));
        records.push(deal.keep(SecretPurpose::Code, draft.code.into_bytes()));
        self.book.pin(&driver);
        // The own CONFIRM is what a false boarding is measured against (E4c).
        self.witness.observe_confirm(now, &draft.confirm, true);
        self.deals.insert(slot, deal);
        self.trim_deals();
        let retry = now + self.config.timers.confirm_retry;
        records.extend(self.queue(slot, Kind::Confirm, draft.confirm.id(), draft.confirm.bytes(), retry));
        self.persist(records);
        if let Some(entry) = self.rides.get_mut(&ride) {
            entry.slot = Some(slot);
        }
        for timer in [Timer::Hedge, Timer::Decide, Timer::Compare, Timer::OpenAfter, Timer::Patience] {
            self.timers.clear(timer);
        }
        self.timers.set(Timer::Doubt(slot), now + self.config.timers.doubt);
        self.set_ride(now, ride, RideState::Committed, None);
    }

    /// P7.9, W5.
    pub(super) fn on_ack(&mut self, now: Timestamp, turn: &mut Turn, ack: Verified<Ack>) {
        let body = ack.body();
        let (driver, confirm) = (*ack.signer(), body.confirm_id);
        let Some(slot) = self.deal_by_agreement(&body.agreement_id) else {
            return turn.refuse(RejectReason::Unknown);
        };
        let theirs = self.deals.get(&slot).is_some_and(|deal| {
            deal.counterparty() == driver
                && deal.confirm.as_ref().is_some_and(|own| own.id() == confirm)
                && deal.accept.body().slot == body.slot
        });
        if !theirs {
            return turn.refuse(RejectReason::Bad);
        }
        let witnessed = self.witness.observe_ack(now, &ack);
        self.accuse(now, witnessed);
        let Some(chain) = self.rider.as_mut().and_then(|rider| rider.chains.get_mut(&slot.key)) else {
            return turn.refuse(RejectReason::Unknown);
        };
        let step = chain.chain.transition(RiderEvent::Ack { confirm, driver });
        if let [RiderWrite::Firm { .. }] = step.writes.as_slice() {
            self.firm_rider(now, turn, slot, &ack);
        }
        self.ride_sends(now, turn, slot, &step.sends);
    }

    fn firm_rider(&mut self, now: Timestamp, turn: &Turn, slot: SlotRef, ack: &Verified<Ack>) {
        let vehicle = turn.attachments.iter().find_map(|attachment| match attachment {
            Attachment::VehicleOpening(opening) => Some(opening.clone()),
            _ => None,
        });
        self.outbox.done_where(&slot, |kind| kind == Kind::Confirm);
        let mut records = vec![Record::Firm { slot, at: now }];
        let Some(deal) = self.deals.get_mut(&slot) else { return };
        deal.heard = now;
        deal.phase = RideState::Firm;
        deal.firm_at = Some(now);
        let ride = deal.bound.ride;
        records.extend(deal.note(ack, false));
        let promised = deal.accept.body().vehicle_commit;
        let opened = vehicle.filter(|opening| commit(Purpose::Vehicle, opening) == promised);
        records.extend(opened.map(|opening| deal.keep(SecretPurpose::Vehicle, opening_bytes(&opening))));
        self.persist(records);
        self.timers.clear(Timer::Doubt(slot));
        self.timers.set(Timer::Status(slot), now + self.config.timers.status);
        self.begin_sharing(now);
        let since = self.rider.as_ref().and_then(|rider| rider.search.as_ref()?.first_request);
        if let (Some(since), Some(entry)) = (since, self.rides.get_mut(&ride)) {
            entry.settle_ms = Some(now.millis_since(since));
        }
        self.drop_search(now, ride);
        self.set_ride(now, ride, RideState::Firm, None);
        self.rest_rider();
    }

    /// P7.10, P7.13.
    pub(super) fn on_void(&mut self, now: Timestamp, turn: &mut Turn, void: Verified<Void>) {
        let body = void.body();
        let (accept, driver) = (body.accept_id, *void.signer());
        let Some(slot) = self.deal_by_accept(&accept) else {
            // An ACCEPT that was not taken has ended: heard (P5.5). It ends only once, too.
            let asked = self.was_asked(&void.body().to, &driver);
            let witnessed = self.witness.observe_void_of_untaken(now, &void, asked);
            self.accuse(now, witnessed);
            return turn.nothing();
        };
        if self.deals.get(&slot).is_none_or(|deal| deal.counterparty() != driver) {
            return turn.refuse(RejectReason::Unknown);
        }
        let witnessed = self.witness.observe_void(now, &void);
        self.accuse(now, witnessed);
        // P5.5: a VOID shows that RELEASE or COSIGN was heard when it answers it or names it.
        // One that comes by itself is what the driver repeats until it hears of them.
        let answers = match turn.about {
            Some(About::Row(id, _)) => Some(id),
            _ => void.body().ref_id,
        };
        let own_end = self.deals.get(&slot).and_then(|deal| Some(deal.own_end()?.id));
        if let Some(id) = own_end.filter(|id| answers == Some(*id)) {
            self.heard(now, &id);
        }
        let record = self.note_theirs(now, slot, &void);
        let terms = EndingTerms { ref_id: Some(void.id()), ..EndingTerms::default() };
        self.ride_on(now, turn, slot, RiderEvent::Void { accept, driver }, record, terms);
    }

    /// Turns an ACCEPT down (P7.3, P7.7). Nothing of it is kept: a repeated ACCEPT is
    /// turned down again.
    pub(super) fn say_not_chosen(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        slot: SlotRef,
        accept: StatementId,
        driver: PublicKey,
    ) {
        let rate = self.config.limits.unasked_releases;
        let Some(rider) = self.rider.as_mut() else { return };
        if !rider.unasked.take(rate, now) {
            return;
        }
        let Some(chain) = rider.chains.get(&slot.key) else { return };
        let body = Release {
            to: driver,
            issued: now,
            accept_id: accept,
            agreement_id: None,
            slot: None,
            outcome: Outcome::NotChosen,
            reason: hailmesh_wire::EndReason::User,
            fee: hailmesh_types::Amount::ZERO,
            ref_id: None,
            ext: Extensions::NONE,
        };
        let release = Verified::sign_with(&*self.signatures, &chain.signing, self.network, body);
        let addrs = self.book.driver(&driver).map(|booked| booked.offer.body().addrs.clone());
        let frame = Frame::statement(release.bytes());
        self.say(turn, driver.to_peer_key(), addrs.unwrap_or_default(), frame, About::Once);
    }

    /// A refusal (P7.4), or the rider's answer to a boarding code (P8.6).
    pub(super) fn on_reject(&mut self, now: Timestamp, turn: &mut Turn, reject: &Verified<Reject>) {
        let body = reject.body();
        match turn.about {
            Some(About::Board(slot)) => self.on_boarding_refused(slot, "wrong code"),
            Some(About::Request(request)) if body.about == request => {
                self.on_request_refused(now, request, body.reason, body.retry);
            }
            _ => {
                // A human said no, later and in an exchange of the driver's own.
                let asked =
                    self.rider.as_ref().and_then(|rider| rider.search.as_ref()?.asks.get(&body.about));
                if asked.is_some_and(|pending| pending.offer.offer.signer() == reject.signer()) {
                    self.on_request_refused(now, body.about, body.reason, body.retry);
                }
                turn.nothing();
            }
        }
    }

    /// Another fare (P5.10): taken up when it is within the rider's own limit.
    pub(super) fn on_counter(&mut self, now: Timestamp, turn: &mut Turn, counter: Verified<Counter>) {
        let to = counter.body().to;
        let driver = *counter.signer();
        let pending = self.take_ask(&to, &counter.body().request_id, &driver);
        turn.nothing();
        let Some(pending) = pending else { return };
        self.timers.clear(Timer::Ask(pending.request.id()));
        let limit = self.rider.as_ref().and_then(|rider| rider.search.as_ref()?.wish.max_fare);
        let agreeable = limit.is_some_and(|limit| counter.body().fare <= limit);
        if agreeable && pending.counter.is_none() {
            self.ask_driver(now, pending.offer, Some(counter), None);
        } else {
            self.note_answer(now, &driver, "another fare");
            self.shop(now);
        }
    }

    fn witness_accept(&mut self, now: Timestamp, accept: &Verified<Accept>, pending: Option<&Pending>) {
        let found = match pending {
            Some(pending) => self.witness.observe_accept(
                now,
                accept,
                Some(&pending.offer.offer),
                Some(&pending.request),
                pending.counter.as_ref(),
            ),
            None => self.witness.observe_accept(now, accept, None, None, None),
        };
        self.accuse(now, found);
    }

    // ---- commands that both roles have ----

    pub(super) fn accept_ride(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        match self.rides.get(&ride).map(|entry| entry.role) {
            None => Err(CommandError::UnknownRide(ride)),
            Some(Role::Driver) => self.accept_request(now, ride),
            Some(Role::Rider) => self.agree_to_fare(now, ride),
        }
    }

    pub(super) fn decline_ride(&mut self, now: Timestamp, ride: RideId) -> Result<Answer, CommandError> {
        match self.rides.get(&ride).map(|entry| entry.role) {
            None => Err(CommandError::UnknownRide(ride)),
            Some(Role::Driver) => self.decline_request(now, ride),
            Some(Role::Rider) => self.dispute_fare(now, ride),
        }
    }

    pub(super) fn signing_for(&self, key: &PublicKey) -> Option<SigningKey> {
        if let Some(driver) = self.driver.as_ref().filter(|driver| driver.key == *key) {
            return Some(driver.signing.clone());
        }
        let chain = self.rider.as_ref()?.chains.get(key)?;
        Some(chain.signing.clone())
    }

    /// Whether a chain of this rider is looking for a driver.
    pub(super) fn is_shopping(&self) -> bool {
        let Some(rider) = self.rider.as_ref() else { return false };
        let Some(search) = rider.search.as_ref() else { return false };
        let chain = rider.chains.get(&search.key);
        !search.paused && chain.is_some_and(|chain| chain.chain.state == RiderState::Shopping)
    }

    pub(super) fn say_to_user(&mut self, text: &str) {
        self.notify(Event::Notice(text.to_owned()));
    }
}

/// What a CONFIRM needs before it is sent.
pub(super) struct Draft {
    confirm: Verified<Confirm>,
    pickup: Opening,
    drop: Option<Opening>,
    secret: [u8; 16],
    code: String,
}

/// Where the board hash of a CONFIRM comes from, for readers of the table of P8.6.
pub(super) fn opens_board(secret: &[u8; 16], hash: Hash) -> bool {
    board_hash(secret) == hash
}
