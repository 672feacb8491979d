//! The driver's side of the handshake: what surrounds the table of P6.

use std::collections::{BTreeMap, VecDeque};

use ed25519_dalek::SigningKey;
use hailmesh_types::{Amount, Duration, PeerKey, PublicKey, StatementId, Timestamp};

use hailmesh_wire::{
    Accept, AcceptMode, Ack, Attachment, ChainAsk, Confirm, Cosign, Counter, DriverOffer, Extensions,
    FareKind, Frame, FrameContent, Kind, Opening, Outcome, PickupPlace, Prev, Purpose, RejectReason, Release,
    Request, RideState, ShiftCert, Verified, agreement_id, commit, fare_limit, pow_ok, tariff_hash,
};

use crate::budget::{Bucket, Buckets};
use crate::certificates::Level;
use crate::command::{Answer, CommandError, DriverProfile};
use crate::handshake::{DriverEvent, DriverLane, DriverSend, DriverWrite, Guard, LaneState};
use crate::input::{ExchangeId, Origin};
use crate::journal::{Bound, Record, RideId, Role, SecretPurpose, SlotRef};
use crate::limits::Limits;
use crate::output::Event;
use crate::position::PublishedPosition;

use super::Marketplace;
use super::deal::{Deal, opening_bytes};
use super::exchange::{About, Turn};
use super::timers::Timer;

/// Own offers remembered, whose terms are still honoured (P6.20).
pub(super) const OFFERS_KEPT: usize = 32;
/// How much later than the estimate a pickup may be, milliseconds.
const PICKUP_SLACK_MS: u32 = 600_000;
/// Grace after the end of an offer's life, milliseconds (P9.2).
const OFFER_GRACE_MS: u32 = 30_000;

/// Everything a driver has beyond its deals.
pub(super) struct DriverSide {
    pub(super) signing: SigningKey,
    pub(super) key: PublicKey,
    pub(super) cert: Option<Verified<ShiftCert>>,
    pub(super) until: Timestamp,
    pub(super) replaces_lost: bool,
    pub(super) lane: DriverLane,
    /// Lanes of earlier shift keys, which nothing new is signed with.
    pub(super) retired: BTreeMap<PublicKey, DriverLane>,
    pub(super) profile: Option<DriverProfile>,
    pub(super) online: bool,
    pub(super) position: Option<PublishedPosition>,
    pub(super) offers: VecDeque<Verified<DriverOffer>>,
    pub(super) live: bool,
    pub(super) seq: u64,
    pub(super) seq_limit: u64,
    pub(super) bucket: Bucket,
    pub(super) last_published: Option<Timestamp>,
    pub(super) published: u64,
    pub(super) pending: BTreeMap<RideId, Pending>,
    collected: Vec<Collected>,
    counters: BTreeMap<StatementId, Verified<Counter>>,
    pub(super) invites: Vec<OpenInvite>,
    by_identity: Buckets<PublicKey>,
    by_origin: Buckets<Origin>,
    pub(super) lapses: VecDeque<Lapse>,
}

/// A REQUEST that waits for a human (P5.9).
pub(super) struct Pending {
    pub(super) request: Verified<Request>,
    pub(super) peer: PeerKey,
}

/// A REQUEST that waits for others to be compared with (P6.22).
struct Collected {
    exchange: Option<ExchangeId>,
    peer: PeerKey,
    request: Verified<Request>,
}

/// An INVITE that may still be answered (P5.11).
pub(super) struct OpenInvite {
    pub(super) rider: PublicKey,
    pub(super) attempt: u16,
    pub(super) slot: u64,
    pub(super) until: Timestamp,
}

/// A hold that came to nothing (P20).
pub(super) struct Lapse {
    pub(super) at: Timestamp,
    pub(super) held_ms: u32,
    pub(super) identity: Option<PublicKey>,
    pub(super) credentialed: bool,
}

/// What a REQUEST would get.
struct Plan {
    offer: Verified<DriverOffer>,
    counter: Option<Verified<Counter>>,
    fare: Amount,
    hold: Duration,
}

