//! The offer book: what a node has heard and believes for the moment.
//!
//! One live offer per author. A higher sequence number replaces it, a withdrawal or its
//! expiry removes it, and when the book or a cell of it is full the offer that is worth
//! least goes: expired, then uncredentialed, then of lower standing, then the one that
//! would expire first (P20). Offers of authors that this node deals with are pinned and
//! stay.
//!
//! Only admission puts offers here, and what it puts is [`Verified`]: the signatures of
//! these functions leave no way to book anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use hailmesh_types::{
    Bounds, Cell, Duration, GeoPoint, PeerKey, PublicKey, Resolution, StatementId, Timestamp,
};
use hailmesh_wire::{Body, DriverOffer, RiderOffer, Verified};

use crate::certificates::Level;
use crate::index::{Author, Authored, SpatialIndex};
use crate::limits::Limits;

/// One of the two sides of the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Those who offer rides.
    Drivers,
    /// Those who want one.
    Riders,
}

impl Side {
    /// `drivers` or `riders`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drivers => "drivers",
            Self::Riders => "riders",
        }
    }
}

/// What both kinds of offer have in common (P4.2, P4.3).
pub trait Offer: Body + 'static {
    /// Whose offers these are.
    const SIDE: Side;

    /// Sequence number, strictly rising per key.
    fn seq(&self) -> u64;
    /// When it was made.
    fn made(&self) -> Timestamp;
    /// How long it stands from then on.
    fn ttl(&self) -> Duration;
    /// Whether it is an offer and not the withdrawal of one.
    fn is_live(&self) -> bool;
    /// Where its author says to be.
    fn cell(&self) -> Cell;
    /// The author's open slot.
    fn slot(&self) -> u64;
    /// Statement id of its leaf certificate.
    fn cert_id(&self) -> Option<StatementId>;
    /// Proof of work (P16.6).
    fn pow(&self) -> Option<&[u8; 8]>;

    #[doc(hidden)]
    fn shelf(book: &OfferBook) -> &Shelf<Self>;
    #[doc(hidden)]
    fn shelf_mut(book: &mut OfferBook) -> &mut Shelf<Self>;
}

macro_rules! offer {
    ($offer:ty, $side:expr, $shelf:ident) => {
        impl Offer for $offer {
            const SIDE: Side = $side;

            fn seq(&self) -> u64 {
                self.seq
            }

            fn made(&self) -> Timestamp {
                self.issued
            }

            fn ttl(&self) -> Duration {
                self.ttl
            }

            fn is_live(&self) -> bool {
                self.live.is_some()
            }

            fn cell(&self) -> Cell {
                self.cell
            }

            fn slot(&self) -> u64 {
                self.slot
            }

            fn cert_id(&self) -> Option<StatementId> {
                self.cert_id
            }

            fn pow(&self) -> Option<&[u8; 8]> {
                self.pow.as_ref()
            }

            fn shelf(book: &OfferBook) -> &Shelf<Self> {
                &book.$shelf
            }

            fn shelf_mut(book: &mut OfferBook) -> &mut Shelf<Self> {
                &mut book.$shelf
            }
        }
    };
}

offer!(DriverOffer, Side::Drivers, drivers);
offer!(RiderOffer, Side::Riders, riders);

/// An offer in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked<O> {
    /// The offer as its author signed it.
    pub offer: Verified<O>,
    /// How far its author is known here (P16.4).
    pub level: Level,
    /// The identity key behind the author's certificate; the subject of a pseudonymous
    /// credential is the author itself.
    pub identity: Option<PublicKey>,
    /// When it came in.
    pub heard: Timestamp,
    /// Since when its author has been there with this slot open: when the first offer of
    /// the slot that was heard was made, or came in if that is earlier. Refreshes keep it.
    pub since: Timestamp,
    /// The peer that forwarded it; none for an offer that came with a statement of its
    /// author.
    pub source: Option<PeerKey>,
}

/// A driver's offer in the book.
pub type BookedDriver = Booked<DriverOffer>;
/// A rider's offer in the book.
pub type BookedRider = Booked<RiderOffer>;

impl<O: Offer> Booked<O> {
    /// The author's key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        self.offer.signer()
    }

    /// When the offer ends by itself.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.offer.body().made() + self.offer.body().ttl()
    }

    fn rank(&self) -> Rank {
        Rank { level: self.level, expires: self.expires(), side: O::SIDE, author: *self.author() }
    }
}

