//! Synthetic cities: a grid of streets, centres that people go to, a peak.

use std::f64::consts::TAU;
use std::sync::Arc;

use hailmesh_types::GeoPoint;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::{BOARDING_MS, DRAIN_MS, PATIENCE_MS, Scenario, ScenarioError, TripRequest, VehicleStart};
use crate::roads::{Junction, Lattice, Link, Roads};

/// A city of right angles. Everything has a default: a downtown of 6 × 4 km with 200 cars
/// and 600 riders an hour.
///
/// Streets run east–west, avenues north–south. With `one_way` they alternate in direction,
/// only the outer ring is two-way, speeds vary from link to link, and the network is a
/// real one ([`Roads::new`]); without, all are two-way at one speed each and travel times
/// come in closed form ([`Lattice`]), which scales to millions.
///
/// Requests arrive as a Poisson process whose rate follows a wave with one crest in the
/// middle of the demand. A `commute` share of them goes from anywhere to a centre; the
/// others begin at a centre or anywhere, and end anywhere. Trips are at least 500 m.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GridCity {
    /// Blocks from west to east, 1 to 4,000.
    pub blocks_x: u32,
    /// Blocks from south to north, 1 to 4,000.
    pub blocks_y: u32,
    /// Length of a block, metres, 20 to 2,000.
    pub block_m: u32,
    /// Mean speed on streets, km/h, 2 to 100; avenues are a quarter faster.
    pub speed_kmh: f64,
    /// Alternating one-way streets instead of two-way ones in closed form.
    pub one_way: bool,
    /// Where demand concentrates; may be empty.
    pub centres: Vec<Centre>,
    /// Mean requests an hour, 0 to 10 million.
    pub riders_per_hour: f64,
    /// How long there is demand, hours, more than 0 and at most 24.
    pub hours: f64,
    /// Cars, 1 to 10 million.
    pub vehicles: u32,
    /// Demand at its crest over its mean, 1 (even) to 2.
    pub peak: f64,
    /// Share of the trips that lead from anywhere to a centre, 0 to 1.
    pub commute: f64,
    /// Seed of the city: speeds, demand and where cars stand.
    pub seed: u64,
    /// Latitude of the south-west corner, degrees.
    pub lat: f64,
    /// Longitude of the south-west corner, degrees.
    pub lon: f64,
}

/// A place that many people come from and go to.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Centre {
    /// Place from west to east as a share of the city, 0 to 1.
    pub x: f64,
    /// Place from south to north as a share of the city, 0 to 1.
    pub y: f64,
    /// Share of the demand that is here; those of all centres add up to at most 1, what
    /// is left is spread evenly.
    pub weight: f64,
    /// Standard deviation of the distance from it in each direction, metres, 1 to 100,000.
    pub spread_m: f64,
}

impl Default for GridCity {
    fn default() -> Self {
        Self {
            blocks_x: 30,
            blocks_y: 20,
            block_m: 200,
            speed_kmh: 20.0,
            one_way: true,
            centres: vec![
                Centre { x: 0.3, y: 0.5, weight: 0.35, spread_m: 500.0 },
                Centre { x: 0.75, y: 0.6, weight: 0.2, spread_m: 400.0 },
            ],
            riders_per_hour: 600.0,
            hours: 1.0,
            vehicles: 200,
            peak: 1.3,
            commute: 0.3,
            seed: 1,
            lat: 40.0,
            lon: -74.0,
        }
    }
}

/// Shorter trips are walked, metres as the crow flies.
const MIN_TRIP_M: f64 = 500.0;
/// Tries to find a trip that is long enough before any two junctions will do.
const TRIES: u32 = 64;
const SEATS: u8 = 4;

impl GridCity {
    /// A city with about so many nodes at the density of the default one: a quarter are
    /// cars, and as many riders as the rest make a request in each hour. It has two-way
    /// streets in closed form, so that cities of all sizes are alike, and demand without
    /// centres and peak, so that every part of one is.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a root of less than 2^33")]
    pub fn of_nodes(nodes: u32) -> Self {
        let city = Self::default();
        let per_node =
            f64::from(city.blocks_x * city.blocks_y) / (f64::from(city.vehicles) + city.riders_per_hour);
        let side = (per_node * f64::from(nodes)).sqrt().round().max(3.0) as u32;
        Self {
            blocks_x: side,
            blocks_y: side,
            one_way: false,
            centres: Vec::new(),
            vehicles: (nodes / 4).max(1),
            riders_per_hour: f64::from(nodes - nodes / 4),
            peak: 1.0,
            commute: 0.0,
            ..city
        }
    }