impl DriverSide {
    pub(super) fn new(signing: SigningKey, until: Timestamp, limits: &Limits) -> Self {
        Self {
            key: PublicKey::from(signing.verifying_key()),
            signing,
            cert: None,
            until,
            replaces_lost: false,
            lane: DriverLane::default(),
            retired: BTreeMap::new(),
            profile: None,
            online: false,
            position: None,
            offers: VecDeque::new(),
            live: false,
            seq: 0,
            seq_limit: 0,
            bucket: Bucket::default(),
            last_published: None,
            published: 0,
            pending: BTreeMap::new(),
            collected: Vec::new(),
            counters: BTreeMap::new(),
            invites: Vec::new(),
            by_identity: Buckets::new(limits.requests_per_identity, limits.request_buckets),
            by_origin: Buckets::new(limits.requests_per_origin, limits.request_buckets),
            lapses: VecDeque::new(),
        }
    }

    pub(super) fn holds(&self, key: &PublicKey) -> bool {
        self.key == *key || self.retired.contains_key(key)
    }

    /// The lane that a statement to `key` belongs to.
    pub(super) fn lane_of(&mut self, key: &PublicKey) -> Option<&mut DriverLane> {
        if self.key == *key { Some(&mut self.lane) } else { self.retired.get_mut(key) }
    }

    pub(super) const fn slot_ref(&self, slot: u64) -> SlotRef {
        SlotRef { key: self.key, lane: 0, slot }
    }

    pub(super) const fn is_free(&self) -> bool {
        matches!(self.lane.state, LaneState::Free)
    }

    /// Lane time that lapsed holds took lately, milliseconds, of those that `which` picks.
    fn lapsed_ms(&self, now: Timestamp, span: Duration, which: impl Fn(&Lapse) -> bool) -> u64 {
        let recent = |lapse: &&Lapse| now.millis_since(lapse.at) <= u64::from(span.as_millis());
        self.lapses.iter().filter(recent).filter(|lapse| which(lapse)).map(|lapse| u64::from(lapse.held_ms)).sum()
    }
}

impl Marketplace {
    /// What comes before the signature of a REQUEST is checked: proof of work, and the
    /// rates of P20.
    pub(super) fn request_admission(
        &mut self,
        now: Timestamp,
        turn: &Turn,
        request: &Request,
        signer: &PublicKey,
    ) -> Result<(), RejectReason> {
        let uncredentialed = request.cert_id.is_none();
        if uncredentialed && self.config.pow_bits > 0 {
            let bits = self.config.pow_bits;
            let issued = request.issued;
            let done = request.pow.is_some_and(|pow| pow_ok(self.network, signer, 0, issued, &pow, bits));
            if !done {
                return Err(RejectReason::Credential);
            }
        }
        let origin = self.origin(turn.peer);
        let Some(driver) = self.driver.as_mut() else { return Err(RejectReason::Unknown) };
        let exempt = matches!(origin, None | Some(Origin::Loopback));
        match origin {
            Some(origin) if !exempt && uncredentialed && !driver.by_origin.take(&origin, now) => {
                Err(RejectReason::Rate)
            }
            _ => Ok(()),
        }
    }

    /// A REQUEST whose signature is good.
    pub(super) fn on_ride_request(&mut self, now: Timestamp, turn: &mut Turn, request: Verified<Request>) {
        let Some(driver) = self.driver.as_ref() else { return turn.refuse(RejectReason::Unknown) };
        let (to, rider, id) = (request.body().to, *request.signer(), request.id());
        // Bound, or known from before: the table has the answer without any guard.
        let known = !driver.is_free() || driver.lane.past.values().any(|past| past.held.request == id);
        if driver.key != to || known {
            let event = DriverEvent::Request { request: id, rider, guard: Guard::Refuse(RejectReason::Unknown), accept: id };
            return self.drive(now, turn, to, event);
        }
        if driver.pending.values().any(|pending| pending.request.id() == id) {
            let ms = request.body().ttl.as_millis();
            return turn.answer(Frame::new(FrameContent::Wait { ms }));
        }
        let plan = match self.plan(now, &request) {
            Ok(plan) => plan,
            Err(Guard::Counter) => return self.counter(now, turn, &request),
            Err(guard) => {
                let event = DriverEvent::Request { request: id, rider, guard, accept: id };
                return self.drive(now, turn, to, event);
            }
        };
        let Some(driver) = self.driver.as_ref() else { return };
        let mode = driver.profile.as_ref().map(|profile| profile.accept_mode);
        if mode == Some(AcceptMode::Ask) {
            return self.ask_user(now, turn, request, plan.fare);
        }
        if self.is_scarce(now) {
            return self.collect(now, turn, request);
        }
        self.bind_driver(now, turn, &request, plan);
    }