impl<O: Offer> Authored for Booked<O> {
    fn author(&self) -> &Author {
        self.offer.signer().as_bytes()
    }
}

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
    ranks: BTreeSet<Rank>,
    uncredentialed: usize,
}

/// The offers of one side.
#[derive(Clone)]
pub struct Shelf<O> {
    by_author: BTreeMap<Author, Arc<Booked<O>>>,
    index: SpatialIndex<Booked<O>>,
    last_heard: Option<Timestamp>,
    /// The sum of `since` over all offers, milliseconds.
    since_ms: u64,
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

/// Every live offer this node knows, of both sides.
#[derive(Clone)]
pub struct OfferBook {
    drivers: Shelf<DriverOffer>,
    riders: Shelf<RiderOffer>,
    districts: BTreeMap<Cell, District>,
    expiries: BTreeSet<(Timestamp, Side, Author)>,
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
        let (drivers, riders) = (Shelf::new(), Shelf::new());
        Self {
            drivers,
            riders,
            districts: BTreeMap::new(),
            expiries: BTreeSet::new(),
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
    pub fn driver(&self, key: &PublicKey) -> Option<&Arc<BookedDriver>> {
        self.drivers.by_author.get(key.as_bytes())
    }

    /// The live offer of this rider.
    #[must_use]
    pub fn rider(&self, key: &PublicKey) -> Option<&Arc<BookedRider>> {
        self.riders.by_author.get(key.as_bytes())
    }

    /// The driver's offer when it is the one with this id: only the current offer of an
    /// author has one here.
    #[must_use]
    pub fn driver_offer(&self, key: &PublicKey, id: &StatementId) -> Option<&Arc<BookedDriver>> {
        self.driver(key).filter(|booked| booked.offer.id() == *id)
    }

    /// The rider's offer when it is the one with this id.
    #[must_use]
    pub fn rider_offer(&self, key: &PublicKey, id: &StatementId) -> Option<&Arc<BookedRider>> {
        self.rider(key).filter(|booked| booked.offer.id() == *id)
    }

    /// The identity behind an author in the book and how far it is known: whom a ban
    /// hits (P18.3).
    #[must_use]
    pub fn standing_of(&self, key: &PublicKey) -> Option<(Option<PublicKey>, Level)> {
        let driver = self.driver(key).map(|booked| (booked.identity, booked.level));
        driver.or_else(|| self.rider(key).map(|booked| (booked.identity, booked.level)))
    }

    /// Every driver's offer, in the order of keys.
    pub fn drivers(&self) -> impl Iterator<Item = &Arc<BookedDriver>> {
        self.drivers.by_author.values()
    }

    /// Every rider's offer, in the order of keys.
    pub fn riders(&self) -> impl Iterator<Item = &Arc<BookedRider>> {
        self.riders.by_author.values()
    }

    /// How many offers of a side are live at this moment.
    #[must_use]
    pub fn live_count(&self, side: Side, now: Timestamp) -> usize {
        let booked = match side {
            Side::Drivers => self.drivers.by_author.len(),
            Side::Riders => self.riders.by_author.len(),
        };
        let overdue = self.expiries.iter().take_while(|(expires, ..)| *expires <= now);
        booked - overdue.filter(|(_, of, _)| *of == side).count()
    }

    /// How many partners of both sides newly appear per second, judged by Little's law:
    /// how many are there divided by how long they have been, on average, but `least` at
    /// the least. One of `partner`'s side is left out: whoever asks has a pair in mind
    /// and asks about the others.
    #[must_use]
    pub fn flow_per_s(&self, now: Timestamp, partner: Side, least: Duration) -> f64 {
        let sides =
            [(Side::Drivers, self.drivers.since_ms), (Side::Riders, self.riders.since_ms)].into_iter();
        let flow = |(side, since_ms): (Side, u64)| {
            let booked = match side {
                Side::Drivers => self.drivers.by_author.len(),
                Side::Riders => self.riders.by_author.len(),
            };
            let others = booked.saturating_sub(usize::from(side == partner));
            if others == 0 {
                return 0.0;
            }
            let mean_ms = now.as_millis().saturating_sub(since_ms / booked as u64);
            #[expect(clippy::cast_precision_loss, reason = "at most 100,000 offers, for a few minutes")]
            let per_s = others as f64 * 1_000.0 / mean_ms.max(u64::from(least.as_millis()).max(1)) as f64;
            per_s
        };
        sides.map(flow).sum()
    }

    /// How many offers are booked, of both sides, expired ones included until
    /// [`OfferBook::expire`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.expiries.len()
    }