    /// Makes the city. The same parameters make the same city.
    ///
    /// # Errors
    /// When a parameter is out of its range.
    pub fn generate(&self) -> Result<Scenario, ScenarioError> {
        self.check()?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let corner = GeoPoint::from_degrees(self.lat, self.lon)
            .map_err(|error| refuse("lat, lon", format!("{}, {}", self.lat, self.lon), &error.to_string()))?;
        let size = (self.blocks_x + 1, self.blocks_y + 1);
        let speeds = (self.speed_kmh, self.speed_kmh * AVENUE);
        let lattice = Lattice::new(corner, size, self.block_m, speeds)?;
        let roads =
            if self.one_way { self.one_way_roads(&lattice, &mut rng)? } else { Roads::lattice(lattice) };
        let city = Places { city: self, lattice: &lattice, roads: &roads };
        let vehicles = (0..self.vehicles).map(|_| city.vehicle(&mut rng)).collect();
        let requests = city.requests(&mut rng);
        Ok(Scenario {
            name: "grid".to_owned(),
            roads: Arc::new(roads),
            requests,
            vehicles,
            hour_ms: self.demand_ms(),
            drain_ms: DRAIN_MS,
            patience_ms: PATIENCE_MS,
            boarding_ms: BOARDING_MS,
        })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a day")]
    fn demand_ms(&self) -> u64 {
        (self.hours * 3_600_000.0).round().max(1.0) as u64
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let numbers = [
            ("blocks_x", f64::from(self.blocks_x), 1.0, 4_000.0),
            ("blocks_y", f64::from(self.blocks_y), 1.0, 4_000.0),
            ("block_m", f64::from(self.block_m), 20.0, 2_000.0),
            ("speed_kmh", self.speed_kmh, 2.0, 100.0),
            ("riders_per_hour", self.riders_per_hour, 0.0, 1e7),
            ("hours", self.hours, 1.0 / 3_600.0, 24.0),
            ("vehicles", f64::from(self.vehicles), 1.0, 1e7),
            ("peak", self.peak, 1.0, 2.0),
            ("commute", self.commute, 0.0, 1.0),
        ];
        for (name, value, low, high) in numbers {
            in_range(name, value, low, high)?;
        }
        for (place, centre) in self.centres.iter().enumerate() {
            in_range(&format!("centres[{place}].x"), centre.x, 0.0, 1.0)?;
            in_range(&format!("centres[{place}].y"), centre.y, 0.0, 1.0)?;
            in_range(&format!("centres[{place}].weight"), centre.weight, 0.0, 1.0)?;
            in_range(&format!("centres[{place}].spread_m"), centre.spread_m, 1.0, 100_000.0)?;
        }
        let weight: f64 = self.centres.iter().map(|centre| centre.weight).sum();
        if weight > 1.0 + 1e-9 {
            return Err(refuse("the weights of all centres", weight.to_string(), "at most 1 together"));
        }
        Ok(())
    }

    fn one_way_roads(&self, lattice: &Lattice, rng: &mut ChaCha8Rng) -> Result<Roads, ScenarioError> {
        let (columns, rows) = lattice.size();
        let junction = |column: u32, row: u32| Junction(row * columns + column);
        let mut links = Vec::new();
        let mut add = |from: Junction, to: Junction, kmh: f64, ways: Ways| {
            let length_km = f64::from(self.block_m) / 1_000.0;
            let mut link = |from, to| {
                let speed_kmh = kmh * rng.random_range(0.8..=1.2);
                links.push(Link { from, to, length_km, speed_kmh });
            };
            if ways != Ways::Backward {
                link(from, to);
            }
            if ways != Ways::Forward {
                link(to, from);
            }
        };
        for row in 0..rows {
            for column in 0..columns {
                if column + 1 < columns {
                    let ways = Ways::of(row, rows);
                    add(junction(column, row), junction(column + 1, row), self.speed_kmh, ways);
                }
                if row + 1 < rows {
                    let ways = Ways::of(column, columns);
                    add(junction(column, row), junction(column, row + 1), self.speed_kmh * AVENUE, ways);
                }
            }
        }
        let lattice = Roads::lattice(*lattice);
        let points = (0..columns * rows).map(|number| lattice.point(Junction(number))).collect();
        Ok(Roads::new(points, links)?)
    }
}

/// Speed on avenues over that on streets.
const AVENUE: f64 = 1.25;

#[derive(Clone, Copy, PartialEq)]
enum Ways {
    Forward,
    Backward,
    Both,
}

impl Ways {
    /// Of street or avenue number `place` of `count`: the outer ones go both ways, so that
    /// there is always a way round; those between alternate.
    const fn of(place: u32, count: u32) -> Self {
        if place == 0 || place + 1 == count {
            Self::Both
        } else if place.is_multiple_of(2) {
            Self::Forward
        } else {
            Self::Backward
        }
    }
}

struct Places<'a> {
    city: &'a GridCity,
    lattice: &'a Lattice,
    roads: &'a Roads,
}

