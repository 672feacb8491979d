//! The driver's own offer: where, when and what is published (P13.9, P14).

use hailmesh_types::{Cell, Duration, GeoPoint, Resolution, Timestamp};
use hailmesh_wire::{DriverOffer, DriverTerms, Extensions, Verified};

use crate::book::Side;
use crate::command::{Answer, CommandError, DriverProfile};
use crate::handshake::LaneState;
use crate::journal::{Record, Role};
use crate::output::{Event, Output};
use crate::position::PublishedPosition;

use super::Marketplace;
use super::keys::SEQ_BLOCK;
use super::timers::Timer;

/// Offers that carry their certificates inline after a start (P13.10).
const INLINE_FIRST: u64 = 3;
/// And every so many afterwards.
const INLINE_EVERY: u64 = 4;
/// How long a car that a ride has left free and that is held at once says nothing.
const QUIET_WHILE_HELD: Duration = Duration::from_secs(1);
/// Own offers are at least this far apart, but for a burst of three (P13.9).
const APART: Duration = Duration::from_secs(10);

/// So many others of one's own side known: newcomers hear enough without being greeted.
const CROWD: usize = 16;

impl Marketplace {
    pub(super) fn go_online(
        &mut self,
        now: Timestamp,
        profile: DriverProfile,
    ) -> Result<Answer, CommandError> {
        profile.tariff.check().map_err(|error| CommandError::BadValue {
            what: error.field,
            value: error.value.to_string(),
            expected: "a value within the bounds of P4.4",
        })?;
        if !(7..=10).contains(&profile.precision.get()) {
            return Err(CommandError::BadValue {
                what: "precision",
                value: profile.precision.get().to_string(),
                expected: "7 to 10",
            });
        }
        let Some(driver) = self.driver.as_mut() else {
            return Err(CommandError::WrongRole("this node does not drive"));
        };
        let precision = profile.precision;
        let exact = driver.position.as_ref().and_then(PublishedPosition::position);
        if driver.position.as_ref().is_some_and(|position| position.resolution() != precision) {
            driver.position = None;
        }
        driver.profile = Some(profile);
        if !driver.online {
            driver.free_since = now;
            driver.woke = now;
        }
        driver.online = true;
        if let Some(point) = exact {
            self.on_move(now, point)?;
        }
        self.publish_driver_offer(now);
        self.timers.set_by(Timer::Invite, now + self.config.timers.decision_period);
        self.judge_crowd_later(now);
        Ok(Answer::Done)
    }

    pub(super) fn go_offline(&mut self, now: Timestamp) -> Result<Answer, CommandError> {
        let Some(driver) = self.driver.as_mut() else {
            return Err(CommandError::WrongRole("this node does not drive"));
        };
        driver.online = false;
        self.withdraw_driver_offer(now);
        self.timers.clear(Timer::Invite);
        Ok(Answer::Done)
    }

    /// The node is somewhere else now.
    pub(super) fn on_move(&mut self, now: Timestamp, point: GeoPoint) -> Result<Answer, CommandError> {
        if let Some(driver) = self.driver.as_mut() {
            let precision = driver.profile.as_ref().map_or(Resolution::DRIVER, |profile| profile.precision);
            let position = driver.position.get_or_insert_with(|| PublishedPosition::new(precision));
            let changed = position.update(now, point).is_some();
            let due = position.next_deadline();
            self.timers.set_or_clear(Timer::Position, due);
            if changed {
                self.follow_ring(now);
                self.offer_changed(now);
            }
        } else if let Some(rider) = self.rider.as_mut() {
            rider.here = Some(hailmesh_types::Private(point));
            self.follow_ring(now);
        } else {
            self.follow_place(now, Cell::at(point, Resolution::TOPIC));
        }
        Ok(Answer::Done)
    }

    pub(super) fn on_position_tick(&mut self, now: Timestamp) {
        let Some(position) = self.driver.as_mut().and_then(|driver| driver.position.as_mut()) else { return };
        let changed = position.tick(now).is_some();
        let due = position.next_deadline();
        self.timers.set_or_clear(Timer::Position, due);
        if changed {
            self.follow_ring(now);
            self.offer_changed(now);
        }
    }

    /// Where this node stands as far as topics care, and joins and leaves them (P13.2).
    pub(super) fn follow_ring(&mut self, now: Timestamp) {
        let cell = match (&self.driver, &self.rider) {
            (Some(driver), _) => driver.position.as_ref().and_then(PublishedPosition::cell),
            (_, Some(rider)) => rider.here.as_ref().map(|here| Cell::at(*here.expose(), Resolution::RIDER)),
            _ => None,
        };
        if let Some(cell) = cell {
            self.follow_place(now, cell);
        }
    }

