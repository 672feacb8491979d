//! The offer book: what a node has heard and believes for the moment.
//!
//! One live offer per author. A higher sequence number replaces it, a withdrawal or its
//! expiry removes it, and when the book or a cell of it is full the offer that is worth
//! least goes: expired, then uncredentialed, then of lower standing, then the one that
//! would expire first (P20). Offers of authors that this node deals with are pinned and
//! stay. What is remembered of an author, its last sequence number above all, is in the
//! same row as its offer.
//!
//! Only admission puts offers here, and what it puts is [`Verified`]: the signatures of
//! these functions leave no way to book anything else.

mod entries;
mod offer;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt;

use hailmesh_types::{Bounds, Cell, Duration, GeoPoint, PublicKey, Resolution, Timestamp};
use hailmesh_wire::{DriverOffer, RiderOffer, Signed, Verified};

use crate::certificates::Level;
use crate::index::{Author, SpatialIndex, Tenant};
use crate::limits::Limits;
use crate::sorted::SortedMap;
use crate::table::HashKey;
pub use entries::EntryId;
pub(crate) use entries::Sequence;
use entries::{Entries, Entry, NEVER, Posted};
pub use offer::{Booked, BookedDriver, BookedRider, Offer, Side};

/// What goes first when a place is needed: the least of these (P20).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    level: Level,
    expires: Timestamp,
    side: Side,
    author: Author,
}

/// The offers whose cells lie in one resolution-7 cell.
#[derive(Debug, Clone, Default)]
struct District {
    offers: usize,
    uncredentialed: usize,
    /// Their order, once somebody has to go: most districts are never full.
    ranks: Option<BTreeSet<Rank>>,
}

/// The offers of one side.
#[derive(Clone)]
pub struct Shelf {
    offers: usize,
    /// The sum of `since` over all offers, milliseconds.
    since_ms: u64,
    index: SpatialIndex,
    last_heard: Option<Timestamp>,
}

/// Why an offer found no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Its author is uncredentialed, and their share of the cell is taken.
    Share,
    /// The cell is full of offers that are worth more.
    Cell,
    /// The book is full of offers that are worth more.
    Book,
}

/// Every live offer this node knows, of both sides, and what is remembered of authors.
#[derive(Clone)]
pub struct OfferBook {
    entries: Entries,
    drivers: Shelf,
    riders: Shelf,
    districts: SortedMap<Cell, District>,
    /// How many districts keep their offers in order.
    ranked: usize,
    /// Who is looked at when, to see whether its offer has ended. A refresh does not move
    /// its author in here; being looked at too early does.
    ends: BinaryHeap<Reverse<(Timestamp, EntryId)>>,
    /// The first time in `ends`.
    next_look: Timestamp,
    pinned: BTreeSet<Author>,
    evicted: u64,
    offers_per_cell: usize,
    offers: usize,
    uncredentialed_percent: usize,
    uncredentialed_places: usize,
}