    /// Whether nothing is booked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.expiries.is_empty()
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
        let driver = self.take::<DriverOffer>(key.as_bytes()).is_some();
        let rider = self.take::<RiderOffer>(key.as_bytes()).is_some();
        driver || rider
    }

    /// Removes the offers that have ended by `now`; returns whose and on which side.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(PublicKey, Side)> {
        let mut ended = Vec::new();
        while let Some(&(expires, side, author)) = self.expiries.first() {
            if expires > now {
                break;
            }
            let key = match side {
                Side::Drivers => self.take::<DriverOffer>(&author).map(|booked| *booked.key()),
                Side::Riders => self.take::<RiderOffer>(&author).map(|booked| *booked.key()),
            };
            ended.extend(key.map(|key| (key, side)));
        }
        ended
    }

    /// When the next offer ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(expires, ..)| *expires)
    }

    /// Live drivers with the bounds of their distance from `point`, nearest centre
    /// first, ties in the order of keys. Lazy.
    pub fn nearest_drivers(
        &self,
        point: GeoPoint,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Arc<BookedDriver>, Bounds)> {
        self.nearest(point, now)
    }

    /// Live riders; see [`OfferBook::nearest_drivers`].
    pub fn nearest_riders(
        &self,
        point: GeoPoint,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Arc<BookedRider>, Bounds)> {
        self.nearest(point, now)
    }

    /// Live offers of one side; see [`OfferBook::nearest_drivers`].
    pub fn nearest<O: Offer>(
        &self,
        point: GeoPoint,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Arc<Booked<O>>, Bounds)> {
        O::shelf(self).index.nearest(point).filter(move |(booked, _)| booked.expires() > now)
    }

    /// Live offers of one side whose authors can be within the radius, metres, in the
    /// order of cells.
    pub fn within<O: Offer>(
        &self,
        point: GeoPoint,
        radius_m: f64,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Arc<Booked<O>>, Bounds)> {
        O::shelf(self).index.within(point, radius_m).filter(move |(booked, _)| booked.expires() > now)
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

    /// Books an offer in place of whatever its author offered before.
    ///
    /// # Errors
    /// [`Full`] when there is no room and nothing worth less; then nothing has changed.
    pub(crate) fn put<O: Offer>(
        &mut self,
        now: Timestamp,
        mut booked: Booked<O>,
        credentials_matter: bool,
    ) -> Result<Arc<Booked<O>>, Full> {
        let rank = booked.rank();
        let place = booked.offer.body().cell().parent(Resolution::TOPIC);
        self.expire(now);
        let victims = self.room_for(&rank, place, credentials_matter)?;
        for victim in victims.into_iter().flatten() {
            self.evicted += 1;
            self.take_ranked(&victim);
        }
        let shelf = O::shelf_mut(self);
        let before = shelf.by_author.get(&rank.author);
        let made = booked.offer.body().made().min(booked.heard);
        booked.since = match before {
            Some(before) if before.offer.body().slot() == booked.offer.body().slot() => before.since,
            _ => made.max(booked.heard - booked.offer.body().ttl()),
        };
        shelf.since_ms += booked.since.as_millis();
        shelf.since_ms -= before.map_or(0, |before| before.since.as_millis());
        let booked = Arc::new(booked);
        shelf.last_heard = shelf.last_heard.max(Some(booked.heard));
        let before = shelf.by_author.insert(rank.author, Arc::clone(&booked));
        if let Some(before) = &before
            && before.offer.body().cell() != booked.offer.body().cell()
        {
            shelf.index.remove(before.offer.body().cell(), &rank.author);
        }
        shelf.index.insert(booked.offer.body().cell(), Arc::clone(&booked));
        match before {
            Some(before) => self.unlist(&before),
            // An author is on one side only.
            None => match O::SIDE {
                Side::Drivers => drop(self.take::<RiderOffer>(&rank.author)),
                Side::Riders => drop(self.take::<DriverOffer>(&rank.author)),
            },
        }
        self.expiries.insert((rank.expires, rank.side, rank.author));
        let district = self.districts.entry(place).or_default();
        district.uncredentialed += usize::from(!rank.level.is_credentialed());
        district.ranks.insert(rank);
        Ok(booked)
    }

    /// Whom a newcomer would replace: nobody, one in its district, one anywhere.
    fn room_for(
        &self,
        rank: &Rank,
        place: Cell,
        credentials_matter: bool,
    ) -> Result<[Option<Rank>; 2], Full> {
        let empty = District::default();
        let district = self.districts.get(&place).unwrap_or(&empty);
        let judges_strangers = credentials_matter && !rank.level.is_credentialed();
        let is_full = district.ranks.len() >= self.offers_per_cell || self.len() >= self.offers;
        if !judges_strangers && !is_full {
            return Ok([None, None]);
        }
        let own = self.ranks_of(&rank.author);
        let here = district.ranks.len() - own.iter().flatten().filter(|(_, at)| *at == place).count();
        if judges_strangers {
            let counted = |(own, at): &&(Rank, Cell)| *at == place && !own.level.is_credentialed();
            let uncredentialed = district.uncredentialed - own.iter().flatten().filter(counted).count();
            let share = (here + 1) * self.uncredentialed_percent / 100;
            if uncredentialed >= share.max(self.uncredentialed_places) {
                return Err(Full::Share);
            }
        }
        let spare = |ranks: &BTreeSet<Rank>| {
            let unpinned =
                |rank_: &&Rank| rank_.author != rank.author && !self.pinned.contains(&rank_.author);
            ranks.iter().find(unpinned).copied()
        };
        // Equal standing and a longer life make a newcomer worth more.
        let worth_less = |victim: &Rank| (victim.level, victim.expires) < (rank.level, rank.expires);
        let mut victims = [None, None];
        if here >= self.offers_per_cell {
            victims[0] = Some(spare(&district.ranks).filter(worth_less).ok_or(Full::Cell)?);
        }
        let replaced = own.iter().flatten().count() + usize::from(victims[0].is_some());
        if self.len() - replaced >= self.offers {
            let least = self.districts.values().filter_map(|district| spare(&district.ranks)).min();
            victims[1] = Some(least.filter(worth_less).ok_or(Full::Book)?);
        }
        Ok(victims)
    }

    /// What this author has here, with its district: it will be replaced anyway.
    fn ranks_of(&self, author: &Author) -> [Option<(Rank, Cell)>; 2] {
        fn rank_on<O: Offer>(book: &OfferBook, author: &Author) -> Option<(Rank, Cell)> {
            let booked = O::shelf(book).by_author.get(author)?;
            Some((booked.rank(), booked.offer.body().cell().parent(Resolution::TOPIC)))
        }
        [rank_on::<DriverOffer>(self, author), rank_on::<RiderOffer>(self, author)]
    }

    fn take_ranked(&mut self, rank: &Rank) {
        match rank.side {
            Side::Drivers => drop(self.take::<DriverOffer>(&rank.author)),
            Side::Riders => drop(self.take::<RiderOffer>(&rank.author)),
        }
    }

    /// Removes the offer of an author on one side from every table.
    pub(crate) fn take<O: Offer>(&mut self, author: &Author) -> Option<Arc<Booked<O>>> {
        let shelf = O::shelf_mut(self);
        let booked = shelf.by_author.remove(author)?;
        shelf.since_ms -= booked.since.as_millis();
        shelf.index.remove(booked.offer.body().cell(), author);
        self.unlist(&booked);
        Some(booked)
    }

    /// Takes an offer out of the tables that order offers.
    fn unlist<O: Offer>(&mut self, booked: &Booked<O>) {
        let rank = booked.rank();
        self.expiries.remove(&(rank.expires, rank.side, rank.author));
        let place = booked.offer.body().cell().parent(Resolution::TOPIC);
        if let Some(district) = self.districts.get_mut(&place) {
            district.ranks.remove(&rank);
            district.uncredentialed -= usize::from(!rank.level.is_credentialed());
            if district.ranks.is_empty() {
                self.districts.remove(&place);
            }
        }
    }
}

impl<O: Offer> Shelf<O> {
    const fn new() -> Self {
        Self { by_author: BTreeMap::new(), index: SpatialIndex::new(), last_heard: None, since_ms: 0 }
    }

    pub(crate) fn get(&self, author: &Author) -> Option<&Arc<Booked<O>>> {
        self.by_author.get(author)
    }
}

impl fmt::Debug for OfferBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferBook")
            .field("drivers", &self.drivers.by_author.len())
            .field("riders", &self.riders.by_author.len())
            .field("evicted", &self.evicted)
            .finish()
    }
}
