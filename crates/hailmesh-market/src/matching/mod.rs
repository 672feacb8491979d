//! Whom to ask, and why the others were passed over.
//!
//! `candidates` answers a search from the book. The policies here are pure functions
//! over a local view of waiting riders and free drivers. Every node in a neighbourhood
//! hears nearly the same offers of both sides, so every node computes nearly the same
//! pairs and contacts *the partner that they give it*, not the nearest one, whom
//! somebody else is about to take. Where views differ two riders ask one driver, the
//! handshake refuses one, and a round trip is lost: never a double booking.

mod candidates;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use hailmesh_types::{Cell, Duration, GeoPoint, PublicKey, Timestamp};

use crate::book::{BookedDriver, OfferBook};
use crate::index::Author;
pub use candidates::{
    Candidate, DriverWant, Exclusion, Explain, Query, RiderWant, SearchReport, search_drivers, search_riders,
};

/// Roads are longer than great circles: the usual detour factor of a city.
const DETOUR: f64 = 1.3;
/// Times are told in steps of 30 s (P14.6).
const ETA_STEP_MS: f64 = 30_000.0;
/// The longest time that can be told, ms (P4.6).
const ETA_MAX_MS: u32 = 7_200_000;

/// The time a car takes over a great-circle distance, rounded up to 30 s and at most two
/// hours (P14.6): 1.3 times the distance at this mean speed. Metres and km/h.
#[must_use]
pub fn eta_over(distance_m: f64, speed_kmh: u16) -> Duration {
    let metres_per_ms = f64::from(speed_kmh.max(1)) / 3_600.0;
    let steps = (DETOUR * distance_m / metres_per_ms / ETA_STEP_MS).ceil();
    let ms = (steps * ETA_STEP_MS).clamp(0.0, f64::from(ETA_MAX_MS));
    // Between 0 and two hours, and a whole number.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 7,200,000")]
    Duration::from_millis(ms as u32)
}

/// The time from the centre of one cell to that of another: all that an uncommitted
/// party is told (P14.6).
#[must_use]
pub fn eta(from: Cell, to: Cell, speed_kmh: u16) -> Duration {
    eta_over(from.centre().distance_m(to.centre()), speed_kmh)
}

/// How a node decides whom to contact, over what it has heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// The nearest of the other side.
    #[default]
    Nearest,
    /// The partner that nearest pair first gives this node.
    NearestPair,
    /// The partner that the assignment of least total pickup time gives this node.
    Assignment,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nearest, Self::NearestPair, Self::Assignment];

    /// Its name in configuration, command line and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::NearestPair => "nearest-pair",
            Self::Assignment => "assignment",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A policy that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown matching policy \"{0}\": expected nearest, nearest-pair or assignment")]
pub struct PolicyError(String);

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        Self::ALL.into_iter().find(|policy| policy.name() == text).ok_or_else(|| PolicyError(text.to_owned()))
    }
}

/// Somebody in a local view: a waiting rider or a free driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// Its key, which breaks ties.
    pub key: Author,
    /// The centre of the cell it shows.
    pub at: GeoPoint,
}

/// Policy `nearest`: the free driver nearest to a rider, ties by key. Index into
/// `drivers`.
#[must_use]
pub fn nearest(rider: &Party, drivers: &[Party]) -> Option<usize> {
    let reach = |driver: &Party| (millimetres(rider.at.distance_m(driver.at)), driver.key);
    (0..drivers.len()).min_by_key(|index| reach(&drivers[*index]))
}

/// Policy `nearest-pair`: of all riders and drivers that suit each other the two that
/// are nearest, then of those left the two that are nearest, and so on. When both sides
/// rank by pickup time that is the one stable matching. Ties by the keys of the driver,
/// then the rider, so that everybody with one view finds one answer. Pairs of indexes
/// into `riders` and `drivers`, nearest first.
///
/// Takes r·d·log(r·d) steps: meant for the neighbourhood that a node knows.
#[must_use]
pub fn nearest_pair(
    riders: &[Party],
    drivers: &[Party],
    suits: &dyn Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(u64, Author, Author, usize, usize)> = Vec::new();
    for (r, rider) in riders.iter().enumerate() {
        for (d, driver) in drivers.iter().enumerate() {
            if suits(r, d) {
                pairs.push((millimetres(rider.at.distance_m(driver.at)), driver.key, rider.key, r, d));
            }
        }
    }
    pairs.sort_unstable();
    let (mut taken_riders, mut taken_drivers) = (BTreeSet::new(), BTreeSet::new());
    let mut matched = Vec::new();
    for (.., r, d) in pairs {
        if !taken_riders.contains(&r) && !taken_drivers.contains(&d) {
            taken_riders.insert(r);
            taken_drivers.insert(d);
            matched.push((r, d));
        }
    }
    matched
}

