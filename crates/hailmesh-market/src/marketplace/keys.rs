//! Shift and ride keys: made, certified, replaced, erased (P3, P16.2, P16.3, P17), and
//! the work that uncredentialed keys owe (P16.6).

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use hailmesh_types::{Cell, Duration, PublicKey, Resolution, Timestamp};
use hailmesh_wire::{Extensions, Outcome, Replacement, Replaces, RideState, ShiftCert, Verified};

use crate::journal::{KeyRecord, Record, Role, SecretSeed, SlotRef};
use crate::output::{Event, Output, WorkOrder};

use super::driver::DriverSide;
use super::rider::RiderSide;
use super::timers::Timer;
use super::{Halt, Keys, Marketplace};

/// Life of a shift key, at most 12 h (P17.4).
pub(super) const SHIFT_LIFE: Duration = Duration::from_secs(12 * 3_600);
/// Life of a ride key, at most 24 h (P3).
const RIDE_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// How long before its end a shift key is replaced, if the lane is free.
const ROTATE_BEFORE: Duration = Duration::from_secs(1_800);
/// When to try again while the lane is bound.
const ROTATE_RETRY: Duration = Duration::from_secs(60);
/// A certificate whose window begins this much later at the most is waited for: clocks are
/// never quite right.
const AHEAD: Duration = Duration::from_secs(60);
/// Sequence numbers reserved at once (W10).
pub(super) const SEQ_BLOCK: u64 = 1_024;
/// How long a proof of work lasts, milliseconds.
const WORK_PERIOD_MS: u64 = 3_600_000;
/// Work of the next hour is ordered when an offer goes out so shortly before it: a refresh
/// comes sooner than that (P13.9).
const WORK_AHEAD: Duration = Duration::from_secs(180);
/// Proofs of work remembered.
const WORK_MAX: usize = 64;

/// One proof of work that was done, or is being done.
pub(super) struct Work {
    order: WorkOrder,
    done: Option<[u8; 8]>,
}

impl Work {
    /// Whether it is the work for statements of that time.
    fn serves(&self, key: &PublicKey, cell: u64, at: Timestamp) -> bool {
        let order = &self.order;
        order.signer == *key && order.cell == cell && work_period(order.issued) == work_period(at)
    }
}

const fn work_period(at: Timestamp) -> u64 {
    at.as_millis() / WORK_PERIOD_MS
}

impl Marketplace {
    /// Makes the keys that this role needs, unless the journal had them.
    pub(super) fn start(&mut self, keys: &Keys, now: Timestamp) {
        let lost = keys.lost;
        match self.role {
            Some(Role::Driver) => {
                let usable = self.driver.as_ref().is_some_and(|driver| self.is_usable(driver, now));
                let bound = self.driver.as_ref().is_some_and(|driver| !driver.is_free());
                match self.driver.as_ref() {
                    None => self.first_shift_key(now, lost),
                    // The key has been in use somewhere: is it still?
                    Some(_) if keys.new_host && !lost => {
                        self.quiet_until = now + self.config.timers.offer_refresh.saturating_mul(2);
                    }
                    Some(_) if lost => self.replace_key(now, true),
                    Some(_) if !usable && !bound => self.replace_key(now, false),
                    Some(_) => {}
                }
                self.arm_rotation(now);
            }
            Some(Role::Rider) => {
                if self.rider.is_none() {
                    self.rider = Some(Box::new(RiderSide::new(self.config.share_position)));
                }
                if lost {
                    self.replace_ride_keys(now);
                }
                self.prepare_ride_key(now);
            }
            None => {}
        }
        self.out(Output::Subscribe(hailmesh_wire::Topic::evidence(&self.config.network)));
    }

    fn arm_rotation(&mut self, now: Timestamp) {
        if let Some(driver) = &self.driver {
            let due = if self.is_usable(driver, now) { self.rotate_at(driver) } else { now };
            self.timers.set(Timer::Rotate, due.max(now + ROTATE_RETRY));
        }
    }

    /// When a shift key is to be replaced: before its life is over, unless that was cut to
    /// end where the life of another begins.
    fn rotate_at(&self, driver: &DriverSide) -> Timestamp {
        let cut = self.shifts.iter().any(|(from, _)| *from == driver.until);
        if cut { driver.until } else { driver.until - ROTATE_BEFORE }
    }

