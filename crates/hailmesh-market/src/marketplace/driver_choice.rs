//! Which rider a free driver invites, and when (P5.11); which of several it answers
//! (P6.22); and who is too far for the moment.
//!
//! All of it is a function of published cells (P6.20, P14.6).

use hailmesh_types::{Cell, Duration, PublicKey, Timestamp};
use hailmesh_wire::{Attachment, Extensions, Frame, Invite};

use crate::book::{BookedRider, Side};
use crate::matching::{Exclusion, Policy, Query, RiderWant, Spot, View, search_riders, worth};
use crate::position::PublishedPosition;

use super::Marketplace;
use super::driver::{DriverSide, OpenInvite};
use super::exchange::{About, Turn};
use super::rider_choice::JITTER_PERIODS;
use super::timers::Timer;

/// Open INVITEs at the most (P5.11).
const INVITES_MAX: usize = 3;
/// INVITEs of one slot that are remembered, the latest: nobody is invited twice for it.
const INVITED_MAX: usize = 256;
/// Waiting riders and free drivers that a driver compares, at the most.
const VIEW_MAX: usize = 64;
/// Without a reason the view is looked at again after so many decision periods.
const LOOKS_IDLE: u32 = 50;
/// Other cars that are asked for when the next best one is wanted.
const NEXT_BEST_OF: usize = 8;
/// What cells hide of a drive: so much beyond twice its reach a car still serves.
const BLUR: Duration = Duration::from_secs(60);

/// A rider that could be invited.
struct Waiting {
    key: PublicKey,
    drive: Duration,
    due: Timestamp,
}

impl DriverSide {
    /// The cell that is published.
    pub(super) fn cell(&self) -> Option<Cell> {
        self.position.as_ref().and_then(PublishedPosition::cell)
    }

    fn was_invited(&self, rider: &PublicKey, attempt: u16) -> bool {
        let slot = self.lane.slot;
        self.invites.iter().any(|one| one.rider == *rider && one.attempt == attempt && one.slot == slot)
    }
}

impl Marketplace {
    /// A free driver asks the riders whose turn it is to ask.
    pub(super) fn invite(&mut self, now: Timestamp) {
        let limit = self.config.limits.invites_open.min(INVITES_MAX);
        let period = self.config.timers.decision_period;
        let later = now + period.saturating_mul(LOOKS_IDLE);
        let Some(driver) = self.driver.as_mut() else { return };
        if !driver.online || !driver.is_free() || driver.away || self.halted.is_some() {
            return; // looked at again when that changes
        }
        let slot = driver.lane.slot;
        driver.invites.retain(|invite| invite.until > now || invite.slot == slot);
        let open = driver.invites.iter().filter(|invite| invite.until > now).count();
        let engaged = !driver.pending.is_empty() || !driver.collected.is_empty();
        if engaged || open >= limit || now < self.quiet_until {
            return self.timers.set(Timer::Invite, later.max(self.quiet_until));
        }
        let waiting = self.waiting(now);
        let next = waiting.iter().map(|one| one.due).filter(|due| *due > now).min();
        let turns: Vec<PublicKey> =
            waiting.iter().filter(|one| one.due <= now).map(|one| one.key).take(limit - open).collect();
        for rider in turns {
            self.send_invite(now, &rider);
        }
        self.timers.set_by(Timer::Invite, next.unwrap_or(later).clamp(now + period, later));
    }

