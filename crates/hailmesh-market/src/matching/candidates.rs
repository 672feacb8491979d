//! Searching the book, and explaining the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use hailmesh_types::{
    Amount, Bounds, Class, Currency, Duration, Features, GeoPoint, PublicKey, Seats, Tariff, Timestamp,
};
use hailmesh_wire::{DriverOffer, DriverTerms, RiderOffer, RiderTerms};

use crate::book::{Booked, Offer, OfferBook};
use crate::certificates::Level;

/// Why somebody in the book is no candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exclusion {
    /// Certainly beyond the radius.
    TooFar,
    /// Another class of vehicle.
    Class,
    /// Too few seats.
    Seats,
    /// A feature is missing.
    Features,
    /// Another currency than the only one wanted.
    Currency,
    /// Dearer than wanted, or pays less than asked.
    Fare,
    /// Less known than wanted (P16.5).
    Level,
    /// Banned here.
    Banned,
    /// Has refused a moment ago, or is being asked already.
    Busy,
    /// Cannot be there in time.
    Late,
    /// Does not answer.
    Unreachable,
    /// This node itself.
    Own,
}

impl Exclusion {
    /// A stable name in snake case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooFar => "too_far",
            Self::Class => "class",
            Self::Seats => "seats",
            Self::Features => "features",
            Self::Currency => "currency",
            Self::Fare => "fare",
            Self::Level => "level",
            Self::Banned => "banned",
            Self::Busy => "busy",
            Self::Late => "late",
            Self::Unreachable => "unreachable",
            Self::Own => "own",
        }
    }
}

/// What a rider wants of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverWant {
    /// Class of vehicle; none: any.
    pub class: Option<Class>,
    /// Seats needed.
    pub seats: Seats,
    /// What the vehicle must have.
    pub features: Features,
    /// The most it may cost, minor units of the offer's currency.
    pub max_fare: Option<Amount>,
    /// The only currency wanted; none: any.
    pub currency: Option<Currency>,
    /// Estimated length of the ride, metres; with `ride_time` it gives a fare.
    pub dist_m: Option<u32>,
    /// Estimated time of the ride.
    pub ride_time: Option<Duration>,
    /// Least level of a driver.
    pub min_level: Level,
}

impl Default for DriverWant {
    /// Anybody.
    fn default() -> Self {
        Self {
            class: None,
            seats: Seats::ONE,
            features: Features::NONE,
            max_fare: None,
            currency: None,
            dist_m: None,
            ride_time: None,
            min_level: Level::L0,
        }
    }
}

/// What a driver has for a rider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiderWant {
    /// The driver's class of vehicle; none: any.
    pub class: Option<Class>,
    /// Free seats.
    pub seats: Seats,
    /// What the vehicle has.
    pub features: Features,
    /// What a ride costs.
    pub tariff: Option<Tariff>,
    /// Least level of a rider.
    pub min_level: Level,
}

/// A search around a place.
pub struct Query<'a, W> {
    /// Around here.
    pub near: GeoPoint,
    /// Nobody who is certainly farther than this, metres.
    pub radius_m: Option<u32>,
    /// At most so many candidates.
    pub limit: usize,
    /// What is wanted.
    pub want: W,
    /// Assumed speed of cars for the pickup time, km/h.
    pub speed_kmh: u16,
    /// Why else somebody is no candidate: banned, busy, own.
    pub exclude: &'a dyn Fn(&PublicKey) -> Option<Exclusion>,
}

/// Somebody who can be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<O> {
    /// The offer.
    pub booked: Arc<Booked<O>>,
    /// What is known of the distance.
    pub bounds: Bounds,
    /// The fare of the ride in the offer's currency, when its length is known.
    pub fare: Option<Amount>,
    /// Time to the pickup (P14.6).
    pub eta: Duration,
}

/// What a search saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explain {
    /// Live offers of the side in the book.
    pub heard: usize,
    /// Those whose author can be within the radius; all of them without one.
    pub in_range: usize,
    /// Those that were looked at: nearest first until there were enough candidates. All
    /// in range when there are too few.
    pub examined: usize,
    /// Why those in range that were looked at are no candidates, and how many are out
    /// of range.
    pub excluded: BTreeMap<Exclusion, u32>,
    /// When an offer of the side last came in.
    pub last_offer: Option<Timestamp>,
}

impl Explain {
    /// The exclusions under their stable names.
    #[must_use]
    pub fn excluded_by_name(&self) -> BTreeMap<&'static str, u32> {
        self.excluded.iter().map(|(exclusion, count)| (exclusion.name(), *count)).collect()
    }
}