    /// Whether waiting riders outnumber free drivers, as far as this node hears.
    fn is_scarce(&self, now: Timestamp) -> bool {
        use crate::book::Side;
        self.config.timers.collect > Duration::ZERO
            && self.book.live_count(Side::Riders, now) > self.book.live_count(Side::Drivers, now) + 1
    }

    /// P6.20: whether this REQUEST gets an ACCEPT, and on which terms.
    fn plan(&mut self, now: Timestamp, request: &Verified<Request>) -> Result<Plan, Guard> {
        let refuse = |reason| Err(Guard::Refuse(reason));
        let body = request.body();
        if self.halted.is_some() || self.outbox.len() >= self.config.limits.outbox {
            return refuse(RejectReason::Busy);
        }
        let standing = self.admission.verify_certificates(
            now,
            request.signer(),
            Role::Rider,
            body.issued,
            body.cert_id,
            &body.certs,
        );
        let Ok(standing) = standing else { return refuse(RejectReason::Credential) };
        if self.admission.is_banned(request.signer(), standing.identity.as_ref(), now) {
            return refuse(RejectReason::Policy);
        }
        if standing.level < self.rider_level() {
            return refuse(RejectReason::Credential);
        }
        let hold = self.hold_for(now, standing.level, standing.identity)?;
        let Some(driver) = self.driver.as_mut() else { return refuse(RejectReason::Unknown) };
        if let Some(identity) = standing.identity
            && !driver.by_identity.take(&identity, now)
        {
            return refuse(RejectReason::Rate);
        }
        if !driver.online {
            return refuse(RejectReason::Busy);
        }
        let Some(offer) = driver.offers.iter().find(|offer| offer.id() == body.offer_id).cloned() else {
            return refuse(RejectReason::Unknown);
        };
        if now > offer.body().expires() + Duration::from_millis(OFFER_GRACE_MS) {
            return refuse(RejectReason::Expired);
        }
        if body.driver_slot > driver.lane.slot {
            return refuse(RejectReason::SlotAhead);
        }
        let Some(terms) = offer.body().live.clone() else { return refuse(RejectReason::Unknown) };
        if body.class != terms.class || !terms.features.contains(body.features) {
            return refuse(RejectReason::Class);
        }
        if body.party > terms.seats {
            return refuse(RejectReason::Seats);
        }
        if let Some(drop) = body.drop_cell
            && f64::from(body.dist) + 1.0 < body.pickup_cell.least_distance_m(drop)
        {
            return refuse(RejectReason::Bad);
        }
        let counter = match body.counter_id {
            None => None,
            Some(id) => match driver.counters.get(&id) {
                Some(counter) if counter.body().to == *request.signer() => Some(counter.clone()),
                _ => return refuse(RejectReason::Unknown),
            },
        };
        let Ok(ask) = terms.tariff.fare(body.dist, body.ride_time, Duration::ZERO) else {
            return refuse(RejectReason::Tariff);
        };
        if counter.is_none() && ask.total > body.max_fare {
            let profile = driver.profile.as_ref();
            let discount = u64::from(profile.map_or(0, |profile| profile.discount.min(1_000)));
            let least = ask.total.minor() - ask.total.minor() * discount / 1_000;
            let asks = driver.counters.values().filter(|counter| counter.body().to == *request.signer()).count();
            let more = asks < usize::from(self.config.limits.counters);
            return Err(if discount > 0 && body.max_fare.minor() >= least && more {
                Guard::Counter
            } else {
                Guard::Refuse(RejectReason::Tariff)
            });
        }
        match fare_limit(&terms.tariff, body, counter.as_ref().map(|counter| counter.body())) {
            Ok(fare) => Ok(Plan { offer, counter, fare, hold }),
            Err(_) => refuse(RejectReason::Tariff),
        }
    }