    /// Waiting riders that this driver suits and has not invited, in the order in which
    /// it would.
    fn waiting(&self, now: Timestamp) -> Vec<Waiting> {
        let found = || {
            let driver = self.driver.as_ref()?;
            Some((driver, driver.profile.as_ref()?, driver.cell()?))
        };
        let Some((driver, profile, here)) = found() else { return Vec::new() };
        let exclude = |key: &PublicKey| {
            if driver.declined.contains(key) { Some(Exclusion::Busy) } else { self.never(key, now) }
        };
        let query = Query {
            near: here.centre(),
            radius_m: None,
            limit: VIEW_MAX,
            want: RiderWant {
                class: Some(profile.class),
                seats: profile.seats,
                features: profile.features,
                tariff: Some(profile.tariff),
                min_level: self.rider_level(),
            },
            speed_kmh: self.config.speed_kmh,
            exclude: &exclude,
        };
        let riders = search_riders(&self.book, now, &query).candidates;
        let near = self.near(now, Side::Riders);
        let mut waiting: Vec<(Waiting, u16)> = riders
            .iter()
            .filter_map(|one| {
                let attempt = one.booked.offer.body().live.as_ref()?.attempt;
                let (drive, due) = self.turn_of(now, driver, here, near, &one.booked);
                Some((Waiting { key: *one.booked.key(), drive, due }, attempt))
            })
            .collect();
        waiting.sort_by_key(|(one, _)| (one.drive, *one.key.as_bytes()));
        if self.config.policy != Policy::Nearest && !waiting.is_empty() {
            let cells: Vec<Cell> = waiting
                .iter()
                .map(|(one, _)| self.book.rider(&one.key).map_or(here, |booked| booked.offer.body().cell))
                .collect();
            let others: Vec<_> = self.book.nearest_drivers(here.centre(), now).take(VIEW_MAX - 1).collect();
            let drivers = std::iter::once(*driver.key.as_bytes())
                .chain(others.iter().map(|(booked, _)| *booked.key().as_bytes()))
                .collect();
            let keys = waiting.iter().map(|(one, _)| *one.key.as_bytes()).collect();
            let view = View::new(keys, drivers, |rider, other| {
                let Some(other) = other.checked_sub(1) else { return Some(waiting[rider].0.drive) };
                let offer = others[other].0.offer.body();
                let suits = offer.live.as_ref()?.class == profile.class;
                suits.then(|| self.travel.drive(Spot::Cell(offer.cell), Spot::Cell(cells[rider])))
            });
            let mine = self.config.policy.rider_for(&view, 0);
            let span = self.config.timers.yield_span;
            for (index, (one, _)) in waiting.iter_mut().enumerate() {
                if mine != Some(index) {
                    one.due = one.due.max(driver.free_since + span);
                }
            }
            if let Some(mine) = mine {
                waiting[..=mine].rotate_right(1);
            }
        }
        let fresh = |(one, attempt): &(Waiting, u16)| !driver.was_invited(&one.key, *attempt);
        waiting.into_iter().filter(fresh).map(|(one, _)| one).collect()
    }

    /// The expected drive to a rider who waits, and from when on it would be invited.
    fn turn_of(
        &self,
        now: Timestamp,
        driver: &DriverSide,
        here: Cell,
        near: Option<Duration>,
        rider: &BookedRider,
    ) -> (Duration, Timestamp) {
        let drive = self.travel.drive(Spot::Cell(here), Spot::Cell(rider.offer.body().cell));
        let due = self.config.reach().due_of_car(near, drive, driver.free_since, rider.since, now);
        (drive, due)
    }

    /// A waiting rider was heard of: it is invited when its turn comes.
    pub(super) fn on_rider_heard(&mut self, now: Timestamp, booked: &BookedRider) {
        let near = self.near(now, Side::Riders);
        let Some(driver) = self.driver.as_ref().filter(|driver| driver.online && driver.is_free()) else {
            return;
        };
        let Some(here) = driver.cell() else { return };
        let (_, due) = self.turn_of(now, driver, here, near, booked);
        let jitter = match self.config.policy {
            Policy::Nearest => Duration::ZERO,
            _ => self.jitter(self.config.timers.decision_period.saturating_mul(JITTER_PERIODS)),
        };
        self.timers.set_by(Timer::Invite, due.max(now + jitter));
    }

