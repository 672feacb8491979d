//! The driver's side of the handshake: what surrounds the table of P6.

use std::collections::{BTreeMap, VecDeque};

use ed25519_dalek::SigningKey;
use hailmesh_types::{Amount, Duration, PeerKey, PublicKey, StatementId, Timestamp};

use hailmesh_wire::{
    Accept, AcceptMode, Counter, DriverOffer, Extensions, FareKind, Frame, FrameContent, Kind, Opening,
    Outcome, Prev, Purpose, RejectReason, Request, RideState, ShiftCert, Verified, agreement_id, commit,
    fare_limit, pow_ok, tariff_hash,
};

use crate::budget::{Bucket, Buckets};
use crate::certificates::Level;
use crate::command::DriverProfile;
use crate::handshake::{DriverEvent, DriverLane, DriverWrite, Guard, LaneState};
use crate::input::{ExchangeId, Origin};
use crate::journal::{Bound, Record, RideId, Role, SecretPurpose, SlotRef};
use crate::limits::Limits;
use crate::position::PublishedPosition;
use crate::table::HashKey;

use super::Marketplace;
use super::deal::{Deal, opening_bytes};
use super::exchange::Turn;
use super::own_offers::OwnOffers;
use super::timers::Timer;

/// How much later than the estimate a pickup may be, milliseconds.
const PICKUP_SLACK_MS: u32 = 600_000;

/// Everything a driver has beyond its deals.
pub(super) struct DriverSide {
    pub(super) signing: SigningKey,
    pub(super) key: PublicKey,
    pub(super) cert: Option<Verified<ShiftCert>>,
    /// The window of its certificate.
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) replaces_lost: bool,
    pub(super) lane: DriverLane,
    /// Lanes of earlier shift keys, which nothing new is signed with.
    pub(super) retired: BTreeMap<PublicKey, DriverLane>,
    pub(super) profile: Option<DriverProfile>,
    pub(super) online: bool,
    pub(super) position: Option<PublishedPosition>,
    pub(super) offers: OwnOffers,
    pub(super) live: bool,
    pub(super) seq: u64,
    pub(super) seq_limit: u64,
    pub(super) bucket: Bucket,
    pub(super) last_published: Option<Timestamp>,
    pub(super) published: u64,
    pub(super) pending: BTreeMap<RideId, Pending>,
    pub(super) collected: Vec<Collected>,
    pub(super) counters: BTreeMap<StatementId, Verified<Counter>>,
    pub(super) invites: Vec<OpenInvite>,
    /// Since when it has waited for a ride.
    pub(super) free_since: Timestamp,
    /// The newest own offer was shown with an INVITE and is not gossiped yet.
    pub(super) drafted: bool,
    /// When the ride under way is expected to end.
    pub(super) ride_ends: Option<Timestamp>,
    /// Not listening to offers for a while: busy, or one of many that are free.
    pub(super) away: bool,
    /// Since when it listens.
    pub(super) woke: Timestamp,
    /// Until then there are so many other free cars that they are not listened to.
    pub(super) crowded_until: Timestamp,
    /// Ride keys that the user has declined: the node does not invite them on its own,
    /// or it would ring the phone again that was just put down.
    pub(super) declined: VecDeque<PublicKey>,
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
pub(super) struct Collected {
    pub(super) exchange: Option<ExchangeId>,
    pub(super) peer: PeerKey,
    pub(super) request: Verified<Request>,
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
pub(super) struct Plan {
    offer: Verified<DriverOffer>,
    counter: Option<Verified<Counter>>,
    pub(super) fare: Amount,
    hold: Duration,
}

impl DriverSide {
    pub(super) fn new(
        signing: SigningKey,
        (from, until): (Timestamp, Timestamp),
        limits: &Limits,
        hash_key: HashKey,
    ) -> Self {
        Self {
            key: PublicKey::from(signing.verifying_key()),
            signing,
            cert: None,
            from,
            until,
            replaces_lost: false,
            lane: DriverLane::default(),
            retired: BTreeMap::new(),
            profile: None,
            online: false,
            position: None,
            offers: OwnOffers::default(),
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
            free_since: Timestamp::MIN,
            drafted: false,
            ride_ends: None,
            away: false,
            woke: Timestamp::MIN,
            crowded_until: Timestamp::MIN,
            declined: VecDeque::new(),
            by_identity: Buckets::new(limits.requests_per_identity, limits.request_buckets, hash_key),
            by_origin: Buckets::new(limits.requests_per_origin, limits.request_buckets, hash_key),
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
        self.lapses
            .iter()
            .filter(recent)
            .filter(|lapse| which(lapse))
            .map(|lapse| u64::from(lapse.held_ms))
            .sum()
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
            let event = DriverEvent::Request {
                request: id,
                rider,
                guard: Guard::Refuse(RejectReason::Unknown),
                accept: id,
            };
            return self.drive(now, turn, to, event);
        }
        if driver.pending.values().any(|pending| pending.request.id() == id) {
            let ms = request.body().ttl.as_millis();
            return turn.answer(Frame::new(FrameContent::Wait { ms }));
        }
        if let Some(retry) = self.beyond_reach(now, request.body().pickup_cell) {
            let Some(signing) = self.signing_for(&to) else { return turn.refuse(RejectReason::Unknown) };
            let open = self.driver.as_ref().map(|driver| driver.lane.slot);
            return self.reject_until(now, turn, &signing, rider, id, RejectReason::TooFar, open, retry);
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

    /// Whether waiting riders outnumber free drivers in as large a place, as far as this node
    /// hears.
    pub(super) fn is_scarce(&self, now: Timestamp) -> bool {
        use crate::book::Side;
        if self.config.timers.collect == Duration::ZERO || self.is_resting(now) {
            return false;
        }
        // Each side is heard from so many topics.
        let riders = self.book.live_count(Side::Riders, now) * self.own_ring.len().max(1);
        let drivers = (self.book.live_count(Side::Drivers, now) + 1) * self.ring.len().max(1);
        riders > drivers
    }

    /// P6.20: whether this REQUEST gets an ACCEPT, and on which terms.
    pub(super) fn plan(&mut self, now: Timestamp, request: &Verified<Request>) -> Result<Plan, Guard> {
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
        // P8.9: what the certificate does not cover is worth nothing later.
        if !driver.online || now < driver.from || now >= driver.until {
            return refuse(RejectReason::Busy);
        }
        let offer = match driver.offers.honoured(&body.offer_id, now, &*self.signatures) {
            Ok(offer) => offer,
            Err(reason) => return refuse(reason),
        };
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
            let asks =
                driver.counters.values().filter(|counter| counter.body().to == *request.signer()).count();
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
            let lapsed =
                driver.lapses.iter().filter(recent).filter(|lapse| lapse.identity == Some(identity)).count();
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
    pub(super) fn bind_driver(
        &mut self,
        now: Timestamp,
        turn: &mut Turn,
        request: &Verified<Request>,
        plan: Plan,
    ) {
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
        let mut deal = Deal::new(
            bound.clone(),
            plan.offer.clone(),
            plan.counter.clone(),
            request.clone(),
            accept.clone(),
        );
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
        self.new_ride(now, Role::Driver)
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
}