impl OfferBook {
    /// An empty book with these bounds. It allocates nothing before the first offer.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self::with_hash_key(limits, HashKey::default())
    }

    /// The same, with tables that strangers cannot aim at.
    #[must_use]
    pub fn with_hash_key(limits: &Limits, hash_key: HashKey) -> Self {
        Self {
            entries: Entries::new(limits.authors, limits.author_grace, limits.author, hash_key),
            drivers: Shelf::new(),
            riders: Shelf::new(),
            districts: SortedMap::new(),
            ranked: 0,
            ends: BinaryHeap::new(),
            next_look: Timestamp::MAX,
            pinned: BTreeSet::new(),
            evicted: 0,
            offers_per_cell: limits.offers_per_cell,
            offers: limits.offers,
            uncredentialed_percent: usize::from(limits.uncredentialed_percent),
            uncredentialed_places: limits.uncredentialed_places,
        }
    }

    /// The live offer of this driver.
    #[must_use]
    pub fn driver(&self, key: &PublicKey) -> Option<&BookedDriver> {
        DriverOffer::booked(self, self.entries.find(key.as_bytes())?)
    }

    /// The live offer of this rider.
    #[must_use]
    pub fn rider(&self, key: &PublicKey) -> Option<&BookedRider> {
        RiderOffer::booked(self, self.entries.find(key.as_bytes())?)
    }

    /// The identity behind an author in the book and how far it is known: whom a ban
    /// hits (P18.3).
    #[must_use]
    pub fn standing_of(&self, key: &PublicKey) -> Option<(Option<PublicKey>, Level)> {
        let driver = self.driver(key).map(|booked| (booked.identity().copied(), booked.level));
        driver.or_else(|| self.rider(key).map(|booked| (booked.identity().copied(), booked.level)))
    }

    /// Every driver's offer, in the order of keys.
    pub fn drivers(&self) -> impl Iterator<Item = &BookedDriver> {
        self.in_order()
    }

    /// Every rider's offer, in the order of keys.
    pub fn riders(&self) -> impl Iterator<Item = &BookedRider> {
        self.in_order()
    }

    fn in_order<O: Offer>(&self) -> impl Iterator<Item = &Booked<O>> {
        let mut booked: Vec<&Booked<O>> =
            self.entries.iter().filter_map(|(id, _)| O::booked(self, id)).collect();
        booked.sort_unstable_by_key(|booked| booked.key());
        booked.into_iter()
    }

    /// How many offers of a side are live at this moment.
    #[must_use]
    pub fn live_count(&self, side: Side, now: Timestamp) -> usize {
        let shelf = match side {
            Side::Drivers => &self.drivers,
            Side::Riders => &self.riders,
        };
        if self.next_expiry().is_none_or(|next| next > now) {
            return shelf.offers;
        }
        self.entries.iter().filter(|(_, entry)| entry.end(side).is_some_and(|end| end > now)).count()
    }

    /// How many of a side newly appear per second, judged by Little's law: how many are
    /// there, but for so many, divided by how long they have been, on average, but `least`
    /// at the least.
    #[must_use]
    pub fn flow_per_s(&self, now: Timestamp, side: Side, without: usize, least: Duration) -> f64 {
        let shelf = match side {
            Side::Drivers => &self.drivers,
            Side::Riders => &self.riders,
        };
        let others = shelf.offers.saturating_sub(without);
        if others == 0 {
            return 0.0;
        }
        let mean_ms = now.as_millis().saturating_sub(shelf.since_ms / shelf.offers as u64);
        others as f64 * 1_000.0 / mean_ms.max(u64::from(least.as_millis()).max(1)) as f64
    }

    /// How many offers are booked, of both sides, expired ones included until
    /// [`OfferBook::expire`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.drivers.offers + self.riders.offers
    }

    /// Whether nothing is booked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many authors are remembered, whether or not they offer something.
    #[must_use]
    pub fn authors(&self) -> usize {
        self.entries.len()
    }

    /// Whether this author has been heard lately.
    #[must_use]
    pub fn knows(&self, author: &PublicKey) -> bool {
        self.entries.find(author.as_bytes()).is_some()
    }

    /// When an offer of this side last came in, whatever became of it since.
    #[must_use]
    pub fn last_heard(&self, side: Side) -> Option<Timestamp> {
        match side {
            Side::Drivers => self.drivers.last_heard,
            Side::Riders => self.riders.last_heard,
        }
    }

    /// Offers that had to go for others, since the start.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Keeps the offers of an author that this node deals with from being evicted.
    pub fn pin(&mut self, key: &PublicKey) {
        self.pinned.insert(*key.as_bytes());
    }

    /// Ends what [`OfferBook::pin`] began.
    pub fn unpin(&mut self, key: &PublicKey) {
        self.pinned.remove(key.as_bytes());
    }

    /// Removes whatever this author offers. True when there was something.
    pub fn remove(&mut self, key: &PublicKey) -> bool {
        let Some(entry) = self.entries.find(key.as_bytes()) else { return false };
        self.take(entry).is_some()
    }

    /// Removes the offers that have ended by `now`; returns whose and on which side.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(PublicKey, Side)> {
        if self.next_look > now {
            return Vec::new();
        }
        let mut ended = Vec::new();
        while let Some(&Reverse((at, id))) = self.ends.peek()
            && at <= now
        {
            self.ends.pop();
            let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.queued == at) else {
                continue;
            };
            entry.queued = NEVER;
            match entry.ends() {
                Some(end) if end > now => {
                    entry.queued = end;
                    self.ends.push(Reverse((end, id)));
                }
                Some(end) => ended.extend(self.take(id).map(|(key, side)| (end, side, key))),
                None => {}
            }
        }
        self.next_look = self.ends.peek().map_or(Timestamp::MAX, |Reverse((at, _))| *at);
        ended.sort_unstable();
        ended.into_iter().map(|(_, side, key)| (key, side)).collect()
    }

    /// Forgets authors who offer nothing and whose last offer is too old to come again.
    /// Worth a call when nothing has been heard for a while; otherwise newcomers see to it.
    pub fn forget_authors(&mut self, now: Timestamp) {
        self.expire(now);
        self.entries.sweep(now);
        if self.entries.len() == 0 {
            self.ends = BinaryHeap::new();
        }
    }

    /// No offer ends before this; it is when [`OfferBook::expire`] may have something to
    /// do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        if self.is_empty() { None } else { Some(self.next_look) }
    }

    /// Live drivers with the bounds of their distance from `point`, nearest centre
    /// first, ties in the order of keys. Lazy.
    pub fn nearest_drivers(
        &self,
        point: GeoPoint,
        now: Timestamp,
    ) -> impl Iterator<Item = (&BookedDriver, Bounds)> {
        self.nearest(point, now)
    }

    /// Live riders; see [`OfferBook::nearest_drivers`].
    pub fn nearest_riders(
        &self,
        point: GeoPoint,
        now: Timestamp,
    ) -> impl Iterator<Item = (&BookedRider, Bounds)> {
        self.nearest(point, now)
    }

    /// Live offers of one side; see [`OfferBook::nearest_drivers`].
    pub fn nearest<O: Offer>(
        &self,
        point: GeoPoint,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Booked<O>, Bounds)> {
        self.live::<O>(O::shelf(self).index.nearest(point), now)
    }

    /// Live offers of one side whose authors can be within the radius, metres, in the
    /// order of cells.
    pub fn within<O: Offer>(
        &self,
        point: GeoPoint,
        radius_m: f64,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Booked<O>, Bounds)> {
        self.live::<O>(O::shelf(self).index.within(point, radius_m), now)
    }

    /// How many offers [`OfferBook::within`] yields.
    #[must_use]
    pub fn count_within<O: Offer>(&self, point: GeoPoint, radius_m: f64, now: Timestamp) -> usize {
        if self.next_expiry().is_none_or(|next| next > now) {
            O::shelf(self).index.count_within(point, radius_m)
        } else {
            self.within::<O>(point, radius_m, now).count()
        }
    }

    fn live<O: Offer>(
        &self,
        found: impl Iterator<Item = (EntryId, Bounds)>,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Booked<O>, Bounds)> {
        let booked = found.filter_map(|(entry, bounds)| Some((O::booked(self, entry)?, bounds)));
        booked.filter(move |(booked, _)| booked.expires() > now)
    }

    // ---- what admission needs ----

    /// The row of an author.
    pub(crate) fn find(&self, author: &Author) -> Option<EntryId> {
        self.entries.find(author)
    }

    /// How an offer relates to the last one of its author, and whether the author may
    /// say something now.
    pub(crate) fn look<O: Offer>(
        &self,
        known: Option<EntryId>,
        offer: &Signed<O>,
        now: Timestamp,
    ) -> (Sequence, bool) {
        let body = offer.body();
        self.entries.look(known, body.seq(), &offer.id(), withdrawn(body), now)
    }

    /// Charges an author for something that was not admitted after all.
    pub(crate) fn charge<O: Offer>(&mut self, known: Option<EntryId>, body: &O, now: Timestamp) {
        if let Some(known) = known {
            self.entries.charge(known, withdrawn(body), now);
        }
    }

    /// A row for an author that is not known yet, if there is room.
    pub(crate) fn enrol(&mut self, author: &Author, now: Timestamp) -> Option<EntryId> {
        // An author is only forgotten when its offer is out of the book.
        self.expire(now);
        self.entries.has_room(now).then(|| self.entries.enrol(author))
    }

    /// Takes back [`OfferBook::enrol`].
    pub(crate) fn dismiss(&mut self, entry: EntryId) {
        self.entries.forget(entry);
    }

    /// Remembers an admitted offer and charges its author.
    pub(crate) fn record<O: Offer>(&mut self, entry: EntryId, offer: &Verified<O>, now: Timestamp) {
        let body = offer.body();
        let expires = body.made() + body.ttl();
        self.entries.record(entry, body.seq(), &offer.id(), expires, withdrawn(body), now);
    }

    /// Books an offer in place of whatever its author offered before. Says whether that
    /// said the same of slots.
    ///
    /// # Errors
    /// [`Full`] when there is no room and nothing worth less; then nothing has changed.
    pub(crate) fn put<O: Offer>(
        &mut self,
        now: Timestamp,
        entry: EntryId,
        mut booked: Booked<O>,
        credentials_matter: bool,
    ) -> Result<bool, Full> {
        self.expire(now);
        let cell = booked.cell();
        // The usual case: a refresh that changes nothing but times.
        let mut is_refresh = false;
        if let Some(before) = O::booked(self, entry) {
            is_refresh =
                before.cell() == cell && before.level.is_credentialed() == booked.level.is_credentialed();
            let (old, new) = (before.offer.body(), booked.offer.body());
            if old.slot() == new.slot() {
                booked.since = before.since;
                booked.repeats = old.shown_head() == new.shown_head();
            }
        }
        let judges_strangers = credentials_matter && !booked.level.is_credentialed();
        let place = cell.parent(Resolution::TOPIC);
        if judges_strangers || !is_refresh {
            let victims = self.room_for(&booked.rank(), entry, place, credentials_matter)?;
            for victim in victims.into_iter().flatten() {
                self.evicted += 1;
                let victim = self.entries.find(&victim.author);
                victim.and_then(|victim| self.take(victim));
            }
        }
        let (expires, repeats) = (booked.expires(), booked.repeats);
        if is_refresh {
            let before = if self.ranked == 0 { None } else { self.entries.get(entry).and_then(Entry::rank) };
            if let Some((before, _)) = before
                && let Some(ranks) =
                    self.districts.get_mut(&place).and_then(|district| district.ranks.as_mut())
            {
                ranks.remove(&before);
                ranks.insert(booked.rank());
            }
            let (old, new) = (O::booked(self, entry).map(|before| before.since), booked.since);
            let shelf = O::shelf_mut(self);
            shelf.since_ms += new.as_millis();
            shelf.since_ms -= old.map_or(0, Timestamp::as_millis);
            O::post(self, entry, booked);
        } else {
            self.take(entry);
            let tenant = booked.tenant(entry);
            let shelf = O::shelf_mut(self);
            shelf.offers += 1;
            shelf.since_ms += booked.since.as_millis();
            shelf.index.insert(cell, tenant);
            let district = self.districts.get_or_insert_with(place, District::default);
            district.offers += 1;
            district.uncredentialed += usize::from(!booked.level.is_credentialed());
            if let Some(ranks) = &mut district.ranks {
                ranks.insert(booked.rank());
            }
            O::post(self, entry, booked);
        }
        let shelf = O::shelf_mut(self);
        shelf.last_heard = shelf.last_heard.max(Some(now));
        if let Some(row) = self.entries.get_mut(entry)
            && row.queued > expires
        {
            row.queued = expires;
            self.ends.push(Reverse((expires, entry)));
            self.next_look = self.next_look.min(expires);
        }
        Ok(repeats)
    }

    /// Whom a newcomer would replace: nobody, one in its district, one anywhere.
    fn room_for(
        &mut self,
        rank: &Rank,
        entry: EntryId,
        place: Cell,
        credentials_matter: bool,
    ) -> Result<[Option<Rank>; 2], Full> {
        let judges_strangers = credentials_matter && !rank.level.is_credentialed();
        let (offers, strangers) =
            self.districts.get(&place).map_or((0, 0), |district| (district.offers, district.uncredentialed));
        // What its author has here will be replaced anyway.
        let own = self.entries.get(entry).and_then(Entry::rank);
        let own_here = own.filter(|(_, at)| *at == place);
        let here = offers - usize::from(own_here.is_some());
        if judges_strangers {
            let uncredentialed =
                strangers - usize::from(own_here.is_some_and(|(own, _)| !own.level.is_credentialed()));
            let share = (here + 1) * self.uncredentialed_percent / 100;
            if uncredentialed >= share.max(self.uncredentialed_places) {
                return Err(Full::Share);
            }
        }
        let is_full = offers >= self.offers_per_cell || self.len() >= self.offers;
        if !is_full {
            return Ok([None, None]);
        }
        // Equal standing and a longer life make a newcomer worth more.
        let worth_less = |victim: &Rank| (victim.level, victim.expires) < (rank.level, rank.expires);
        let mut victims = [None, None];
        if here >= self.offers_per_cell {
            self.rank_districts(Some(place));
            let least = self.districts.get(&place).and_then(|district| self.spare(district, rank));
            victims[0] = Some(least.filter(worth_less).ok_or(Full::Cell)?);
        }
        let replaced = usize::from(own.is_some()) + usize::from(victims[0].is_some());
        if self.len() - replaced >= self.offers {
            self.rank_districts(None);
            let least = self.districts.values().filter_map(|district| self.spare(district, rank)).min();
            victims[1] = Some(least.filter(worth_less).ok_or(Full::Book)?);
        }
        Ok(victims)
    }

    /// Who goes first in a district for a newcomer of this rank.
    fn spare(&self, district: &District, newcomer: &Rank) -> Option<Rank> {
        let may_go = |rank: &&Rank| rank.author != newcomer.author && !self.pinned.contains(&rank.author);
        district.ranks.as_ref()?.iter().find(may_go).copied()
    }

    /// Puts the offers of one district, or of all, in order, where that is not done yet.
    fn rank_districts(&mut self, only: Option<Cell>) {
        let is_wanted = |place: &Cell| only.is_none_or(|only| only == *place);
        let mut missing: Vec<Cell> =
            self.districts.iter().filter(|(_, d)| d.ranks.is_none()).map(|(at, _)| *at).collect();
        missing.retain(is_wanted);
        if missing.is_empty() {
            return;
        }
        for place in &missing {
            if let Some(district) = self.districts.get_mut(place) {
                district.ranks = Some(BTreeSet::new());
                self.ranked += 1;
            }
        }
        for (_, entry) in self.entries.iter() {
            if let Some((rank, at)) = entry.rank()
                && missing.binary_search(&at).is_ok()
                && let Some(ranks) = self.districts.get_mut(&at).and_then(|district| district.ranks.as_mut())
            {
                ranks.insert(rank);
            }
        }
    }

    /// Removes the offer of a row from every table.
    fn take(&mut self, id: EntryId) -> Option<(PublicKey, Side)> {
        let entry = self.entries.get_mut(id)?;
        let (rank, place) = entry.rank()?;
        let posted = std::mem::replace(&mut entry.posted, Posted::Nothing);
        let (shelf, cell, since, key) = match &posted {
            Posted::Driver(booked) => (&mut self.drivers, booked.cell(), booked.since, *booked.key()),
            Posted::Rider(booked) => (&mut self.riders, booked.cell(), booked.since, *booked.key()),
            Posted::Nothing => return None,
        };
        let tenant = Tenant::new(key.as_bytes(), id);
        shelf.offers -= 1;
        shelf.since_ms -= since.as_millis();
        shelf.index.remove(cell, tenant);
        if let Some(district) = self.districts.get_mut(&place) {
            district.offers -= 1;
            district.uncredentialed -= usize::from(!rank.level.is_credentialed());
            if let Some(ranks) = &mut district.ranks {
                ranks.remove(&rank);
            }
            if district.offers == 0 {
                self.ranked -= usize::from(district.ranks.is_some());
                self.districts.remove(&place);
            }
        }
        Some((key, rank.side))
    }
}