    fn send_invite(&mut self, now: Timestamp, rider: &PublicKey) {
        let Some(booked) = self.book.rider(rider).cloned() else { return };
        let Some(terms) = booked.offer.body().live.clone() else { return };
        let Some(cell) = self.driver.as_ref().and_then(|driver| driver.cell()) else { return };
        let Some(own) = self.offer_to_show(now, cell) else { return };
        let Some(driver) = self.driver.as_ref() else { return };
        let slot = driver.lane.slot;
        let body = Invite {
            to: *rider,
            issued: now,
            rider_offer_id: booked.offer.id(),
            offer_id: own.id(),
            slot,
            eta: self.eta(cell, booked.offer.body().cell),
            valid: self.config.timers.invite_valid,
            ext: Extensions::NONE,
        };
        let invite = self.sign(&driver.signing, body);
        let until = now + self.config.timers.invite_valid;
        let open = OpenInvite { rider: *rider, attempt: terms.attempt, slot, until };
        if let Some(driver) = self.driver.as_mut() {
            // A car that stands for an hour goes on inviting; whom it invited first is long gone.
            if driver.invites.len() >= INVITED_MAX {
                driver.invites.remove(0);
            }
            driver.invites.push(open);
        }
        let frame = Frame::statement(invite.bytes()).with(Attachment::DriverOffer(own.bytes().to_vec()));
        self.say(&mut Turn::own(), terms.peer, booked.offer.body().addrs.clone(), frame, About::Once);
    }

    /// The offer that is out, or the one that will be (P5.11): a rider who is invited need
    /// not have heard it.
    fn offer_to_show(
        &mut self,
        now: Timestamp,
        cell: Cell,
    ) -> Option<hailmesh_wire::Verified<hailmesh_wire::DriverOffer>> {
        let driver = self.driver.as_ref()?;
        let lasts = now + self.config.timers.invite_valid;
        let out = driver.offers.last().filter(|own| {
            let body = own.body();
            driver.live && body.slot == driver.lane.slot && body.cell == cell && body.expires() > lasts
        });
        if let Some(out) = out {
            return Some(out.clone());
        }
        let key = driver.key;
        if !self.has_worked_for_offer(&key, cell, now) {
            return None;
        }
        let own = self.current_offer(now, cell)?;
        if let Some(driver) = self.driver.as_mut() {
            driver.drafted = true;
        }
        Some(own)
    }

    pub(super) fn close_invites(&mut self) {
        if let Some(driver) = self.driver.as_mut() {
            driver.invites.clear();
        }
    }

    /// Whether a car that has just become free leaves a request to somebody nearer, and
    /// how long: riders who keep the rule do not ask before their turn, and for the
    /// others there is no gain in asking early.
    pub(super) fn beyond_reach(&self, now: Timestamp, pickup: Cell) -> Option<Duration> {
        // While cars are plenty there is nobody to leave it to.
        if !self.is_scarce(now) {
            return None;
        }
        let driver = self.driver.as_ref()?;
        let near = self.near(now, Side::Riders)?;
        let drive = self.travel.drive(Spot::Cell(driver.cell()?), Spot::Cell(pickup));
        let reach = self.config.reach();
        let free = Duration::between(driver.free_since, now);
        let most = reach.limit(near, free, Duration::ZERO).saturating_mul(2).saturating_add(BLUR);
        if drive <= most {
            return None;
        }
        let missing = drive.saturating_sub(most);
        let due = reach.due(Some(near), near.saturating_add(missing), now, now);
        Some(Duration::between(now, due))
    }

    /// P6.22: what it is worth that this driver serves a pickup.
    pub(super) fn worth_of(&self, now: Timestamp, pickup: Cell) -> i64 {
        let Some(driver) = self.driver.as_ref() else { return i64::MIN };
        let Some(here) = driver.cell() else { return i64::MIN };
        let to = Spot::Cell(pickup);
        let others = self.book.nearest_drivers(pickup.centre(), now);
        let others = others.filter(|(booked, _)| *booked.key() != driver.key).take(NEXT_BEST_OF);
        let next =
            others.map(|(booked, _)| self.travel.drive(Spot::Cell(booked.offer.body().cell), to)).min();
        worth(self.travel.drive(Spot::Cell(here), to), next)
    }
}