    pub(super) fn rider_level(&self) -> Level {
        if self.config.issuers.is_empty() { Level::L0 } else { self.config.rider_level }
    }

    /// How long this rider may hold the lane, by the budgets of P20.
    fn hold_for(&self, now: Timestamp, level: Level, identity: Option<PublicKey>) -> Result<Duration, Guard> {
        let limits = &self.config.limits;
        let Some(driver) = self.driver.as_ref() else { return Ok(self.config.timers.hold) };
        let span = limits.lapse_span;
        let recent = |lapse: &&Lapse| now.millis_since(lapse.at) <= u64::from(span.as_millis());
        if let Some(identity) = identity {
            let lapsed = driver.lapses.iter().filter(recent).filter(|lapse| lapse.identity == Some(identity)).count();
            if lapsed >= limits.lapsed_holds_per_identity as usize {
                return Err(Guard::Refuse(RejectReason::Rate));
            }
        }
        let separate = !self.config.issuers.is_empty() && level < Level::L2;
        if separate {
            let used = driver.lapsed_ms(now, span, |lapse| !lapse.credentialed);
            if used >= u64::from(limits.lapsed_uncredentialed.as_millis()) {
                return Err(Guard::Refuse(RejectReason::Rate));
            }
        }
        let used = driver.lapsed_ms(now, span, |_| true);
        if used >= u64::from(limits.lapsed_all.as_millis()) && level < Level::L3 {
            return Ok(limits.hold_short);
        }
        Ok(if separate { self.config.timers.hold_uncredentialed } else { self.config.timers.hold })
    }

    /// P6.1: signs the ACCEPT that uses up the open slot.
    fn bind_driver(&mut self, now: Timestamp, turn: &mut Turn, request: &Verified<Request>, plan: Plan) {
        let Some(peer) = turn.peer else { return };
        let Some((accept, vehicle)) = self.draft_accept(now, request, &plan) else {
            return turn.refuse(RejectReason::Busy);
        };
        let Some(driver) = self.driver.as_mut() else { return };
        let (rider, id) = (*request.signer(), request.id());
        let event = DriverEvent::Request { request: id, rider, guard: Guard::Pass, accept: accept.id() };
        let step = driver.lane.transition(event);
        let [DriverWrite::Bind { slot, .. }] = step.writes.as_slice() else { return };
        let slot = driver.slot_ref(*slot);
        let currency = plan.offer.body().live.as_ref().map(|terms| terms.tariff.currency);
        let ride = self.ride_for_request(now, &id);
        let bound = Bound {
            slot,
            role: Role::Driver,
            ride,
            counterparty: rider,
            peer,
            request: id,
            accept: accept.id(),
            agreement: agreement_id(&id, &accept.id()),
            fare: accept.body().fare,
            currency: currency.unwrap_or(hailmesh_types::Currency::USD),
            at: now,
            deadline: now + accept.body().hold,
        };
        let mut deal = Deal::new(bound.clone(), plan.offer.clone(), plan.counter.clone(), request.clone(), accept.clone());
        let mut records = vec![Record::Bound(bound)];
        records.extend(deal.note(&plan.offer, true));
        records.extend(plan.counter.as_ref().and_then(|counter| deal.note(counter, true)));
        records.extend(deal.note(request, false));
        records.extend(deal.note(&accept, true));
        records.push(deal.keep(SecretPurpose::Vehicle, opening_bytes(&vehicle)));
        self.deals.insert(slot, deal);
        self.trim_deals();
        let retry = now + self.config.timers.outbox;
        records.extend(self.queue(slot, Kind::Accept, accept.id(), accept.bytes(), retry));
        self.persist(records);
        if let Some(entry) = self.rides.get_mut(&ride) {
            entry.slot = Some(slot);
        }
        self.set_ride(now, ride, RideState::Held, None);
        self.timers.set(Timer::Hold(slot), now + accept.body().hold);
        self.drive_sends(now, turn, slot.key, &step.sends);
    }

