//! Looking for a driver: whom to ask, when, and when to give up (P5.8, P7.1 to P7.6).

use std::collections::BTreeMap;
use std::sync::Arc;

use hailmesh_types::{Amount, Cell, Duration, PublicKey, Resolution, StatementId, Timestamp};
use hailmesh_wire::{
    AcceptMode, Attachment, Counter, Extensions, Frame, Invite, RejectReason, Request, RideState, RiderOffer,
    Verified,
};

use crate::book::BookedDriver;
use crate::certificates::Level;
use crate::command::{Answer, CommandError, Wish};
use crate::handshake::RiderEvent;
use crate::journal::{RideId, Role};
use crate::matching::{DETOUR, DRIVE_MAX, Exclusion, Spot};
use crate::view::NoMatch;

use super::Marketplace;
use super::exchange::{About, Turn};
use super::rider::Chain;
use super::rider_compare::Offered;
use super::timers::Timer;

/// Distance assumed for a ride without a destination, metres: only caps the fare.
const OPEN_RIDE_M: u32 = 30_000;
/// Time assumed for a ride without a destination.
const OPEN_RIDE: Duration = Duration::from_secs(3_600);
/// How long a driver that said no is left alone.
const REFUSED: Duration = Duration::from_secs(20);
/// The same for a driver that is only engaged for the moment.
const BUSY: Duration = Duration::from_secs(3);
/// The most that a driver can ask for itself to be left alone: as long as offers live.
const AWAY_MAX: Duration = Duration::from_secs(120);
/// Without a reason the view is looked at again after so many decision periods.
const LOOKS_IDLE: u32 = 50;
/// Most drivers remembered as having said no.
const REFUSALS_MAX: usize = 1_000;
/// REQUESTs remembered beyond their search.
const LATELY_MAX: usize = 64;
/// Most INVITEs remembered that are to be answered later, and how long.
const INVITED_MAX: usize = 64;
const INVITED_FOR: Duration = Duration::from_secs(30);

/// One search of a rider.
pub(super) struct Search {
    pub(super) ride: RideId,
    pub(super) key: PublicKey,
    pub(super) wish: Wish,
    /// When the user asked for the ride.
    pub(super) started: Timestamp,
    pub(super) attempt: u16,
    pub(super) deadline: Timestamp,
    pub(super) first_request: Option<Timestamp>,
    last_request: Option<Timestamp>,
    pub(super) asks: BTreeMap<StatementId, Pending>,
    pub(super) refused: BTreeMap<PublicKey, Refusal>,
    /// When the view was last looked at.
    pub(super) looked: Option<Timestamp>,
    /// ACCEPTs that are compared with each other (P7.23).
    pub(super) offered: Vec<Offered>,
    answers: BTreeMap<String, u32>,
    /// From when on drivers that have invited are asked.
    invited: BTreeMap<PublicKey, Timestamp>,
    /// The rider offer that is out, if one is.
    pub(super) offer: Option<Verified<RiderOffer>>,
    pub(super) opened: bool,
    /// Committed: nothing is asked until that is settled.
    pub(super) paused: bool,
}

/// A driver that said no is not asked for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    until: Timestamp,
    /// Sequence number of the offer that was asked for, if it is over for good: the next
    /// one counts at once.
    over: Option<u64>,
}

impl Refusal {
    /// Whether a driver whose newest offer is this one is left alone.
    pub(super) fn holds(&self, now: Timestamp, newest: u64) -> bool {
        self.until > now && self.over.is_none_or(|over| newest <= over)
    }
}

/// A REQUEST that was not answered yet.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) offer: Arc<BookedDriver>,
    pub(super) request: Verified<Request>,
    pub(super) counter: Option<Verified<Counter>>,
    pub(super) human: bool,
}