impl Places<'_> {
    fn vehicle(&self, rng: &mut ChaCha8Rng) -> VehicleStart {
        let point = self.somewhere(rng, true);
        VehicleStart { point, junction: self.roads.snap(point), seats: SEATS }
    }

    /// Poisson arrivals, thinned from the rate of the crest.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than a day")]
    fn requests(&self, rng: &mut ChaCha8Rng) -> Vec<TripRequest> {
        let mut requests = Vec::new();
        let end_ms = self.city.demand_ms() as f64;
        let crest_per_ms = self.city.riders_per_hour * self.city.peak / 3_600_000.0;
        if crest_per_ms == 0.0 {
            return requests;
        }
        let mut t_ms = 0.0;
        loop {
            t_ms -= (1.0 - rng.random::<f64>()).ln() / crest_per_ms;
            if t_ms >= end_ms {
                return requests;
            }
            let rate = 1.0 - (self.city.peak - 1.0) * (TAU * t_ms / end_ms).cos();
            if rng.random::<f64>() * self.city.peak < rate {
                requests.push(self.request(t_ms as u64, rng));
            }
        }
    }

    fn request(&self, t_ms: u64, rng: &mut ChaCha8Rng) -> TripRequest {
        let commute = rng.random::<f64>() < self.city.commute;
        let mut left = TRIES;
        let (from, to) = loop {
            let from = self.somewhere(rng, !commute);
            let to = if commute { self.at_centre(rng) } else { self.somewhere(rng, false) };
            left -= 1;
            if from.distance_m(to) >= MIN_TRIP_M || left == 0 {
                break (from, to);
            }
        };
        let party = match rng.random_range(0..10) {
            0..7 => 1,
            7 | 8 => 2,
            _ => 3,
        };
        let (from_junction, to_junction) = (self.roads.snap(from), self.roads.snap(to));
        TripRequest { t_ms, from, to, from_junction, to_junction, party }
    }

    /// A position that follows the demand, or, without centres, one anywhere.
    fn somewhere(&self, rng: &mut ChaCha8Rng, with_centres: bool) -> GeoPoint {
        if with_centres {
            let mut left = rng.random::<f64>();
            for centre in &self.city.centres {
                left -= centre.weight;
                if left < 0.0 {
                    return self.near(rng, centre);
                }
            }
        }
        let (x, y) = (f64::from(self.city.blocks_x), f64::from(self.city.blocks_y));
        self.lattice.point_at(rng.random_range(0.0..=x), rng.random_range(0.0..=y))
    }

    /// A position at one of the centres by their weights; anywhere when there are none.
    fn at_centre(&self, rng: &mut ChaCha8Rng) -> GeoPoint {
        let weight: f64 = self.city.centres.iter().map(|centre| centre.weight).sum();
        let mut left = rng.random::<f64>() * weight;
        for centre in &self.city.centres {
            left -= centre.weight;
            if left < 0.0 {
                return self.near(rng, centre);
            }
        }
        self.somewhere(rng, false)
    }

    /// Normal in both directions (Box and Muller), kept inside the city.
    fn near(&self, rng: &mut ChaCha8Rng, centre: &Centre) -> GeoPoint {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * centre.spread_m;
        let angle = rng.random_range(0.0..TAU);
        let block_m = f64::from(self.city.block_m);
        let place = |share: f64, blocks: u32, offset_m: f64| {
            let blocks = f64::from(blocks);
            (share * blocks + offset_m / block_m).clamp(0.0, blocks)
        };
        self.lattice.point_at(
            place(centre.x, self.city.blocks_x, radius * angle.cos()),
            place(centre.y, self.city.blocks_y, radius * angle.sin()),
        )
    }
}

fn in_range(name: &str, value: f64, low: f64, high: f64) -> Result<(), ScenarioError> {
    match (low..=high).contains(&value) {
        true => Ok(()),
        false => Err(refuse(name, value.to_string(), &format!("{low} to {high}"))),
    }
}

fn refuse(parameter: &str, value: String, expected: &str) -> ScenarioError {
    ScenarioError::Parameter { parameter: parameter.to_owned(), value, expected: expected.to_owned() }
}