    /// Whether a shift key may go on: its life is long enough, and has begun. One that was
    /// certified while the clock was ahead has a certificate that nobody takes yet, and
    /// that covers nothing of what would be signed now (P8.9).
    fn is_usable(&self, driver: &DriverSide, now: Timestamp) -> bool {
        now < self.rotate_at(driver) && driver.from <= now + AHEAD
    }

    /// The first shift key of this journal. If others were lost with an older one, it
    /// replaces them all: the two would speak against their owner otherwise (E7).
    fn first_shift_key(&mut self, now: Timestamp, lost: bool) {
        let signing = SigningKey::from_bytes(&self.random());
        let driver = self.certified(now, signing, None, lost);
        self.persist(vec![Record::Key(key_record(&driver, now))]);
        self.transport = driver.key.to_peer_key();
        self.driver = Some(Box::new(driver));
    }

    /// A shift key with a certificate of the own identity (P16.2) in place of `old`. It
    /// must not overlap with one that it does not replace (E7). After a wrong clock there
    /// may be others than `old`: it ends where one begins that was made while the clock was
    /// ahead, and where another lasts still it replaces them all, as if they were lost.
    fn certified(
        &mut self,
        now: Timestamp,
        signing: SigningKey,
        old: Option<&DriverSide>,
        lost: bool,
    ) -> DriverSide {
        let ahead = self.shifts.iter().map(|(from, _)| *from).filter(|from| *from > now).min();
        let until = ahead.map_or(now + SHIFT_LIFE, |ahead| ahead.min(now + SHIFT_LIFE));
        let is_old = |from: &Timestamp| old.is_some_and(|old| old.from == *from);
        let mut others = self.shifts.iter().filter(|(from, _)| !is_old(from));
        if lost {
            self.lost_until = self.lost_until.max(now + SHIFT_LIFE);
        }
        // Of what a lost journal held nothing is known but that it ends by then.
        let replaces = if now < self.lost_until || others.any(|(from, end)| *from < until && *end > now) {
            Some(Replaces { cert: None, how: Replacement::Lost })
        } else {
            old.map(|old| Replaces {
                cert: old.cert.as_ref().map(|cert| cert.id()),
                how: Replacement::Closed,
            })
        };
        self.shifts.retain(|(_, end)| *end > now);
        self.shifts.push((now, until));
        let mut driver = DriverSide::new(signing, (now, until), &self.config.limits, self.hash_key);
        let serial = u64::from_le_bytes(self.random());
        let body = ShiftCert {
            serial,
            issued: now,
            subject: driver.key,
            role: hailmesh_wire::Role::Driver,
            from: now,
            until,
            cred_id: None,
            replaces,
            ext: Extensions::NONE,
        };
        driver.replaces_lost = body.replaces.as_ref().is_some_and(|one| one.how == Replacement::Lost);
        driver.cert = Some(self.sign(&self.identity, body));
        driver
    }

    /// P16.3: replaces the shift key. What goes on under the old one is only answered.
    fn replace_key(&mut self, now: Timestamp, lost: bool) {
        let Some(old) = self.driver.take() else { return };
        let signing = SigningKey::from_bytes(&self.random());
        let mut driver = self.certified(now, signing, Some(&old), lost);
        driver.profile = old.profile;
        driver.online = old.online;
        driver.free_since = old.free_since;
        driver.position = old.position;
        driver.retired = old.retired;
        self.book.unpin(&old.key);
        let key = driver.key;
        let mut records = if lost { self.give_up_live(now) } else { Vec::new() };
        // As the deals tell it now: nothing under the old key is live any more.
        driver.retired.insert(old.key, self.lane_of_deals(&old.key));
        records.push(Record::Key(key_record(&driver, now)));
        records.push(Record::KeyErased { key: old.key });
        self.persist(records);
        self.driver = Some(Box::new(driver));
        self.transport = key.to_peer_key();
        self.notify(Event::KeyReplaced { key });
        self.arm_rotation(now);
        self.offer_changed(now);
    }