impl Marketplace {
    /// P7.1: the user wants a ride.
    pub(super) fn request_ride(&mut self, now: Timestamp, wish: Wish) -> Result<Answer, CommandError> {
        let Some(rider) = self.rider.as_mut() else {
            return Err(CommandError::WrongRole("this node drives: rides are requested from a rider node"));
        };
        if let Some(search) = &rider.search {
            return Err(CommandError::Busy(search.ride));
        }
        if let Some(slot) = rider.bound() {
            let ride = self.deals.get(&slot).map(|deal| deal.bound.ride);
            return Err(ride.map_or(CommandError::StoreUnavailable, CommandError::Busy));
        }
        if wish.patience.as_millis() < 1_000 {
            return Err(CommandError::BadValue {
                what: "patience",
                value: format!("{} ms", wish.patience.as_millis()),
                expected: "at least 1 s",
            });
        }
        if let Some(to) = &wish.to
            && to.expose().distance_m(*wish.from.expose()) * DETOUR > 500_000.0
        {
            return Err(CommandError::BadValue {
                what: "destination",
                value: "more than 500 km away by road".to_owned(),
                expected: "a ride of at most 500 km",
            });
        }
        let (signing, until) = self.take_ride_key(now);
        let key = PublicKey::from(signing.verifying_key());
        let ride = self.new_ride(now, Role::Rider);
        let deadline = now + wish.patience;
        let mut chain =
            Chain { signing, until, chain: crate::handshake::RiderChain::default(), seq: 0, seq_limit: 0 };
        chain.chain.transition(RiderEvent::Want);
        let search = Search {
            ride,
            key,
            wish,
            started: now,
            attempt: 1,
            deadline,
            first_request: None,
            last_request: None,
            asks: BTreeMap::new(),
            offered: Vec::new(),
            refused: BTreeMap::new(),
            looked: None,
            answers: BTreeMap::new(),
            invited: BTreeMap::new(),
            offer: None,
            opened: false,
            paused: false,
        };
        if let Some(rider) = self.rider.as_mut() {
            rider.here = Some(search.wish.from);
            rider.chains.insert(key, chain);
            rider.search = Some(search);
        }
        self.timers.set(Timer::Patience, deadline);
        self.timers.set(Timer::OpenAfter, now + self.config.timers.open_after);
        self.follow_ring(now);
        self.listen_farther_later(now);
        self.shop(now);
        Ok(Answer::Ride(ride))
    }