/// The answer to a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchReport<O> {
    /// Candidates by pickup time, that is by the distance to the centre of their cell,
    /// ties by key.
    pub candidates: Vec<Candidate<O>>,
    /// What was heard, in range, excluded and why.
    pub explain: Explain,
}

/// Searches the drivers that suit a rider.
#[must_use]
pub fn search_drivers(
    book: &OfferBook,
    now: Timestamp,
    query: &Query<'_, DriverWant>,
) -> SearchReport<DriverOffer> {
    search(book, now, query, query.want.min_level, |offer: &DriverOffer| match &offer.live {
        Some(terms) => judge_driver(terms, &query.want),
        None => Err(Exclusion::Busy),
    })
}

/// Searches the riders that suit a driver.
#[must_use]
pub fn search_riders(
    book: &OfferBook,
    now: Timestamp,
    query: &Query<'_, RiderWant>,
) -> SearchReport<RiderOffer> {
    search(book, now, query, query.want.min_level, |offer: &RiderOffer| match &offer.live {
        Some(terms) => judge_rider(terms, &query.want).map(|()| None),
        None => Err(Exclusion::Busy),
    })
}

fn search<O: Offer, W>(
    book: &OfferBook,
    now: Timestamp,
    query: &Query<'_, W>,
    min_level: Level,
    judge: impl Fn(&O) -> Result<Option<Amount>, Exclusion>,
) -> SearchReport<O> {
    let heard = book.live_count(O::SIDE, now);
    let radius_m = query.radius_m.map(f64::from);
    let in_range = radius_m.map_or(heard, |radius| book.count_within::<O>(query.near, radius, now));
    let mut explain = Explain { heard, in_range, last_offer: book.last_heard(O::SIDE), ..Explain::default() };
    if in_range < heard {
        let beyond = u32::try_from(heard - in_range).unwrap_or(u32::MAX);
        explain.excluded.insert(Exclusion::TooFar, beyond);
    }
    let mut candidates = Vec::new();
    for (booked, bounds) in book.nearest::<O>(query.near, now) {
        if candidates.len() >= query.limit || explain.examined >= in_range {
            break;
        }
        if radius_m.is_some_and(|radius| bounds.lower_m > radius) {
            continue; // counted already
        }
        explain.examined += 1;
        let verdict = match (query.exclude)(booked.key()) {
            Some(exclusion) => Err(exclusion),
            None if booked.level < min_level => Err(Exclusion::Level),
            None => judge(booked.offer.body()),
        };
        match verdict {
            Ok(fare) => {
                let eta = super::eta_over(bounds.centre_m, query.speed_kmh);
                candidates.push(Candidate { booked: Arc::new(booked.clone()), bounds, fare, eta });
            }
            Err(exclusion) => *explain.excluded.entry(exclusion).or_insert(0) += 1,
        }
    }
    SearchReport { candidates, explain }
}

fn judge_driver(terms: &DriverTerms, want: &DriverWant) -> Result<Option<Amount>, Exclusion> {
    check(want.class.is_none_or(|class| class == terms.class), Exclusion::Class)?;
    check(terms.seats >= want.seats, Exclusion::Seats)?;
    check(terms.features.contains(want.features), Exclusion::Features)?;
    check(want.currency.is_none_or(|currency| currency == terms.tariff.currency), Exclusion::Currency)?;
    let fare = match (want.dist_m, want.ride_time) {
        (Some(dist_m), Some(ride_time)) => {
            let fare = terms.tariff.fare(dist_m, ride_time, Duration::ZERO).map_err(|_| Exclusion::Fare)?;
            Some(fare.total)
        }
        _ => None,
    };
    // Without a distance the least that a ride can cost still tells.
    let at_least = fare.or_else(|| Amount::from_minor(terms.tariff.minimum.into()).ok());
    check(want.max_fare.is_none_or(|most| at_least.is_some_and(|fare| fare <= most)), Exclusion::Fare)?;
    Ok(fare)
}

fn judge_rider(terms: &RiderTerms, have: &RiderWant) -> Result<(), Exclusion> {
    check(have.class.is_none_or(|class| class == terms.class), Exclusion::Class)?;
    check(have.seats >= terms.seats, Exclusion::Seats)?;
    check(have.features.contains(terms.features), Exclusion::Features)?;
    if let (Some((most, currency)), Some(tariff)) = (terms.max_fare, &have.tariff) {
        check(currency == tariff.currency, Exclusion::Currency)?;
        check(u64::from(tariff.minimum) <= most.minor(), Exclusion::Fare)?;
    }
    Ok(())
}

const fn check(holds: bool, otherwise: Exclusion) -> Result<(), Exclusion> {
    if holds { Ok(()) } else { Err(otherwise) }
}