    /// Ends what is live under keys that must sign nothing any more (P16.3): nobody is
    /// told by signature, because the key may have said something else elsewhere.
    fn give_up_live(&mut self, now: Timestamp) -> Vec<Record> {
        let live = self.deals.values().filter(|deal| deal.ended.is_none());
        let live: Vec<(SlotRef, Role)> = live.map(|deal| (deal.slot(), deal.role())).collect();
        let mut records = Vec::new();
        for (slot, role) in live {
            let outcome = match role {
                Role::Driver => Outcome::DriverCancelled,
                Role::Rider => Outcome::RiderCancelled,
            };
            self.outbox.done_where(&slot, |_| true);
            records.push(self.close_deal(now, slot, outcome, None));
        }
        records
    }

    /// P11.8 for riders: ride keys of a journal that was restored or copied sign nothing.
    fn replace_ride_keys(&mut self, now: Timestamp) {
        let mut records = self.give_up_live(now);
        let Some(rider) = self.rider.as_mut() else { return };
        let chains = std::mem::take(&mut rider.chains);
        records.extend(chains.into_keys().map(|key| Record::KeyErased { key }));
        self.persist(records);
        let open = self.rides.iter().filter(|(_, ride)| !ride.state.is_over());
        let open: Vec<_> = open.map(|(id, _)| *id).collect();
        for ride in open {
            let why = Some("the journal was restored or copied: its keys sign nothing any more");
            self.set_ride(now, ride, RideState::Cancelled, why);
        }
    }

    /// The shift key nears its end: planned replacement happens only in FREE (P16.3).
    pub(super) fn rotate_key(&mut self, now: Timestamp) {
        let Some(driver) = self.driver.as_ref() else { return };
        if !driver.is_free() || !driver.pending.is_empty() || self.halted == Some(Halt::Shutdown) {
            return self.timers.set(Timer::Rotate, now + ROTATE_RETRY);
        }
        // The old offer goes first, so that nobody asks a key that is gone.
        self.withdraw_driver_offer(now);
        self.replace_key(now, false);
    }

    /// P11.9: the own key is in use elsewhere. It signs nothing any more; a driver goes
    /// on under a new one, which admits what was live under the old. A ride key is used
    /// for one ride only: the node stops and its user looks into it.
    pub(super) fn on_cloned(&mut self, now: Timestamp, key: PublicKey) {
        self.notify(Event::Cloned { key });
        if self.driver.as_ref().is_some_and(|driver| driver.key == key) {
            self.replace_key(now, true);
        } else {
            self.halted = Some(Halt::Cloned);
        }
    }

    // ---- ride keys ----

    /// Makes the key of the next wanted ride durable ahead of time (W9), so that a
    /// search starts without waiting for the disk, and its first proof of work.
    pub(super) fn prepare_ride_key(&mut self, now: Timestamp) {
        self.erase_old_keys(now);
        let spent = self.rider.as_ref().is_some_and(|rider| match &rider.spare {
            Some((_, until)) => *until < now + Duration::from_secs(3_600),
            None => true,
        });
        if !spent {
            return;
        }
        let signing = SigningKey::from_bytes(&self.random());
        let key = PublicKey::from(signing.verifying_key());
        let until = now + RIDE_LIFE;
        self.persist(vec![Record::Key(KeyRecord {
            key,
            role: Role::Rider,
            secret: SecretSeed(signing.to_bytes()),
            cert: None,
            created: now,
            until,
            replaces_lost: false,
        })]);
        if let Some(rider) = self.rider.as_mut() {
            rider.spare = Some((signing, until));
        }
        self.order_work(&key, 0, now);
    }

    /// P17.5: a ride key past its life is erased once its agreements have ended and
    /// nothing of it is on its way.
    fn erase_old_keys(&mut self, now: Timestamp) {
        let Some(rider) = self.rider.as_mut() else { return };
        let open = |key: &PublicKey| {
            self.deals.values().any(|deal| deal.slot().key == *key && deal.ended.is_none())
                || self.outbox.has_key(key)
        };
        let current = rider.search.as_ref().map(|search| search.key);
        let dead: Vec<PublicKey> = rider
            .chains
            .iter()
            .filter(|(key, chain)| now > chain.until && Some(**key) != current && !open(key))
            .map(|(key, _)| *key)
            .collect();
        for key in &dead {
            rider.chains.remove(key);
        }
        self.persist(dead.into_iter().map(|key| Record::KeyErased { key }).collect());
    }