    /// The ride that this REQUEST was shown to the user as, or a new one.
    fn ride_for_request(&mut self, now: Timestamp, request: &StatementId) -> RideId {
        let pending = self.driver.as_mut().and_then(|driver| {
            let ride = driver.pending.iter().find(|(_, pending)| pending.request.id() == *request)?;
            let ride = *ride.0;
            driver.pending.remove(&ride);
            Some(ride)
        });
        if let Some(ride) = pending {
            self.timers.clear(Timer::Pending(ride));
            return ride;
        }
        self.new_ride(now, Role::Driver, RideState::Requested)
    }

    fn draft_accept(
        &mut self,
        now: Timestamp,
        request: &Verified<Request>,
        plan: &Plan,
    ) -> Option<(Verified<Accept>, Opening)> {
        let salt = self.random();
        let driver = self.driver.as_ref()?;
        let slot = driver.lane.slot;
        let prev = self.driver_prev(slot)?;
        let terms = plan.offer.body().live.as_ref()?;
        let vehicle = driver.profile.as_ref()?.vehicle.to_opening(salt);
        let cell = driver.position.as_ref()?.cell()?;
        let eta = self.eta(cell, request.body().pickup_cell);
        let fixed = request.body().drop_cell.is_some();
        let body = Accept {
            to: *request.signer(),
            issued: now,
            request_id: request.id(),
            offer_id: plan.offer.id(),
            tariff_hash: tariff_hash(&terms.tariff),
            lane: 0,
            slot,
            prev,
            fare_kind: if fixed { FareKind::Fixed } else { FareKind::Metered },
            fare: plan.fare,
            eta,
            hold: plan.hold,
            pickup_by: now + eta.saturating_add(Duration::from_millis(PICKUP_SLACK_MS)),
            vehicle_commit: commit(Purpose::Vehicle, &vehicle),
            ext: Extensions::NONE,
        };
        Some((self.sign(&driver.signing, body), vehicle))
    }

    /// P3.5: how the slot before `slot` ended. Nothing when that is not known, which
    /// only a damaged store can cause: then nothing is signed.
    fn driver_prev(&self, slot: u64) -> Option<Prev> {
        let driver = self.driver.as_ref()?;
        let Some(before) = slot.checked_sub(1) else {
            let lost = Prev { outcome: Outcome::KeyReplaced, ..Prev::FIRST };
            return Some(if driver.replaces_lost { lost } else { Prev::FIRST });
        };
        let past = driver.lane.past.get(&before)?;
        let deal = self.deals.get(&driver.slot_ref(before));
        let proof = match past.outcome {
            Outcome::CompletedUnilateral => Some(deal?.boarding_secret()?.to_vec()),
            _ => match past.proof {
                Some(id) => Some(deal?.said.iter().find(|said| said.id == id)?.bytes.to_vec()),
                None => None,
            },
        };
        Some(Prev { outcome: past.outcome, accept_id: Some(past.held.accept), proof })
    }

    /// P5.10: another fare, at the rider's own limit.
    fn counter(&mut self, now: Timestamp, turn: &mut Turn, request: &Verified<Request>) {
        let fare = request.body().max_fare;
        self.say_counter(now, turn, request, fare);
    }