    fn follow_place(&mut self, now: Timestamp, cell: Cell) {
        if self.driver.as_ref().is_some_and(|driver| driver.away) {
            return;
        }
        if let Some(rider) = self.rider.as_mut() {
            rider.away &= rider.bound().is_some();
            if rider.away {
                return;
            }
        }
        let width = self.listening_width(now, cell);
        self.ring_known = self.book.len();
        let change = self.ring.follow(now, cell, width);
        self.join_and_leave(self.partners(), change);
        if let Some(width) = self.own_width(now, cell, width) {
            let change = self.own_ring.follow(now, cell, width);
            self.join_and_leave(self.side(), change);
        }
        let dues = [self.ring.next_deadline(), self.own_ring.next_deadline()];
        self.timers.set_or_clear(Timer::Ring, dues.into_iter().flatten().min());
    }

    /// Something that the offer says has changed: it is published again, soon, but not
    /// at a moment that tells what happened (P13.9).
    pub(super) fn offer_changed(&mut self, now: Timestamp) {
        let Some(driver) = self.driver.as_ref().filter(|driver| driver.online) else { return };
        if self.halted.is_some() {
            return;
        }
        let first = driver.published == 0;
        let delay = if first { Duration::ZERO } else { self.jitter(self.config.timers.offer_change) };
        self.timers.set_by(Timer::Publish, now + delay);
        self.timers.set_by(Timer::Invite, now + delay);
    }

    /// A slot has ended and the next one is open. After a ride somebody waits for this
    /// car, so it says so soon, and invites at once.
    pub(super) fn slot_opened(&mut self, now: Timestamp, after_ride: bool) {
        if !after_ride {
            self.offer_changed(now);
            return self.timers.set_by(Timer::Invite, now);
        }
        self.listen_again(now);
        let Some(driver) = self.driver.as_mut() else { return };
        driver.free_since = now;
        driver.ride_ends = None;
        if driver.online && self.halted.is_none() {
            let delay = self.jitter(self.config.timers.offer_freed);
            self.timers.set_by(Timer::Publish, now + delay);
            self.timers.set_by(Timer::Invite, now);
        }
    }

    pub(super) fn publish_due(&mut self, now: Timestamp) {
        if self.driver.is_some() {
            self.publish_driver_offer(now);
        } else {
            self.publish_rider_offer(now);
        }
    }

    /// Somebody has just begun to listen: gossip has no history, so an offer that is
    /// out is refreshed as far as its rate allows.
    pub(super) fn refresh_for_listener(&mut self, now: Timestamp, topic: Cell) {
        let out = match (&self.driver, &self.rider) {
            (Some(driver), _) if driver.live => driver.offers.last().map(|offer| offer.body().cell),
            (None, Some(rider)) => {
                let search = rider.search.as_ref();
                search.and_then(|search| search.offer.as_ref()).map(|offer| offer.body().cell)
            }
            _ => None,
        };
        // Where many offer, a newcomer hears some of them every second anyway; if every one
        // of them answered it, a busy place would only talk about who listens.
        let crowded = self.own_ring.is_empty() || self.book.live_count(self.side(), now) >= CROWD;
        if !crowded && out.is_some_and(|cell| cell.parent(Resolution::TOPIC) == topic) {
            let delay = self.jitter(Duration::from_millis(200));
            // One offer is kept back: a node that starts again, or whose cell changes, is
            // not to find that its peers have heard enough of it (P13.9).
            let rate = self.config.limits.author;
            let spare = self.driver.as_ref().map_or(now, |driver| driver.bucket.ready_at(rate, 1, now));
            self.timers.set_by(Timer::Publish, spare + delay);
        }
    }

    /// When the own offer is to be published again. A rider among many riders does so less
    /// often: it hears of every car itself and asks by itself, so that its offer is of use
    /// to cars far away only, and those listen all the time (P13.9).
    pub(super) fn refresh_after(&mut self, now: Timestamp) -> Timestamp {
        let timers = &self.config.timers;
        let is_one_of_many = self.rider.is_some() && self.book.live_count(Side::Riders, now) >= CROWD;
        let seldom = timers.offer_ttl.saturating_sub(Duration::from_millis(timers.offer_ttl.as_millis() / 4));
        let mean = if is_one_of_many { seldom.max(timers.offer_refresh) } else { timers.offer_refresh };
        let fifth = Duration::from_millis(mean.as_millis() / 5);
        let jitter = self.jitter(fifth.saturating_mul(2));
        now + mean.saturating_sub(fifth).saturating_add(jitter)
    }

    /// Publishes the offer of the open or held slot, as far as the author's rate allows.
    fn publish_driver_offer(&mut self, now: Timestamp) {
        let refresh = self.refresh_after(now);
        let Some(driver) = self.driver.as_mut() else { return };
        let cell = driver.position.as_ref().and_then(PublishedPosition::cell);
        let bound = matches!(driver.lane.state, LaneState::Firm { .. });
        let (Some(cell), false) = (cell, bound || !driver.online || self.halted.is_some()) else { return };
        let key = driver.key;
        if now < self.quiet_until {
            return self.timers.set(Timer::Publish, self.quiet_until);
        }
        if !self.has_worked_for_offer(&key, cell, now) {
            return;
        }
        let Some(driver) = self.driver.as_mut() else { return };
        // About to be taken before anybody was told: then there is nothing to tell, unless
        // it takes long (P6.21).
        let told_by = driver.free_since + QUIET_WHILE_HELD;
        if matches!(driver.lane.state, LaneState::Held(_))
            && (driver.drafted || !driver.live)
            && now < told_by
        {
            return self.timers.set(Timer::Publish, told_by);
        }
        let Some(offer) = self.current_offer(now, cell) else {
            return self.timers.set(Timer::Publish, now + APART);
        };
        let (seq, bytes) = (offer.body().seq, offer.bytes().clone());
        if let Some(driver) = self.driver.as_mut() {
            driver.drafted = false;
            driver.published += 1;
            driver.last_published = Some(now);
        }
        self.out(Output::Publish { topic: self.offer_topic(Side::Drivers, cell), bytes });
        self.notify(Event::OfferPublished { role: Role::Driver, seq });
        self.timers.set(Timer::Publish, refresh);
    }