/// What a request is worth to the driver `me`: how far the next best car is from the
/// pickup, metres; infinite when there is none. Of several riders who ask, the one for
/// whom this is most is served: the others find somebody else more easily. It is computed
/// from public offers, so that nobody has to be believed.
#[must_use]
pub fn worth(pickup: Cell, book: &OfferBook, me: &PublicKey, now: Timestamp) -> f64 {
    worth_among(pickup, book, me, now, &|_| true)
}

/// As [`worth`], counting only the drivers that could serve the request.
#[must_use]
pub fn worth_among(
    pickup: Cell,
    book: &OfferBook,
    me: &PublicKey,
    now: Timestamp,
    suits: &dyn Fn(&BookedDriver) -> bool,
) -> f64 {
    book.nearest_drivers(pickup.centre(), now)
        .find(|(booked, _)| booked.key() != me && suits(booked))
        .map_or(f64::INFINITY, |(_, bounds)| bounds.centre_m)
}

/// Whole millimetres, so that distances have an order that all machines agree on.
fn millimetres(metres: f64) -> u64 {
    // Half the circumference of the Earth is 2e10 mm.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2e10")]
    let whole = (metres.max(0.0) * 1_000.0).round() as u64;
    whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn party(key: u8, lat: f64, lon: f64) -> Party {
        Party { key: [key; 32], at: GeoPoint::from_degrees(lat, lon).unwrap() }
    }

    #[test]
    fn times_are_rounded_up_to_half_minutes() {
        assert_eq!(eta_over(0.0, 20), Duration::ZERO);
        assert_eq!(eta_over(1.0, 20), Duration::from_secs(30));
        // 1 km is 1.3 km of road, 234 s at 20 km/h.
        assert_eq!(eta_over(1_000.0, 20), Duration::from_secs(240));
        assert_eq!(eta_over(2e7, 20), Duration::from_secs(7_200));
    }

    #[test]
    fn the_car_between_two_riders_goes_to_the_nearer_one() {
        let riders = [party(1, 0.0, 0.000), party(2, 0.0, 0.010)];
        let drivers = [party(8, 0.0, 0.008), party(9, 0.0, 0.020)];
        assert_eq!(nearest(&riders[0], &drivers), Some(0));
        assert_eq!(nearest_pair(&riders, &drivers, &|_, _| true), [(1, 0), (0, 1)]);
        assert_eq!(nearest_pair(&riders, &drivers, &|r, d| r != 1 || d != 0), [(0, 0), (1, 1)]);
        assert_eq!(nearest(&riders[0], &[]), None);
    }

    fn parties(most: usize) -> impl Strategy<Value = Vec<Party>> {
        prop::collection::vec((40.70..40.75_f64, -74.0..-73.95_f64), 0..most).prop_map(|places| {
            places.iter().zip(0..).map(|((lat, lon), key)| party(key, *lat, *lon)).collect()
        })
    }

    proptest! {
        /// No rider and driver are both nearer to each other than to their partners, and
        /// the smaller side is served whole.
        #[test]
        fn pairs_are_stable(riders in parties(12), drivers in parties(12)) {
            let pairs = nearest_pair(&riders, &drivers, &|_, _| true);
            prop_assert_eq!(pairs.len(), riders.len().min(drivers.len()));
            let gap = |r: usize, d: usize| millimetres(riders[r].at.distance_m(drivers[d].at));
            let of_rider = |r| pairs.iter().find(|pair| pair.0 == r).map_or(u64::MAX, |pair| gap(pair.0, pair.1));
            let of_driver = |d| pairs.iter().find(|pair| pair.1 == d).map_or(u64::MAX, |pair| gap(pair.0, pair.1));
            for r in 0..riders.len() {
                for d in 0..drivers.len() {
                    prop_assert!(gap(r, d) >= of_rider(r).min(of_driver(d)));
                }
            }
        }

        /// The order in which offers were heard does not matter.
        #[test]
        fn everybody_finds_the_same_pairs(riders in parties(8), drivers in parties(8)) {
            let keys = |riders: &[Party], drivers: &[Party]| -> Vec<(Author, Author)> {
                nearest_pair(riders, drivers, &|_, _| true).iter().map(|(r, d)| (riders[*r].key, drivers[*d].key)).collect()
            };
            let backwards = |list: &[Party]| -> Vec<Party> { list.iter().rev().copied().collect() };
            prop_assert_eq!(keys(&riders, &drivers), keys(&backwards(&riders), &backwards(&drivers)));
        }
    }
}