    /// The key for a ride that is wanted now.
    pub(super) fn take_ride_key(&mut self, now: Timestamp) -> (SigningKey, Timestamp) {
        self.prepare_ride_key(now);
        let spare = self.rider.as_mut().and_then(|rider| rider.spare.take());
        spare.unwrap_or_else(|| (SigningKey::from_bytes(&self.random()), now + RIDE_LIFE))
    }

    // ---- proof of work ----

    /// Whether the work for an offer in this cell is done, or none is owed. Where it is
    /// not, it is ordered, and the offer goes out when it is done.
    pub(super) fn has_worked_for_offer(&mut self, key: &PublicKey, cell: Cell, now: Timestamp) -> bool {
        let cell = cell.parent(Resolution::TOPIC).index();
        let has_worked = self.order_work(key, cell, now);
        if has_worked && work_period(now + WORK_AHEAD) > work_period(now) {
            self.order_work(key, cell, now + WORK_AHEAD);
        }
        has_worked
    }

    /// The same for REQUESTs of a ride key.
    pub(super) fn has_worked_for_request(&mut self, key: &PublicKey, now: Timestamp) -> bool {
        self.order_work(key, 0, now)
    }

    pub(super) fn work_for_offer(&self, key: &PublicKey, cell: Cell, now: Timestamp) -> Option<[u8; 8]> {
        self.work_done(key, cell.parent(Resolution::TOPIC).index(), now)
    }

    pub(super) fn work_for_request(&self, key: &PublicKey, now: Timestamp) -> Option<[u8; 8]> {
        self.work_done(key, 0, now)
    }

    fn work_done(&self, key: &PublicKey, cell: u64, at: Timestamp) -> Option<[u8; 8]> {
        self.work.iter().find(|work| work.serves(key, cell, at)).and_then(|work| work.done)
    }

    /// Whether the work for a statement of that time is done; orders it where it is not.
    fn order_work(&mut self, key: &PublicKey, cell: u64, at: Timestamp) -> bool {
        if self.config.pow_bits == 0 || self.work_done(key, cell, at).is_some() {
            return true;
        }
        if !self.work.iter().any(|work| work.serves(key, cell, at)) {
            let first = u64::from_le_bytes(self.random());
            let bits = self.config.pow_bits;
            let order = WorkOrder { network: self.network, signer: *key, cell, issued: at, bits, first };
            let oldest = work_period(at).saturating_sub(1);
            self.work.retain(|work| work_period(work.order.issued) >= oldest);
            if self.work.len() >= WORK_MAX {
                self.work.remove(0);
            }
            self.work.push(Work { order: order.clone(), done: None });
            self.out(Output::Work(order));
        }
        false
    }

    /// The work that was ordered is done.
    pub(super) fn on_work(&mut self, now: Timestamp, order: &WorkOrder, pow: [u8; 8]) {
        if let Some(work) = self.work.iter_mut().find(|work| work.order == *order) {
            work.done = Some(pow);
        }
        if work_period(order.issued) > work_period(now) {
            return;
        }
        // Also when an offer is out: the work of its hour serves no longer, and a refresh waits.
        if self.driver.as_ref().is_some_and(|driver| driver.online) {
            self.timers.set_by(Timer::Publish, now);
        }
        if self.is_shopping() {
            let waits = self.rider.as_ref().and_then(|rider| rider.search.as_ref());
            if waits.is_some_and(|search| search.opened) {
                self.timers.set_by(Timer::Publish, now);
            }
            self.timers.set_by(Timer::Decide, now);
        }
    }
}

fn key_record(driver: &DriverSide, now: Timestamp) -> KeyRecord {
    KeyRecord {
        key: driver.key,
        role: Role::Driver,
        secret: SecretSeed(driver.signing.to_bytes()),
        cert: driver.cert.as_ref().map(|cert: &Verified<ShiftCert>| Arc::clone(cert.bytes())),
        created: now,
        until: driver.until,
        replaces_lost: driver.replaces_lost,
    }
}
