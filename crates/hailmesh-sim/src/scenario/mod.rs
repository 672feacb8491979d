//! Who wants to go where, and which cars there are.
//!
//! A [`Scenario`] comes from a folder of four CSV files ([`Files`]), from a synthetic
//! [`GridCity`], or from a TOML [`Description`] that names one of them. Nothing here opens
//! a file: readers are arguments, and names are given only for error messages.

mod description;
mod error;
mod files;
mod grid;

use std::sync::Arc;

use hailmesh_types::GeoPoint;

use crate::roads::{Junction, Roads, RoadsError};

pub use description::{Description, Source};
pub use error::ScenarioError;
pub use files::{EDGES, Files, NODES, REQUESTS, VEHICLES};
pub use grid::{Centre, GridCity};

pub(crate) use files::{Row, Sheet};

/// How long a request waits before it is lost, unless a description says otherwise.
pub const PATIENCE_MS: u64 = 600_000;
/// How long boarding takes, unless a description says otherwise.
pub const BOARDING_MS: u64 = 30_000;
/// How long a run goes on after the demand ends, unless a description says otherwise.
pub const DRAIN_MS: u64 = 600_000;

/// Somebody who wants to go somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TripRequest {
    /// When, milliseconds after the start of the run.
    pub t_ms: u64,
    /// Where from.
    pub from: GeoPoint,
    /// Where to.
    pub to: GeoPoint,
    /// The junction nearest to `from`: where the car picks up.
    pub from_junction: Junction,
    /// The junction nearest to `to`.
    pub to_junction: Junction,
    /// People, at least 1.
    pub party: u8,
}

/// A car and where it stands, idle, at the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VehicleStart {
    /// Where it stands.
    pub point: GeoPoint,
    /// The junction nearest to it.
    pub junction: Junction,
    /// Seats for riders, at least 1.
    pub seats: u8,
}

/// A city, its demand and its cars.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: String,
    /// The roads.
    pub roads: Arc<Roads>,
    /// Requests in the order of their time.
    pub requests: Vec<TripRequest>,
    /// All cars that there are; a run takes a [`fleet`](Self::fleet) of them.
    pub vehicles: Vec<VehicleStart>,
    /// When the demand ends, milliseconds after the start: the end of the last full hour
    /// for recorded demand.
    pub hour_ms: u64,
    /// How long the run goes on after that, milliseconds.
    pub drain_ms: u64,
    /// A request that was not picked up so many milliseconds after it was made is lost.
    pub patience_ms: u64,
    /// From the arrival of the car at the pickup to its departure, milliseconds.
    pub boarding_ms: u64,
}

impl Scenario {
    /// The cars of a run: fleet `size`, seed `s` are the `size` rows of the vehicles from
    /// row (997 · s) mod N on, wrapping round.
    ///
    /// # Errors
    /// When there are not that many cars, or none are asked for.
    pub fn fleet(&self, size: u32, seed: u64) -> Result<Vec<VehicleStart>, ScenarioError> {
        let all = self.vehicles.len();
        if size == 0 || size as usize > all {
            return Err(ScenarioError::Fleet { scenario: self.name.clone(), fleet: size, vehicles: all });
        }
        let first =
            u64::try_from(u128::from(seed) * 997 % all as u128).expect("less than the number of cars");
        let from_first = self.vehicles.iter().cycle().skip(usize::try_from(first).expect("as above"));
        Ok(from_first.take(size as usize).copied().collect())
    }

    /// The end of the run, milliseconds: demand and drain.
    #[must_use]
    pub const fn end_ms(&self) -> u64 {
        self.hour_ms + self.drain_ms
    }

    /// The same scenario with one speed on all roads.
    ///
    /// # Errors
    /// When the speed is not a number from 1 to 300 km/h.
    pub fn with_uniform_speed(mut self, kmh: f64) -> Result<Self, RoadsError> {
        self.roads = Arc::new(self.roads.with_uniform_speed(kmh)?);
        Ok(self)
    }
}