    /// Looks at the view again and asks whoever is due.
    pub(super) fn shop(&mut self, now: Timestamp) {
        if !self.is_shopping() || self.compare(now) {
            return;
        }
        let survey = self.survey(now);
        let timers = self.config.timers;
        let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) else { return };
        search.looked = Some(now);
        let human = search.asks.values().any(|pending| pending.human);
        let room = search.asks.len() < usize::from(timers.hedge_max) && !human;
        let step_over = search.last_request.map(|last| last + timers.hedge_step);
        let idle = search.asks.is_empty();
        let none_known = survey.ranked.is_empty() && idle;
        // Each ask to a human is a ringing phone: one at a time (P5.8).
        let pick = survey.ranked.iter().find(|one| one.due <= now && (idle || !one.is_human()));
        match (pick, step_over) {
            (Some(_), Some(due)) if room && !idle && due > now => {
                self.timers.set(Timer::Hedge, due);
            }
            (Some(chosen), _) if room => {
                let driver = Arc::clone(&chosen.booked);
                self.note_choice(now, chosen, &survey);
                self.ask_driver(now, driver, None, None);
                self.timers.set(Timer::Hedge, now + timers.hedge_step);
            }
            _ => {}
        }
        if none_known {
            // P5.13: nobody to ask, so be found.
            self.open_search(now);
        }
        let next = survey.ranked.iter().map(|one| one.due).filter(|due| *due > now).min();
        let soon = now + timers.decision_period;
        let later = now + timers.decision_period.saturating_mul(LOOKS_IDLE);
        self.timers.set_by(Timer::Decide, next.unwrap_or(later).clamp(soon, later));
    }

    /// Why a key is never a partner.
    pub(super) fn never(&self, key: &PublicKey, now: Timestamp) -> Option<Exclusion> {
        let identity = self.book.driver(key).and_then(|booked| booked.identity().copied());
        if self.is_own(key) {
            Some(Exclusion::Own)
        } else if self.admission.is_banned(key, identity.as_ref(), now) {
            Some(Exclusion::Banned)
        } else {
            None
        }
    }

    pub(super) fn driver_level(&self) -> Level {
        if self.config.issuers.is_empty() { Level::L0 } else { self.config.driver_level }
    }

    /// The rider's own estimate of the ride, metres and time (P4.5).
    pub(super) fn trip(&self, wish: &Wish) -> (u32, Duration) {
        let Some(to) = &wish.to else { return (OPEN_RIDE_M, OPEN_RIDE) };
        let metres = wish.from.expose().distance_m(*to.expose()) * DETOUR;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most half the globe")]
        let dist_m = (metres.ceil() as u32).clamp(1, 500_000);
        let drive = self.travel.drive(Spot::Point(*wish.from.expose()), Spot::Point(*to.expose()));
        if drive < DRIVE_MAX {
            return (dist_m, drive);
        }
        // Farther than anybody drives to a pickup, which is all that is told apart there.
        let ms = u64::from(dist_m) * 3_600 / u64::from(self.config.speed_kmh.max(1));
        (dist_m, Duration::from_millis(u32::try_from(ms).unwrap_or(u32::MAX).min(43_200_000)))
    }

    /// Signs and sends one REQUEST.
    pub(super) fn ask_driver(
        &mut self,
        now: Timestamp,
        driver: Arc<BookedDriver>,
        counter: Option<Verified<Counter>>,
        invite: Option<StatementId>,
    ) {
        let nonce = self.random();
        let key = self.rider.as_ref().and_then(|rider| Some(rider.search.as_ref()?.key));
        if !key.is_some_and(|key| self.has_worked_for_request(&key, now)) {
            return;
        }
        let Some(rider) = self.rider.as_ref() else { return };
        let Some(search) = rider.search.as_ref() else { return };
        let Some(chain) = rider.chains.get(&search.key) else { return };
        let offer = driver.offer.body();
        let Some(terms) = offer.live.as_ref() else { return };
        let wish = &search.wish;
        let (dist, ride_time) = self.trip(wish);
        let Ok(fare) = terms.tariff.fare(dist, ride_time, Duration::ZERO) else { return };
        // Without a limit of the user's own, the fare that follows from the offer is it.
        let max_fare = wish.max_fare.unwrap_or(fare.total).min(Amount::MAX);
        let human = terms.accept_mode == AcceptMode::Ask;
        let ttl = if human { self.config.timers.ask_human } else { self.config.timers.ask_auto };
        let body = Request {
            to: *driver.offer.signer(),
            issued: now,
            offer_id: driver.offer.id(),
            driver_slot: offer.slot,
            rider_slot: chain.chain.slot,
            attempt: search.attempt,
            nonce,
            pickup_cell: Cell::at(*wish.from.expose(), Resolution::PICKUP),
            drop_cell: wish.to.as_ref().map(|to| Cell::at(*to.expose(), Resolution::TOPIC)),
            dist,
            ride_time,
            party: wish.party,
            class: wish.class,
            features: wish.features,
            max_fare,
            ttl,
            counter_id: counter.as_ref().map(|counter| counter.id()),
            invite_id: invite,
            cert_id: None,
            certs: Vec::new(),
            pow: self.work_for_request(&search.key, now),
            ext: Extensions::NONE,
        };
        let request = self.sign(&chain.signing, body);
        let id = request.id();
        let (peer, addrs) = (driver.offer.signer().to_peer_key(), offer.addrs.clone());
        let ride = search.ride;
        let frame = Frame::statement(request.bytes());
        let pending = Pending { offer: driver, request, counter, human };
        if let Some(rider) = self.rider.as_mut() {
            if rider.lately.len() >= LATELY_MAX {
                rider.lately.pop_front();
            }
            rider.lately.push_back(pending.clone());
        }
        if let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) {
            search.first_request.get_or_insert(now);
            search.last_request = Some(now);
            search.asks.insert(id, pending);
        }
        if let Some(entry) = self.rides.get_mut(&ride) {
            entry.asked += 1;
        }
        self.timers.set(Timer::Ask(id), now + ttl);
        self.say(&mut Turn::own(), peer, addrs, frame, About::Request(id));
    }

    /// Takes an open REQUEST that this key asked of this driver.
    pub(super) fn take_ask(
        &mut self,
        key: &PublicKey,
        request: &StatementId,
        driver: &PublicKey,
    ) -> Option<Pending> {
        let search = self.rider.as_mut()?.search.as_mut()?;
        let pending = search.asks.get(request)?;
        if search.key != *key || pending.offer.offer.signer() != driver {
            return None;
        }
        self.timers.clear(Timer::Ask(*request));
        search.asks.remove(request)
    }

    /// A REQUEST to this driver, open or not any more.
    pub(super) fn asked_lately(&self, request: &StatementId, driver: &PublicKey) -> Option<Pending> {
        let asked = &self.rider.as_ref()?.lately;
        let is_it =
            |pending: &&Pending| pending.request.id() == *request && pending.offer.offer.signer() == driver;
        asked.iter().find(is_it).cloned()
    }

    /// Whether this key has asked this driver lately.
    pub(super) fn was_asked(&self, key: &PublicKey, driver: &PublicKey) -> bool {
        let asked = self.rider.iter().flat_map(|rider| &rider.lately);
        let mut pairs = asked.map(|pending| (pending.request.signer(), pending.offer.offer.signer()));
        pairs.any(|pair| pair == (key, driver))
    }

    pub(super) fn on_wait(&mut self, now: Timestamp, about: About, ms: u32) {
        // A WAIT says that a human is asked; it never lengthens the time the rider gave
        // (P5.9).
        if let About::Request(request) = about {
            let human = now + self.config.timers.ask_human;
            let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) else { return };
            if let Some(pending) = search.asks.get_mut(&request) {
                pending.human = true;
                let body = pending.request.body();
                let own = body.issued + body.ttl;
                self.timers.set(Timer::Ask(request), own.min(now + Duration::from_millis(ms)).min(human));
            }
        }
    }

    pub(super) fn on_ask_overdue(&mut self, now: Timestamp, request: StatementId) {
        self.drop_ask(now, &request, "no_answer", BUSY, false);
    }

    pub(super) fn on_request_failed(&mut self, now: Timestamp, request: StatementId, why: &'static str) {
        let word = if why == "not reachable" { "unreachable" } else { "no_answer" };
        self.drop_ask(now, &request, word, REFUSED, false);
    }

    /// `retry` is when the driver says that asking again may help; zero: it does not say.
    /// A driver that is busy says so where its offer is over (P6.5): a withdrawal does not
    /// reach everybody.
    pub(super) fn on_request_refused(
        &mut self,
        now: Timestamp,
        request: StatementId,
        reason: RejectReason,
        retry: Duration,
    ) {
        let is_over = reason == RejectReason::Busy && retry > Duration::ZERO;
        let pause = match reason {
            RejectReason::Busy if is_over => retry.min(AWAY_MAX),
            RejectReason::Busy | RejectReason::SlotAhead | RejectReason::Expired => BUSY,
            RejectReason::TooFar if retry > Duration::ZERO => retry.min(REFUSED),
            _ => REFUSED,
        };
        self.drop_ask(now, &request, &reason.to_string(), pause, is_over);
    }

    fn drop_ask(
        &mut self,
        now: Timestamp,
        request: &StatementId,
        word: &str,
        pause: Duration,
        is_over: bool,
    ) {
        let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) else { return };
        let Some(pending) = search.asks.remove(request) else { return };
        self.timers.clear(Timer::Ask(*request));
        let driver = *pending.offer.offer.signer();
        let over = is_over.then(|| pending.offer.offer.body().seq);
        self.refuse_driver(now, driver, word, pause, over);
        self.shop(now);
    }

    /// An ACCEPT that does not fit counts as a refusal.
    pub(super) fn note_answer(&mut self, now: Timestamp, driver: &PublicKey, why: &str) {
        self.refuse_driver(now, *driver, &why.replace(' ', "_"), REFUSED, None);
    }

    fn refuse_driver(
        &mut self,
        now: Timestamp,
        driver: PublicKey,
        word: &str,
        pause: Duration,
        over: Option<u64>,
    ) {
        let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) else { return };
        search.refused.retain(|_, refusal| refusal.until > now);
        if search.refused.len() < REFUSALS_MAX {
            search.refused.insert(driver, Refusal { until: now + pause, over });
        }
        *search.answers.entry(word.to_owned()).or_default() += 1;
    }

    /// P5.11, P7.5: a driver asks to be asked.
    pub(super) fn on_invite(&mut self, now: Timestamp, turn: &mut Turn, invite: &Verified<Invite>) {
        let body = invite.body();
        let rate = self.config.limits.invites;
        let most = usize::from(self.config.timers.hedge_max);
        let offered = turn.attachments.iter().find_map(|attachment| match attachment {
            Attachment::DriverOffer(bytes) => Some(bytes.clone()),
            _ => None,
        });
        let Some(rider) = self.rider.as_mut() else { return turn.refuse(RejectReason::Unknown) };
        if !rider.invites.take(rate, now) {
            return turn.refuse(RejectReason::Rate);
        }
        let current = rider.search.as_ref().is_some_and(|search| {
            search.key == body.to
                && search.offer.as_ref().is_some_and(|offer| offer.id() == body.rider_offer_id)
        });
        if !current || !self.is_shopping() {
            return turn.refuse(RejectReason::Unknown);
        }
        turn.nothing();
        // Whoever invites can be reached and wants to be asked, whatever was before.
        if let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) {
            search.refused.remove(invite.signer());
        }
        if let (Some(bytes), Some(peer)) = (offered, turn.peer) {
            let judged = self.admission.admit_direct(&mut self.book, now, peer, &bytes.into());
            self.on_news(now, judged.news);
        }
        let Some(booked) = self.book.driver(invite.signer()).cloned().map(Arc::new) else { return };
        if booked.offer.id() != body.offer_id {
            return;
        }
        // The driver reckons that it is its turn, and knows best how long it has been free.
        // It knows the pickup only roughly: the more it is farther than it believes, the
        // later it is asked, for the pickup may be nearer to somebody else.
        let survey = self.survey(now);
        let Some(one) = survey.ranked.iter().find(|one| one.booked.offer.id() == body.offer_id) else {
            return;
        };
        let Some(search) = self.rider.as_ref().and_then(|rider| rider.search.as_ref()) else { return };
        let shown = search.offer.as_ref().map(|offer| offer.body().cell);
        let believed = shown.map_or(Duration::ZERO, |cell| {
            self.travel.drive(Spot::Cell(one.booked.offer.body().cell), Spot::Cell(cell))
        });
        let asks = search.asks.len();
        let farther = one.drive.saturating_sub(believed);
        // While a nearer car is known there is no hurry.
        let is_nearest = survey.ranked.first().is_some_and(|first| first.booked.key() == one.booked.key());
        let due = if is_nearest {
            one.due.min(now + self.config.reach().time_to_reach(survey.near, farther))
        } else {
            one.due
        };
        if due > now {
            if let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.as_mut()) {
                search.note_invited(now, *invite.signer(), due);
            }
            self.timers.set_by(Timer::Decide, due);
        } else if asks < most && !self.compare(now) {
            self.note_choice(now, one, &survey);
            self.ask_driver(now, booked, None, Some(invite.id()));
        }
    }

    /// P7.6: patience is over.
    pub(super) fn on_patience_over(&mut self, now: Timestamp) {
        if self.is_shopping() {
            // What is in hand is better than nothing.
            self.choose(now);
        }
        if self.is_shopping() {
            self.stop_search(now, RideState::Expired, None);
        }
    }

    /// Ends the search that is on, with the reasons why nobody was found.
    pub(super) fn stop_search(&mut self, now: Timestamp, shown: RideState, reason: Option<&str>) {
        if !self.is_shopping() {
            return;
        }
        self.release_offered(now);
        let explain = self.survey(now).explain;
        let peers = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        let Some(rider) = self.rider.as_mut() else { return };
        let Some(search) = rider.search.as_ref() else { return };
        let (ride, key) = (search.ride, search.key);
        let answers = search.answers.clone();
        let declined = shown == RideState::Expired
            && !answers.is_empty()
            && answers.keys().all(|word| !matches!(word.as_str(), "no_answer" | "unreachable"));
        if let Some(chain) = rider.chains.get_mut(&key) {
            chain.chain.transition(RiderEvent::Stop);
        }
        if let Some(entry) = self.rides.get_mut(&ride) {
            let asked = entry.asked;
            entry.no_match = Some(NoMatch { explain, asked, answers, peers });
        }
        self.withdraw_rider_offer(now);
        self.drop_search(now, ride);
        let shown = if declined { RideState::Declined } else { shown };
        self.set_ride(now, ride, shown, reason);
    }

    /// Forgets a search; its ride goes on or is over.
    pub(super) fn drop_search(&mut self, now: Timestamp, ride: RideId) {
        let Some(rider) = self.rider.as_mut() else { return };
        if rider.search.as_ref().is_none_or(|search| search.ride != ride) {
            return;
        }
        self.release_offered(now);
        self.withdraw_rider_offer(now);
        let Some(search) = self.rider.as_mut().and_then(|rider| rider.search.take()) else { return };
        for request in search.asks.keys() {
            self.timers.clear(Timer::Ask(*request));
        }
        for timer in [Timer::Hedge, Timer::Decide, Timer::OpenAfter, Timer::Patience, Timer::Listen] {
            self.timers.clear(timer);
        }
        // For the next ride, and only now: before, the disk is for promises.
        self.prepare_ride_key(now);
    }

    /// P7.21: goes on with the next slot and new REQUESTs, if there is patience left.
    /// The driver that failed is left alone for a while.
    pub(super) fn search_again(&mut self, now: Timestamp, ride: RideId, failed: Option<PublicKey>) -> bool {
        let Some(rider) = self.rider.as_mut() else { return false };
        let Some(search) = rider.search.as_mut().filter(|search| search.ride == ride) else { return false };
        if now >= search.deadline {
            return false;
        }
        let Some(chain) = rider.chains.get_mut(&search.key) else { return false };
        chain.chain.transition(RiderEvent::Want);
        search.paused = false;
        search.attempt = search.attempt.saturating_add(1);
        search.asks.clear();
        let deadline = search.deadline;
        if let Some(driver) = failed {
            self.refuse_driver(now, driver, "fell_through", REFUSED, None);
        }
        self.timers.set(Timer::Patience, deadline);
        self.timers.set(Timer::OpenAfter, now + self.config.timers.open_after);
        self.timers.set(Timer::Decide, now);
        self.follow_ring(now);
        true
    }
}

impl Search {
    fn note_invited(&mut self, now: Timestamp, driver: PublicKey, due: Timestamp) {
        self.invited.retain(|_, due| now < *due + INVITED_FOR);
        if self.invited.len() < INVITED_MAX {
            self.invited.insert(driver, due);
        }
    }

    /// From when on a driver that has invited is asked; none: it has not.
    pub(super) fn invited(&self, driver: &PublicKey) -> Option<Timestamp> {
        self.invited.get(driver).copied()
    }
}