impl Entry {
    /// When what is offered ends.
    fn ends(&self) -> Option<Timestamp> {
        match &self.posted {
            Posted::Nothing => None,
            Posted::Driver(booked) => Some(booked.expires()),
            Posted::Rider(booked) => Some(booked.expires()),
        }
    }

    /// When what is offered on this side ends.
    fn end(&self, side: Side) -> Option<Timestamp> {
        match (&self.posted, side) {
            (Posted::Driver(_), Side::Drivers) | (Posted::Rider(_), Side::Riders) => self.ends(),
            _ => None,
        }
    }

    /// What the offer is worth, and in which district it is.
    fn rank(&self) -> Option<(Rank, Cell)> {
        match &self.posted {
            Posted::Nothing => None,
            Posted::Driver(booked) => Some((booked.rank(), booked.cell().parent(Resolution::TOPIC))),
            Posted::Rider(booked) => Some((booked.rank(), booked.cell().parent(Resolution::TOPIC))),
        }
    }
}

/// The slot whose offer is taken back, if this is no offer but the end of one.
fn withdrawn<O: Offer>(body: &O) -> Option<u64> {
    if body.is_live() { None } else { Some(body.slot()) }
}

impl Shelf {
    const fn new() -> Self {
        Self { offers: 0, since_ms: 0, index: SpatialIndex::new(), last_heard: None }
    }
}

impl fmt::Debug for OfferBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferBook")
            .field("drivers", &self.drivers.offers)
            .field("riders", &self.riders.offers)
            .field("evicted", &self.evicted)
            .finish()
    }
}