    fn say_counter(&mut self, now: Timestamp, turn: &mut Turn, request: &Verified<Request>, fare: Amount) {
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
    fn ask_user(&mut self, now: Timestamp, turn: &mut Turn, request: Verified<Request>, fare: Amount) {
        let most = self.config.limits.pending_asks;
        let Some(driver) = self.driver.as_ref() else { return };
        if driver.pending.len() >= most {
            let signing = driver.signing.clone();
            let slot = Some(driver.lane.slot);
            return self.reject(now, turn, &signing, *request.signer(), request.id(), RejectReason::Busy, slot);
        }
        let Some(peer) = turn.peer else { return };
        let currency = driver.profile.as_ref().map(|profile| profile.tariff.currency);
        let ttl = request.body().ttl;
        let ride = self.new_ride(now, Role::Driver, RideState::Requested);
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

    fn take_pending(&mut self, ride: RideId) -> Result<Pending, CommandError> {
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
        let Some(driver) = self.driver.as_ref() else { return Err(CommandError::UnknownRide(ride)) };
        let (signing, slot) = (driver.signing.clone(), Some(driver.lane.slot));
        let mut turn = Turn::toward(pending.peer, *pending.request.signer());
        let request = pending.request;
        self.reject(now, &mut turn, &signing, *request.signer(), request.id(), RejectReason::Policy, slot);
        self.set_ride(now, ride, RideState::Declined, None);
        Ok(Answer::Ride(ride))
    }

    /// The user names another fare.
    pub(super) fn counter_ride(&mut self, now: Timestamp, ride: RideId, fare: Amount) -> Result<Answer, CommandError> {
        let pending = self.take_pending(ride)?;
        self.timers.clear(Timer::Pending(ride));
        let mut turn = Turn::toward(pending.peer, *pending.request.signer());
        self.say_counter(now, &mut turn, &pending.request, fare);
        self.set_ride(now, ride, RideState::Declined, Some("another fare was proposed"));
        Ok(Answer::Ride(ride))
    }

    /// P6.22: waits a little for others.
    fn collect(&mut self, now: Timestamp, turn: &mut Turn, request: Verified<Request>) {
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
        let mut collected = std::mem::take(&mut driver.collected);
        let key = driver.key;
        let worth = |one: &Collected| crate::matching::worth(one.request.body().pickup_cell, &self.book, &key, now);
        collected.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then(a.request.id().cmp(&b.request.id())));
        for one in collected {
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
        let witnessed = self.witness.observe_confirm(now, &confirm);
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
    fn firm_driver(
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
        self.close_invites();
        self.set_ride(now, ride, RideState::Firm, None);
    }

    pub(super) fn on_release(&mut self, now: Timestamp, turn: &mut Turn, release: Verified<Release>) {
        let body = release.body();
        let event = DriverEvent::Release { release: release.id(), accept: body.accept_id, rider: *release.signer() };
        let slot = self.deal_by_accept(&body.accept_id);
        if let Some(slot) = slot
            && self.deals.get(&slot).is_some_and(|deal| deal.counterparty() == *release.signer())
        {
            self.follow_peer(now, slot, turn.peer);
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
        let same_total = deal.is_some_and(|deal| {
            deal.bound.agreement == body.agreement_id
                && deal.complete.as_ref().is_some_and(|complete| complete.body().total == body.total)
        });
        let event = DriverEvent::Cosign {
            cosign: cosign.id(),
            accept: body.accept_id,
            complete: body.complete_id,
            rider: *cosign.signer(),
            same_total,
        };
        let ours = deal.is_some_and(|deal| deal.counterparty() == *cosign.signer() && same_total);
        let record = match slot {
            Some(slot) if ours => {
                self.follow_peer(now, slot, turn.peer);
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
        let party = known.is_some_and(|deal| deal.role() == Role::Driver && deal.counterparty() == *ask.signer());
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
                let more = self.end_driver_slot(now, slot, outcome, proof, answered, ending.unwrap_or_default());
                records.extend(more);
            }
        }
        if !records.is_empty() {
            self.persist(records);
        }
        self.drive_sends(now, turn, key, &step.sends);
    }

    /// Says what a transition asks for, from what is stored.
    pub(super) fn drive_sends(&mut self, now: Timestamp, turn: &mut Turn, key: PublicKey, sends: &[DriverSend]) {
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

    fn refuse_signed(&mut self, now: Timestamp, turn: &mut Turn, about: StatementId, reason: RejectReason) {
        let (Some(driver), Some(to)) = (self.driver.as_ref(), turn.signer) else { return };
        let (signing, slot) = (driver.signing.clone(), Some(driver.lane.slot));
        self.reject(now, turn, &signing, to, about, reason, slot);
    }

    /// P14.6: from the centre of one cell to that of the other, rounded up to 30 s.
    pub(super) fn eta(&self, from: hailmesh_types::Cell, to: hailmesh_types::Cell) -> Duration {
        crate::matching::eta(from, to, self.config.speed_kmh)
    }
}