    /// The own offer as it is now: the one that was only shown with an INVITE, or a new
    /// one, as far as the author's rate allows.
    pub(super) fn current_offer(&mut self, now: Timestamp, cell: Cell) -> Option<Verified<DriverOffer>> {
        let rate = self.config.limits.author;
        let driver = self.driver.as_mut()?;
        let drafted = driver.drafted && now < driver.free_since + APART;
        let draft = driver.offers.last().filter(|_| drafted);
        if let Some(draft) =
            draft.filter(|own| own.body().slot == driver.lane.slot && own.body().cell == cell)
        {
            return Some(draft.clone());
        }
        if !driver.bucket.take(rate, now) {
            return None;
        }
        let offer = self.draft_driver_offer(now, cell, true)?;
        let driver = self.driver.as_mut()?;
        driver.offers.push(offer.clone(), now);
        driver.live = true;
        Some(offer)
    }

    pub(super) fn withdraw_due(&mut self, now: Timestamp) {
        let bound =
            self.driver.as_ref().is_some_and(|driver| matches!(driver.lane.state, LaneState::Firm { .. }));
        if bound {
            self.withdraw_driver_offer(now);
            self.rest(now);
        }
    }

    /// Takes the offer back, if one is out.
    pub(super) fn withdraw_driver_offer(&mut self, now: Timestamp) {
        self.timers.clear(Timer::Publish);
        let Some(driver) = self.driver.as_ref().filter(|driver| driver.live) else { return };
        let Some(cell) = driver.offers.last().map(|offer| offer.body().cell) else { return };
        let Some(offer) = self.draft_driver_offer(now, cell, false) else { return };
        if let Some(driver) = self.driver.as_mut() {
            driver.live = false;
            driver.drafted = false;
        }
        let topic = self.offer_topic(Side::Drivers, cell);
        self.out(Output::Publish { topic, bytes: offer.bytes().clone() });
        self.notify(Event::OfferWithdrawn { role: Role::Driver });
    }

    fn draft_driver_offer(
        &mut self,
        now: Timestamp,
        cell: Cell,
        live: bool,
    ) -> Option<Verified<DriverOffer>> {
        let seq = self.driver_seq()?;
        let driver = self.driver.as_ref()?;
        let profile = driver.profile.as_ref()?;
        // While held, still the held slot; once firm, the one after (P4.2).
        let slot = match driver.lane.state {
            LaneState::Firm { .. } => driver.lane.slot + 1,
            _ => driver.lane.slot,
        };
        let head = match slot.checked_sub(1) {
            None => None,
            Some(before) if before == driver.lane.slot => driver.lane.held().map(|held| held.accept),
            Some(before) => driver.lane.past.get(&before).map(|past| past.held.accept),
        };
        if head.is_none() && slot > 0 {
            return None;
        }
        let cert = driver.cert.as_ref();
        let inline = driver.published < INLINE_FIRST || driver.published.is_multiple_of(INLINE_EVERY);
        let certs = match cert {
            Some(cert) if live && inline => vec![cert.bytes().to_vec()],
            _ => Vec::new(),
        };
        let body = DriverOffer {
            seq,
            issued: now,
            ttl: self.config.timers.offer_ttl,
            cell,
            slot,
            live: live.then_some(DriverTerms {
                class: profile.class,
                seats: profile.seats,
                features: profile.features,
                tariff: profile.tariff,
                accept_mode: profile.accept_mode,
            }),
            addrs: if live { self.addresses.clone() } else { Vec::new() },
            cert_id: cert.map(|cert| cert.id()),
            certs,
            pow: self.work_for_offer(&driver.key, cell, now),
            head,
            ext: Extensions::NONE,
        };
        Some(self.sign(&driver.signing, body))
    }

    /// The next sequence number, with a block reserved in the store (W10).
    fn driver_seq(&mut self) -> Option<u64> {
        let driver = self.driver.as_mut()?;
        driver.seq += 1;
        let (seq, key) = (driver.seq, driver.key);
        if seq >= driver.seq_limit {
            driver.seq_limit = seq + SEQ_BLOCK;
            let below = driver.seq_limit;
            self.persist(vec![Record::SeqReserved { key, below }]);
        }
        Some(seq)
    }
}
